/**
 * Events of the engine as messages of the contract, and back: the form in which they are written and in which watchers are sent them.
 *
 * Invariant: `fromMessage(toMessage(event)) = event` for every durable event, field for field.
 */
import { create } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import type { Graph, Payload } from '@workflow-orchestrator/engine/definition';
import {
  type AttemptRecord,
  type DurableEvent,
  type JobError,
  JournalDamaged,
  type SkipReason,
} from '@workflow-orchestrator/engine/machine';
import {
  type AttemptRecord as AttemptRecordMessage,
  AttemptRecordSchema,
  Job_SkipReason,
  JobCancelledSchema,
  JobCheckpointedSchema,
  type JobError as JobErrorMessage,
  JobErrorSchema,
  JobFailedSchema,
  JobReadySchema,
  JobRetryScheduledSchema,
  JobSkippedSchema,
  JobSucceededSchema,
  type Payload as PayloadMessage,
  PayloadSchema,
  Workflow_Status,
  WorkflowCancelRequestedSchema,
  WorkflowEndedSchema,
  type WorkflowEvent,
  WorkflowEventSchema,
  WorkflowPausedSchema,
  WorkflowResumedSchema,
  WorkflowStartedSchema,
  WorkflowSubmittedSchema,
  WorkflowTimedOutSchema,
} from '@workflow-orchestrator/proto';

/** A payload as message. */
export function payloadMessage(payload: Payload): PayloadMessage {
  return create(PayloadSchema, { encoding: payload.encoding === 'json' ? '' : payload.encoding, data: payload.data });
}

/** A payload from its message; null when it was not set. */
export function payloadFrom(message: PayloadMessage | undefined): Payload | null {
  return message === undefined ? null : { encoding: message.encoding === '' ? 'json' : message.encoding, data: message.data };
}

/** The message of event number `seq`. */
export function toMessage(event: DurableEvent, seq: number): WorkflowEvent {
  return create(WorkflowEventSchema, { seq: BigInt(seq), time: timestampFromMs(event.at), kind: kindOf(event) });
}

function kindOf(event: DurableEvent): WorkflowEvent['kind'] {
  switch (event.kind) {
    case 'submitted': {
      const { workflowId, labels, idempotencyKey, requestHash } = event;
      const value = {
        workflowId,
        definitionHash: event.graph.hash,
        inputs: payloadMessage(event.inputs),
        labels,
        idempotencyKey,
        requestHash,
      };
      return { case: 'submitted', value: create(WorkflowSubmittedSchema, value) };
    }
    case 'started':
      return { case: 'started', value: create(WorkflowStartedSchema) };
    case 'paused':
      return { case: 'paused', value: create(WorkflowPausedSchema) };
    case 'resumed':
      return { case: 'resumed', value: create(WorkflowResumedSchema) };
    case 'cancelRequested':
      return { case: 'cancelRequested', value: create(WorkflowCancelRequestedSchema, { reason: event.reason, force: event.force }) };
    case 'timedOut':
      return { case: 'timedOut', value: create(WorkflowTimedOutSchema, { limit: event.limit }) };
    case 'ended': {
      const { outputs, error } = event;
      return {
        case: 'ended',
        value: create(WorkflowEndedSchema, {
          status: Workflow_Status[event.status],
          errorJobPlusOne: event.errorJob === null ? 0 : event.errorJob + 1,
          ...(outputs === null ? {} : { outputs: payloadMessage(outputs) }),
          ...(error === null ? {} : { error: errorMessage(error) }),
        }),
      };
    }
    case 'jobReady': {
      const parameters = event.parameters === null ? {} : { parameters: payloadMessage(event.parameters) };
      return { case: 'jobReady', value: create(JobReadySchema, { jobIndex: event.job, inputJobs: [...event.inputJobs], ...parameters }) };
    }
    case 'jobSkipped':
      return {
        case: 'jobSkipped',
        value: create(JobSkippedSchema, { jobIndex: event.job, reason: Job_SkipReason[event.reason], causes: [...event.causes] }),
      };
    case 'jobRetryScheduled': {
      const value = {
        jobIndex: event.job,
        attempt: attemptMessage(event.attempt),
        error: errorMessage(event.error),
        nextAttemptMs: BigInt(event.nextAttemptAt),
      };
      return { case: 'jobRetryScheduled', value: create(JobRetryScheduledSchema, value) };
    }
    case 'jobSucceeded':
      return {
        case: 'jobSucceeded',
        value: create(JobSucceededSchema, {
          jobIndex: event.job,
          attempt: attemptMessage(event.attempt),
          output: payloadMessage(event.output),
        }),
      };
    case 'jobFailed': {
      const attempt = event.attempt === null ? {} : { attempt: attemptMessage(event.attempt) };
      return { case: 'jobFailed', value: create(JobFailedSchema, { jobIndex: event.job, error: errorMessage(event.error), ...attempt }) };
    }
    case 'jobCancelled': {
      const attempt = event.attempt === null ? {} : { attempt: attemptMessage(event.attempt) };
      return { case: 'jobCancelled', value: create(JobCancelledSchema, { jobIndex: event.job, ...attempt }) };
    }
    case 'jobCheckpointed':
      return {
        case: 'jobCheckpointed',
        value: create(JobCheckpointedSchema, { jobIndex: event.job, checkpoint: payloadMessage(event.checkpoint) }),
      };
    default:
      return event satisfies never;
  }
}

