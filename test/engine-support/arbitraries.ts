/**
 * Arbitrary graphs and arbitrary things that the world does, for fast-check: late, doubled, foreign and out of order.
 * Everything is plain data that shrinks; `perform` gives it its meaning in the run it meets.
 */
import type { GraphJob } from '@workflow-orchestrator/engine/definition';
import type { AttemptOutcome, Decision } from '@workflow-orchestrator/engine/machine';
import fc from 'fast-check';
import { type AbstractGraph, type AbstractJob, isFinaliser } from '../reference/evaluator.ts';
import type { GraphOptions } from './graphs.ts';
import { json } from './graphs.ts';
import { jobError, type Run } from './run.ts';

const condition = fc.constantFrom('none', 'none', 'none', 'none', 'none', 'true', 'true', 'false', 'error' as const);
const rarely = fc.constantFrom(false, false, false, true);

/** Any valid graph of one to six jobs. */
export const anyGraph: fc.Arbitrary<AbstractGraph> = fc
  .record({
    jobs: fc.array(
      fc.record({
        join: fc.constantFrom('all', 'all', 'any', 'all_done' as const),
        alwaysRun: rarely,
        allowFailure: rarely,
        recover: rarely,
        condition,
      }),
      { minLength: 1, maxLength: 6 },
    ),
    edges: fc.array(fc.record({ from: fc.nat(5), to: fc.nat(5), kind: fc.constantFrom('success', 'failure' as const) }), { maxLength: 10 }),
  })
  .map(({ jobs, edges }) => {
    const named = jobs.map((job, index): AbstractJob => ({ ...job, id: `j${index}` }));
    const wanted = edges.filter(({ from, to }) => from < to && to < jobs.length);
    const unique = new Map(wanted.map(({ from, to, kind }) => [`${from} ${to} ${kind}`, { source: from, target: to, kind }]));
    const graph = { jobs: named, edges: [...unique.values()] };
    const opens = (index: number): boolean => graph.edges.some((edge) => edge.source === index);
    // A finaliser with out-edges would wait for its own targets: the validator refuses it.
    return { ...graph, jobs: named.map((job, at) => (opens(at) && isFinaliser(graph, at) ? { ...job, alwaysRun: false } : job)) };
  });

const seconds = (most: number): fc.Arbitrary<number | null> => {
  return fc.option(
    fc.integer({ min: 1, max: most }).map((count) => count * 1000),
    { freq: 2 },
  );
};

/** Any timeouts and retries for the jobs `j0` to `j5`, and for the workflow. */
export const anyOptions: fc.Arbitrary<GraphOptions> = fc
  .record({
    timeoutMs: seconds(60),
    cleanupTimeoutMs: fc.constantFrom(1000, 20_000, 300_000),
    jobs: fc.array(
      fc.record({
        timeouts: fc.record({ queueMs: seconds(30), runMs: seconds(30), heartbeatMs: seconds(10), totalMs: seconds(60) }),
        retry: fc.record({
          maxAttempts: fc.integer({ min: 1, max: 4 }),
          extraWhenLost: fc.integer({ min: 0, max: 2 }),
          initialDelayMs: fc.constantFrom(0, 1000, 5000),
          factor: fc.constantFrom(1, 2, 10),
          maxDelayMs: fc.constantFrom(1000, 60_000),
          jitter: fc.constantFrom(0, 0.2, 1),
          on: fc.constantFrom([], [], ['BUSY']),
          notOn: fc.constantFrom([], [], ['BROKEN']),
        }),
      }),
      { minLength: 6, maxLength: 6 },
    ),
  })
  .map(({ jobs, ...options }) => {
    const settings = jobs.map(({ timeouts, retry: { extraWhenLost, ...retry } }): Partial<GraphJob> => {
      return { timeouts, retry: { ...retry, maxAttemptsWhenLost: retry.maxAttempts + extraWhenLost } };
    });
    return { ...options, jobs: Object.fromEntries(settings.map((job, index) => [`j${index}`, job])) };
  });

/** What the world does, and how often. */
const deedWeights = {
  serve: 40,
  assign: 8,
  accept: 35,
  succeed: 40,
  fail: 22,
  cancelled: 4,
  released: 3,
  reject: 4,
  lost: 6,
  beat: 8,
  reattach: 5,
  wait: 10,
  tick: 8,
  wake: 6,
  recover: 3,
  start: 5,
  submit: 1,
  pause: 2,
  resume: 6,
  cancel: 2,
  force: 1,
} as const;

