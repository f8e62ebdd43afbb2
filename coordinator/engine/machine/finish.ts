/**
 * How a workflow ends: a transcription of section 3 of the workflow language.
 *
 * Invariants
 * 1. FAILED when some job FAILED without `allow_failure` and was not recovered: a handler reports, it does not hide.
 * 2. CANCELLED when a cancel was accepted and nothing had failed before it; a timeout is FAILED with the code TIMEOUT.
 * 3. What happens after a cancel or timeout (failing clean-up, late failures) does not change which of these it is.
 */
import type { JobError, WorkflowState } from './state.ts';

/** How a workflow ends, or would if it ended now. */
export interface Ending {
  readonly status: 'SUCCEEDED' | 'FAILED' | 'CANCELLED';
  readonly error: JobError | null;
  readonly errorJob: number | null;
}

/** How `state` ends, or would if it ended now. */
export function endingOf(state: WorkflowState): Ending {
  const stopped = state.failuresBeforeStop !== null;
  const counted = stopped ? state.failures.slice(0, state.failuresBeforeStop ?? 0) : state.failures;
  const first = counted.find((index) => !isRecovered(state, index));
  if (first !== undefined) return { status: 'FAILED', error: state.jobs[first]!.error, errorJob: first };
  if (state.timedOutAt !== 0) return { status: 'FAILED', error: timeoutError(state), errorJob: null };
  if (stopped) return { status: 'CANCELLED', error: cancelError(state), errorJob: null };
  return { status: 'SUCCEEDED', error: null, errorJob: null };
}

/** `recover: true`, and every job that the failure ran SUCCEEDED, at least one. */
function isRecovered(state: WorkflowState, index: number): boolean {
  const job = state.graph.jobs[index]!;
  if (!job.recover) return false;
  const ran = job.outEdges.filter((edge) => edge.kind === 'failure' && state.jobs[edge.target]!.phase !== 'SKIPPED');
  return ran.length > 0 && ran.every((edge) => state.jobs[edge.target]!.phase === 'SUCCEEDED');
}

function timeoutError(state: WorkflowState): JobError {
  const message = `the workflow was not done within its timeout of ${state.graph.timeoutMs} ms`;
  return { code: 'TIMEOUT', message, retryable: false, details: null, retryAfterMs: 0, stack: '' };
}

function cancelError(state: WorkflowState): JobError {
  return { code: 'CANCELLED', message: state.cancelReason, retryable: false, details: null, retryAfterMs: 0, stack: '' };
}