/** The payloads of an event's message, to look at and to change. */
export function payloadsOf({ kind }: WorkflowEvent): PayloadMessage[] {
  switch (kind.case) {
    case 'submitted':
      return present(kind.value.inputs);
    case 'ended':
      return present(kind.value.outputs, kind.value.error?.details);
    case 'jobReady':
      return present(kind.value.parameters);
    case 'jobSucceeded':
      return present(kind.value.output);
    case 'jobCheckpointed':
      return present(kind.value.checkpoint);
    case 'jobFailed':
    case 'jobRetryScheduled':
      return present(kind.value.error?.details);
    default:
      return [];
  }
}

function present(...payloads: (PayloadMessage | undefined)[]): PayloadMessage[] {
  return payloads.filter((payload) => payload !== undefined);
}

function attemptMessage(attempt: AttemptRecord): AttemptRecordMessage {
  const { number, workerId, startMs, token } = attempt;
  return create(AttemptRecordSchema, { number, workerId, startMs: BigInt(Math.round(startMs)), leaseToken: token });
}

/** An error of a job as message. */
export function errorMessage(error: JobError): JobErrorMessage {
  const { code, message, retryable, retryAfterMs, stack } = error;
  const details = error.details === null ? {} : { details: payloadMessage(error.details) };
  return create(JobErrorSchema, { code, message, retryable, retryAfterMs: BigInt(Math.round(retryAfterMs)), stack, ...details });
}

/**
 * The event of a message. `graph` finds the definition that a `submitted` names.
 * Throws `JournalDamaged` on a message that no version of this code wrote: a journal that says nothing is not to be guessed at.
 */
