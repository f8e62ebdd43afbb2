/**
 * A database as stores of it see it: the row that fences, with its queue of those who wait for it; the journal, checkpoints and archive behind it.
 * What it answers to a statement is what `coordinator/store/postgres/` asks of PostgreSQL; what may happen to a statement on its way is drawn by chance.
 *
 * Invariants
 * 1. A statement takes effect at one moment, as a whole or not at all, while it has the rows that it locks.
 * 2. A statement that somebody has given up goes on all the same: it takes effect later, or is killed.
 * 3. Leases end by the clock of the database.
 */
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import type { JournalEntry, Owner, StoredDefinition } from '../../coordinator/store/store.ts';
import type { CommittedBatch } from '../checkers/evidence.ts';
import type { Random } from '../engine-support/random.ts';
import type { Clock } from './clock.ts';
import type { Rates } from './plan.ts';

/** The row that fences commits. */
export interface ShardRow {
  epoch: number;
  termId: string;
  lastSeq: number;
  owner: Owner;
  /** By the clock of the database. */
  leaseUntil: number;
}

/** A workflow at rest. */
export interface ArchiveRow {
  readonly seq: number;
  readonly hasEnded: boolean;
  readonly events: readonly DurableEvent[];
}

/** What became of a statement. `refused`: it was not done, and that is known. `broken`: the connection is gone. */
export type Reply<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'broken'; readonly message: string };

/** A statement on its way. */
export interface Statement<T = unknown> {
  readonly name: string;
  /** The process that sent it. */
  readonly from: string;
  readonly locks: readonly Lock[];
  readonly isWrite: boolean;
  /** Takes effect. */
  readonly run: () => T;
  readonly answer: (reply: Reply<T>) => void;
  /** Whoever sent it has given it up. */
  isGivenUp: boolean;
  phase: 'travels' | 'waits' | 'runs' | 'over';
  /** It has done its work and waits only to be confirmed: killing it does not undo it. */
  isWritten: boolean;
  cancel: () => void;
}

/** A row that one statement at a time may hold. */
export class Lock {
  holder: Statement | null = null;
  readonly queue: { readonly statement: Statement; readonly granted: () => void }[] = [];
}

/** What a copy of the database holds. */
interface Content {
  readonly shard: ShardRow;
  readonly slice: number;
  readonly batches: readonly CommittedBatch[];
  readonly audit: number;
  readonly checkpointSeq: number;
  readonly checkpoints: ReadonlyMap<string, JournalEntry>;
  readonly archive: ReadonlyMap<string, ArchiveRow>;
  readonly keys: ReadonlyMap<string, { readonly workflowId: string; readonly requestHash: string }>;
}

const NOBODY: Owner = { coordinatorId: '', address: '' };

export class Database {
  shard: ShardRow = { epoch: 0, termId: '', lastSeq: 0, owner: NOBODY, leaseUntil: Number.NEGATIVE_INFINITY };
  /** Number of the latest slice of a checkpoint, over all owners. */
  slice = 0;
  checkpointSeq = 0;
  /** Batches after the checkpoint. */
  batches: CommittedBatch[] = [];
  checkpoints = new Map<string, JournalEntry>();
  archive = new Map<string, ArchiveRow>();
  keys = new Map<string, { readonly workflowId: string; readonly requestHash: string }>();
  readonly definitions = new Map<string, StoredDefinition>();
  /** Everything that was ever committed. */
  readonly audit: CommittedBatch[] = [];
  readonly shardLock = new Lock();
  readonly checkpointLock = new Lock();
  isReadOnly = false;
  isUp = true;
  /** What goes wrong from now on. */
  rates: Rates;
  /** Statements that are not over. */
  readonly statements = new Set<Statement>();
  onCommit: (batch: CommittedBatch) => void = () => {};
  onWentBack: () => void = () => {};
  readonly #clock: Clock;
  readonly #random: Random;
  #copy: Content | null = null;

  constructor(clock: Clock, random: Random, rates: Rates) {
    this.#clock = clock;
    this.#random = random;
    this.rates = rates;
  }

  /** Milliseconds by its own clock, which is not that of anybody else. */
  now(): number {
    return this.#clock.now + 77_000;
  }

  /** A statement is sent. It arrives later, or never. */
  send<T>(statement: Omit<Statement<T>, 'phase' | 'isWritten' | 'isGivenUp' | 'cancel'>): Statement<T> {
    const sent: Statement<T> = { ...statement, isGivenUp: false, phase: 'travels', isWritten: false, cancel: () => {} };
    const all = sent as Statement;
    this.statements.add(all);
    const random = this.#random;
    if (random.chance(this.rates.requestLost)) {
      this.#end(all, random.chance(0.5) ? { kind: 'broken', message: 'the connection was reset' } : null);
      return sent;
    }
    const hangs = random.chance(this.rates.requestHangs);
    const travelMs = this.#latency() + (hangs ? 1_000 + random.below(9_000) : 0);
    // The connection breaks, and what was sent on it still arrives.
    if (hangs && random.chance(0.5))
      this.#clock.after(this.#latency(), () => sent.answer({ kind: 'broken', message: 'the connection was reset' }));
    all.cancel = this.#clock.after(travelMs, () => this.#arrive(all));
    return sent;
  }

