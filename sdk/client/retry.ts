/**
 * When a call is sent again, and when not. Pure decisions; the waiting is done in `call.ts` and `watch.ts`.
 *
 * Invariants
 * 1. A call that could take effect twice is sent again only when the attempt before certainly had no effect:
 *    the server said so (RetryInfo), or the connection was never made.
 * 2. The server's RetryInfo is never undercut; when it lies beyond the deadline, the call ends now instead of later.
 */
import type { WorkflowError } from './error.ts';

/** How calls are repeated. */
export interface RetryPolicy {
  /** Attempts at most, the first included; 1 switches retries off. */
  readonly maxAttempts: number;
  /** Pause before the second attempt, in milliseconds; it doubles each time. */
  readonly initialDelayMs: number;
  /** Longest pause, in milliseconds. */
  readonly maxDelayMs: number;
}

/** What a client does that was told nothing. */
export const defaultRetry: RetryPolicy = { maxAttempts: 5, initialDelayMs: 100, maxDelayMs: 2_000 };

/** Whether sending a call twice does what sending it once does. */
export type Repeatable = 'repeatable' | 'once';

/** What is known when an attempt has failed. */
export interface FailedAttempt {
  readonly error: WorkflowError;
  /** Number of the attempt that failed, from 1. */
  readonly attempt: number;
  readonly repeatable: Repeatable;
  /** Time left until the deadline of the whole call, in milliseconds. */
  readonly remainingMs: number;
  /** 0 to 1, drawn anew for each attempt. */
  readonly chance: number;
}

/** The pause before the next attempt in milliseconds, or null when there is none. */
export function retryDelay(policy: RetryPolicy, failed: FailedAttempt): number | null {
  const { error, attempt } = failed;
  if (attempt >= policy.maxAttempts) return null;
  const saidRetry = error.retryDelayMs !== null;
  if (!saidRetry && error.code !== 'unavailable') return null;
  if (failed.repeatable === 'once' && !saidRetry && !connectionNeverMade(error)) return null;
  const delayMs = Math.max(error.retryDelayMs ?? 0, backoff(policy, attempt, failed.chance));
  return delayMs < failed.remainingMs ? delayMs : null;
}

/** Pause after the `failures`-th failure in a row: doubling, capped, spread over the upper half by `chance` (0 to 1). */
export function backoff(policy: RetryPolicy, failures: number, chance: number): number {
  const full = Math.min(policy.initialDelayMs * 2 ** (failures - 1), policy.maxDelayMs);
  return Math.round(full * (0.5 + chance / 2));
}

const neverConnected = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT']);

/** Whether the request certainly never left. Known in Node only; browsers do not tell. */
export function connectionNeverMade(error: Error): boolean {
  const code = networkCode(error);
  return code !== null && neverConnected.has(code);
}

/** The system's word for a failed connection, such as `ECONNREFUSED`, from anywhere in the chain of causes. */
export function networkCode(thrown: unknown): string | null {
  for (let at = thrown, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth += 1) {
    if ('errors' in at && Array.isArray(at.errors)) {
      // Node tries each address of a name and reports all failures together.
      const inner = at.errors.map(networkCode).find((code) => code !== null);
      if (inner) return inner;
    }
    const code = 'code' in at ? at.code : undefined;
    if (typeof code === 'string' && /^[A-Z][A-Z0-9_]+$/.test(code)) return code;
  }
  return null;
}