export function fromMessage(message: WorkflowEvent, graph: (hash: string) => Graph): DurableEvent {
  const at = message.time === undefined ? 0 : timestampMs(message.time);
  const { kind } = message;
  switch (kind.case) {
    case 'submitted': {
      const { workflowId, definitionHash, inputs, labels, idempotencyKey, requestHash } = kind.value;
      return {
        kind: 'submitted',
        at,
        workflowId,
        graph: graph(definitionHash),
        inputs: required(inputs),
        labels,
        idempotencyKey,
        requestHash,
      };
    }
    case 'started':
    case 'paused':
    case 'resumed':
      return { kind: kind.case, at };
    case 'cancelRequested':
      return { kind: 'cancelRequested', at, reason: kind.value.reason, force: kind.value.force };
    case 'timedOut':
      return { kind: 'timedOut', at, limit: kind.value.limit === 'timeout' ? 'timeout' : 'cleanup_timeout' };
    case 'ended': {
      const { status, outputs, error, errorJobPlusOne } = kind.value;
      return {
        kind: 'ended',
        at,
        status: endStatus(status),
        outputs: payloadFrom(outputs),
        error: error === undefined ? null : errorFrom(error),
        errorJob: errorJobPlusOne === 0 ? null : errorJobPlusOne - 1,
      };
    }
    case 'jobReady':
      return {
        kind: 'jobReady',
        at,
        job: kind.value.jobIndex,
        parameters: payloadFrom(kind.value.parameters),
        inputJobs: kind.value.inputJobs,
      };
    case 'jobSkipped':
      return { kind: 'jobSkipped', at, job: kind.value.jobIndex, reason: skipReason(kind.value.reason), causes: kind.value.causes };
    case 'jobRetryScheduled': {
      const { jobIndex, attempt, error, nextAttemptMs } = kind.value;
      return {
        kind: 'jobRetryScheduled',
        at,
        job: jobIndex,
        attempt: attemptFrom(attempt),
        error: errorFrom(error),
        nextAttemptAt: Number(nextAttemptMs),
      };
    }
    case 'jobSucceeded': {
      const { jobIndex, attempt, output } = kind.value;
      return { kind: 'jobSucceeded', at, job: jobIndex, attempt: attemptFrom(attempt), output: required(output) };
    }
    case 'jobFailed': {
      const { jobIndex, attempt, error } = kind.value;
      return {
        kind: 'jobFailed',
        at,
        job: jobIndex,
        attempt: attempt === undefined ? null : attemptFrom(attempt),
        error: errorFrom(error),
      };
    }
    case 'jobCancelled': {
      const { jobIndex, attempt } = kind.value;
      return { kind: 'jobCancelled', at, job: jobIndex, attempt: attempt === undefined ? null : attemptFrom(attempt) };
    }
    case 'jobCheckpointed':
      return { kind: 'jobCheckpointed', at, job: kind.value.jobIndex, checkpoint: required(kind.value.checkpoint) };
    case undefined:
      throw new JournalDamaged(`event ${message.seq} says nothing: it was written by a newer version, or damaged`);
    default:
      return kind satisfies never;
  }
}

function required(payload: PayloadMessage | undefined): Payload {
  return payloadFrom(payload) ?? { encoding: 'json', data: new Uint8Array() };
}

function attemptFrom(message: AttemptRecordMessage | undefined): AttemptRecord {
  if (message === undefined) return { number: 0, token: '', workerId: '', startMs: 0 };
  return { number: message.number, token: message.leaseToken, workerId: message.workerId, startMs: Number(message.startMs) };
}

function errorFrom(message: JobErrorMessage | undefined): JobError {
  return {
    code: message?.code ?? '',
    message: message?.message ?? '',
    retryable: message?.retryable ?? false,
    details: payloadFrom(message?.details),
    retryAfterMs: Number(message?.retryAfterMs ?? 0n),
    stack: message?.stack ?? '',
  };
}

function endStatus(status: Workflow_Status): 'SUCCEEDED' | 'FAILED' | 'CANCELLED' {
  switch (status) {
    case Workflow_Status.SUCCEEDED:
      return 'SUCCEEDED';
    case Workflow_Status.FAILED:
      return 'FAILED';
    case Workflow_Status.CANCELLED:
      return 'CANCELLED';
    default:
      throw new JournalDamaged(`a workflow cannot have ended with status ${status}: the event was written by a newer version, or damaged`);
  }
}

function skipReason(reason: Job_SkipReason): SkipReason {
  switch (reason) {
    case Job_SkipReason.CONDITION_FALSE:
      return 'CONDITION_FALSE';
    case Job_SkipReason.BRANCH_NOT_TAKEN:
      return 'BRANCH_NOT_TAKEN';
    case Job_SkipReason.UPSTREAM_FAILED:
      return 'UPSTREAM_FAILED';
    case Job_SkipReason.UPSTREAM_SKIPPED:
      return 'UPSTREAM_SKIPPED';
    default:
      throw new JournalDamaged(`no skip reason ${reason}: the event was written by a newer version, or damaged`);
  }
}
