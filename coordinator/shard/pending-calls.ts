/**
 * Calls of clients that wait for their answer.
 *
 * Invariant: each is answered once, also when the shard stops: with `ShardStopped` as long as nothing was decided for it, and with `OutcomeUnknown` afterwards.
 */
import { OutcomeUnknown, ShardStopped } from './requests.ts';

/** One call, for whoever answers it. */
export interface PendingCall<T> {
  /** What was asked for may be committed from now on. */
  decided(): void;
  answer(value: T): void;
}

export class PendingCalls {
  readonly #waiting = new Set<(reason: string) => void>();

  /** Begins a call; the promise is its answer. */
  open<T>(begin: (call: PendingCall<T>) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      let isDecided = false;
      const giveUp = (reason: string): void => reject(isDecided ? new OutcomeUnknown(reason) : new ShardStopped(reason));
      this.#waiting.add(giveUp);
      begin({
        decided: () => {
          isDecided = true;
        },
        answer: (value) => {
          this.#waiting.delete(giveUp);
          resolve(value);
        },
      });
    });
  }

  /** Nobody will be answered any more. */
  giveUp(reason: string): void {
    for (const giveUp of this.#waiting) giveUp(reason);
    this.#waiting.clear();
  }
}
