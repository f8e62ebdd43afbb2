/**
 * Two coordinators with the production commit loop and tenure, one database, and everything that can come between them, one step at a time.
 *
 * A world is made by doing the steps of a path; `choices` says what could happen next, `key` what two worlds must have in common to be the same.
 *
 * Checked after each step (`violations`)
 * 1. A batch is in the journal once, and numbers have no gaps.
 * 2. An epoch has one term, and epochs do not go down along the journal.
 * 3. What was told is in the journal.
 * 4. Nothing is told while another coordinator has the shard.
 */
import { type BatchCaps, CommitLoop } from '../../coordinator/shard/commit-loop.ts';
import { Tenure } from '../../coordinator/shard/tenure.ts';
import type { Acquisition, CommitOutcome, JournalBatch, Ownership, Reclaim, Renewal, Store } from '../../coordinator/store/store.ts';
import { type Answer, apply, type Database, type Flaw, newDatabase, type Statement } from './database.ts';

/** How far the search goes. */
export interface Scope {
  readonly submits: number;
  readonly ticks: number;
  readonly faults: number;
  readonly flaws: ReadonlySet<Flaw>;
}

export const LEASE_MS = 3_000;
const TICK_MS = 1_000;
const CAPS: BatchCaps = { events: 10, bytes: 1_000 };

/** A statement with what became of it. */
interface Pending {
  readonly by: number;
  /** Which life of the coordinator sent it. */
  readonly life: number;
  readonly statement: Statement;
  answer: Answer | null;
  /** Whether the coordinator still waits for it. A statement that nobody waits for may still be done. */
  isAwaited: boolean;
  readonly settle: (answer: Answer | null) => void;
}

interface Timer {
  readonly dueAt: number;
  readonly turn: () => void;
}

interface Term {
  readonly loop: CommitLoop;
  readonly tenure: Tenure;
}

interface Coordinator {
  readonly place: number;
  life: number;
  phase: 'idle' | 'acquiring' | 'open';
  term: Term | null;
  timers: Timer[];
  submits: number;
  readonly told: string[];
}

export class World {
  readonly scope: Scope;
  readonly database: Database = newDatabase();
  readonly coordinators: readonly Coordinator[];
  readonly violations: string[] = [];
  pending: Pending[] = [];
  now = 0;
  faults = 0;

  constructor(scope: Scope) {
    this.scope = scope;
    this.coordinators = [0, 1].map((place) => ({ place, life: 0, phase: 'idle', term: null, timers: [], submits: 0, told: [] }));
  }

  /** What could happen next. */
  choices(): string[] {
    const { scope } = this;
    const found: string[] = [];
    for (const { place, phase, submits, timers } of this.coordinators) {
      if (phase === 'idle') found.push(`acquire ${place}`);
      if (phase === 'open' && submits < scope.submits) found.push(`submit ${place}`);
      if (timers.some(({ dueAt }) => dueAt <= this.now)) found.push(`timer ${place}`);
      if (phase === 'open' && this.faults < scope.faults) found.push(`crash ${place}`);
    }
    for (const [index, { answer, isAwaited }] of this.pending.entries()) {
      if (answer === null) found.push(`do ${index}`);
      else if (isAwaited) found.push(`answer ${index}`);
      if (isAwaited && this.faults < scope.faults) found.push(`cut ${index}`);
    }
    if (this.now < scope.ticks * TICK_MS) found.push('tick');
    return found;
  }

