/**
 * What a store has answered for: the last event, and the last slice of a checkpoint, of which it said that they are there. What is behind a store may come back
 * without them, as a copy that took over or an old backup. Until its owner finds that out, and reads everything anew, nothing may be written over it:
 * a checkpoint would hold what the journal lacks, or drop what it still needs.
 *
 * Invariants
 * 1. Behind the store, the numbers of slices grow for ever. Those of the seam begin anew with each acquisition and are counted from the one that was found then.
 * 2. An acquisition, and a reclaim, begin with what they found; until then nothing that was answered for is forgotten.
 * 3. An answer of a term that is no longer the one that counts changes nothing: it may come when the same process has acquired the shard again.
 */
import type { Ownership } from './store.ts';

/** Nobody draws it. */
const NOBODY = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

export class Known {
  #termId = NOBODY;
  #source = '';
  #seq = 0;
  #slice = 0;
  /** The slice that was there before the first one of this owner. */
  #before = 0;

  /** The term of the owner; one that nobody has before the first acquisition. */
  get termId(): string {
    return this.#termId;
  }

  /** Which of the servers that may stand behind the store gave the shard; empty where they cannot be told apart. */
  get source(): string {
    return this.#source;
  }

  /** Number of the last event that is known to be committed. */
  get seq(): number {
    return this.#seq;
  }

  /** Number of the last slice, as it is counted behind the store, that is known to be kept. */
  get slice(): number {
    return this.#slice;
  }

  /** The number of a slice of the seam, as it is counted behind the store. */
  sliceOf(number: number): number {
    return this.#before + number;
  }

  /** The shard was acquired, after this slice, of this source. */
  acquired({ termId, lastSeq }: Ownership, slice: number, source = ''): void {
    this.#termId = termId;
    this.#source = source;
    this.#seq = lastSeq;
    this.#slice = slice;
    this.#before = slice;
  }

  /** The shard was taken anew from oneself, from this term of before. Slices go on. */
  reclaimed(before: string, { termId, lastSeq }: Ownership): void {
    if (before !== this.#termId) return;
    this.#termId = termId;
    this.#seq = lastSeq;
  }

  /** Events up to this one were answered `durable` to the owner of this term. */
  committed(termId: string, seq: number): void {
    if (termId === this.#termId) this.#seq = Math.max(this.#seq, seq);
  }

  /** The slice with this number of the seam was answered `kept` to the owner of this term. */
  kept(termId: string, number: number): void {
    if (termId === this.#termId) this.#slice = Math.max(this.#slice, this.sliceOf(number));
  }
}
