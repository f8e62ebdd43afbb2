/**
 * Properties of the engine under any sequence of commands, possible and impossible, on any graph. `CheckedRun` holds what is true of every step
 * (pure, folds, absorbing ends, timers); here is what is true of whole runs. `ENGINE_RUNS=20000` runs that many instead of the default.
 */
import { type Command, decide, nextWake } from '@workflow-orchestrator/engine/machine';
import fc from 'fast-check';
import t from 'tap';
import { anyDeed, anyGraph, anyOptions, type Deed, perform } from '../engine-support/arbitraries.ts';
import { CheckedRun } from '../engine-support/checked-run.ts';
import { buildGraph, type GraphOptions, graphOf } from '../engine-support/graphs.ts';
import { checkEnding, checkJournal } from '../engine-support/journal-rules.ts';
import { nextEvent } from '../engine-support/next-event.ts';
import { epochMs, type Run } from '../engine-support/run.ts';
import type { AbstractGraph } from '../reference/evaluator.ts';

const numRuns = Number(process.env.ENGINE_RUNS ?? 400);

t.setTimeout(3_600_000);

function runOf(abstract: AbstractGraph, options: GraphOptions): CheckedRun {
  const run = new CheckedRun(buildGraph(abstract, options), 'wf-1');
  run.submit(true);
  return run;
}

/** Does one deed and checks that an assignment was one that may be. */
function act(run: Run, deed: Deed): ReturnType<typeof perform> {
  const { status, jobs } = run.state;
  const notBefore = jobs.map((job) => job.notBefore);
  const stops = run.events.filter((event) => event.kind === 'cancelRequested' || event.kind === 'timedOut');
  const forced = stops.some((event) => (event.kind === 'cancelRequested' ? event.force : event.limit === 'cleanup_timeout'));
  const decision = perform(run, deed, nextWake(run.state));
  if ((deed.kind === 'assign' || deed.kind === 'serve') && decision?.kind === 'events') {
    const [event] = decision.events;
    if (event.kind !== 'attemptAssigned') throw new Error(`an assign led to ${event.kind}`);
    if (status !== 'RUNNING') throw new Error(`dispatched while ${status}`);
    if (notBefore[event.job] > run.now) throw new Error('dispatched before its time');
    if (stops.length > 0 && (forced || !run.graph.jobs[event.job].alwaysRun)) throw new Error('dispatched after a cancel');
  }
  return decision;
}

t.test('any sequence of commands: every step is sound and the journal keeps the rules', async (t) => {
  const property = fc.property(anyGraph, anyOptions, fc.array(anyDeed, { maxLength: 90, size: 'max' }), (graph, options, deeds) => {
    const run = runOf(graph, options);
    for (const deed of deeds) {
      act(run, deed);
      for (const index of run.state.jobs.keys()) nextEvent(run.state, index);
    }
    checkJournal(run.graph, run.events);
    if (run.state.endedAt !== 0) checkEnding(run.state, run.events);
  });
  t.doesNotThrow(() => fc.assert(property, { numRuns }));
});

t.test('after any sequence of commands, a world that does its part brings the workflow to its end', async (t) => {
  const property = fc.property(anyGraph, anyOptions, fc.array(anyDeed, { maxLength: 40, size: 'max' }), (graph, options, deeds) => {
    const run = runOf(graph, options);
    for (const deed of deeds) act(run, deed);
    run.send({ kind: 'start' });
    run.send({ kind: 'resume' });
    for (let round = 0; run.state.endedAt === 0; round++) {
      if (round > 200) throw new Error('no end in 200 rounds');
      serve(run);
    }
    checkJournal(run.graph, run.events);
    checkEnding(run.state, run.events);
  });
  t.doesNotThrow(() => fc.assert(property, { numRuns }));
});

/** Workers take what there is and end what they hold well; then the clock goes on to whatever is next. */
function serve(run: Run): void {
  const before = run.events.length;
  for (const job of run.ready()) if (run.state.jobs[job].notBefore <= run.now) run.assign(job);
  for (const [job, { lease }] of run.state.jobs.entries()) {
    if (lease === null || run.state.jobs[job].lease === null) continue;
    run.result(
      job,
      lease.cancelAt === null ? { kind: 'succeeded', output: { encoding: 'json', data: new Uint8Array() } } : { kind: 'cancelled' },
    );
  }
  if (run.events.length > before || run.state.endedAt !== 0) return;
  const times = run.ready().map((job) => run.state.jobs[job].notBefore);
  const wake = nextWake(run.state);
  if (wake !== null) times.push(wake);
  if (times.length === 0) throw new Error('stuck: nothing to do and no timer');
  run.now = Math.max(run.now, Math.min(...times));
  run.send({ kind: 'tick' });
}

t.test('a result that is sent again is a duplicate, whatever it led to, also after a recovery', async (t) => {
  const property = fc.property(anyGraph, anyOptions, fc.array(anyDeed, { maxLength: 90, size: 'max' }), (graph, options, deeds) => {
    const run = runOf(graph, options);
    for (const deed of deeds) {
      const decision = act(run, deed);
      const isResult = deed.kind === 'succeed' || deed.kind === 'fail' || deed.kind === 'cancelled';
      if (!isResult || decision?.kind !== 'events' || run.lastResult === null) continue;
      if (deed.ms % 2 === 0) run.recover();
      const again = run.send(run.lastResult);
      if (again.kind !== 'ignored' || again.reason !== 'duplicate') throw new Error(`answered ${JSON.stringify(again)}`);
    }
  });
  t.doesNotThrow(() => fc.assert(property, { numRuns }));
});

t.test('a workflow that does not exist takes only a submit', async (t) => {
  const graph = graphOf('a');
  const lease = { job: 0, token: 't1' };
  const attempt = { ...lease, attempt: 1, workerId: 'w1', runningMs: 0 };
  const commands: Command[] = [
    { kind: 'start', at: epochMs },
    { kind: 'pause', at: epochMs },
    { kind: 'resume', at: epochMs },
    { kind: 'cancel', at: epochMs, reason: '', force: true },
    { kind: 'tick', at: epochMs },
    { kind: 'assign', at: epochMs, ...lease, workerId: 'w1', fencingToken: 1 },
    { kind: 'accept', at: epochMs, ...lease },
    { kind: 'release', at: epochMs, ...lease, reason: '' },
    { kind: 'beat', at: epochMs, ...lease, idleMs: 0, progress: null, progressMessage: '', checkpoint: null },
    { kind: 'result', at: epochMs, ...attempt, outcome: { kind: 'cancelled' } },
    { kind: 'workerLost', at: epochMs, ...lease, message: '' },
    { kind: 'reattach', at: epochMs, ...attempt, fencingToken: 1 },
  ];
  for (const command of commands) t.match(decide(null, command), { kind: 'ignored', reason: 'invalid' }, command.kind);
  const run = new CheckedRun(graph);
  t.equal(run.submit().kind, 'events');
  t.match(run.submit(), { kind: 'ignored', reason: 'duplicate' }, 'a second submit with the same id');
});