/** Something that the world does. */
export interface Deed {
  readonly kind: keyof typeof deedWeights;
  /** `right`: the job at this place among those that the deed can be about; `any`: this very index, which may name no job. */
  readonly aim: 'right' | 'any';
  readonly job: number;
  readonly token: 'lease' | 'old' | 'foreign';
  readonly ms: number;
  readonly code: 'BUSY' | 'BROKEN';
}

const kinds = Object.entries(deedWeights) as [Deed['kind'], number][];

/** Any deed; most of them possible ones. */
export const anyDeed: fc.Arbitrary<Deed> = fc.record({
  kind: fc.oneof(...kinds.map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind) }))),
  aim: fc.constantFrom('right', 'right', 'right', 'right', 'any' as const),
  job: fc.oneof({ weight: 20, arbitrary: fc.nat(5) }, { weight: 1, arbitrary: fc.constantFrom(-1, 6, 1.5, Number.NaN, 2 ** 40) }),
  token: fc.constantFrom('lease', 'lease', 'lease', 'lease', 'lease', 'lease', 'old', 'foreign' as const),
  ms: fc.oneof(
    { weight: 20, arbitrary: fc.integer({ min: 0, max: 4000 }) },
    { weight: 1, arbitrary: fc.integer({ min: -5000, max: 60_000 }) },
  ),
  code: fc.constantFrom('BUSY', 'BROKEN' as const),
});

/** The job that a deed is about. */
function aimed(run: Run, { kind, aim, job }: Deed): number {
  if (aim === 'any') return job;
  const { jobs } = run.state;
  const open = [...jobs.keys()].filter((index) => jobs[index].phase === 'READY');
  const likely = open.filter((index) => (kind === 'assign' || kind === 'reattach') === (jobs[index].lease === null));
  return likely.length > 0 ? likely[Math.abs(Math.trunc(job || 0)) % likely.length] : job;
}

/** Does a deed. Null when it was nothing that the engine is asked about. */
export function perform(run: Run, deed: Deed, nextWakeAt: number | null): Decision | null {
  const { kind, ms, code } = deed;
  const job = aimed(run, deed);
  const lease = run.state.jobs[job]?.lease ?? null;
  const issued = { lease: lease?.token, old: run.oldToken(job), foreign: undefined }[deed.token];
  const token = issued ?? 'foreign';
  const attempt = lease?.attempt ?? (run.state.jobs[job]?.attempts.length ?? 0) + 1;
  const result = (outcome: AttemptOutcome): Decision => {
    return run.send({ kind: 'result', job, token, attempt, workerId: 'w1', runningMs: Math.abs(ms), outcome });
  };
  switch (kind) {
    case 'wait':
      run.now += ms;
      return null;
    case 'recover':
      run.recover();
      return null;
    case 'wake':
      if (nextWakeAt !== null) run.now = Math.max(run.now, nextWakeAt);
      return run.send({ kind: 'tick' });
    case 'submit':
      return run.submit();
    case 'start':
    case 'pause':
    case 'resume':
    case 'tick':
      return run.send({ kind });
    case 'cancel':
    case 'force':
      return run.send({ kind: 'cancel', reason: 'enough', force: kind === 'force' });
    case 'assign':
      return run.assign(job);
    case 'serve': {
      const [first] = run.ready();
      return first === undefined ? null : run.assign(first);
    }
    case 'accept':
      return run.send({ kind: 'accept', job, token });
    case 'reject':
      return run.send({ kind: 'release', job, token, reason: 'no slot' });
    case 'lost':
      return run.send({ kind: 'workerLost', job, token, message: 'the worker is gone' });
    case 'beat': {
      const checkpoint = code === 'BUSY' ? json({ at: ms }) : null;
      return run.send({ kind: 'beat', job, token, idleMs: Math.abs(ms), progress: 0.5, progressMessage: 'half', checkpoint });
    }
    case 'reattach':
      // An old token belongs to the first attempt, whichever is due by now.
      return run.send({
        kind: 'reattach',
        job,
        token,
        attempt: deed.token === 'old' ? 1 : attempt,
        workerId: 'w1',
        runningMs: Math.abs(ms),
        fencingToken: 99,
      });
    case 'succeed':
      return result({ kind: 'succeeded', output: json(ms) });
    case 'fail':
      return result({ kind: 'failed', error: jobError(code, { retryable: ms % 4 !== 0, retryAfterMs: ms % 3 === 0 ? 7000 : 0 }) });
    case 'cancelled':
    case 'released':
      return result({ kind });
    default:
      return kind satisfies never;
  }
}
