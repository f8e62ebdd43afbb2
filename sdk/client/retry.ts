/**
 * When a call is sent again, when not, and whether to another address. Pure decisions; the waiting is done in `call.ts` and `stream.ts`.
 *
 * Invariants
 * 1. A call that could take effect twice is sent again only when the attempt before certainly had no effect:
 *    the server said so (RetryInfo), or the connection was never made.
 * 2. The server's RetryInfo is never undercut; when it lies beyond the deadline, the call ends now instead of later. It holds for the address that sent
 *    it: another one that was not asked in this round is asked at once.
 * 3. One address that is silent does not take the time of the others.
 */
import type { WorkflowError } from './error.ts';

/** How calls are repeated. */
export interface RetryPolicy {
  /** Attempts at most at each address, the first included; 1 switches retries off. */
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
  /** Number of the round that the attempt belonged to, from 1: in a round each address is asked once. */
  readonly round: number;
  /** Addresses that were not asked in this round. */
  readonly others: number;
  /** The longest pause that an address asked for in this round, in milliseconds. */
  readonly askedMs: number;
  readonly repeatable: Repeatable;
  /** Time left until the deadline of the whole call, in milliseconds. */
  readonly remainingMs: number;
  /** 0 to 1, drawn anew for each attempt. */
  readonly chance: number;
}

/** What to do about a failed attempt: ask the next address at once, begin a new round after a pause, or nothing. */
export type NextAttempt = { readonly kind: 'elsewhere' } | { readonly kind: 'again'; readonly delayMs: number } | { readonly kind: 'none' };

/** Decides about the next attempt. */
export function nextAttempt(policy: RetryPolicy, failed: FailedAttempt): NextAttempt {
  const { error, repeatable, round, others, remainingMs } = failed;
  if (remainingMs <= 0) return { kind: 'none' };
  if (repeatable === 'once' && !hadNoEffect(error)) return { kind: 'none' };
  if (concernsAddress(error) && others > 0) return { kind: 'elsewhere' };
  if (error.retryDelayMs === null && error.code !== 'unavailable') return { kind: 'none' };
  if (round >= policy.maxAttempts) return { kind: 'none' };
  const delayMs = Math.max(failed.askedMs, backoff(policy, round, failed.chance));
  return delayMs < remainingMs ? { kind: 'again', delayMs } : { kind: 'none' };
}

/**
 * Time for one attempt, of `remainingMs` for the call. A call that may be repeated leaves the addresses that were not asked yet (`others`) their share:
 * a host that is gone refuses nothing, it is silent.
 */
export function attemptMs(remainingMs: number, repeatable: Repeatable, others: number): number {
  return repeatable === 'repeatable' ? remainingMs / (others + 1) : remainingMs;
}

/** Whether the attempt certainly changed nothing, so that any call may be sent again. */
export function hadNoEffect(error: WorkflowError): boolean {
  return error.retryDelayMs !== null || connectionNeverMade(error);
}

/** Whether another address may answer where this one did not: it stands by, ends, cannot be reached, or is silent. */
export function concernsAddress(error: WorkflowError): boolean {
  return error.code === 'unavailable' || error.code === 'deadline_exceeded';
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
