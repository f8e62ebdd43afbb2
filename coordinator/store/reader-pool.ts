/**
 * A reader of entries for many reads. A reader remembers each definition that it met, compiled, for ever; so one serves only so many reads.
 */
import { EntryReader, type EntrySources } from './journal.ts';

const READS = 1_000;

export class ReaderPool {
  readonly #definitions: EntrySources['definitions'];
  #reader: EntryReader | null = null;
  #reads = 0;

  constructor(definitions: EntrySources['definitions']) {
    this.#definitions = definitions;
  }

  /** The reader for the next read. */
  reader(): EntryReader {
    if (this.#reader === null || this.#reads >= READS) {
      this.#reader = new EntryReader({ definitions: this.#definitions, payloads: null });
      this.#reads = 0;
    }
    this.#reads += 1;
    return this.#reader;
  }
}
