/**
 * A queue between something that happens and a stream that tells of it.
 *
 * Invariant: bounded. A reader that falls further behind than the bound gets an error and comes again from where it was; the writer never waits.
 */
export class Feed<T> {
  readonly #max: number;
  readonly #overflow: () => Error;
  #items: T[] = [];
  #wake: (() => void) | null = null;
  #closed = false;
  #failure: Error | null = null;

  constructor(max: number, overflow: () => Error) {
    this.#max = max;
    this.#overflow = overflow;
  }

  push(item: T): void {
    if (this.#closed) return;
    if (this.#items.length >= this.#max) {
      this.#failure = this.#overflow();
      this.#items = [];
      this.close();
      return;
    }
    this.#items.push(item);
    this.#wake?.();
  }

  /** Nothing follows; what is queued is still read. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /** Items in batches as they come, until the feed is closed or `signal` aborts. */
  async *batches(signal: AbortSignal): AsyncGenerator<T[]> {
    const onAbort = () => this.close();
    signal.addEventListener('abort', onAbort);
    try {
      for (;;) {
        if (signal.aborted) return;
        if (this.#items.length > 0) {
          const items = this.#items;
          this.#items = [];
          yield items;
        } else if (this.#failure !== null) throw this.#failure;
        else if (this.#closed) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
