/**
 * A thread of the store as its owner sees it: calls with deadlines, and a new thread when it dies.
 *
 * Invariants
 * 1. Every call answers: with what the thread said, or with a failure when its deadline has passed or the thread has died. None rejects.
 * 2. A new thread is started only after the one before it has ended, so that two never write.
 * 3. A call whose deadline has passed is still the thread's to do. What is large is asked for alone (`callAlone`), so that it does not pile up while a disk hangs.
 */
import type { Worker } from 'node:worker_threads';
import type { Call, ThreadMessage } from './calls.ts';
import { type Failure, failure } from './failure.ts';

/** Pauses before a thread that died is started again: at once, then longer each time it does not come up. */
const RESTART_MIN_MS = 100;
const RESTART_MAX_MS = 5_000;
/** Time for a thread to end by itself. */
const CLOSE_MS = 5_000;

export type Answer<T> = { readonly kind: 'answer'; readonly value: T } | { readonly kind: 'failed'; readonly failure: Failure };

interface Pending {
  readonly settle: (answer: Answer<unknown>) => void;
  readonly timer: NodeJS.Timeout;
}

/** What a thread tells of itself. */
export interface ThreadEvents {
  /** A message that answers nothing. */
  readonly message: (message: ThreadMessage) => void;
  /** It has died, and why; a new one is started. */
  readonly died: (why: string) => void;
  /** A new one is there. */
  readonly back: () => void;
}

export class StoreThread<Calls extends { [K in keyof Calls]: readonly [unknown, unknown] }> {
  readonly #spawn: () => Worker;
  readonly #events: ThreadEvents;
  readonly #pending = new Map<number, Pending>();
  /** By id, the kinds of the calls that the thread has not answered, also of those that nobody waits for any more. */
  readonly #unanswered = new Map<number, string>();
  #worker: Worker | null = null;
  #isReady = false;
  #isClosed = false;
  #calls = 0;
  #restarts = 0;
  #restart: NodeJS.Timeout | null = null;
  #ended: (() => void) | null = null;

  constructor(spawn: () => Worker, events: ThreadEvents) {
    this.#spawn = spawn;
    this.#events = events;
  }

  /** Starts it. Rejects when it says that it cannot. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => this.#launch(resolve, (message) => reject(new Error(message))));
  }

  /** Asks the thread. `transfer`: buffers that are given away. */
  call<K extends keyof Calls & string>(
    kind: K,
    request: Calls[K][0],
    deadlineMs: number,
    transfer: ArrayBuffer[] = [],
  ): Promise<Answer<Calls[K][1]>> {
    if (!this.#isReady || this.#worker === null) {
      return Promise.resolve({
        kind: 'failed',
        failure: failure(
          this.#isClosed ? 'the store is closed' : "the store's thread has died and is started again",
          !this.#isClosed,
          true,
        ),
      });
    }
    const id = ++this.#calls;
    const worker = this.#worker;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#settle(id, { kind: 'failed', failure: failure(`no answer from the disk within ${deadlineMs / 1_000} s`, true, false) });
      }, deadlineMs);
      this.#pending.set(id, { settle: resolve as Pending['settle'], timer });
      worker.postMessage({ id, kind, request } satisfies Call, transfer);
      this.#unanswered.set(id, kind);
    });
  }

  /** Asks the thread, unless it has not answered an earlier call of this kind: then nothing is asked. */
  callAlone<K extends keyof Calls & string>(kind: K, request: Calls[K][0], deadlineMs: number): Promise<Answer<Calls[K][1]>> {
    if (![...this.#unanswered.values()].includes(kind)) return this.call(kind, request, deadlineMs);
    return Promise.resolve({ kind: 'failed', failure: failure('the disk has not answered the one before it', true, true) });
  }

  /** Ends the thread once it has answered what it was asked; it is left to itself when that takes too long. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isReady = false;
    if (this.#restart !== null) clearTimeout(this.#restart);
    const worker = this.#worker;
    if (worker === null) return;
    const ended = new Promise<void>((resolve) => {
      this.#ended = resolve;
    });
    const timer = setTimeout(() => {
      worker.unref();
      void worker.terminate();
      this.#ended?.();
    }, CLOSE_MS);
    worker.postMessage('close');
    await ended;
    clearTimeout(timer);
    this.#failAll('the store is closed');
  }

  #launch(ready: () => void, cannot: (message: string) => void): void {
    const worker = this.#spawn();
    this.#worker = worker;
    let why = '';
    worker.on('message', (message: ThreadMessage) => {
      switch (message.kind) {
        case 'answer':
          this.#restarts = 0;
          this.#unanswered.delete(message.id);
          return this.#settle(message.id, { kind: 'answer', value: message.value });
        case 'failed':
          this.#unanswered.delete(message.id);
          return this.#settle(message.id, { kind: 'failed', failure: message.failure });
        case 'ready':
          this.#isReady = !this.#isClosed;
          return ready();
        case 'cannot':
          why = message.message;
          return;
        default:
          return this.#events.message(message);
      }
    });
    worker.on('error', (error) => {
      why = error instanceof Error ? error.message : String(error);
    });
    worker.on('exit', () => this.#exited(why === '' ? 'it ended' : why, cannot));
  }

  #exited(why: string, cannot: (message: string) => void): void {
    const wasReady = this.#isReady;
    this.#worker = null;
    this.#isReady = false;
    this.#unanswered.clear();
    this.#ended?.();
    if (this.#isClosed) return;
    this.#failAll(`the store's thread has died: ${why}`);
    if (!wasReady) {
      cannot(why);
      return;
    }
    this.#events.died(why);
    this.#again();
  }

  #again(): void {
    const pauseMs = this.#restarts === 0 ? 0 : Math.min(RESTART_MAX_MS, RESTART_MIN_MS * 2 ** (this.#restarts - 1));
    this.#restarts++;
    this.#restart = setTimeout(() => {
      this.#launch(this.#events.back, (why) => {
        this.#events.died(why);
        if (!this.#isClosed) this.#again();
      });
    }, pauseMs);
  }

  #settle(id: number, answer: Answer<unknown>): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    pending.settle(answer);
  }

  #failAll(message: string): void {
    for (const id of [...this.#pending.keys()]) this.#settle(id, { kind: 'failed', failure: failure(message, true, false) });
  }
}
