/**
 * Entries of the journal written straight as protobuf (`JournalRecord`), without messages in between: a commit is on the way of every job, and this is a fifth of what
 * messages cost. Reading goes through the messages (`codec.ts`), as do watchers; a property holds both to each other.
 *
 * Invariants
 * 1. Whoever decodes what is written here gets the message that `toMessage` makes of the same event.
 * 2. Field numbers are those of `proto/workflow/v1/event.proto` and `journal.proto`; the compiler keeps the kinds complete.
 */
import type { Payload } from '@workflow-orchestrator/engine/definition';
import type { AttemptRecord, DurableEvent, JobError } from '@workflow-orchestrator/engine/machine';
import { Job_SkipReason, Workflow_Status } from '@workflow-orchestrator/proto';
import type { JournalEntry } from './store.ts';
import { WireWriter } from './wire-writer.ts';

/** Puts a value apart, and gives the hash that stands for it; null: it stays where it is. */
export type PutApart = (data: Uint8Array) => Uint8Array | null;

/** One for all: what is written is copied out, and nothing in between waits. */
const wire = new WireWriter();

/** The bytes of a `JournalRecord` with these entries. */
export function writeEntries(entries: readonly JournalEntry[], putApart: PutApart): Uint8Array<ArrayBuffer> {
  try {
    for (const { workflowId, firstEventSeq, events } of entries) {
      const entry = wire.open(1);
      wire.text(1, workflowId);
      wire.number(2, firstEventSeq);
      for (const event of events) {
        const message = wire.open(3);
        writeEvent(event, putApart);
        wire.shut(message);
      }
      wire.shut(entry);
    }
    return wire.bytes();
  } finally {
    // At the end: what a large one took is given back at once, also when something in it could not be written.
    wire.clear();
  }
}

function writeEvent(event: DurableEvent, putApart: PutApart): void {
  const time = wire.open(2);
  const seconds = Math.floor(event.at / 1_000);
  wire.number(1, seconds);
  wire.number(2, (event.at - seconds * 1_000) * 1_000_000);
  wire.shut(time);
  const kind = wire.open(KINDS[event.kind]);
  writeKind(event, putApart);
  wire.shut(kind);
}

/** The number of each kind in `WorkflowEvent`. */
const KINDS: Readonly<Record<DurableEvent['kind'], number>> = {
  submitted: 10,
  started: 11,
  paused: 12,
  resumed: 13,
  cancelRequested: 14,
  timedOut: 15,
  ended: 16,
  jobReady: 20,
  jobSkipped: 21,
  jobRetryScheduled: 22,
  jobSucceeded: 23,
  jobFailed: 24,
  jobCancelled: 25,
  jobCheckpointed: 26,
};

function writeKind(event: DurableEvent, putApart: PutApart): void {
  switch (event.kind) {
    case 'submitted':
      wire.text(1, event.workflowId);
      wire.text(2, event.graph.hash);
      writePayload(3, event.inputs, putApart);
      for (const key in event.labels) {
        const label = wire.open(4);
        wire.text(1, key);
        wire.text(2, event.labels[key]!);
        wire.shut(label);
      }
      wire.text(5, event.idempotencyKey);
      wire.text(6, event.requestHash);
      return;
    case 'started':
    case 'paused':
    case 'resumed':
      return;
    case 'cancelRequested':
      wire.text(1, event.reason);
      wire.number(2, event.force ? 1 : 0);
      return;
    case 'timedOut':
      wire.text(1, event.limit);
      return;
    case 'ended':
      wire.number(1, Workflow_Status[event.status]);
      if (event.outputs !== null) writePayload(2, event.outputs, putApart);
      if (event.error !== null) writeError(3, event.error, putApart);
      wire.number(4, event.errorJob === null ? 0 : event.errorJob + 1);
      return;
    case 'jobReady':
      wire.number(1, event.job);
      if (event.parameters !== null) writePayload(2, event.parameters, putApart);
      wire.numbers(3, event.inputJobs);
      return;
    case 'jobSkipped':
      wire.number(1, event.job);
      wire.number(2, Job_SkipReason[event.reason]);
      wire.numbers(3, event.causes);
      return;
    case 'jobRetryScheduled':
      wire.number(1, event.job);
      writeAttempt(event.attempt);
      writeError(3, event.error, putApart);
      wire.number(4, event.nextAttemptAt);
      return;
    case 'jobSucceeded':
      wire.number(1, event.job);
      writeAttempt(event.attempt);
      writePayload(3, event.output, putApart);
      return;
    case 'jobFailed':
      wire.number(1, event.job);
      if (event.attempt !== null) writeAttempt(event.attempt);
      writeError(3, event.error, putApart);
      return;
    case 'jobCancelled':
      wire.number(1, event.job);
      if (event.attempt !== null) writeAttempt(event.attempt);
      return;
    case 'jobCheckpointed':
      wire.number(1, event.job);
      writePayload(2, event.checkpoint, putApart);
      return;
    default:
      event satisfies never;
  }
}

function writeAttempt({ number, workerId, startMs, token }: AttemptRecord): void {
  const attempt = wire.open(2);
  wire.number(1, number);
  wire.text(2, workerId);
  wire.number(3, Math.round(startMs));
  wire.text(4, token);
  wire.shut(attempt);
}

function writeError(field: number, error: JobError, putApart: PutApart): void {
  const message = wire.open(field);
  wire.text(1, error.code);
  wire.text(2, error.message);
  wire.number(3, error.retryable ? 1 : 0);
  if (error.details !== null) writePayload(4, error.details, putApart);
  wire.number(5, Math.round(error.retryAfterMs));
  wire.text(6, error.stack);
  wire.shut(message);
}

function writePayload(field: number, { encoding, data }: Payload, putApart: PutApart): void {
  const payload = wire.open(field);
  // The encoding that everybody uses costs no bytes.
  if (encoding !== 'json') wire.text(1, encoding);
  const hash = putApart(data);
  if (hash === null) wire.blob(2, data);
  else wire.blob(4, hash);
  wire.shut(payload);
}
