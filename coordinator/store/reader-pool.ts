/**
 * A reader of entries for many reads. A reader remembers each definition that it met, compiled, for ever; so one serves only so many reads, and until it has
 * compiled so many jobs: what a small definition takes is not told by its jobs, nor what a large one takes by the number of reads.
 *
 * Invariant: a reader that is given out has compiled fewer jobs than the bound; the read that it is for may add those of what it reads.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import type { EntryReader } from './journal.ts';

const READS = 1_000;

export class ReaderPool {
  readonly #make: () => EntryReader;
  readonly #compiledJobs: number;
  #reader: EntryReader;
  #reads = 0;

  constructor(make: () => EntryReader, compiledJobs: number = limits.compiledJobs) {
    this.#make = make;
    this.#compiledJobs = compiledJobs;
    this.#reader = make();
  }

  /** The reader for the next read. */
  reader(): EntryReader {
    this.#reads += 1;
    if (this.#reads % READS === 0 || this.#reader.compiledJobs >= this.#compiledJobs) this.#reader = this.#make();
    return this.#reader;
  }
}
