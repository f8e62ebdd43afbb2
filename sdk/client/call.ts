/**
 * One call with its deadline, its retries and its way over the addresses: the shell around the decisions of `retry.ts`.
 */
import type { CallOptions as ConnectCallOptions } from '@connectrpc/connect';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Api } from './api.ts';
import { toWorkflowError, WorkflowError } from './error.ts';
import { type Addresses, Walk } from './failover.ts';
import { attemptMs, nextAttempt, type Repeatable, type RetryPolicy } from './retry.ts';

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
  readonly addresses: Addresses;
  readonly clock: Clock;
  readonly retry: RetryPolicy;
  readonly timeoutMs: number;
}

/** Sends a call to one address. */
export type Send<T> = (options: ConnectCallOptions, api: Api) => Promise<T>;

/** Sends a call until it is answered, may not be repeated, or its time is over. Throws `WorkflowError`. */
export async function call<T>(caller: Caller, repeatable: Repeatable, options: CallOptions, send: Send<T>): Promise<T> {
  const { clock } = caller;
  const timeoutMs = options.timeoutMs ?? caller.timeoutMs;
  const deadline = clock.now() + timeoutMs;
  const walk = new Walk(caller.addresses);
  for (;;) {
    throwIfAborted(options.signal);
    const leftMs = deadline - clock.now();
    if (leftMs <= 0) throw walk.error(new WorkflowError('deadline_exceeded', `no answer within ${timeoutMs} ms`));
    const sendMs = Math.min(Math.ceil(attemptMs(leftMs, repeatable, walk.others)), limits.unaryDeadlineMaxMs);
    try {
      const value = await send({ ...signalOf(options), timeoutMs: sendMs }, walk.api);
      walk.answered();
      return value;
    } catch (thrown) {
      const error = toWorkflowError(thrown);
      walk.failed(error);
      const { round, others, askedMs } = walk;
      const remainingMs = deadline - clock.now();
      const next = options.signal?.aborted
        ? { kind: 'none' as const }
        : nextAttempt(caller.retry, { error, repeatable, round, others, askedMs, remainingMs, chance: clock.chance() });
      if (next.kind === 'none') throw error.code === 'canceled' ? canceled(options.signal, error) : walk.error(error);
      if (next.kind === 'elsewhere') walk.next();
      else {
        await clock.sleep(next.delayMs, options.signal);
        walk.again();
      }
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
