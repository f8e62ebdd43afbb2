/**
 * Whether a failed attempt is followed by another, and when. Section 4 of the workflow language.
 *
 * Invariant: no chance. The jitter is a hash of workflow, job and attempt, so a replay and a restart give the same time.
 */
import type { GraphJob } from '../definition/graph.ts';
import type { JobError } from './state.ts';

/** The longest pause that a handler may ask for: a day. */
const RETRY_AFTER_MAX_MS = 24 * 3_600_000;

/** The code of an attempt whose worker is gone. */
export const WORKER_LOST = 'WORKER_LOST';

/** Milliseconds until attempt `attempt + 1`, or null when there is none. `attempt` is the one that failed with `error`. */
export function retryDelayMs(workflowId: string, job: GraphJob, attempt: number, error: JobError): number | null {
  const { retry } = job;
  const lost = error.code === WORKER_LOST;
  if (attempt >= (lost ? retry.maxAttemptsWhenLost : retry.maxAttempts)) return null;
  if (!error.retryable || retry.notOn.includes(error.code)) return null;
  if (retry.on.length > 0 && !retry.on.includes(error.code)) return null;
  // The handler did not fail: there is nothing to back off from.
  if (lost) return 0;
  const base = Math.min(retry.initialDelayMs * retry.factor ** (attempt - 1), retry.maxDelayMs);
  const spread = base * (1 + retry.jitter * (2 * derivedFraction(`${workflowId}/${job.id}/${attempt}`) - 1));
  return Math.round(Math.max(spread, Math.min(error.retryAfterMs, RETRY_AFTER_MAX_MS)));
}

/** A number in [0, 1) that depends on `text` alone (FNV-1a, finished so that near texts give far numbers). */
export function derivedFraction(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x1_0000_0000;
}
