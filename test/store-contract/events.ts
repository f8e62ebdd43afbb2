/** Durable events for stores to keep: one of each kind, and any. */
import { compile, type Graph, type Payload } from '@workflow-orchestrator/engine/definition';
import type { AttemptRecord, DurableEvent, JobError } from '@workflow-orchestrator/engine/machine';
import { limits } from '@workflow-orchestrator/proto/limits';
import fc from 'fast-check';
import type { JournalBatch, StoredDefinition } from '../../coordinator/store/store.ts';

/** A definition as it is kept, and the graph that it compiles to. */
export interface KnownDefinition {
  readonly stored: StoredDefinition;
  readonly graph: Graph;
}

/** A definition of this name. */
export function definitionOf(name: string, registeredAt = 1_800_000_000_000): KnownDefinition {
  const yaml = `workflow:\n  name: ${name}\n  description: "ümlauts and 漢字"\n  jobs:\n    - { id: a, type: work, on_success: b }\n    - { id: b, type: work }\n`;
  const compiled = compile(yaml);
  if (compiled.kind === 'bad') throw new Error(compiled.problems[0].message);
  return { stored: { hash: compiled.graph.hash, name, yaml, registeredAt }, graph: compiled.graph };
}

const payload: Payload = { encoding: 'json', data: new TextEncoder().encode('{"rows":[1,2,3],"text":"ü"}') };
const attempt: AttemptRecord = { number: 2, token: '1.7.abc', workerId: 'w1', startMs: 1_800_000_000_123 };
const never: AttemptRecord = { number: 1, token: '', workerId: '', startMs: 0 };
const error: JobError = { code: 'BUSY', message: 'later\nplease', retryable: true, details: payload, retryAfterMs: 1_500, stack: 'at x' };
const bare: JobError = { code: 'BROKEN', message: '', retryable: false, details: null, retryAfterMs: 0, stack: '' };

/** One event of each kind, in each of its shapes. The kinds are complete: the compiler says so. */
export function eventsOfEachKind(graph: Graph, workflowId: string): DurableEvent[] {
  const at = 1_800_000_000_456;
  const empty: Payload = { encoding: 'json', data: new Uint8Array() };
  const submitted = { kind: 'submitted', at, workflowId, graph, inputs: payload } as const;
  const shapes: { readonly [K in DurableEvent['kind']]: readonly Extract<DurableEvent, { kind: K }>[] } = {
    submitted: [
      { ...submitted, labels: { team: 'blue', 'über-key': '' }, idempotencyKey: 'order 1', requestHash: 'ff00' },
      { ...submitted, inputs: empty, labels: {}, idempotencyKey: '', requestHash: '' },
    ],
    started: [{ kind: 'started', at }],
    paused: [{ kind: 'paused', at }],
    resumed: [{ kind: 'resumed', at }],
    cancelRequested: [
      { kind: 'cancelRequested', at, reason: 'enough', force: false },
      { kind: 'cancelRequested', at, reason: '', force: true },
    ],
    timedOut: [
      { kind: 'timedOut', at, limit: 'timeout' },
      { kind: 'timedOut', at, limit: 'cleanup_timeout' },
    ],
    ended: [
      { kind: 'ended', at, status: 'SUCCEEDED', outputs: payload, error: null, errorJob: null },
      { kind: 'ended', at, status: 'FAILED', outputs: null, error, errorJob: 0 },
      { kind: 'ended', at, status: 'CANCELLED', outputs: null, error: bare, errorJob: null },
    ],
    jobReady: [
      { kind: 'jobReady', at, job: 0, parameters: null, inputJobs: [] },
      { kind: 'jobReady', at, job: 1, parameters: payload, inputJobs: [0] },
    ],
    jobSkipped: [
      { kind: 'jobSkipped', at, job: 1, reason: 'CONDITION_FALSE', causes: [] },
      { kind: 'jobSkipped', at, job: 1, reason: 'BRANCH_NOT_TAKEN', causes: [] },
      { kind: 'jobSkipped', at, job: 1, reason: 'UPSTREAM_FAILED', causes: [0, 3] },
      { kind: 'jobSkipped', at, job: 1, reason: 'UPSTREAM_SKIPPED', causes: [] },
    ],
    jobRetryScheduled: [{ kind: 'jobRetryScheduled', at, job: 0, attempt, error, nextAttemptAt: at + 1_500 }],
    jobSucceeded: [
      { kind: 'jobSucceeded', at, job: 0, attempt, output: payload },
      { kind: 'jobSucceeded', at, job: 1, attempt: never, output: { encoding: 'x-arrow', data: new Uint8Array([0, 255, 128]) } },
    ],
    jobFailed: [
      { kind: 'jobFailed', at, job: 0, attempt, error },
      { kind: 'jobFailed', at, job: 0, attempt: null, error: bare },
    ],
    jobCancelled: [
      { kind: 'jobCancelled', at, job: 0, attempt },
      { kind: 'jobCancelled', at, job: 0, attempt: null },
    ],
    jobCheckpointed: [{ kind: 'jobCheckpointed', at, job: 0, checkpoint: payload }],
  };
  return Object.values(shapes).flat();
}

