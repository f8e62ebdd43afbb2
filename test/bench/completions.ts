/**
 * Workflows that were submitted and not seen to end.
 *
 * Invariant: each ends once, with the value that its workload must produce; any other value, and an end of a workflow that is not known, is an error.
 */
import { type Ending, now } from './job-worker.ts';

/** How long one workflow took, from before its submit. */
export interface Completed {
  readonly submittedAt: number;
  readonly endedAt: number;
}

interface Waiting {
  readonly submittedAt: number;
  readonly value: number;
  readonly resolve: (completed: Completed) => void;
}

export class Completions {
  readonly #waiting = new Map<number, Waiting>();
  readonly #fail: (error: Error) => void;
  readonly #failed: Promise<never>;

  constructor() {
    const { promise, reject } = Promise.withResolvers<never>();
    this.#failed = promise;
    this.#fail = reject;
    promise.catch(() => {});
  }

  /** Rejects when something came that must not; never resolves. */
  get failed(): Promise<never> {
    return this.#failed;
  }

  /** Workflow number `id` is about to be submitted; resolves at its end, which must bring `value`. */
  expect(id: number, value: number): Promise<Completed> {
    return new Promise((resolve) => this.#waiting.set(id, { submittedAt: now(), value, resolve }));
  }

  /** What a worker told. */
  ended(endings: readonly Ending[]): void {
    for (const [id, endedAt, value] of endings) {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (waiting === undefined) this.#fail(new Error(`workflow ${id} ended, and was not expected to (again)`));
      else if (waiting.value !== value) this.#fail(new Error(`workflow ${id} brought ${value}, not ${waiting.value}`));
      else waiting.resolve({ submittedAt: waiting.submittedAt, endedAt });
    }
  }
}
