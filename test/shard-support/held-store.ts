/**
 * A store whose commits end when the test says so: a memory store behind a gate. While the gate is open it is the memory store itself.
 *
 * Invariant: a commit is either not there and not answered, or there and answered; the test never sees one without the other.
 */
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import { MemoryJournal, MemoryStore } from '../../coordinator/store/memory/memory.ts';
import type {
  Acquisition,
  Archive,
  CheckpointSlice,
  CommitOutcome,
  JournalBatch,
  Kept,
  LoadedPart,
  Ownership,
  Reclaim,
  Renewal,
  Store,
  StoredDefinition,
  TierHealth,
} from '../../coordinator/store/store.ts';

interface HeldCommit {
  readonly ownership: Ownership;
  readonly batch: JournalBatch;
  answer(outcome: CommitOutcome): void;
}

export class HeldStore implements Store {
  readonly journal: MemoryJournal;
  readonly durability = 'VOLATILE';
  leaseMs: number | null = null;
  needsCheckpoints = true;
  archive: Archive | null = null;
  readonly liveView = null;
  /** Whether commits wait for `release`. */
  closed = false;
  /** The most commits that were ever in flight at once. */
  mostInFlight = 0;
  readonly #store: MemoryStore;
  readonly #held: HeldCommit[] = [];
  /** Committed events by workflow. */
  readonly #events = new Map<string, DurableEvent[]>();

  constructor(journal = new MemoryJournal()) {
    this.journal = journal;
    this.#store = new MemoryStore(journal);
    for (const batch of journal.batches) this.#record(batch);
  }

  /** Commits that wait. */
  get inFlight(): number {
    return this.#held.length;
  }

  /** Lets the oldest commit through. */
  async letThrough(): Promise<void> {
    const commit = this.#held.shift();
    if (commit === undefined) return;
    const outcome = await this.#store.commit(commit.ownership, commit.batch);
    if (outcome.kind === 'durable') this.#record(commit.batch);
    commit.answer(outcome);
  }

  /** Does the oldest commit and answers as if nobody knew. */
  async loseReply(): Promise<void> {
    const commit = this.#held.shift();
    if (commit === undefined) return;
    const outcome = await this.#store.commit(commit.ownership, commit.batch);
    if (outcome.kind === 'durable') this.#record(commit.batch);
    commit.answer({ kind: 'unknown', message: 'the reply was lost' });
  }

  /** Answers the oldest commit without doing it. */
  refuse(outcome: CommitOutcome): void {
    this.#held.shift()?.answer(outcome);
  }

  /** Opens the gate, also for what waits. */
  async open(): Promise<void> {
    this.closed = false;
    while (this.#held.length > 0) await this.letThrough();
  }

  /** Committed events of a workflow, oldest first, whatever a checkpoint has made of the journal. */
  eventsOf(workflowId: string): readonly DurableEvent[] {
    return this.#events.get(workflowId) ?? [];
  }

  acquire(): Promise<Acquisition> {
    return this.#store.acquire();
  }

  renew(ownership: Ownership, _lastSeq: number): Promise<Renewal> {
    return this.#store.renew(ownership);
  }

  reclaim(ownership: Ownership): Promise<Reclaim> {
    return this.#store.reclaim(ownership);
  }

  release(): Promise<void> {
    return this.#store.release();
  }

  checkpoint(ownership: Ownership, slice: CheckpointSlice): Promise<Kept> {
    return this.#store.checkpoint(ownership, slice);
  }

  commit(ownership: Ownership, batch: JournalBatch): Promise<CommitOutcome> {
    return new Promise((answer) => {
      this.#held.push({ ownership, batch, answer });
      this.mostInFlight = Math.max(this.mostInFlight, this.#held.length);
      if (!this.closed) void this.letThrough();
    });
  }

  load(): AsyncIterable<LoadedPart> {
    return this.#store.load();
  }

  definitionsByHash(hashes: readonly string[]): Promise<ReadonlyMap<string, StoredDefinition>> {
    return this.#store.definitionsByHash(hashes);
  }

  putDefinition(definition: StoredDefinition): Promise<StoredDefinition> {
    return this.#store.putDefinition(definition);
  }

  definitions(): AsyncIterable<StoredDefinition> {
    return this.#store.definitions();
  }

  health(): readonly TierHealth[] {
    return this.#store.health();
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #record({ entries }: JournalBatch): void {
    for (const { workflowId, events } of entries) {
      const known = this.#events.get(workflowId);
      if (known === undefined) this.#events.set(workflowId, [...events]);
      else for (const event of events) known.push(event);
    }
  }
}
