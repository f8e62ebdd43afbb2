/**
 * Commands about one attempt: assign, accept, release, beat, result, lost, reattach. Section 4 of the workflow language.
 *
 * Invariants
 * 1. Only the token of the current lease can change a job. Any other is `stale`, or `duplicate` when its result is the one on record.
 * 2. An attempt that no worker accepted leaves no trace, unless its workers were lost `LOST_OFFERS_MAX` times in a row.
 * 3. After a cancel no attempt follows another: not after a recovery either, which knows no longer who was told to stop.
 */
import type { Payload } from '../definition/graph.ts';
import { readPayload } from '../definition/payload.ts';
import type { AttemptOutcome, Command, Decision } from './command.ts';
import { Draft, ignored } from './draft.ts';
import { retryDelayMs, WORKER_LOST } from './retry.ts';
import { permanentError, settle } from './settle.ts';
import { type AttemptRecord, type EndedAttempt, hasEnded, type JobError, type JobState, type Lease, type WorkflowState } from './state.ts';
import { isToStop } from './timers.ts';

/**
 * Offers in a row whose worker is lost before it answers. The last of them counts as an attempt: a job that stops whoever takes it must not
 * go round for ever, though none of its workers lived long enough to say that it had begun.
 */
const LOST_OFFERS_MAX = 3;

type AttemptCommand = Extract<Command, { token: string }>;

/** Decides a command about one attempt. */
export function decideAttempt(state: WorkflowState, command: AttemptCommand): Decision {
  const job = state.jobs[command.job];
  if (job === undefined) return ignored('invalid', `the workflow has no job with index ${command.job}`);
  if (command.kind === 'assign') return assign(state, job, command);
  if (command.kind === 'reattach') return reattach(state, job, command);
  const { lease } = job;
  if (lease === null || lease.token !== command.token) return foreign(state, job, command);
  const draft = new Draft(state);
  const { at } = command;
  switch (command.kind) {
    case 'accept':
      if (lease.acceptedAt !== null) return ignored('duplicate', 'the attempt was accepted before');
      draft.emit({ kind: 'attemptAccepted', at, job: command.job, startedAt: at });
      break;
    case 'release':
      if (lease.acceptedAt !== null) return ignored('invalid', 'the attempt was accepted; only a result ends it');
      giveBack(draft, at, command.job, lease, command.reason, false);
      break;
    case 'beat':
      if (command.checkpoint !== null) draft.emit({ kind: 'jobCheckpointed', at, job: command.job, checkpoint: command.checkpoint });
      draft.emit({
        kind: 'attemptBeat',
        at,
        job: command.job,
        beatAt: Math.max(lease.beatAt, at - command.idleMs),
        progress: command.progress,
        progressMessage: command.progressMessage,
      });
      break;
    case 'result':
      endAttempt(draft, at, command.job, recordOf(lease, at - command.runningMs), command.outcome);
      break;
    case 'workerLost': {
      if (lease.acceptedAt === null && job.lostOffers + 1 < LOST_OFFERS_MAX) giveBack(draft, at, command.job, lease, command.message, true);
      else {
        const error = { ...permanentError(WORKER_LOST, command.message), retryable: true };
        endAttempt(
          draft,
          at,
          command.job,
          recordOf(lease, at),
          lease.cancelAt === null ? { kind: 'failed', error } : { kind: 'cancelled' },
        );
      }
      break;
    }
    default:
      command satisfies never;
  }
  return draft.decision();
}

/** Who tried. `startedAt` counts where the accept was lost on its way. */
export function recordOf(lease: Lease, startedAt: number): AttemptRecord {
  return { number: lease.attempt, token: lease.token, workerId: lease.workerId, startMs: lease.acceptedAt ?? startedAt };
}

/** A token that is not the lease's: on record, of an ended workflow, or of an attempt that lost its lease. */
function foreign(state: WorkflowState, job: JobState, command: AttemptCommand): Decision {
  const recorded = job.attempts.find((attempt) => attempt.token === command.token);
  if (command.kind === 'result' && recorded !== undefined && isOnRecord(recorded, command.outcome)) {
    return ignored('duplicate', 'this result was recorded before');
  }
  // Its attempt ended otherwise, and another one counts: that is so whether or not the workflow has ended since.
  if (recorded !== undefined) return ignored('stale', 'the attempt lost the lease of its job');
  if (hasEnded(state.status)) return ignored('ended', `the workflow has ended: ${state.status}`);
  return ignored('stale', 'the attempt no longer holds the lease of its job');
}

/** Whether `outcome` is the one that ended the attempt, in the form that `endAttempt` gave it. */
function isOnRecord({ outcome: recorded, error }: EndedAttempt, outcome: AttemptOutcome): boolean {
  switch (outcome.kind) {
    case 'succeeded':
      return recorded === 'SUCCEEDED' || error?.code === 'OUTPUT_SCHEMA';
    case 'failed':
      return recorded === 'FAILED' && error?.code === outcome.error.code;
    case 'cancelled':
      return recorded === 'CANCELLED' || error?.code === 'CANCELLED';
    case 'released':
      return false;
    default:
      return outcome satisfies never;
  }
}

