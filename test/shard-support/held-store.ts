/**
 * A store whose commits end when the test says so: a memory store behind a gate. While the gate is open it is the memory store itself.
 *
 * Invariant: a commit is either not there and not answered, or there and answered; the test never sees one without the other.
 */
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import { MemoryJournal, MemoryStore } from '../../coordinator/store/memory/memory.ts';
import type { CommitOutcome, JournalBatch, Ownership, Store, StoredDefinition, TierHealth } from '../../coordinator/store/store.ts';

interface HeldCommit {
  readonly ownership: Ownership;
  readonly batch: JournalBatch;
  answer(outcome: CommitOutcome): void;
}

export class HeldStore implements Store {
  readonly journal: MemoryJournal;
  readonly durability = 'VOLATILE';
  /** Whether commits wait for `release`. */
  closed = false;
  /** The most commits that were ever in flight at once. */
  mostInFlight = 0;
  readonly #store: MemoryStore;
  readonly #held: HeldCommit[] = [];
  /** Committed events by workflow, and how many batches of the journal are in there. */
  readonly #events = new Map<string, DurableEvent[]>();
  #indexed = 0;

  constructor(journal = new MemoryJournal()) {
    this.journal = journal;
    this.#store = new MemoryStore(journal);
  }

  /** Commits that wait. */
  get inFlight(): number {
    return this.#held.length;
  }

  /** Lets the oldest commit through. */
  async release(): Promise<void> {
    const commit = this.#held.shift();
    if (commit !== undefined) commit.answer(await this.#store.commit(commit.ownership, commit.batch));
  }

  /** Answers the oldest commit without doing it. */
  refuse(outcome: CommitOutcome): void {
    this.#held.shift()?.answer(outcome);
  }

  /** Opens the gate, also for what waits. */
  async open(): Promise<void> {
    this.closed = false;
    while (this.#held.length > 0) await this.release();
  }

  /** Committed events of a workflow, oldest first. */
  eventsOf(workflowId: string): readonly DurableEvent[] {
    for (; this.#indexed < this.journal.batches.length; this.#indexed++) {
      for (const { workflowId: id, events } of this.journal.batches[this.#indexed].entries) {
        const known = this.#events.get(id);
        if (known === undefined) this.#events.set(id, [...events]);
        else known.push(...events);
      }
    }
    return this.#events.get(workflowId) ?? [];
  }

  acquire(): Promise<Ownership> {
    return this.#store.acquire();
  }

  commit(ownership: Ownership, batch: JournalBatch): Promise<CommitOutcome> {
    return new Promise((answer) => {
      this.#held.push({ ownership, batch, answer });
      this.mostInFlight = Math.max(this.mostInFlight, this.#held.length);
      if (!this.closed) void this.release();
    });
  }

  load(afterSeq: number): AsyncIterable<JournalBatch> {
    return this.#store.load(afterSeq);
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
}
