/**
 * The store that keeps everything in the memory of this process. What it answers is VOLATILE, and says so.
 *
 * A `MemoryJournal` outlives the stores opened on it, so that takeover and recovery can be shown without a disk. A coordinator gives none:
 * then nothing is kept at all but the numbers, for nobody could ever read it.
 */
import type { CommitOutcome, JournalBatch, Ownership, Store, StoredDefinition, TierHealth } from '../store.ts';

/** What a memory store writes to, when what it writes is to be read again. */
export class MemoryJournal {
  epoch = 0;
  lastSeq = 0;
  readonly batches: JournalBatch[] = [];
  readonly definitions = new Map<string, StoredDefinition>();
}

export class MemoryStore implements Store {
  readonly durability = 'VOLATILE';
  readonly #journal: MemoryJournal;
  readonly #keepBatches: boolean;

  /** Without a journal of the caller's, batches are counted and definitions answered, and both forgotten. */
  constructor(journal?: MemoryJournal) {
    this.#journal = journal ?? new MemoryJournal();
    this.#keepBatches = journal !== undefined;
  }

  async acquire(): Promise<Ownership> {
    this.#journal.epoch += 1;
    return { epoch: this.#journal.epoch, lastSeq: this.#journal.lastSeq };
  }

  async commit(ownership: Ownership, batch: JournalBatch): Promise<CommitOutcome> {
    const journal = this.#journal;
    if (ownership.epoch !== journal.epoch) return { kind: 'fenced' };
    if (batch.firstSeq !== journal.lastSeq + 1) {
      return { kind: 'aborted', message: `batch starts at ${batch.firstSeq}, the journal ends at ${journal.lastSeq}` };
    }
    journal.lastSeq = batch.lastSeq;
    if (this.#keepBatches) journal.batches.push(batch);
    return { kind: 'durable' };
  }

  async *load(afterSeq: number): AsyncIterable<JournalBatch> {
    for (const batch of this.#journal.batches) if (batch.lastSeq > afterSeq) yield batch;
  }

  async putDefinition(definition: StoredDefinition): Promise<StoredDefinition> {
    const first = this.#journal.definitions.get(definition.hash) ?? definition;
    const kept = { ...first, registeredAt: Math.max(first.registeredAt, definition.registeredAt) };
    if (this.#keepBatches) this.#journal.definitions.set(kept.hash, kept);
    return kept;
  }

  async *definitions(): AsyncIterable<StoredDefinition> {
    yield* [...this.#journal.definitions.values()].sort((a, b) => a.registeredAt - b.registeredAt);
  }

  health(): readonly TierHealth[] {
    return [{ name: 'memory', health: 'OK', detail: 'workflows are gone when this process ends' }];
  }

  async close(): Promise<void> {}
}
