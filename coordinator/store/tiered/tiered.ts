/**
 * A store with a live view in front of it: facts go to the store, and reads of what has just ended are answered by the view when it can.
 *
 * Invariants
 * 1. Every question of ownership and every fact passes through unchanged; nothing waits for the view.
 * 2. A read is never worse for the view: what it does not have, does not answer or has damaged is read from the archive.
 * 3. A view that is down degrades the whole, and never takes it down.
 */
import { type EncodedEntries, EntryReader } from '../journal.ts';
import { ReaderPool } from '../reader-pool.ts';
import type {
  Acquisition,
  Archive,
  CheckpointSlice,
  CommitOutcome,
  DurabilityLevel,
  JournalBatch,
  JournalEntry,
  Kept,
  LiveView,
  LoadedPart,
  Owner,
  Ownership,
  Reclaim,
  Renewal,
  Store,
  StoredDefinition,
  TierHealth,
} from '../store.ts';
import { DefinitionCache } from './definition-cache.ts';

/** A live view that can be read. */
export interface ReadableView extends LiveView {
  /** The history of a workflow that has ended; null when it is not there, and when there is no answer soon. Never rejects for what Redis does. */
  get(workflowId: string): Promise<Omit<EncodedEntries, 'payloads'> | null>;
  health(): TierHealth;
  close(): Promise<void>;
}

export class TieredStore implements Store {
  readonly durability: DurabilityLevel;
  readonly leaseMs: number | null;
  readonly needsCheckpoints: boolean;
  readonly archive: Archive | null;
  readonly liveView: LiveView;
  readonly #store: Store;
  readonly #view: ReadableView;
  readonly #definitions: DefinitionCache;

  constructor(store: Store, view: ReadableView) {
    this.#store = store;
    this.#view = view;
    this.durability = store.durability;
    this.leaseMs = store.leaseMs;
    this.needsCheckpoints = store.needsCheckpoints;
    this.liveView = view;
    this.#definitions = new DefinitionCache((hashes) => store.definitionsByHash(hashes));
    this.archive = store.archive === null ? null : viewFirst(view, store.archive, (hashes) => this.#definitions.byHash(hashes));
  }

  acquire(owner: Owner): Promise<Acquisition> {
    return this.#store.acquire(owner);
  }

  renew(ownership: Ownership, lastSeq: number): Promise<Renewal> {
    return this.#store.renew(ownership, lastSeq);
  }

  release(ownership: Ownership): Promise<void> {
    return this.#store.release(ownership);
  }

  commit(ownership: Ownership, batch: JournalBatch): Promise<CommitOutcome> {
    return this.#store.commit(ownership, batch);
  }

  reclaim(ownership: Ownership): Promise<Reclaim> {
    return this.#store.reclaim(ownership);
  }

  load(): AsyncIterable<LoadedPart> {
    return this.#store.load();
  }

  checkpoint(ownership: Ownership, slice: CheckpointSlice): Promise<Kept> {
    return this.#store.checkpoint(ownership, slice);
  }

  async putDefinition(definition: StoredDefinition): Promise<StoredDefinition> {
    const kept = await this.#store.putDefinition(definition);
    this.#definitions.learn(kept);
    return kept;
  }

  definitions(): AsyncIterable<StoredDefinition> {
    return this.#store.definitions();
  }

  definitionsByHash(hashes: readonly string[]): Promise<ReadonlyMap<string, StoredDefinition>> {
    return this.#store.definitionsByHash(hashes);
  }

  health(): readonly TierHealth[] {
    const view = this.#view.health();
    return [...this.#store.health(), view.health === 'DOWN' ? { ...view, health: 'DEGRADED' } : view];
  }

  async close(): Promise<void> {
    await Promise.all([this.#store.close(), this.#view.close()]);
  }
}

/** An archive that asks the view first for a workflow. */
function viewFirst(view: ReadableView, archive: Archive, definitions: DefinitionCache['byHash']): Archive {
  const readers = new ReaderPool(() => new EntryReader({ definitions, payloads: null }));
  const fromView = async (workflowId: string): Promise<JournalEntry | null> => {
    try {
      const encoded = await view.get(workflowId);
      if (encoded === null) return null;
      const [entry] = await readers.reader().read(encoded, `what is shown of ${workflowId}`);
      return entry?.workflowId === workflowId ? entry : null;
    } catch {
      // Damaged, or of another version: the archive knows.
      return null;
    }
  };
  return {
    write: (workflows) => archive.write(workflows),
    get: async (workflowId) => (await fromView(workflowId)) ?? archive.get(workflowId),
    byKeys: (keys) => archive.byKeys(keys),
    list: (filter) => archive.list(filter),
    openSeqs: () => archive.openSeqs(),
  };
}
