/**
 * One call with its deadline and its retries: the shell around the decisions of `retry.ts`.
 */
import type { CallOptions as ConnectCallOptions } from '@connectrpc/connect';
import { limits } from '@workflow-orchestrator/proto/limits';
import { toWorkflowError, WorkflowError } from './error.ts';
import { type Repeatable, type RetryPolicy, retryDelay } from './retry.ts';

/** What every call may be told. */
export interface CallOptions {
  /** Ends the call with the code `canceled`. */
  readonly signal?: AbortSignal | undefined;
  /** Time for the call with all its attempts, in milliseconds; the client's own when absent. */
  readonly timeoutMs?: number | undefined;
}

/** Time and chance, as arguments, so that tests own both. */
export interface Clock {
  /** Milliseconds that only grow. */
  now(): number;
  /** Resolves after `delayMs`, or at once when `signal` is aborted. Never rejects. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  /** 0 to 1. */
  chance(): number;
}

/** The real ones. */
export const systemClock: Clock = {
  now: () => performance.now(),
  chance: () => Math.random(),
  sleep: (delayMs, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, delayMs);
      signal?.addEventListener('abort', done);
    }),
};

/** What all calls of a client share. */
export interface Caller {
  readonly clock: Clock;
  readonly retry: RetryPolicy;
  readonly timeoutMs: number;
}

/** An answer, and how many attempts it took. */
export interface Answer<T> {
  readonly value: T;
  readonly attempts: number;
}

/** Sends a call until it is answered, may not be repeated, or its time is over. Throws `WorkflowError`. */
export async function call<T>(
  caller: Caller,
  repeatable: Repeatable,
  options: CallOptions,
  send: (options: ConnectCallOptions) => Promise<T>,
): Promise<Answer<T>> {
  const { clock } = caller;
  const timeoutMs = options.timeoutMs ?? caller.timeoutMs;
  const deadline = clock.now() + timeoutMs;
  for (let attempt = 1; ; attempt += 1) {
    throwIfAborted(options.signal);
    const remainingMs = deadline - clock.now();
    if (remainingMs <= 0) throw new WorkflowError('deadline_exceeded', `no answer within ${timeoutMs} ms`);
    try {
      const value = await send({ ...signalOf(options), timeoutMs: Math.min(Math.ceil(remainingMs), limits.unaryDeadlineMaxMs) });
      return { value, attempts: attempt };
    } catch (thrown) {
      const error = toWorkflowError(thrown);
      const failed = { error, attempt, repeatable, remainingMs: deadline - clock.now(), chance: clock.chance() };
      const delayMs = options.signal?.aborted ? null : retryDelay(caller.retry, failed);
      if (delayMs === null) throw error.code === 'canceled' ? canceled(options.signal, error) : error;
      await clock.sleep(delayMs, options.signal);
    }
  }
}

/** Throws the error of a cancelled call when the caller's signal is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw canceled(signal);
}

function canceled(signal: AbortSignal | undefined, cause: unknown = signal?.reason): WorkflowError {
  return new WorkflowError('canceled', 'the call was cancelled', { cause });
}

function signalOf(options: CallOptions): { signal?: AbortSignal } {
  return options.signal ? { signal: options.signal } : {};
}
