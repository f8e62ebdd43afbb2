/** A clock that only moves from one planned event to the next: the same plan gives the same run. */

const mostAtOnce = 10_000;

/** Events by their time. */
export class Timeline {
  now = 1_000_000;
  /** Events that happened. */
  steps = 0;
  #order = 0;
  #sameTime = 0;
  #events: { readonly at: number; readonly order: number; readonly event: () => void }[] = [];

  /** Plans an event; two at the same time happen in the order in which they were planned. Returns how to take it back. */
  after(delayMs: number, event: () => void): () => void {
    this.#order += 1;
    const entry = { at: this.now + Math.max(0, delayMs), order: this.#order, event };
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#events[middle]!;
      if (other.at < entry.at || (other.at === entry.at && other.order < entry.order)) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, entry);
    return () => {
      const place = this.#events.indexOf(entry);
      if (place >= 0) this.#events.splice(place, 1);
    };
  }

  /** Goes on until `done`, at most for `mostMs`. False when the time was over. */
  run(done: () => boolean, mostMs: number): boolean {
    const end = this.now + mostMs;
    while (!done()) {
      const next = this.#events[0];
      if (next === undefined || next.at > end) {
        this.now = end;
        return done();
      }
      this.#events.shift();
      this.#sameTime = next.at === this.now ? this.#sameTime + 1 : 0;
      if (this.#sameTime > mostAtOnce) throw new Error(`more than ${mostAtOnce} events at the same time: something goes round in a circle`);
      this.now = next.at;
      this.steps += 1;
      next.event();
    }
    return true;
  }
}
