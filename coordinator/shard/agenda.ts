/**
 * What is due when: a binary heap of moments. Entries are hints: whoever takes one checks whether it still means anything.
 *
 * Invariant: at most twice as many entries as mean something, and a few. What lies far ahead and means nothing any more is dropped long before its time.
 */
export interface Moment {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Empty: the shard itself wants a turn. */
  readonly workflowId: string;
  /** A job whose next attempt may start now; null: a timer of the workflow or of one of its jobs. */
  readonly job: number | null;
}

/** Entries up to which nobody looks for dead ones. */
const FEW = 1_024;

export class Agenda {
  readonly #means: (moment: Moment) => boolean;
  #heap: Moment[] = [];
  #sweepAt = FEW;

  /** `means` tells whether a moment would still lead to anything. */
  constructor(means: (moment: Moment) => boolean) {
    this.#means = means;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** When the next entry is due; null when there is none. */
  next(): number | null {
    return this.#heap[0]?.at ?? null;
  }

  add(moment: Moment): void {
    if (this.#heap.length >= this.#sweepAt) this.#sweep();
    const heap = this.#heap;
    let child = heap.length;
    heap.push(moment);
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (heap[parent]!.at <= moment.at) break;
      heap[child] = heap[parent]!;
      child = parent;
    }
    heap[child] = moment;
  }

  /** Takes the earliest entry that is due at `now`; null when none is. */
  take(now: number): Moment | null {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined || first.at > now) return null;
    const last = heap.pop()!;
    if (heap.length > 0) this.#sink(last);
    return first;
  }

  #sink(moment: Moment): void {
    const heap = this.#heap;
    let parent = 0;
    for (;;) {
      let child = 2 * parent + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child += 1;
      if (heap[child]!.at >= moment.at) break;
      heap[parent] = heap[child]!;
      parent = child;
    }
    heap[parent] = moment;
  }

  /** Drops what means nothing. What is sorted is a heap. */
  #sweep(): void {
    this.#heap = this.#heap.filter(this.#means).sort((a, b) => a.at - b.at);
    this.#sweepAt = Math.max(FEW, 2 * this.#heap.length);
  }
}
