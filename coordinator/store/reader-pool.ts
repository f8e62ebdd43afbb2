/**
 * A reader of entries for many reads. A reader remembers each definition that it met, compiled, for ever; so one serves only so many reads.
 */
import type { EntryReader } from './journal.ts';

const READS = 1_000;

export class ReaderPool {
  readonly #make: () => EntryReader;
  #reader: EntryReader;
  #reads = 0;

  constructor(make: () => EntryReader) {
    this.#make = make;
    this.#reader = make();
  }

  /** The reader for the next read. */
  reader(): EntryReader {
    this.#reads += 1;
    if (this.#reads % READS === 0) this.#reader = this.#make();
    return this.#reader;
  }
}
