/**
 * A few connections for whatever is not a commit. One question at a time on each; whoever finds none free waits, within the deadline of the question.
 */
import { DeadlineError, NotSentError } from './failure.ts';
import type { Link, Row } from './link.ts';

export class Pool {
  readonly #open: (deadlineMs: number) => Promise<Link>;
  readonly #most: number;
  #idle: Link[] = [];
  #count = 0;
  #waiting: (() => void)[] = [];
  #isClosed = false;
  readonly #busy = new Set<Link>();

  constructor(open: (deadlineMs: number) => Promise<Link>, most: number) {
    this.#open = open;
    this.#most = most;
  }

  /** Asks in one message (see `Link.run`). */
  async run(text: string, deadlineMs: number): Promise<readonly Row[]> {
    const endsAt = performance.now() + deadlineMs;
    const link = await this.#take(endsAt, deadlineMs);
    this.#busy.add(link);
    try {
      return await link.run(text, Math.max(1, endsAt - performance.now()));
    } finally {
      this.#busy.delete(link);
      this.#giveBack(link);
    }
  }

  /** What is under way is given up. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const wake of this.#waiting.splice(0)) wake();
    for (const link of this.#busy) link.destroy();
    await Promise.all(this.#idle.splice(0).map((link) => link.close()));
  }

  async #take(endsAt: number, deadlineMs: number): Promise<Link> {
    for (;;) {
      if (this.#isClosed) throw new NotSentError('the store is closed');
      const idle = this.#idle.pop();
      if (idle !== undefined) {
        if (!idle.isBroken) return idle;
        this.#count--;
        continue;
      }
      const leftMs = endsAt - performance.now();
      if (leftMs <= 0) throw new DeadlineError(deadlineMs);
      if (this.#count < this.#most) return this.#add(leftMs);
      await this.#turn(leftMs);
    }
  }

  async #add(leftMs: number): Promise<Link> {
    this.#count++;
    try {
      const link = await this.#open(leftMs);
      if (!this.#isClosed) return link;
      link.destroy();
      throw new NotSentError('the store is closed');
    } catch (error) {
      this.#count--;
      this.#waiting.shift()?.();
      throw error;
    }
  }

  /** Settled when a connection may have become free, and when the time is over. */
  #turn(leftMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((other) => other !== wake);
        resolve();
      }, leftMs);
      this.#waiting.push(wake);
    });
  }

  #giveBack(link: Link): void {
    if (link.isBroken || this.#isClosed) {
      this.#count--;
      link.destroy();
    } else {
      this.#idle.push(link);
    }
    this.#waiting.shift()?.();
  }
}
