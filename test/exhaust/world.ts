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
 * 5. A reclaim finds the shard gone only when it was acquired anew.
 */
import { type BatchCaps, CommitLoop } from '../../coordinator/shard/commit-loop.ts';
import { Tenure } from '../../coordinator/shard/tenure.ts';
import type { Ownership } from '../../coordinator/store/store.ts';
import { type Answer, apply, type Database, type Flaw, newDatabase, type Statement } from './database.ts';
import { storeOf, type WorldStore } from './store.ts';

/** How far the search goes. */
export interface Scope {
  readonly submits: number;
  readonly ticks: number;
  readonly faults: number;
  /** Planned ends: a coordinator stops and releases the shard. */
  readonly ends: number;
  readonly flaws: ReadonlySet<Flaw>;
}

const LEASE_MS = 2_000;
const TICK_MS = 1_000;
const CAPS: BatchCaps = { events: 10, bytes: 1_000 };

/** A statement with what became of it. */
interface Pending {
  readonly by: number;
  readonly sentAt: number;
  readonly statement: Statement;
  /** What whoever waits for it is about. */
  readonly doing: string;
  answer: Answer | null;
  /** Whether the coordinator still waits for it. A statement that nobody waits for may still be done. */
  isAwaited: boolean;
  readonly settle: (answer: Answer | null) => void;
}

interface Timer {
  readonly dueAt: number;
  /** What it will do. */
  readonly doing: string;
  readonly turn: () => void;
}

interface Term {
  readonly store: WorldStore;
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

/** As it is known to the database. */
function nameOf(place: number): string {
  return `c${place}`;
}

export class World {
  readonly scope: Scope;
  readonly database: Database = newDatabase();
  readonly coordinators: readonly Coordinator[];
  readonly violations: string[] = [];
  pending: Pending[] = [];
  now = 0;
  faults = 0;
  ends = 0;
  #terms = 0;

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
      if (phase === 'open' && this.ends < scope.ends) found.push(`end ${place}`);
    }
    for (const [index, { answer, isAwaited, statement }] of this.pending.entries()) {
      if (answer === null) found.push(`do ${index}`);
      else if (isAwaited) found.push(`answer ${index}`);
      if (!isAwaited || this.faults === scope.faults) continue;
      found.push(`cut ${index}`);
      if (answer === null && statement.kind === 'commit') found.push(`refuse ${index}`);
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
      case 'end':
        this.ends += 1;
        this.#end(this.coordinators[number]);
        break;
      case 'do':
        this.#do(this.pending[number]);
        break;
      case 'answer':
        this.#answer(this.pending[number], this.pending[number].answer);
        break;
      case 'cut':
        this.faults += 1;
        this.#answer(this.pending[number], null);
        break;
      case 'refuse':
        this.faults += 1;
        if (!this.scope.flaws.has('an abort that proves nothing')) this.pending[number].answer = { kind: 'refused' };
        this.#answer(this.pending[number], { kind: 'refused' });
        break;
      case 'tick':
        this.now += TICK_MS;
        break;
      default:
        throw new Error(`no step '${choice}'`);
    }
    for (let i = 0; i < 6; i++) await null;
    // What was answered, or cut off after it was done, can do nothing more.
    this.pending = this.pending.filter(({ answer, isAwaited, statement }) => isAwaited || (answer === null && this.#mayCount(statement)));
    this.#check();
  }

  /** The same for worlds that have the same future, but perhaps with each coordinator in the place of the other. */
  key(): string {
    const [key, mirrored] = [this.#keyFrom(0), this.#keyFrom(1)];
    return key < mirrored ? key : mirrored;
  }

  /**
   * As it is seen from a coordinator. What is sent has no order. Terms are told apart and no more, so they are named by the order in which they stand here.
   * When a statement was sent matters for as long as its answer is waited for, where what its sender believes of the lease follows from it.
   */
  #keyFrom(place: number): string {
    const { epoch, termId, owner, leaseUntil, lastSeq, journal } = this.database;
    const { now } = this;
    const text = (value: unknown): string => {
      const plain = JSON.stringify(value);
      return place === 0 ? plain : plain.replace(/\bc[01]\b/g, (name) => (name === 'c0' ? 'c1' : 'c0'));
    };
    const coordinators = this.coordinators.map(({ phase, term, timers, submits, told }) => {
      const pictures = term === null ? null : [term.loop.picture(), term.tenure.picture(), term.store.asked];
      return text([phase, pictures, timers.map(({ dueAt, doing }) => [doing, Math.max(0, dueAt - now)]), submits, told]);
    });
    const sent = this.pending.map(({ by, statement, answer, isAwaited, sentAt, doing }) => {
      const setsLease = isAwaited && (statement.kind === 'acquire' || statement.kind === 'renew');
      return text([nameOf(by), statement, answer, isAwaited && doing, setsLease && Math.min(now - sentAt, LEASE_MS)]);
    });
    const parts = [
      text([epoch, termId, owner, Math.max(0, leaseUntil - now), lastSeq, journal]),
      coordinators[place],
      coordinators[1 - place],
      ...sent.sort(),
      now,
      this.faults,
      this.ends,
    ];
    const names = new Map<string, string>();
    return parts.join('\n').replace(/\bt\d+\b/g, (term) => {
      const name = names.get(term) ?? `t${names.size}`;
      names.set(term, name);
      return name;
    });
  }

  /** Whether a statement may have an effect, now or later. Epochs do not go down, so that one of an epoch that is over may not, unless a rule is broken. */
  #mayCount(statement: Statement): boolean {
    if (statement.kind === 'acquire' || this.scope.flaws.size > 0) return true;
    const { epoch, termId } = this.database;
    return statement.epoch >= epoch || (statement.kind === 'reclaim' && statement.nextTermId === termId);
  }

