/**
 * The commit loop: what was decided goes out in batches, one commit in flight, and effects wait for the facts they rest on.
 *
 * Invariants
 * 1. An effect added after some events is released only when those events are committed; effects are released in the order in which they were added.
 * 2. At most one commit is in flight. What is decided meanwhile is the next batch.
 * 3. After anything but `durable`, and after `stop`, no effect is ever released again.
 * 4. An effect that throws, and a store that does, is a broken invariant: whoever owns the loop is told, and must stop it.
 */
import type { CommitOutcome, JournalBatch, JournalEntry, Ownership, Store } from '../store/store.ts';

/** Something that leaves the shard. */
export type Effect = () => void;

interface OpenBatch {
  entries: JournalEntry[];
  events: number;
  bytes: number;
  effects: Effect[];
}

/** Bounds of one batch. */
export interface BatchCaps {
  readonly events: number;
  readonly bytes: number;
}

/** A commit that did not succeed. */
export type FailedCommit = Exclude<CommitOutcome, { kind: 'durable' }>;

export class CommitLoop {
  readonly #store: Store;
  readonly #ownership: Ownership;
  readonly #caps: BatchCaps;
  readonly #onFailure: (outcome: FailedCommit) => void;
  readonly #onBroken: (error: unknown) => void;
  readonly #onBatch: (events: number) => void;
  /** Batches that wait, the last of them open. */
  #waiting: OpenBatch[] = [];
  #inFlight = false;
  #isOver = false;
  /** What was appended and is not committed. */
  #events = 0;
  #bytes = 0;
  #nextSeq: number;
  #committedSeq: number;

  constructor(
    store: Store,
    ownership: Ownership,
    caps: BatchCaps,
    onFailure: (outcome: FailedCommit) => void,
    onBroken: (error: unknown) => void,
    onBatch: (events: number) => void,
  ) {
    this.#store = store;
    this.#ownership = ownership;
    this.#caps = caps;
    this.#onFailure = onFailure;
    this.#onBroken = onBroken;
    this.#onBatch = onBatch;
    this.#nextSeq = ownership.lastSeq + 1;
    this.#committedSeq = ownership.lastSeq;
  }

  /** Number of the last committed event of the shard. */
  get committedSeq(): number {
    return this.#committedSeq;
  }

  /** Events that are not committed yet, those in flight included. */
  get backlogEvents(): number {
    return this.#events;
  }

  /** Their bytes, roughly. */
  get backlogBytes(): number {
    return this.#bytes;
  }

  /** Adds facts. `bytes` is their approximate size. */
  append(entry: JournalEntry, bytes: number): void {
    let batch = this.#open();
    if (batch.events > 0 && (batch.events + entry.events.length > this.#caps.events || batch.bytes + bytes > this.#caps.bytes)) {
      batch = { entries: [], events: 0, bytes: 0, effects: [] };
      this.#waiting.push(batch);
    }
    batch.entries.push(entry);
    batch.events += entry.events.length;
    batch.bytes += bytes;
    this.#events += entry.events.length;
    this.#bytes += bytes;
  }

  /** Adds an effect that rests on everything appended so far. */
  after(effect: Effect): void {
    this.#open().effects.push(effect);
  }

  /** Starts what can be started. Called at the end of each turn. */
  flush(): void {
    while (!this.#inFlight && !this.#isOver) {
      const batch = this.#waiting.shift();
      if (batch === undefined) return;
      if (batch.events === 0) {
        for (const effect of batch.effects) effect();
      } else {
        this.#commit(batch);
      }
    }
  }

  /** Commits nothing more, releases nothing more. What is in flight may still become durable; nobody is told. */
  stop(): void {
    this.#isOver = true;
    this.#waiting = [];
  }

  #open(): OpenBatch {
    let batch = this.#waiting.at(-1);
    if (batch === undefined) {
      batch = { entries: [], events: 0, bytes: 0, effects: [] };
      this.#waiting.push(batch);
    }
    return batch;
  }

  #commit(batch: OpenBatch): void {
    const firstSeq = this.#nextSeq;
    const lastSeq = firstSeq + batch.events - 1;
    this.#nextSeq = lastSeq + 1;
    this.#inFlight = true;
    const journalBatch: JournalBatch = { firstSeq, lastSeq, entries: batch.entries };
    this.#onBatch(batch.events);
    void this.#store
      .commit(this.#ownership, journalBatch)
      .then((outcome) => this.#end(batch, lastSeq, outcome))
      .catch((error: unknown) => this.#onBroken(error));
  }

  #end(batch: OpenBatch, lastSeq: number, outcome: CommitOutcome): void {
    this.#inFlight = false;
    if (this.#isOver) return;
    if (outcome.kind !== 'durable') {
      this.stop();
      this.#onFailure(outcome);
      return;
    }
    this.#committedSeq = lastSeq;
    this.#events -= batch.events;
    this.#bytes -= batch.bytes;
    for (const effect of batch.effects) effect();
    this.flush();
  }
}
