/**
 * Hand-written checks of what workers send in bulk, where a general validator would cost more than the work itself.
 * What can be put right is (R43); what cannot is named.
 */
import { create } from '@bufbuild/protobuf';
import {
  cutText,
  type JobError,
  JobErrorSchema,
  type LeaseBeat,
  type LogLine,
  type Payload,
  type Result,
} from '@workflow-orchestrator/proto';
import type { StreamLimits } from './limits.ts';

/** Why an entry was left out, or null when it is right. It may have been changed to fit the limits. */
export type Complaint = string | null;

/** Whether a token can be one of ours. */
export function isToken(token: string, limits: StreamLimits): boolean {
  return token.length > 0 && token.length <= limits.leaseTokenLength;
}

/** Checks a result and makes it fit: see R43. */
export function checkResult(result: Result, limits: StreamLimits): Complaint {
  if (!isToken(result.leaseToken, limits)) return `results: lease_token must have 1 to ${limits.leaseTokenLength} characters`;
  if (!isName(result.workflowId, limits)) return `results: workflow_id must have 1 to ${limits.nameLength} characters`;
  if (!isName(result.jobId, limits)) return `results: job_id must have 1 to ${limits.nameLength} characters`;
  if (result.attempt < 1) return 'results: attempt must be 1 or more';
  const { outcome } = result;
  switch (outcome.case) {
    case 'output': {
      const problem = payloadProblem(outcome.value, limits.outputBytes);
      if (problem !== null) result.outcome = { case: 'error', value: error('OUTPUT_TOO_LARGE', `the output ${problem}`) };
      return null;
    }
    case 'error':
      fitError(outcome.value, limits);
      return null;
    case 'cancelled':
    case 'released':
      return null;
    case undefined:
      result.outcome = { case: 'error', value: error('BAD_RESULT', 'the worker sent a result without an outcome') };
      return null;
    default:
      return outcome satisfies never;
  }
}

/** Checks the beat of one lease. */
export function checkBeat(beat: LeaseBeat, limits: StreamLimits): Complaint {
  if (!isToken(beat.leaseToken, limits)) return `heartbeat: lease_token must have 1 to ${limits.leaseTokenLength} characters`;
  if (beat.progress !== undefined) {
    if (Number.isNaN(beat.progress)) delete beat.progress;
    else beat.progress = Math.min(1, Math.max(0, beat.progress));
  }
  beat.progressMessage = cutText(beat.progressMessage, limits.reasonBytes);
  if (beat.checkpoint) {
    const problem = payloadProblem(beat.checkpoint, limits.checkpointBytes);
    if (problem !== null) {
      delete beat.checkpoint;
      return `heartbeat: the checkpoint of ${beat.leaseToken} ${problem}; it was not stored`;
    }
  }
  return null;
}

/** Checks a log line. */
export function checkLine(line: LogLine, limits: StreamLimits): Complaint {
  if (!isToken(line.leaseToken, limits)) return `log_lines: lease_token must have 1 to ${limits.leaseTokenLength} characters`;
  if (!isName(line.workflowId, limits) || !isName(line.jobId, limits)) return 'log_lines: workflow_id and job_id must be set';
  line.message = cutText(line.message, limits.logLineBytes);
  return null;
}

function isName(name: string, limits: StreamLimits): boolean {
  return name.length > 0 && name.length <= limits.nameLength;
}

function payloadProblem(payload: Payload, mostBytes: number): string | null {
  if (payload.data.length > mostBytes) return `has ${payload.data.length} bytes, more than ${mostBytes}`;
  if (payload.encoding.length > 64) return 'names an encoding of more than 64 characters';
  return null;
}

function fitError(jobError: JobError, limits: StreamLimits): void {
  jobError.code = jobError.code === '' ? 'HANDLER_ERROR' : jobError.code.slice(0, limits.nameLength);
  jobError.message = cutText(jobError.message, limits.errorMessageBytes);
  jobError.stack = cutText(jobError.stack, limits.errorStackBytes);
  if (jobError.details && payloadProblem(jobError.details, limits.errorDetailsBytes) !== null) delete jobError.details;
  if (jobError.retryAfterMs < 0n) jobError.retryAfterMs = 0n;
}

function error(code: string, message: string): JobError {
  return create(JobErrorSchema, { code, message, retryable: false });
}
