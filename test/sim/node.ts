/**
 * A machine with one process at a time: it runs, stands still, dies and starts again.
 *
 * Invariants
 * 1. What belongs to a process that is gone never happens.
 *    Timers are given at least 1 ms by whoever plans them, as those of Node have.
 * 2. While it stands still nothing happens in it; afterwards everything that came due meanwhile does at once: first all timers, in order, then what arrived
 *    from outside, in order, as the event loop of Node does it. It does not know that it stood still. A loop that is slow does the same each time it looks.
 */
import type { Clock } from './clock.ts';

export class SimNode {
  readonly name: string;
  readonly clock: Clock;
  /** Which process this is, from 1. */
  incarnation = 0;
  isUp = false;
  /** How far the wall clock is ahead, as this process has read it at its start, milliseconds. */
  skewMs = 0;
  /** A loop that is busy: timers and messages are looked at once in this time only; 0: at once. */
  lagMs = 0;
  #isPaused = false;
  /** What came due while it stood still. */
  #dueTimers: (() => void)[] = [];
  #arrived: (() => void)[] = [];

  constructor(name: string, clock: Clock) {
    this.name = name;
    this.clock = clock;
  }

  /** The name of the process of this moment. */
  get process(): string {
    return `${this.name}/${this.incarnation}`;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** A process starts. */
  start(): void {
    this.incarnation += 1;
    this.isUp = true;
    this.#isPaused = false;
    this.#forget();
  }

  /** It is gone, with everything that it had planned. */
  crash(): void {
    this.isUp = false;
    this.#isPaused = false;
    this.#forget();
  }

  pause(): void {
    this.#isPaused = this.isUp;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    const waiting = [...this.#dueTimers, ...this.#arrived];
    this.#forget();
    for (const event of waiting) this.clock.after(0, event);
  }

  /** Something happens in the process of this moment: a timer, after `delayMs`; without a delay something that arrives. Returns how to take it back. */
  after(delayMs: number, event: () => void): () => void {
    return this.#plan(this.incarnation, delayMs, event, delayMs <= 0);
  }

  /** Something arrives in the process of this moment after `delayMs`, if it still runs. */
  arrival(delayMs: number, event: () => void): void {
    this.#plan(this.incarnation, delayMs, event, true);
  }

  /** `after`, for the process of this moment whenever it is called: nothing that belongs to it happens in a later one. */
  ofThisProcess(): (delayMs: number, event: () => void) => () => void {
    const { incarnation } = this;
    return (delayMs, event) => this.#plan(incarnation, delayMs, event, delayMs <= 0);
  }

  #forget(): void {
    this.#dueTimers = [];
    this.#arrived = [];
  }

  #plan(incarnation: number, delayMs: number, event: () => void, isArrival: boolean): () => void {
    let isOver = false;
    const happen = (): void => {
      if (isOver || !this.isUp || this.incarnation !== incarnation) return;
      if (!this.#isPaused) event();
      else if (isArrival) this.#arrived.push(happen);
      else this.#dueTimers.push(happen);
    };
    const cancel = this.clock.after(this.#looksAfter(delayMs), happen, isArrival && this.lagMs > 0);
    return () => {
      isOver = true;
      cancel();
    };
  }

  /** Without a draw of chance: what one part of a process does must not move when another part is looked at. */
  #looksAfter(delayMs: number): number {
    if (this.lagMs === 0) return delayMs;
    const at = this.clock.now + Math.max(0, delayMs);
    return Math.ceil(at / this.lagMs) * this.lagMs - this.clock.now;
  }
}
