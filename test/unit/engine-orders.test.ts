/**
 * All orders of events of small graphs: one end for each way in which the jobs end, nothing is ever stuck, a cancel is final.
 * `ENGINE_ORDERS=all` walks every graph of three jobs with everything that the world can do; the default walks a part of them.
 */
import { type Command, decide, hasEnded, readyJobs, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import t from 'tap';
import { plainGraphs, randomGraph, standingsDiffer } from '../engine-support/agreement.ts';
import { buildGraph, type GraphOptions, json } from '../engine-support/graphs.ts';
import { nextEvent } from '../engine-support/next-event.ts';
import { seeded } from '../engine-support/random.ts';
import { jobError, Run, type TimelessCommand } from '../engine-support/run.ts';
import { type Walked, type World, walk } from '../engine-support/walk.ts';
import { type AbstractGraph, evaluate, type Outcome, progress } from '../reference/evaluator.ts';
import { parse, print } from '../reference/notation.ts';

const everything = process.env.ENGINE_ORDERS === 'all';

t.setTimeout(3_600_000);

/** A state without times and without what may depend on the order: which of several failures came first. */
function essence(state: WorkflowState): string {
  const jobs = state.jobs.map((job) => [job.phase, job.skipReason, job.causes, job.error?.code, job.attempts.length]);
  return JSON.stringify([state.status, [...state.failures].sort(), state.openJobs, state.openRegularJobs, state.seq, jobs]);
}

/** Runs the jobs of a graph in every order, each ending well and badly. Returns the number of steps; throws what is wrong. */
function walkRuns(abstract: AbstractGraph): number {
  const begun = new Run(buildGraph(abstract));
  begun.submit(true);
  const found = new Map([[0, begun.state]]);
  let steps = 0;
  for (const [code, state] of found) {
    const known = abstract.jobs.map(
      (_, job): Outcome | null => [null, 'SUCCEEDED' as const, 'FAILED' as const][Math.floor(code / 3 ** job) % 3],
    );
    const wrong = standingsDiffer(abstract, state, progress(abstract, known));
    if (wrong !== null) throw new Error(`${wrong} after ${JSON.stringify(known)}`);
    for (const job of state.jobs.keys()) nextEvent(state, job);
    if (
      state.endedAt !== 0 &&
      state.status !==
        evaluate(
          abstract,
          known.map((outcome) => outcome ?? 'SUCCEEDED'),
        ).workflow
    ) {
      throw new Error(`${state.status} after ${JSON.stringify(known)}`);
    }
    for (const job of readyJobs(state)) {
      for (const [digit, outcome] of ['SUCCEEDED', 'FAILED'].entries()) {
        const after = runJob(state, job, outcome as Outcome);
        const next = code + (digit + 1) * 3 ** job;
        steps++;
        const before = found.get(next);
        if (before === undefined) found.set(next, after);
        else if (essence(before) !== essence(after)) throw new Error(`the order matters: ${essence(before)} and ${essence(after)}`);
      }
    }
  }
  return steps;
}

function runJob(state: WorkflowState, job: number, outcome: Outcome): WorkflowState {
  const at = state.submittedAt + state.seq;
  const token = `t${job}`;
  const worker = { job, at, token, workerId: 'w1' };
  const ending =
    outcome === 'SUCCEEDED'
      ? { kind: 'succeeded' as const, output: json(null) }
      : { kind: 'failed' as const, error: jobError('BROKEN', { retryable: false }) };
  const commands: Command[] = [
    { kind: 'assign', ...worker, fencingToken: 1 },
    { kind: 'accept', at, job, token },
    { kind: 'result', ...worker, attempt: 1, runningMs: 0, outcome: ending },
  ];
  return commands.reduce((before, command) => {
    const decision = decide(before, command);
    if (decision.kind === 'ignored') throw new Error(`${command.kind} was ignored: ${decision.message}`);
    return decision.state;
  }, state);
}

/** The first graph for which `run` throws, with what it threw; null when none does. */
function firstFault<G>(graphs: Iterable<G>, name: (graph: G) => string, run: (graph: G) => void): string | null {
  for (const graph of graphs) {
    try {
      run(graph);
    } catch (error) {
      return `${name(graph)}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return null;
}

t.test('every order of jobs in every graph of up to four: each state is as the page says and does not depend on the order', async (t) => {
  let steps = 0;
  for (const size of [1, 2, 3, 4]) {
    const fault = firstFault(plainGraphs(size), print, (graph) => {
      steps += walkRuns(graph);
    });
    t.equal(fault, null, `graphs of ${size}; ${steps} steps so far`);
  }
});

t.test('every order of jobs in sampled graphs of up to six with all that the language has', async (t) => {
  let steps = 0;
  const seeds = Array.from({ length: everything ? 20_000 : 600 }, (_, seed) => seed);
  const graphOfSeed = (seed: number): AbstractGraph => {
    const random = seeded(seed);
    return randomGraph(random, 2 + random.below(5));
  };
  const fault = firstFault(
    seeds,
    (seed) => print(graphOfSeed(seed)),
    (seed) => {
      steps += walkRuns(graphOfSeed(seed));
    },
  );
  t.equal(fault, null, `${steps} steps`);
});

/** What must hold in each step, whatever the world does. */
function checkStep(before: WorkflowState, after: WorkflowState, command: TimelessCommand | 'recover'): void {
  const { jobs } = before.graph;
  for (const [index, job] of before.jobs.entries()) {
    if (hasEnded(job.phase) && job !== after.jobs[index]) throw new Error(`${jobs[index].id} changed after its end`);
    if (after.jobs[index].attempts.length > jobs[index].retry.maxAttempts) throw new Error(`${jobs[index].id} has too many attempts`);
  }
  if (hasEnded(before.status)) throw new Error('the workflow changed after its end');
  if (command === 'recover') return;
  const stopped = before.failuresBeforeStop !== null;
  if (stopped && after.status === 'PAUSED') throw new Error('paused on the way to its end');
  if (stopped && after.failuresBeforeStop !== before.failuresBeforeStop) throw new Error('what came after a cancel changes how it ends');
  if (command.kind === 'assign') {
    if (before.status === 'PAUSED') throw new Error('dispatched while paused');
    if (stopped && (before.forced || !jobs[command.job].alwaysRun)) throw new Error('dispatched after a cancel');
  }
  if (command.kind === 'cancel') {
    for (const [index, { id, alwaysRun }] of jobs.entries()) {
      const { phase, lease } = after.jobs[index];
      if (hasEnded(phase) || (alwaysRun && !after.forced)) continue;
      if (lease === null && before.jobs[index].lease === null && !stopped) throw new Error(`${id} still waits after a cancel`);
      if (lease !== null && lease.cancelAt === null) throw new Error(`${id} was not told to stop`);
    }
  }
}

/** What must hold of each end. */
function checkEnd(abstract: AbstractGraph, state: WorkflowState): void {
  const phases = state.jobs.map((job) => job.phase);
  for (const [index, job] of abstract.jobs.entries()) {
    if (job.alwaysRun && phases[index] === 'CANCELLED' && !state.forced && state.startedAt !== 0)
      throw new Error(`${job.id} was cancelled`);
  }
  if (state.failuresBeforeStop === null) {
    const outcomes = phases.map((phase): Outcome => (phase === 'FAILED' ? 'FAILED' : 'SUCCEEDED'));
    const wrong = standingsDiffer(abstract, state, evaluate(abstract, outcomes).jobs);
    if (wrong !== null) throw new Error(wrong);
    if (state.status !== evaluate(abstract, outcomes).workflow) throw new Error(`ended ${state.status}`);
  } else if (state.timedOutAt === 0 && state.failuresBeforeStop === 0 && state.status !== 'CANCELLED') {
    throw new Error(`ended ${state.status} although nothing had failed before the cancel`);
  } else if (state.status === 'SUCCEEDED') throw new Error('SUCCEEDED although it was stopped');
}

/** Two attempts for each job, delays that are waited for, and one job with every timeout. */
function worldly(abstract: AbstractGraph, options: GraphOptions = {}): GraphOptions {
  const plain = buildGraph(abstract).jobs;
  const retry = { ...plain[0].retry, maxAttempts: 2, maxAttemptsWhenLost: 2 };
  return { ...options, jobs: Object.fromEntries(plain.map(({ id }) => [id, { retry, ...options.jobs?.[id] }])) };
}

function walkWorld(abstract: AbstractGraph, world: World, options: GraphOptions): Walked {
  const walked = walk(buildGraph(abstract, worldly(abstract, options)), world, checkStep);
  for (const { state, way } of walked.ends) {
    const fault = firstFault(
      [state],
      () => `after ${way.join(', ')}`,
      () => checkEnd(abstract, state),
    );
    if (fault !== null) throw new Error(fault);
  }
  return walked;
}

/** Shapes in which a cancel, a failure or a skip meets what runs whatever happens. */
const notable = [
  'a, z(always_run)',
  'a.ok->b(always_run)',
  'a(allow_failure).fail->b(always_run), b.ok->c',
  'a(recover).fail->b',
  'a.ok->b, z(always_run; if false)',
  'a.ok->b, a.fail->c, z(always_run)',
  'a.ok->c(any), b.ok->c',
].map(parse);

function* sampledGraphs(count: number, sizes: number): Generator<AbstractGraph> {
  for (let seed = 0; seed < count; seed++) {
    const random = seeded(seed);
    yield randomGraph(random, 2 + random.below(sizes - 1));
  }
}

const everyTimeout = { timeouts: { queueMs: 7000, runMs: 5000, heartbeatMs: 3000, totalMs: 11_000 } };

const worlds: readonly {
  readonly title: string;
  readonly world: World;
  readonly options: GraphOptions;
  readonly graphs: readonly AbstractGraph[];
}[] = [
  {
    title: 'retries, lost workers and recoveries',
    world: { cancel: false, pause: false, lost: true, recover: true },
    options: {},
    graphs: [...plainGraphs(3), ...notable, ...sampledGraphs(everything ? 1000 : 60, everything ? 4 : 3)],
  },
  {
    title: 'cancel and force, with recoveries',
    world: { cancel: true, pause: false, lost: false, recover: true },
    options: {},
    graphs: [
      ...plainGraphs(2),
      ...notable,
      ...sampledGraphs(everything ? 500 : 60, everything ? 4 : 3),
      ...(everything ? plainGraphs(3) : []),
    ],
  },
  {
    title: 'pause, resume and cancel, lost workers, recoveries, a timeout of the workflow',
    world: { cancel: true, pause: true, lost: true, recover: true },
    options: { timeoutMs: 4000, cleanupTimeoutMs: 2000 },
    graphs: [...plainGraphs(2), ...notable, ...sampledGraphs(everything ? 500 : 20, 3), ...(everything ? plainGraphs(3) : [])],
  },
  {
    title: 'the four timeouts of a job, with everything else',
    world: { cancel: true, pause: true, lost: true, recover: true },
    options: { jobs: { a: everyTimeout, j0: everyTimeout } },
    graphs: [...plainGraphs(2), ...notable, ...sampledGraphs(everything ? 500 : 20, 3), ...(everything ? plainGraphs(3) : [])],
  },
];

for (const { title, world, options, graphs } of worlds) {
  t.test(`every order of everything: ${title}`, async (t) => {
    const total = { graphs: 0, states: 0, moves: 0, ends: 0 };
    const fault = firstFault(graphs, print, (abstract) => {
      const { states, moves, ends } = walkWorld(abstract, world, options);
      total.graphs++;
      total.states += states;
      total.moves += moves;
      total.ends += ends.length;
    });
    t.equal(fault, null, `${total.graphs} graphs, ${total.states} states, ${total.moves} moves, ${total.ends} ends`);
  });
}
