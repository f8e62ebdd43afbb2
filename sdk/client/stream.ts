/**
 * Streams that survive their connections: one connection after another, until the stream says that it is over.
 *
 * Invariants
 * 1. A connection that broke is followed by another, at the next address at once, after all addresses with back-off, for as long as `giveUpAfterMs` allows.
 * 2. What can never get better is thrown at once.
 * 3. A connection that is left, for whatever reason, is closed.
 */
import type { Api } from './api.ts';
import { type Caller, throwIfAborted } from './call.ts';
import { isTransient, toWorkflowError, type WorkflowError } from './error.ts';
import { Walk } from './failover.ts';
import { backoff, concernsAddress } from './retry.ts';

/** How to follow. */
export interface StreamOptions {
  readonly signal?: AbortSignal | undefined;
  /** Throws the last failure when nothing was heard for this long, in milliseconds; 2 minutes when absent. */
  readonly giveUpAfterMs?: number | undefined;
  /** Told of each broken connection, and when it is tried again; 0 at once, at another address. */
  readonly onReconnect?: ((failure: WorkflowError, delayMs: number) => void) | undefined;
}

/** One connection of a stream. */
export interface Connection {
  readonly api: Api;
  /** Aborted when the connection is left. */
  readonly signal: AbortSignal;
  /** Something new was heard: the next failure is a first one. */
  heard(): void;
}

/** What the streams of a client share. */
export type StreamCaller = Pick<Caller, 'addresses' | 'clock'>;

/** Everything that `read` yields, connection by connection. `read` returns null when the stream is over, or why it goes on with another connection. */
export async function* overConnections<T>(
  caller: StreamCaller,
  options: StreamOptions,
  read: (connection: Connection) => AsyncGenerator<T, WorkflowError | null>,
): AsyncGenerator<T, void, undefined> {
  const patience = new Patience(caller, options);
  for (;;) {
    throwIfAborted(options.signal);
    const closing = new AbortController();
    const abort = () => closing.abort(options.signal?.reason);
    options.signal?.addEventListener('abort', abort);
    let failure: WorkflowError | null;
    try {
      failure = yield* read({ api: patience.api, signal: closing.signal, heard: () => patience.restore() });
      if (failure === null) return;
    } catch (thrown) {
      throwIfAborted(options.signal);
      failure = toWorkflowError(thrown);
      if (!isTransient(failure) && failure.code !== 'canceled') throw failure;
    } finally {
      options.signal?.removeEventListener('abort', abort);
      closing.abort();
    }
    await patience.pause(failure);
  }
}

/** Counts failures in a row and waits between the rounds over the addresses. */
class Patience {
  readonly #clock: Caller['clock'];
  readonly #options: StreamOptions;
  readonly #walk: Walk;
  /** When the first of the failures in a row came; null while there is none. */
  #sinceMs: number | null = null;

  constructor(caller: StreamCaller, options: StreamOptions) {
    this.#clock = caller.clock;
    this.#options = options;
    this.#walk = new Walk(caller.addresses);
  }

  /** Where to connect now. */
  get api(): Api {
    return this.#walk.api;
  }

  restore(): void {
    this.#sinceMs = null;
    this.#walk.answered();
  }

  /** Waits before the next try, or throws when there is none. */
  async pause(failure: WorkflowError): Promise<void> {
    const walk = this.#walk;
    const now = this.#clock.now();
    this.#sinceMs ??= now;
    walk.failed(failure);
    if (now - this.#sinceMs >= (this.#options.giveUpAfterMs ?? 120_000)) throw walk.error(failure);
    if (concernsAddress(failure) && walk.others > 0) {
      this.#options.onReconnect?.(failure, 0);
      walk.next();
      return;
    }
    const policy = { maxAttempts: Number.POSITIVE_INFINITY, initialDelayMs: 100, maxDelayMs: 5_000 };
    const delayMs = Math.max(walk.askedMs, backoff(policy, Math.min(walk.round, 16), this.#clock.chance()));
    this.#options.onReconnect?.(failure, delayMs);
    await this.#clock.sleep(delayMs, this.#options.signal);
    walk.again();
  }
}