  /** One step. */
  async step(choice: string): Promise<void> {
    const [verb, word = ''] = choice.split(' ');
    const number = Number(word);
    switch (verb) {
      case 'acquire':
        this.#acquire(this.coordinators[number]);
        break;
      case 'submit':
        this.#submit(this.coordinators[number]);
        break;
      case 'timer':
        this.#fire(this.coordinators[number]);
        break;
      case 'crash':
        this.faults += 1;
        this.#drop(this.coordinators[number]);
        break;
      case 'do': {
        const pending = this.pending[number];
        pending.answer = apply(this.database, pending.statement, this.now, LEASE_MS, this.scope.flaws);
        break;
      }
      case 'answer': {
        const pending = this.pending[number];
        pending.isAwaited = false;
        pending.settle(pending.answer);
        break;
      }
      case 'cut':
        this.faults += 1;
        this.pending[number].isAwaited = false;
        this.pending[number].settle(null);
        break;
      case 'tick':
        this.now += TICK_MS;
        break;
      default:
        throw new Error(`no step '${choice}'`);
    }
    for (let i = 0; i < 6; i++) await null;
    // What was answered or cut off after it was done can do nothing more.
    this.pending = this.pending.filter(({ answer, isAwaited }) => isAwaited || answer === null);
    this.#check();
  }

  /** The same for worlds that have the same future. */
  key(): string {
    const { epoch, owner, leaseUntil, lastSeq, journal } = this.database;
    return JSON.stringify([
      [epoch, owner, Math.max(0, leaseUntil - this.now), lastSeq, journal.map(({ batch, epoch: under }) => [batch, under])],
      this.coordinators.map(({ phase, term, timers, submits, told }) => [
        phase,
        term === null ? null : [term.loop.picture(), term.tenure.picture()],
        timers.map(({ dueAt }) => Math.max(0, dueAt - this.now)),
        submits,
        told,
      ]),
      this.pending.map(({ by, life, statement, answer, isAwaited }) => [
        by,
        life === this.coordinators[by].life,
        statement,
        answer,
        isAwaited,
      ]),
      this.now,
      this.faults,
    ]);
  }

  /** Whether nothing is left to do: no statement, no timer that matters. */
  get isQuiet(): boolean {
    return this.pending.length === 0;
  }

