/**
 * What is due when: a binary heap of moments. Entries are never removed before their time; whoever takes one checks whether it still means anything.
 */
export interface Moment {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly workflowId: string;
  /** A job whose next attempt may start now; null: a timer of the workflow or of one of its jobs. */
  readonly job: number | null;
}

export class Agenda {
  readonly #heap: Moment[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** When the next entry is due; null when there is none. */
  next(): number | null {
    return this.#heap[0]?.at ?? null;
  }

  add(moment: Moment): void {
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
}