  #acquire(coordinator: Coordinator): void {
    coordinator.phase = 'acquiring';
    const sentAt = this.now;
    const { life } = coordinator;
    void this.#ask(coordinator, { kind: 'acquire', owner: nameOf(coordinator.place), termId: this.#newTerm() }, '').then((answer) => {
      if (coordinator.life !== life) return;
      if (answer?.kind !== 'taken') {
        coordinator.phase = 'idle';
        return;
      }
      this.#open(coordinator, answer, sentAt);
    });
  }

  #open(coordinator: Coordinator, ownership: Ownership, sentAt: number): void {
    const store = storeOf(
      ownership,
      LEASE_MS,
      (statement, doing) => this.#ask(coordinator, statement, doing),
      () => this.#newTerm(),
    );
    const { life } = coordinator;
    const later = (delayMs: number, doing: string, turn: () => void): void => {
      if (coordinator.life !== life) return;
      coordinator.timers.push({ dueAt: delayMs < TICK_MS / 2 ? this.now : this.now + delayMs, doing, turn });
    };
    const onLost = (): void => {
      if (coordinator.life === life) this.#drop(coordinator);
    };
    const onBroken = (error: unknown): void => void this.violations.push(`broken: ${String(error)}`);
    const loop: CommitLoop = new CommitLoop(store, ownership, CAPS, {
      mayTell: () => tenure.mayTell(),
      onReclaimed: (taken) => tenure.reclaimed(taken),
      later: (delayMs, turn) => later(delayMs, store.doing, turn),
      onLost,
      onBroken,
      onBatch: () => {},
      onTrouble: () => {},
    });
    const ports = { now: () => this.now, later: (delayMs: number, turn: () => void) => later(delayMs, 'renew', turn) };
    const tenure: Tenure = new Tenure(store, ownership, sentAt, ports, loop, {
      onLost,
      onRenewed: () => loop.flush(),
      onBroken,
    });
    coordinator.phase = 'open';
    coordinator.term = { store, loop, tenure };
  }

  #submit(coordinator: Coordinator): void {
    const { place, term } = coordinator;
    coordinator.submits += 1;
    const name = `${nameOf(place)}.${coordinator.submits}`;
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
    if (this.database.owner !== nameOf(coordinator.place))
      this.violations.push(`${name} was told by its coordinator while ${this.database.owner} has the shard`);
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

  /** As a process that is told to end: it stops, releases the shard, and waits for nothing that depends on the answer. */
  #end(coordinator: Coordinator): void {
    const { epoch, termId } = coordinator.term!.tenure.ownership;
    void this.#ask(coordinator, { kind: 'release', epoch, termId }, '');
    this.#drop(coordinator);
  }

  #ask({ place }: Coordinator, statement: Statement, doing: string): Promise<Answer | null> {
    return new Promise((settle) => {
      this.pending.push({ by: place, sentAt: this.now, statement, doing, answer: null, isAwaited: true, settle });
    });
  }

  #do(pending: Pending): void {
    const { by, statement, isAwaited } = pending;
    pending.answer = apply(this.database, statement, this.now, LEASE_MS, this.scope.flaws);
    if (statement.kind !== 'reclaim' || !isAwaited || pending.answer.kind !== 'nothing') return;
    if (this.coordinators[by].term?.store.terms.has(this.database.termId) === true)
      this.violations.push(`the shard is that of ${nameOf(by)}, and its reclaim did not find it`);
  }

  #answer(pending: Pending, answer: Answer | null): void {
    pending.isAwaited = false;
    pending.settle(answer);
  }

  #newTerm(): string {
    this.#terms += 1;
    return `t${this.#terms}`;
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
