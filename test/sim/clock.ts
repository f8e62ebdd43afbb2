/**
 * Virtual time: events happen one after the other, each at its time, and between two of them all promises get their turn.
 *
 * Invariants
 * 1. Two events at the same time happen in the order in which they were planned, but for those that are asked to come after the others. The same plan gives
 *    the same run.
 * 2. Time moves from event to event and never waits. It has whole milliseconds, as timers have: nothing fires before its time.
 */
import { setFlagsFromString } from 'node:v8';

interface Entry {
  readonly at: number;
  readonly order: number;
  /** Null: taken back. */
  event: (() => void) | null;
}

// Every promise that an event led to is done before the next event. A turn of the real event loop (`setImmediate`) does that as well, and takes 60 times as long:
// it was two fifths of the time of a campaign.
setFlagsFromString('--allow-natives-syntax');
const settlePromises = new Function('%PerformMicrotaskCheckpoint()') as () => void;

/** Events in one turn of the real event loop, which others (timers of a test, the collector of lost rejections) wait for. */
const EVENTS_PER_TURN = 500;

/** Added to the places of events that come after the others. */
const LAST = 2 ** 50;

/** More events than this at one moment mean that something goes round in a circle. */
const MOST_AT_ONCE = 20_000;

export class Clock {
  /** Milliseconds since the run began. */
  now = 0;
  /** Events that happened. */
  steps = 0;
  readonly #heap: Entry[] = [];
  #order = 0;
  #atOnce = 0;

  /** Plans an event. `isLast`: it comes after all others of its moment. Returns how to take it back. */
  after(delayMs: number, event: () => void, isLast = false): () => void {
    this.#order += 1;
    const order = isLast ? this.#order + LAST : this.#order;
    const entry: Entry = { at: this.now + Math.max(0, Math.ceil(delayMs)), order, event };
    this.#push(entry);
    return () => {
      entry.event = null;
    };
  }

  /** Goes on until `isDone`, at most for `mostMs`. False when the time was over first. Rejects with what an event throws. */
  run(isDone: () => boolean, mostMs: number): Promise<boolean> {
    const end = this.now + mostMs;
    return new Promise((resolve, reject) => {
      // A turn of the real event loop is left for each so many events only: what costs most is to come back to it.
      const turn = (): unknown => {
        try {
          for (let events = 0; events < EVENTS_PER_TURN; events++) {
            if (isDone()) return resolve(true);
            const entry = this.#next(end);
            if (entry === null) {
              this.now = end;
              return resolve(isDone());
            }
            this.#happen(entry);
            settlePromises();
          }
          setImmediate(turn);
        } catch (error) {
          reject(error);
        }
      };
      setImmediate(turn);
    });
  }

  #happen(entry: Entry): void {
    this.#atOnce = entry.at === this.now ? this.#atOnce + 1 : 0;
    if (this.#atOnce > MOST_AT_ONCE) throw new Error(`more than ${MOST_AT_ONCE} events at ${this.now}: something goes round in a circle`);
    this.now = entry.at;
    this.steps += 1;
    entry.event?.();
  }

  #next(end: number): Entry | null {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || (first.event !== null && first.at > end)) return null;
      this.#pop();
      if (first.event !== null) return first;
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let place = heap.push(entry) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (isBefore(heap[parent], entry)) break;
      heap[place] = heap[parent];
      place = parent;
    }
    heap[place] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child += 1;
      if (isBefore(last, heap[child])) break;
      heap[place] = heap[child];
      place = child;
    }
    heap[place] = last;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