function assign(state: WorkflowState, job: JobState, command: Extract<Command, { kind: 'assign' }>): Decision {
  if (hasEnded(state.status)) return ignored('ended', `the workflow has ended: ${state.status}`);
  if (state.status !== 'RUNNING') return ignored('invalid', `nothing is dispatched while the workflow is ${state.status}`);
  if (job.phase !== 'READY' || job.lease !== null) return ignored('invalid', 'the job does not wait for a worker');
  if (isToStop(state, command.job)) return ignored('invalid', 'the workflow is on its way to its end');
  if (job.notBefore > command.at) return ignored('invalid', `the next attempt may not start for ${job.notBefore - command.at} ms`);
  const draft = new Draft(state);
  draft.emit({
    kind: 'attemptAssigned',
    at: command.at,
    job: command.job,
    token: command.token,
    workerId: command.workerId,
    attempt: job.attempts.length + 1,
    fencingToken: command.fencingToken,
  });
  return draft.decision();
}

function reattach(state: WorkflowState, job: JobState, command: Extract<Command, { kind: 'reattach' }>): Decision {
  if (hasEnded(state.status)) return ignored('ended', `the workflow has ended: ${state.status}`);
  if (job.lease?.token === command.token) return ignored('duplicate', 'the attempt holds its lease');
  const onRecord = job.attempts.some((ended) => ended.token === command.token);
  if (job.phase !== 'READY' || job.lease !== null || onRecord || command.attempt !== job.attempts.length + 1) {
    return ignored('stale', 'another attempt counts');
  }
  const { at, job: index, token, workerId, attempt, fencingToken } = command;
  const draft = new Draft(state);
  draft.emit({ kind: 'attemptAssigned', at, job: index, token, workerId, attempt, fencingToken });
  draft.emit({ kind: 'attemptAccepted', at, job: index, startedAt: at - command.runningMs });
  if (isToStop(state, index)) draft.emit({ kind: 'attemptCancelSent', at, job: index, token, reason: state.cancelReason });
  return draft.decision();
}

/** Takes an attempt back that did nothing. A job that was told to stop has its wish. */
function giveBack(draft: Draft, at: number, index: number, lease: Lease, reason: string, workerLost: boolean): void {
  if (lease.cancelAt === null) draft.emit({ kind: 'attemptReleased', at, job: index, reason, workerLost });
  else {
    draft.emit({ kind: 'jobCancelled', at, job: index, attempt: null });
    settle(draft, at, [index]);
  }
}

/** Ends the attempt `record` and decides what follows. */
export function endAttempt(draft: Draft, at: number, index: number, record: AttemptRecord, outcome: AttemptOutcome): void {
  const { state } = draft;
  const lease = state.jobs[index]!.lease;
  const toldToStop = lease !== null && lease.cancelAt !== null;
  switch (outcome.kind) {
    case 'released':
      if (lease !== null) giveBack(draft, at, index, lease, 'given back by the worker', false);
      return;
    case 'succeeded': {
      const misfit = misfitOf(state, index, outcome.output);
      if (misfit !== null) {
        failAttempt(draft, at, index, record, permanentError('OUTPUT_SCHEMA', misfit), toldToStop);
        return;
      }
      draft.emit({ kind: 'jobSucceeded', at, job: index, attempt: record, output: outcome.output });
      break;
    }
    case 'cancelled':
      if (!toldToStop) {
        const error = { ...permanentError('CANCELLED', 'the handler stopped although nobody asked it to'), retryable: true };
        failAttempt(draft, at, index, record, error, toldToStop);
        return;
      }
      draft.emit({ kind: 'jobCancelled', at, job: index, attempt: record });
      break;
    case 'failed':
      failAttempt(draft, at, index, record, outcome.error, toldToStop);
      return;
    default:
      outcome satisfies never;
  }
  settle(draft, at, [index]);
}

function failAttempt(draft: Draft, at: number, index: number, attempt: AttemptRecord, error: JobError, toldToStop: boolean): void {
  const delayMs = toldToStop ? null : retryDelayMs(draft.state.id, draft.state.graph.jobs[index]!, attempt.number, error);
  if (delayMs !== null) {
    draft.emit({ kind: 'jobRetryScheduled', at, job: index, attempt, error, nextAttemptAt: at + delayMs });
    return;
  }
  draft.emit({ kind: 'jobFailed', at, job: index, attempt, error });
  settle(draft, at, [index]);
}

/** What does not fit the job's `outputs_schema`; null when all does. */
function misfitOf(state: WorkflowState, index: number, output: Payload): string | null {
  const { checkOutput } = state.graph.jobs[index]!;
  return checkOutput === null ? null : checkOutput(readPayload(output));
}
