/**
 * Starts handlers, a few at a time, so that a frame full of jobs does not keep replies and heartbeats waiting.
 *
 * Invariants
 * 1. Jobs start in the order in which they were assigned.
 * 2. Starting goes on for at most `sliceMs` before the event loop turns; one handler alone may take longer.
 * 3. `before` runs ahead of the first start of each turn: what must have left before a handler can stop the process leaves there.
 */

/** How long handlers are started without a break. */
const sliceMs = 5;

/** A queue of jobs that wait for their start. */
export interface RunQueue<T> {
  add(item: T): void;
}

/** Makes a queue; neither `start` nor `before` may throw. `now`: milliseconds of a clock that never goes back. */
export function createRunQueue<T>(start: (item: T) => void, before: () => void, now: () => number): RunQueue<T> {
  let waiting: T[] = [];
  let next = 0;
  let isScheduled = false;

  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(startSome);
  }

  function startSome(): void {
    isScheduled = false;
    before();
    const until = now() + sliceMs;
    while (next < waiting.length) {
      if (now() >= until) {
        schedule();
        return;
      }
      const item = waiting[next]!;
      next += 1;
      start(item);
    }
    waiting = [];
    next = 0;
  }

  return {
    add(item) {
      waiting.push(item);
      schedule();
    },
  };
}
