/**
 * The store that keeps everything in the memory of this process. What it answers is VOLATILE, and says so.
 *
 * A `MemoryJournal` outlives the stores opened on it, so that takeover and recovery can be shown without a disk. A coordinator gives none:
 * then nothing is kept at all but the numbers, for nobody could ever read it.
 */
import { randomUUID } from 'node:crypto';
import type {
  Acquisition,
  Archive,
  CheckpointSlice,
  CommitOutcome,
  JournalBatch,
  JournalEntry,
  Kept,
  LoadedPart,
  Ownership,
  Reclaim,
  Renewal,
  Store,
  StoredDefinition,
  TierHealth,
} from '../store.ts';

/** What a memory store writes to, when what it writes is to be read again. */
export class MemoryJournal {
  epoch = 0;
  termId = '';
  lastSeq = 0;
  /** Of the latest slice of a checkpoint under this ownership. */
  slice = 0;
  /** Place of the last checkpoint. */
  checkpointSeq = 0;
  /** Batches after it. */
  batches: JournalBatch[] = [];
  readonly checkpoints = new Map<string, JournalEntry>();
  readonly definitions = new Map<string, StoredDefinition>();
}

export class MemoryStore implements Store {
  readonly durability = 'VOLATILE';
  readonly leaseMs = null;
  readonly archive: Archive | null = null;
  readonly liveView = null;
  readonly #journal: MemoryJournal;
  readonly #keepBatches: boolean;
  readonly needsCheckpoints: boolean;

  /** Without a journal of the caller's, batches are counted and definitions answered, and both forgotten. */
  constructor(journal?: MemoryJournal) {
    this.#journal = journal ?? new MemoryJournal();
    this.#keepBatches = journal !== undefined;
    this.needsCheckpoints = this.#keepBatches;
  }

  async acquire(): Promise<Acquisition> {
    return { kind: 'acquired', ownership: this.#take() };
  }

  async renew(ownership: Ownership): Promise<Renewal> {
    return this.#owns(ownership) ? { kind: 'renewed' } : { kind: 'lost', message: 'another owner has the shard' };
  }

  async release(): Promise<void> {}

  async commit(ownership: Ownership, batch: JournalBatch): Promise<CommitOutcome> {
    const journal = this.#journal;
    if (!this.#owns(ownership)) return { kind: 'fenced' };
    if (batch.firstSeq !== journal.lastSeq + 1) {
      return { kind: 'aborted', isTransient: false, message: `batch starts at ${batch.firstSeq}, the journal ends at ${journal.lastSeq}` };
    }
    journal.lastSeq = batch.lastSeq;
    if (this.#keepBatches) journal.batches.push(batch);
    return { kind: 'durable' };
  }

  async reclaim(ownership: Ownership): Promise<Reclaim> {
    if (!this.#owns(ownership)) return { kind: 'lost', message: 'another owner has the shard' };
    return { kind: 'reclaimed', ownership: this.#take() };
  }

  async *load(): AsyncIterable<LoadedPart> {
    const { checkpoints, batches, checkpointSeq, lastSeq } = this.#journal;
    yield { kind: 'place', seq: this.#keepBatches ? checkpointSeq : lastSeq };
    if (checkpoints.size > 0) yield { kind: 'checkpoint', entries: [...checkpoints.values()] };
    for (const batch of batches) yield { kind: 'batch', batch };
  }

  async checkpoint(ownership: Ownership, { number, entries, finish }: CheckpointSlice): Promise<Kept> {
    const journal = this.#journal;
    if (!this.#owns(ownership) || number < journal.slice || (finish?.seq ?? 0) > journal.lastSeq) return { kind: 'fenced' };
    journal.slice = number;
    if (!this.#keepBatches) return { kind: 'kept' };
    for (const entry of entries) journal.checkpoints.set(entry.workflowId, entry);
    if (finish !== null) {
      for (const id of finish.ended) journal.checkpoints.delete(id);
      journal.checkpointSeq = Math.max(journal.checkpointSeq, finish.seq);
      journal.batches = journal.batches.filter((batch) => batch.lastSeq > journal.checkpointSeq);
    }
    return { kind: 'kept' };
  }

  async putDefinition(definition: StoredDefinition): Promise<StoredDefinition> {
    const first = this.#journal.definitions.get(definition.hash) ?? definition;
    const kept = { ...first, registeredAt: Math.max(first.registeredAt, definition.registeredAt) };
    if (this.#keepBatches) this.#journal.definitions.set(kept.hash, kept);
    return kept;
  }

  async *definitions(): AsyncIterable<StoredDefinition> {
    const registered = [...this.#journal.definitions.values()].filter(({ registeredAt }) => registeredAt > 0);
    yield* registered.sort((a, b) => a.registeredAt - b.registeredAt);
  }

  async definitionsByHash(hashes: readonly string[]): Promise<ReadonlyMap<string, StoredDefinition>> {
    const { definitions } = this.#journal;
    return new Map(hashes.flatMap((hash) => (definitions.has(hash) ? [[hash, definitions.get(hash)!] as const] : [])));
  }

  health(): readonly TierHealth[] {
    return [{ name: 'memory', health: 'OK', detail: 'workflows are gone when this process ends' }];
  }

  async close(): Promise<void> {}

  #take(): Ownership {
    const journal = this.#journal;
    journal.epoch += 1;
    journal.termId = randomUUID();
    journal.slice = 0;
    return { epoch: journal.epoch, termId: journal.termId, lastSeq: journal.lastSeq };
  }

  #owns({ epoch, termId }: Ownership): boolean {
    return epoch === this.#journal.epoch && termId === this.#journal.termId;
  }
}