  /** Ends statements of a process that hold a row, or wait for one. */
  terminate(from: string, name: string): void {
    for (const statement of [...this.statements])
      if (statement.from === from && statement.name === name && statement.phase !== 'travels') this.#kill(statement);
  }

  /** Everything under way ends; back after `awayMs`. */
  restart(awayMs: number): void {
    this.isUp = false;
    for (const statement of [...this.statements]) if (statement.phase !== 'travels') this.#kill(statement);
    this.#clock.after(awayMs, () => {
      this.isUp = true;
    });
  }

  /** Makes the copy that a failover would go on from. */
  copy(): void {
    this.#copy = {
      shard: { ...this.shard },
      slice: this.slice,
      batches: [...this.batches],
      audit: this.audit.length,
      checkpointSeq: this.checkpointSeq,
      checkpoints: new Map(this.checkpoints),
      archive: new Map(this.archive),
      keys: new Map(this.keys),
    };
  }

  /**
   * A copy takes over that lacks what was last committed: that is lost, though it was acknowledged. Connections were to the one before: what is on its way
   * on them arrives nowhere.
   */
  failOver(): void {
    for (const statement of [...this.statements]) this.#kill(statement, false);
    const copy = this.#copy;
    if (copy === null) return;
    this.shard = { ...copy.shard };
    this.slice = copy.slice;
    this.batches = [...copy.batches];
    this.audit.length = copy.audit;
    this.checkpointSeq = copy.checkpointSeq;
    this.checkpoints = new Map(copy.checkpoints);
    this.archive = new Map(copy.archive);
    this.keys = new Map(copy.keys);
    this.onWentBack();
  }

  /** Whether a statement of anybody but `from` is under way. */
  isBusyFor(from: string, name: string): boolean {
    for (const statement of this.statements) if (statement.from !== from && statement.name === name && statement.isGivenUp) return true;
    return false;
  }

  #latency(): number {
    return 1 + this.#random.below(this.#random.chance(this.rates.databaseSlow) ? 900 : 4);
  }

  #arrive(statement: Statement): void {
    const refusal = this.#refusalOf(statement);
    if (refusal === null) this.#lock(statement, 0);
    else this.#end(statement, refusal);
  }

  /** Why a statement is not even begun; null when it is. */
  #refusalOf({ isWrite }: Statement): Reply<never> | null {
    const random = this.#random;
    if (!this.isUp) return { kind: random.chance(0.5) ? 'refused' : 'broken', message: 'the database does not answer' };
    if (isWrite && this.isReadOnly) return { kind: 'refused', message: '25006 read only' };
    return isWrite && random.chance(this.rates.aborted) ? { kind: 'refused', message: '40001 could not serialize' } : null;
  }

  #lock(statement: Statement, place: number): void {
    const lock = statement.locks[place];
    if (lock === undefined) {
      this.#execute(statement);
      return;
    }
    const granted = (): void => {
      lock.holder = statement;
      this.#lock(statement, place + 1);
    };
    statement.phase = 'waits';
    if (lock.holder === null) granted();
    else lock.queue.push({ statement, granted });
  }

  #execute(statement: Statement): void {
    statement.phase = 'runs';
    const hangs = this.#random.chance(this.rates.statementHangs);
    statement.isWritten = this.#random.chance(0.5);
    const ms = 1 + this.#random.below(3) + (hangs ? 500 + this.#random.below(8_000) : 0);
    statement.cancel = this.#clock.after(ms, () => this.#end(statement, { kind: 'done', value: statement.run() }));
  }

  /** The connection of a statement is closed from the other side. */
  #kill(statement: Statement, mayBeWritten = true): void {
    statement.cancel();
    if (statement.phase === 'runs' && statement.isWritten && mayBeWritten) statement.run();
    this.#end(statement, { kind: 'broken', message: '57P01 terminating connection' });
  }

  #end(statement: Statement, reply: Reply<unknown> | null): void {
    statement.phase = 'over';
    this.statements.delete(statement);
    for (const lock of [this.shardLock, this.checkpointLock]) {
      const waits = lock.queue.findIndex((entry) => entry.statement === statement);
      if (waits >= 0) lock.queue.splice(waits, 1);
      if (lock.holder !== statement) continue;
      lock.holder = null;
      lock.queue.shift()?.granted();
    }
    if (reply === null || this.#random.chance(this.rates.replyLost)) return;
    this.#clock.after(this.#latency(), () => statement.answer(reply));
  }
}
