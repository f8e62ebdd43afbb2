/**
 * How an attempt ended, on its way into a Result: made to fit the limits (R43).
 */
import { create } from '@bufbuild/protobuf';
import {
  cutText,
  JobErrorSchema,
  type Payload,
  PayloadSchema,
  type Result,
  Result_CancelledSchema,
  ResultSchema,
} from '@workflow-orchestrator/proto';
import type { WorkerLimits } from './worker-limits.ts';

/** How an attempt ended. Bytes are UTF-8 JSON. */
export type Outcome =
  | { readonly kind: 'succeeded'; readonly output: Uint8Array }
  | { readonly kind: 'failed'; readonly error: Failure }
  | { readonly kind: 'cancelled' };

/** Why it failed. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  /** UTF-8 JSON, or null. */
  readonly details: Uint8Array | null;
  /** The next attempt waits at least this long; 0: as the definition says. */
  readonly retryAfterMs: number;
  readonly stack: string;
}

/** The attempt that a result is about. */
export interface ResultOrigin {
  readonly leaseToken: string;
  readonly workflowId: string;
  readonly jobId: string;
  readonly instance: number;
  readonly attempt: number;
}

/** A failure without frills. */
export function failure(code: string, message: string, retryable: boolean): Failure {
  return { code, message, retryable, details: null, retryAfterMs: 0, stack: '' };
}

/** UTF-8 JSON as a payload. */
export function jsonPayload(data: Uint8Array): Payload {
  return create(PayloadSchema, { data });
}

/** The result to send. `runningMs`: since it was accepted. */
export function resultOf(origin: ResultOrigin, outcome: Outcome, runningMs: number, limits: WorkerLimits): Result {
  const { leaseToken, workflowId, jobId, instance, attempt } = origin;
  const result = create(ResultSchema, { leaseToken, workflowId, jobId, instance, attempt });
  result.runningMs = BigInt(Math.max(0, Math.round(runningMs)));
  switch (outcome.kind) {
    case 'succeeded': {
      const { length } = outcome.output;
      if (length <= limits.outputBytes) result.outcome = { case: 'output', value: jsonPayload(outcome.output) };
      else {
        const message = `the output has ${length} bytes, more than ${limits.outputBytes}; store it elsewhere and return where`;
        result.outcome = { case: 'error', value: jobError(failure('OUTPUT_TOO_LARGE', message, false), limits) };
      }
      break;
    }
    case 'failed':
      result.outcome = { case: 'error', value: jobError(outcome.error, limits) };
      break;
    case 'cancelled':
      result.outcome = { case: 'cancelled', value: create(Result_CancelledSchema) };
      break;
    default:
      outcome satisfies never;
  }
  return result;
}

/** About how many bytes of memory and wire a result takes. */
export function resultBytes({ leaseToken, workflowId, jobId, outcome }: Result): number {
  let bytes = 64 + (leaseToken.length + workflowId.length + jobId.length) * 3;
  if (outcome.case === 'output') bytes += outcome.value.data.length;
  if (outcome.case === 'error') {
    const { code, message, stack, details } = outcome.value;
    bytes += (code.length + message.length + stack.length) * 3 + (details ? details.data.length : 0) + 32;
  }
  return bytes;
}

function jobError(error: Failure, limits: WorkerLimits) {
  const value = create(JobErrorSchema, {
    code: error.code,
    message: cutText(error.message, limits.errorMessageBytes),
    retryable: error.retryable,
    stack: cutText(error.stack, limits.errorStackBytes),
  });
  if (error.details !== null && error.details.length <= limits.errorDetailsBytes) value.details = jsonPayload(error.details);
  if (error.retryAfterMs > 0) value.retryAfterMs = BigInt(Math.round(error.retryAfterMs));
  return value;
}