const anyText = fc.string({ unit: 'binary', maxLength: 12 });
const anyTime = fc.integer({ min: 0, max: 4_102_444_800_000 });
const anyPayload: fc.Arbitrary<Payload> = fc.record({
  encoding: fc.oneof(fc.constant('json'), fc.string({ unit: 'binary', minLength: 1, maxLength: 8 })),
  data: fc.uint8Array({ maxLength: 40 }),
});
const anyPayloadOrNone = fc.option(anyPayload);
const anyJob = fc.nat(limits.jobs);
const anyAttempt: fc.Arbitrary<AttemptRecord> = fc.record({
  number: fc.integer({ min: 1, max: 40 }),
  token: anyText,
  workerId: anyText,
  startMs: anyTime,
});
const anyError: fc.Arbitrary<JobError> = fc.record({
  code: anyText,
  message: anyText,
  retryable: fc.boolean(),
  details: anyPayloadOrNone,
  retryAfterMs: fc.nat(limits.durationMs),
  stack: anyText,
});

/** Any durable event. */
export function anyEvent(graphs: readonly Graph[]): fc.Arbitrary<DurableEvent> {
  const of = <K extends DurableEvent['kind']>(kind: K, fields: object): fc.Arbitrary<DurableEvent> =>
    fc.record({ kind: fc.constant(kind), at: anyTime, ...fields }) as fc.Arbitrary<DurableEvent>;
  return fc.oneof(
    of('submitted', {
      workflowId: anyText,
      graph: fc.constantFrom(...graphs),
      inputs: anyPayload,
      labels: fc.dictionary(
        anyText.filter((key) => key !== '__proto__'),
        anyText,
        { maxKeys: 4, noNullPrototype: true },
      ),
      idempotencyKey: anyText,
      requestHash: anyText,
    }),
    of('started', {}),
    of('paused', {}),
    of('resumed', {}),
    of('cancelRequested', { reason: anyText, force: fc.boolean() }),
    of('timedOut', { limit: fc.constantFrom('timeout', 'cleanup_timeout') }),
    of('ended', {
      status: fc.constantFrom('SUCCEEDED', 'FAILED', 'CANCELLED'),
      outputs: anyPayloadOrNone,
      error: fc.option(anyError),
      errorJob: fc.option(anyJob),
    }),
    of('jobReady', { job: anyJob, parameters: anyPayloadOrNone, inputJobs: fc.array(anyJob) }),
    of('jobSkipped', {
      job: anyJob,
      reason: fc.constantFrom('CONDITION_FALSE', 'BRANCH_NOT_TAKEN', 'UPSTREAM_FAILED', 'UPSTREAM_SKIPPED'),
      causes: fc.array(anyJob),
    }),
    of('jobRetryScheduled', { job: anyJob, attempt: anyAttempt, error: anyError, nextAttemptAt: anyTime }),
    of('jobSucceeded', { job: anyJob, attempt: anyAttempt, output: anyPayload }),
    of('jobFailed', { job: anyJob, attempt: fc.option(anyAttempt), error: anyError }),
    of('jobCancelled', { job: anyJob, attempt: fc.option(anyAttempt) }),
    of('jobCheckpointed', { job: anyJob, checkpoint: anyPayload }),
  );
}

/** Batches as they are told apart: a graph by its hash, for its closures are made anew by each reader. */
export function plain(batches: readonly JournalBatch[]): unknown[] {
  return batches.map(({ entries, ...batch }) => ({
    ...batch,
    entries: entries.map(({ events, ...entry }) => ({ ...entry, events: events.map(plainEvent) })),
  }));
}

/** An event as it is told apart. */
export function plainEvent(event: DurableEvent): unknown {
  const shown = { ...event } as Record<string, unknown>;
  if (event.kind === 'submitted') shown.graph = event.graph.hash;
  // Bytes are the same whatever memory they lie in.
  return JSON.parse(JSON.stringify(shown, (_, value) => (value instanceof Uint8Array ? Array.from(value) : value)));
}
