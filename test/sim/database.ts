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

/** What became of a statement. `refused`: it was not done, and that is known; `isForGood`: it never will be. `broken`: the connection is gone. */
export type Reply<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'refused'; readonly isForGood: boolean; readonly message: string }
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
  /** A state worth reaching was reached. */
  reached: (state: string) => void = () => {};
  readonly #clock: Clock;
  readonly #random: Random;
  /** By node, until when nothing gets from there to here, or back. */
  readonly #separatedUntil = new Map<string, number>();
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
      this.reached('a statement was lost');
      this.#end(all, random.chance(0.5) ? { kind: 'broken', message: 'the connection was reset' } : null);
      return sent;
    }
    const hangs = random.chance(this.rates.requestHangs);
    if (hangs) this.reached('a statement was long on its way');
    const travelMs = this.#latency() + (hangs ? 1_000 + random.below(9_000) : 0);
    // The connection breaks, and what was sent on it still arrives.
    if (hangs && random.chance(0.5))
      this.#clock.after(this.#latency(), () => sent.answer({ kind: 'broken', message: 'the connection was reset' }));
    all.cancel = this.#clock.after(travelMs, () => this.#arrive(all));
    return sent;
  }

  /** Ends statements of a process that hold a row, or wait for one. */
  terminate(from: string, name: string): void {
    if (this.#apartMs(from) > 0) return;
    for (const statement of [...this.statements])
      if (statement.from === from && statement.name === name && statement.phase !== 'travels') this.#kill(statement);
  }

  /** Nothing gets from a node to the database, or back, for a while. */
  separate(node: string, ms: number): boolean {
    this.#separatedUntil.set(node, Math.max(this.#separatedUntil.get(node) ?? 0, this.#clock.now + ms));
    return true;
  }

  /** Everybody reaches the database again. */
  rejoin(): void {
    this.#separatedUntil.clear();
  }

  /** Everything under way ends; back after `awayMs`. False when it is down already. */
  restart(awayMs: number): boolean {
    if (!this.isUp) return false;
    this.isUp = false;
    for (const statement of [...this.statements]) if (statement.phase !== 'travels') this.#kill(statement);
    this.#clock.after(awayMs, () => {
      this.isUp = true;
    });
    return true;
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
   * on them arrives nowhere. False when there is no copy.
   */
  failOver(): boolean {
    for (const statement of [...this.statements]) this.#kill(statement, false);
    const copy = this.#copy;
    if (copy === null) return false;
    this.shard = { ...copy.shard };
    this.slice = copy.slice;
    this.batches = [...copy.batches];
    this.audit.length = copy.audit;
    this.checkpointSeq = copy.checkpointSeq;
    this.checkpoints = new Map(copy.checkpoints);
    this.archive = new Map(copy.archive);
    this.keys = new Map(copy.keys);
    this.onWentBack();
    return true;
  }

  /** Whether a statement of anybody but `from` is under way. */
  isBusyFor(from: string, name: string): boolean {
    for (const statement of this.statements) if (statement.from !== from && statement.name === name && statement.isGivenUp) return true;
    return false;
  }

  #latency(): number {
    const isSlow = this.#random.chance(this.rates.databaseSlow);
    if (isSlow) this.reached('the database was slow');
    return 1 + this.#random.below(isSlow ? 900 : 4);
  }

  /** For how much longer the node of a process is separated from here. */
  #apartMs(from: string): number {
    if (this.#separatedUntil.size === 0) return 0;
    return Math.max(0, (this.#separatedUntil.get(from.slice(0, from.indexOf('/'))) ?? 0) - this.#clock.now);
  }

  #arrive(statement: Statement): void {
    const apartMs = this.#apartMs(statement.from);
    if (apartMs > 0) {
      this.reached('a statement met a separation from the database');
      if (this.#random.chance(0.5)) this.#end(statement, null);
      // Its connection sends it again, and again, until it gets through.
      else statement.cancel = this.#clock.after(apartMs + this.#latency(), () => this.#arrive(statement));
      return;
    }
    const refusal = this.#refusalOf(statement);
    if (refusal === null) this.#lock(statement, 0);
    else this.#end(statement, refusal);
  }

  /** Why a statement is not even begun; null when it is. */
  #refusalOf({ name, isWrite }: Statement): Reply<never> | null {
    const random = this.#random;
    const refused = (message: string, isForGood = false): Reply<never> => ({ kind: 'refused', isForGood, message });
    if (!this.isUp) {
      const message = 'the database does not answer';
      return random.chance(0.5) ? refused(message) : { kind: 'broken', message };
    }
    if (isWrite && this.isReadOnly) return refused('25006 read only');
    const { refusedForGood } = this.rates;
    if (name === 'commit' && refusedForGood > 0 && random.chance(refusedForGood)) return refused('22003 out of range', true);
    return isWrite && random.chance(this.rates.aborted) ? refused('40001 could not serialize') : null;
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
    if (hangs) this.reached('a statement hung');
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
    if (reply !== null) this.#answer(statement, reply);
  }

  #answer(statement: Statement, reply: Reply<unknown>): void {
    if (this.#random.chance(this.rates.replyLost)) {
      this.reached('a reply of the database was lost');
      return;
    }
    this.#clock.after(this.#latency(), () => {
      const apartMs = this.#apartMs(statement.from);
      if (apartMs === 0) return statement.answer(reply);
      this.reached('a reply met a separation from the database');
      if (this.#random.chance(0.5)) this.#clock.after(apartMs + this.#latency(), () => statement.answer(reply));
    });
  }
}