  #acquire(coordinator: Coordinator): void {
    coordinator.phase = 'acquiring';
    const sentAt = this.now;
    const { life } = coordinator;
    void this.#ask(coordinator, { kind: 'acquire', owner: coordinator.place }).then((answer) => {
      if (coordinator.life !== life) return;
      if (answer?.kind !== 'taken') {
        coordinator.phase = 'idle';
        return;
      }
      this.#open(coordinator, answer, sentAt);
    });
  }

  #open(coordinator: Coordinator, ownership: Ownership, sentAt: number): void {
    const store = this.#storeOf(coordinator);
    const { life } = coordinator;
    const later = (delayMs: number, turn: () => void): void => {
      if (coordinator.life === life) coordinator.timers.push({ dueAt: delayMs < TICK_MS / 2 ? this.now : this.now + delayMs, turn });
    };
    const onLost = (): void => {
      if (coordinator.life === life) this.#drop(coordinator);
    };
    const onBroken = (error: unknown): void => void this.violations.push(`broken: ${String(error)}`);
    const loop: CommitLoop = new CommitLoop(store, ownership, CAPS, {
      mayTell: () => tenure.mayTell(),
      onReclaimed: (taken) => tenure.reclaimed(taken),
      later,
      onLost,
      onBroken,
      onBatch: () => {},
      onTrouble: () => {},
    });
    const tenure: Tenure = new Tenure(store, ownership, sentAt, { now: () => this.now, later }, loop, {
      onLost,
      onRenewed: () => loop.flush(),
      onBroken,
    });
    coordinator.phase = 'open';
    coordinator.term = { loop, tenure };
  }

  #submit(coordinator: Coordinator): void {
    const { place, term } = coordinator;
    coordinator.submits += 1;
    const name = `${place}.${coordinator.submits}`;
    const { life } = coordinator;
    term?.loop.append({ workflowId: name, firstEventSeq: 1, events: [{ kind: 'started', at: 1 }] }, 1);
    term?.loop.after(() => this.#tell(coordinator, life, name));
    term?.loop.flush();
  }

  #tell(coordinator: Coordinator, life: number, name: string): void {
    if (coordinator.life !== life) this.violations.push(`${name} was told by a coordinator that is gone`);
    coordinator.told.push(name);
    if (!this.database.journal.some(({ batch }) => batch.split('+').includes(name)))
      this.violations.push(`${name} was told and is not in the journal`);
    if (this.database.owner !== coordinator.place)
      this.violations.push(`${name} was told by ${coordinator.place} while ${this.database.owner} has the shard`);
  }

  #fire(coordinator: Coordinator): void {
    const index = coordinator.timers.findIndex(({ dueAt }) => dueAt <= this.now);
    const [timer] = coordinator.timers.splice(index, 1);
    timer.turn();
  }

  #drop(coordinator: Coordinator): void {
    coordinator.term?.loop.stop();
    coordinator.term?.tenure.stop();
    coordinator.term = null;
    coordinator.phase = 'idle';
    coordinator.life += 1;
    coordinator.timers = [];
    for (const pending of this.pending) if (pending.by === coordinator.place) pending.isAwaited = false;
  }

  #ask(coordinator: Coordinator, statement: Statement): Promise<Answer | null> {
    return new Promise((settle) => {
      this.pending.push({ by: coordinator.place, life: coordinator.life, statement, answer: null, isAwaited: true, settle });
    });
  }

  #storeOf(coordinator: Coordinator): Store {
    const ask = (statement: Statement) => this.#ask(coordinator, statement);
    const store: Pick<Store, 'leaseMs' | 'commit' | 'renew' | 'reclaim' | 'acquire'> = {
      leaseMs: LEASE_MS,
      acquire: async (): Promise<Acquisition> => ({ kind: 'unavailable', message: 'not asked here' }),
      async commit({ epoch, termId }: Ownership, { firstSeq, lastSeq, entries }: JournalBatch): Promise<CommitOutcome> {
        const batch = entries.map(({ workflowId }) => workflowId).join('+');
        const answer = await ask({ kind: 'commit', epoch, termId, firstSeq, lastSeq, batch });
        if (answer === null) return { kind: 'unknown', message: 'cut' };
        return answer.kind === 'done' ? { kind: 'durable' } : { kind: 'fenced' };
      },
      async renew({ epoch, termId }: Ownership, lastSeq: number): Promise<Renewal> {
        const answer = await ask({ kind: 'renew', epoch, termId, lastSeq });
        if (answer === null) return { kind: 'unavailable', message: 'cut' };
        return answer.kind === 'done' ? { kind: 'renewed' } : { kind: 'lost', message: 'another owner' };
      },
      async reclaim({ epoch, termId }: Ownership): Promise<Reclaim> {
        const answer = await ask({ kind: 'reclaim', epoch, termId });
        if (answer === null) return { kind: 'unavailable', message: 'cut' };
        if (answer.kind !== 'taken') return { kind: 'lost', message: 'another owner' };
        return { kind: 'reclaimed', ownership: answer };
      },
    };
    // The loop and the tenure ask for nothing else.
    return store as Store;
  }

  #check(): void {
    const { journal } = this.database;
    const seen = new Set<string>();
    const terms = new Map<number, string>();
    let lastSeq = 0;
    let lastEpoch = 0;
    for (const { batch, epoch, termId, firstSeq, lastSeq: last } of journal) {
      for (const name of batch.split('+')) {
        if (seen.has(name)) this.violations.push(`${name} is in the journal twice`);
        seen.add(name);
      }
      if (firstSeq !== lastSeq + 1) this.violations.push(`the journal goes from ${lastSeq} to ${firstSeq}`);
      lastSeq = last;
      if (epoch < lastEpoch) this.violations.push(`epoch ${epoch} after ${lastEpoch}`);
      lastEpoch = epoch;
      if ((terms.get(epoch) ?? termId) !== termId) this.violations.push(`epoch ${epoch} has two terms`);
      terms.set(epoch, termId);
    }
    for (const { told } of this.coordinators)
      for (const name of told) if (!seen.has(name)) this.violations.push(`${name} was told and is gone`);
  }
}
