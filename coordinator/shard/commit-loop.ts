/**
 * The commit loop: what was decided goes out in batches, one commit in flight, and effects wait for the facts they rest on.
 *
 * A commit that certainly did not happen is tried again for as long as it may still succeed; one of which nobody knows is found out by taking the shard anew
 * from oneself (`reclaim`), and then either counts or is tried again. Meanwhile everything waits: the batches grow, nothing is told.
 *
 * Invariants
 * 1. An effect added after some events is released only when those events are committed; effects are released in the order in which they were added.
 * 2. At most one commit is in flight. What is decided meanwhile is the next batch.
 * 3. No effect is released while the lease is not known to hold (`mayTell`), whatever was committed.
 * 4. After `fenced`, a commit that never can succeed, a lost reclaim, and after `stop`, no effect is ever released again.
 * 5. A batch is sent again only after an answer that proves that it is not in the journal.
 * 6. An effect that throws, and a store that does, is a broken invariant: whoever owns the loop is told, and must stop it.
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

/** What a commit loop needs from around it. */
export interface CommitLoopPorts {
  /** Whether the lease is known to hold at this moment. `flush` is called when that may have changed. */
  readonly mayTell: () => boolean;
  /** The ownership is another one from now on: by `reclaim`. */
  readonly onReclaimed: (ownership: Ownership) => void;
  /** Runs `turn` after `delayMs`. */
  readonly later: (delayMs: number, turn: () => void) => void;
  /** The shard is lost, or a commit can never succeed: nothing goes on. */
  readonly onLost: (reason: string) => void;
  /** An invariant is broken. */
  readonly onBroken: (error: unknown) => void;
  /** A batch goes out. */
  readonly onBatch: (events: number) => void;
  /** What keeps commits from succeeding at the moment; null when nothing does any more. */
  readonly onTrouble: (message: string | null) => void;
}

/** First and longest pause before a commit, or the question what became of it, is tried again. */
const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 1_000;

export class CommitLoop {
  readonly #store: Store;
  readonly #caps: BatchCaps;
  readonly #ports: CommitLoopPorts;
  #ownership: Ownership;
  /** Batches that wait, the last of them open. */
  #waiting: OpenBatch[] = [];
  /** Effects whose facts are committed. */
  #due: Effect[] = [];
  #inFlight = false;
  #isFindingOut = false;
  #isTelling = false;
  #isOver = false;
  /** What was appended and is not committed. */
  #events = 0;
  #bytes = 0;
  #nextSeq: number;
  #committedSeq: number;
  #toldSeq: number;
  /** Answers in a row that were no good. */
  #failures = 0;
  #isTroubled = false;

  constructor(store: Store, ownership: Ownership, caps: BatchCaps, ports: CommitLoopPorts) {
    this.#store = store;
    this.#ownership = ownership;
    this.#caps = caps;
    this.#ports = ports;
    this.#nextSeq = ownership.lastSeq + 1;
    this.#committedSeq = ownership.lastSeq;
    this.#toldSeq = ownership.lastSeq;
  }

  /** Number of the last committed event of the shard. */
  get committedSeq(): number {
    return this.#committedSeq;
  }

  /** Number of the last event whose effects were all released: what follows the journal by effects has seen everything up to it, and perhaps nothing after it. */
  get toldSeq(): number {
    return this.#toldSeq;
  }

  /** Whether the shard is being taken anew from oneself, to find out what became of a commit. */
  get isFindingOut(): boolean {
    return this.#isFindingOut;
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

  /** Starts what can be started and tells what may be told. Called at the end of each turn, and when the lease was renewed. */
  flush(): void {
    while (!this.#inFlight && !this.#isOver) {
      const batch = this.#waiting.shift();
      if (batch === undefined) break;
      if (batch.events === 0) this.#settle(batch);
      else this.#commit(batch);
    }
    this.#tell();
  }

  /** What it will do next depends on this alone, and on the batches that wait: for those who look for worlds that are the same. */
  picture(): unknown {
    const waiting = this.#waiting.map(({ entries, effects }) => [entries.map(({ workflowId }) => workflowId), effects.length]);
    const { epoch, termId } = this.#ownership;
    return [
      waiting,
      this.#due.length,
      this.#inFlight,
      this.#isFindingOut,
      this.#isOver,
      epoch,
      termId,
      this.#nextSeq,
      this.#committedSeq,
      this.#failures,
    ];
  }

  /** Commits nothing more, releases nothing more. What is in flight may still become durable; nobody is told. */
  stop(): void {
    this.#isOver = true;
    this.#waiting = [];
    this.#due = [];
  }

  #open(): OpenBatch {
    let batch = this.#waiting.at(-1);
    if (batch === undefined) {
      batch = { entries: [], events: 0, bytes: 0, effects: [] };
      this.#waiting.push(batch);
    }
    return batch;
  }

