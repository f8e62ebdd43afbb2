/**
 * The test of the engine's tests: bugs planted into it one at a time, each of which a suite must find.
 * `ENGINE_MUTANTS=all` tries every one; the default those that were hardest to see. A text that is not in the source any more fails here:
 * plant the same bug where the rule now lives.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';

type Suite = 'agreement' | 'orders' | 'properties' | 'stories';
type Mutant = readonly [bug: string, suite: Suite, file: string, from: string, to: string];

const hard: readonly Mutant[] = [
  ['`some` for `every` in a join', 'agreement', 'join.ts', 'causes.every((cause)', 'causes.some((cause)'],
  [
    'a join decided before all is resolved',
    'agreement',
    'join.ts',
    'if (!runAtFirst) return WAIT;',
    'if (!runAtFirst && !taken) return WAIT;',
  ],
  ['reachable along the other outcome', 'agreement', 'join.ts', "reachable(cause, 'failure'", "reachable(cause, 'success'"],
  ['nothing recovered counts as recovered', 'agreement', 'finish.ts', 'ran.length > 0 && ', ''],
  [
    'a failure after the cancel decides the end',
    'orders',
    'finish.ts',
    'state.failures.slice(0, state.failuresBeforeStop ?? 0)',
    'state.failures',
  ],
  ['a second cancel counts again', 'orders', 'evolve.ts', 'state.failuresBeforeStop ??=', 'state.failuresBeforeStop ='],
  [
    'a late tick fires one timer of two',
    'orders',
    'steer.ts',
    'next.at <= at; next = jobTimer(state, index)',
    'next.at <= at; next = null',
  ],
  ['a decision shares its state', 'orders', 'evolve.ts', 'jobs: state.jobs.slice()', 'jobs: state.jobs'],
  ['a stale attempt is accepted', 'properties', 'attempt.ts', 'lease === null || lease.token !== command.token', 'lease === null'],
  ['dispatched again after a cancel', 'properties', 'attempt.ts', 'if (isToStop(state, command.job)) return', 'if (false) return'],
  ['the attempt counter starts anew', 'properties', 'attempt.ts', 'attempt: job.attempts.length + 1,', 'attempt: 1,'],
  ['one attempt too many', 'properties', 'retry.ts', 'attempt >= (', 'attempt > ('],
  ['jitter is drawn', 'stories', 'retry.ts', '2 * derivedFraction(', '2 * Math.random() + 0 * derivedFraction('],
  ['the time of the next attempt is lost', 'stories', 'evolve.ts', 'notBefore: event.nextAttemptAt,', 'notBefore: event.at,'],
];

const others: readonly Mutant[] = [
  ['a broken edge does not close a join', 'agreement', 'join.ts', '(taken && !broken)', 'taken'],
  ['failure edges only wait for all', 'agreement', 'join.ts', "failureEdgesOnly && job.join === 'all'", 'false'],
  [
    'allow_failure takes no success edge',
    'agreement',
    'join.ts',
    "source.phase === 'FAILED' && state.graph.jobs[edge.source]!.allowFailure",
    'false',
  ],
  [
    'a skipped source breaks its edges',
    'agreement',
    'join.ts',
    "source.skipReason !== 'UPSTREAM_FAILED'",
    "source.skipReason === 'CONDITION_FALSE'",
  ],
  ['always_run runs at the first edge', 'agreement', 'join.ts', '!job.alwaysRun && (', '('],
  ['a recovery that half succeeded', 'agreement', 'finish.ts', 'ran.every((edge)', 'ran.some((edge)'],
  ['the workflow never ends', 'agreement', 'settle.ts', 'if (draft.state.openJobs === 0) end(draft, at);', ''],
  ['a skip is not passed on', 'agreement', 'settle.ts', 'queue.push(edge.target);', ';'],
  [
    'a cancelled workflow SUCCEEDED',
    'orders',
    'finish.ts',
    "if (stopped) return { status: 'CANCELLED'",
    "if (false) return { status: 'CANCELLED'",
  ],
  ['force spares what always runs', 'orders', 'steer.ts', '(alwaysRun && !all)', 'alwaysRun'],
  ['a cancel before the start runs the clean-up', 'orders', 'steer.ts', 'state.forced || state.startedAt === 0', 'state.forced'],
  ['a pause on the way to the end', 'orders', 'steer.ts', 'if (state.failuresBeforeStop !== null) return', 'if (false) return'],
  ['a cleanup timeout without end', 'orders', 'timers.ts', "state.forced ? null : { timer: 'cleanup'", "null ?? { timer: 'cleanup'"],
  ['dispatched while paused', 'properties', 'attempt.ts', "if (state.status !== 'RUNNING') return", 'if (false) return'],
  ['dispatched before its time', 'properties', 'attempt.ts', 'if (job.notBefore > command.at) return', 'if (false) return'],
  ['a used token takes a lease', 'properties', 'attempt.ts', 'onRecord || ', ''],
  ['a back-off that grows too soon', 'properties', 'retry.ts', 'retry.factor ** (attempt - 1)', 'retry.factor ** attempt'],
  ['a permanent error is retried', 'properties', 'retry.ts', '!error.retryable || ', ''],
  ['a checkpoint is not counted', 'properties', 'evolve.ts', 'state.seq += 1;', "state.seq += event.kind === 'jobCheckpointed' ? 0 : 1;"],
  ['a repeated result is stale', 'properties', 'attempt.ts', 'recorded !== undefined && isOnRecord(recorded, command.outcome)', 'false'],
  ['a retry after a cancel', 'stories', 'attempt.ts', 'toldToStop ? null : retry', 'retry'],
  ['a foreign attempt takes a lease', 'stories', 'attempt.ts', ' || command.attempt !== job.attempts.length + 1', ''],
  ['a late beat turns the clock', 'stories', 'attempt.ts', 'Math.max(lease.beatAt, at - command.idleMs)', 'at'],
  [
    'a worker that comes back is not told to stop',
    'stories',
    'attempt.ts',
    'if (isToStop(state, index)) draft.emit',
    'if (false) draft.emit',
  ],
  ['the queue counts what ran', 'stories', 'timers.ts', 'Math.max(job.notBefore, state.resumedAt, state.recoveredAt)', 'job.readyAt'],
  ['no time to obey after a recovery', 'stories', 'timers.ts', 'Math.max(firstStop(state), state.recoveredAt)', 'firstStop(state)'],
  ['a cancel leaves the pause', 'stories', 'evolve.ts', "if (state.status === 'PAUSED') {", 'if (false) {'],
];

/** Runs a suite with a bug in the engine; gives its exit code. */
function runWith([, suite, file, from, to]: Mutant): Promise<number | null> {
  const flags = ['--conditions=workflow-orchestrator', `--import=${join(import.meta.dirname, '..', 'engine-support', 'plant.ts')}`];
  const child = spawn(process.execPath, [...flags, join(import.meta.dirname, `engine-${suite}.test.ts`)], {
    env: {
      ...process.env,
      PLANTED_BUG: JSON.stringify([`engine/machine/${file}`, from, to]),
      TAP_BAIL: '1',
      UPDATE: '',
      ENGINE_CASES: '5000',
      ENGINE_RUNS: '2000',
    },
    stdio: 'ignore',
  });
  return new Promise((resolve, reject) => child.on('error', reject).on('exit', (code) => resolve(code)));
}

// Longer than a file may take on its own; the runner has its own limit.
t.setTimeout(600_000);

const mutants = process.env.ENGINE_MUTANTS === 'all' ? [...hard, ...others] : hard;

for (const mutant of mutants) {
  const [bug, suite] = mutant;
  t.test(`${suite} finds: ${bug}`, async (t) => {
    const code = await runWith(mutant);
    t.not(code, 99, 'the bug can be planted');
    t.not(code, 0, 'the suite fails');
  });
}
