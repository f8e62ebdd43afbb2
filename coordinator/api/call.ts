/**
 * One call, whatever face it came through: what a service method is given as its context, and what ends it early.
 *
 * Invariants
 * 1. A call is cancelled at most once, and never after it is over; the first reason stays.
 * 2. Nothing is allocated for the signal before somebody asks for it.
 * 3. After `close` no timer of the call is left.
 */
import { performance } from 'node:perf_hooks';
import { Code, ConnectError } from '@connectrpc/connect';
import type { CallContext } from './context.ts';

/** What a timer can hold; a deadline beyond it never passes. */
const longestTimerMs = 0x7fff_ffff;

/** The face that a call came through. */
export type Face = CallContext['face'];

/** A call under way. */
export class Call implements CallContext {
  readonly face: Face;
  readonly header: (name: string) => string | null;
  /** When it arrived, on the clock of `performance.now()`. */
  readonly startedAtMs = performance.now();
  #reason: ConnectError | null = null;
  #controller: AbortController | null = null;
  #onCancel: ((reason: ConnectError) => void) | null = null;
  readonly #deadlineMs: number | null;
  #timer: NodeJS.Timeout | null = null;
  #over = false;

  /** `deadlineMs`: time from now, null for none. */
  constructor(face: Face, header: (name: string) => string | null, deadlineMs: number | null) {
    this.face = face;
    this.header = header;
    this.#deadlineMs = deadlineMs;
    if (deadlineMs !== null) this.#timer = setTimeout(() => this.expire(), Math.min(deadlineMs, longestTimerMs));
  }

  /** Aborted when the caller is gone, the deadline has passed or the server stops. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#reason !== null) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Why it was cancelled; null while it was not. */
  get cancelled(): ConnectError | null {
    return this.#reason;
  }

  /** Ends the call early: aborts its signal and rejects what `until` waits for. */
  cancel(reason: ConnectError): void {
    if (this.#over || this.#reason !== null) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    this.#onCancel?.(reason);
  }

  /** The deadline has passed. */
  expire(): void {
    const within = this.#deadlineMs === null ? '' : ` of ${this.#deadlineMs} ms`;
    this.cancel(new ConnectError(`no answer within the deadline${within}`, Code.DeadlineExceeded));
  }

  /** The connection of the caller has closed: nobody waits for an answer, if there is still one to come. */
  abandon(): void {
    if (!this.#over) this.cancel(callerGone());
  }

  /** Settles as `work` does, or rejects with the reason as soon as the call is cancelled. One at a time. */
  until<T>(work: Promise<T>): Promise<T> {
    if (this.#reason !== null) {
      work.catch(() => {}); // its outcome has no reader any more
      return Promise.reject(this.#reason);
    }
    return new Promise<T>((resolve, reject) => {
      this.#onCancel = reject;
      work.then(resolve, reject);
    });
  }

  /** The call is over: releases its timer. */
  close(): void {
    this.#over = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#onCancel = null;
  }
}

/** Why a call ends when nobody waits for its answer any more. */
export function callerGone(): ConnectError {
  return new ConnectError('the caller has gone', Code.Canceled);
}