  #settle(batch: OpenBatch): void {
    if (this.#due.length === 0) this.#due = batch.effects;
    else for (const effect of batch.effects) this.#due.push(effect);
  }

  #tell(): void {
    // An effect may flush; the effects after it must not be overtaken.
    if (this.#isTelling) return;
    this.#isTelling = true;
    try {
      while (this.#due.length > 0 && !this.#isOver && this.#ports.mayTell()) {
        const due = this.#due;
        this.#due = [];
        for (const effect of due) effect();
      }
    } finally {
      this.#isTelling = false;
    }
  }

  #commit(batch: OpenBatch): void {
    const firstSeq = this.#nextSeq;
    const lastSeq = firstSeq + batch.events - 1;
    this.#nextSeq = lastSeq + 1;
    this.#inFlight = true;
    this.#ports.onBatch(batch.events);
    this.#send(batch, { firstSeq, lastSeq, entries: batch.entries });
  }

  #send(batch: OpenBatch, journalBatch: JournalBatch): void {
    this.#await(this.#store.commit(this.#ownership, journalBatch), (outcome: CommitOutcome) => {
      switch (outcome.kind) {
        case 'durable':
          return this.#durable(batch, journalBatch.lastSeq);
        case 'fenced':
          return this.#lose('commit: another coordinator has the shard');
        case 'aborted':
          if (!outcome.isTransient) return this.#lose(`commit: ${outcome.message}`);
          return this.#retry(outcome.message, () => this.#send(batch, journalBatch));
        case 'unknown':
          this.#trouble(outcome.message);
          return this.#findOut(batch, journalBatch);
        default:
          return outcome satisfies never;
      }
    });
  }

  /** Takes the shard anew from oneself: whatever was on its way before cannot take effect after that, so the number of the last event says what did. */
  #findOut(batch: OpenBatch, journalBatch: JournalBatch): void {
    this.#isFindingOut = true;
    this.#await(this.#store.reclaim(this.#ownership), (answer) => {
      if (answer.kind === 'lost') return this.#lose(`commit of unknown outcome: ${answer.message}`);
      if (answer.kind === 'unavailable') return this.#retry(answer.message, () => this.#findOut(batch, journalBatch));
      const { firstSeq, lastSeq } = journalBatch;
      const found = answer.ownership.lastSeq;
      this.#isFindingOut = false;
      this.#ownership = answer.ownership;
      this.#ports.onReclaimed(answer.ownership);
      if (found === lastSeq) return this.#durable(batch, lastSeq);
      if (found === firstSeq - 1) return this.#send(batch, journalBatch);
      return this.#lose(
        `the journal ends at ${found}, where ${firstSeq - 1} or ${lastSeq} was expected: it went back in time, or was written by others`,
      );
    });
  }

  #durable(batch: OpenBatch, lastSeq: number): void {
    this.#inFlight = false;
    this.#failures = 0;
    if (this.#isTroubled) this.#trouble(null);
    this.#committedSeq = lastSeq;
    this.#events -= batch.events;
    this.#bytes -= batch.bytes;
    batch.effects.push(() => {
      this.#toldSeq = lastSeq;
    });
    this.#settle(batch);
    this.flush();
  }

  #retry(message: string, again: () => void): void {
    this.#trouble(message);
    const pauseMs = Math.min(RETRY_MIN_MS * 2 ** this.#failures, RETRY_MAX_MS);
    this.#failures += 1;
    this.#ports.later(pauseMs, () => {
      if (!this.#isOver) again();
    });
  }

  #trouble(message: string | null): void {
    this.#isTroubled = message !== null;
    this.#ports.onTrouble(message);
  }

  #lose(reason: string): void {
    this.stop();
    this.#ports.onLost(reason);
  }

  #await<T>(promise: Promise<T>, then: (value: T) => void): void {
    void promise
      .then((value) => {
        if (!this.#isOver) then(value);
      })
      .catch((error: unknown) => this.#ports.onBroken(error));
  }
}
