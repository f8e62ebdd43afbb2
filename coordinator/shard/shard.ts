/**
 * A shard: one writer for its workflows. Everything that happens to them comes in here, is decided in turns of the event loop, and leaves
 * as effects after the commit of the facts behind it.
 *
 * A turn takes everything that has arrived, decides it at one moment, fires what is due, matches ready jobs to workers and starts a commit
 * if none is in flight. While one is, the next turns fill the next batch.
 *
 * Invariants
 * 1. State is read and changed in turns only; nothing here awaits.
 * 2. A reply, an assignment, an ack, a notification leaves only after the commit of everything decided before it. Reads too: nobody is ever shown
 *    what might still be lost.
 * 3. Refused for overload means: no effect at all, and the caller is told when to come again.
 * 4. What throws in a turn is a broken invariant: the shard stops before anything of that turn is written.
 * 5. Time never goes back, not even over a recovery: where the clock is behind the journal, time goes on from the journal's last moment.
 */
import type { Graph, Payload } from '@workflow-orchestrator/engine/definition';
import { decide, hasEnded, type IgnoredReason, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import type { AssignReply, LeaseBeat, Result } from '@workflow-orchestrator/proto';
import { Durability } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { AttachedWorker, WorkerInbox, WorkerOutbox } from '../gateway/port.ts';
import type { Ownership, Store } from '../store/store.ts';
import { CommitLoop } from './commit-loop.ts';
import { ShardCore } from './core.ts';
import type { ShardObserver, ShardPorts, ShardStats } from './ports.ts';
import { readJournal } from './recovery.ts';
import { WorkerDesk } from './worker-desk.ts';
import { type Watcher, type WorkflowRecord, WorkflowTable } from './workflow-table.ts';

/** A workflow to accept. `inputs` are prepared; `workflowId` is new and greater than every one before. */
export interface Submission {
  readonly workflowId: string;
  readonly graph: Graph;
  readonly inputs: Payload;
  readonly labels: Readonly<Record<string, string>>;
  /** Empty: none. */
  readonly idempotencyKey: string;
  readonly requestHash: string;
  readonly start: boolean;
}

/** What became of a submission. `existed`: an earlier one with the same key made it. */
export type SubmitReply =
  | { readonly kind: 'accepted'; readonly state: WorkflowState; readonly existed: boolean; readonly at: number }
  | { readonly kind: 'key-reused'; readonly workflowId: string }
  | { readonly kind: 'overloaded'; readonly message: string; readonly retryAfterMs: number };

/** A command of a client about one workflow. */
export type ClientCommand =
  | { readonly kind: 'start' | 'pause' | 'resume' }
  | { readonly kind: 'cancel'; readonly reason: string; readonly force: boolean };

/** What became of it. `ignored` carries the state as it stands. */
export type CommandReply =
  | { readonly kind: 'done'; readonly state: WorkflowState; readonly at: number }
  | {
      readonly kind: 'ignored';
      readonly reason: IgnoredReason;
      readonly message: string;
      readonly state: WorkflowState;
      readonly at: number;
    }
  | { readonly kind: 'not-found' };

/** How much a shard takes on: `proto/limits.ts` says what each is. */
export type ShardBounds = Readonly<
  Record<
    | 'commitEvents'
    | 'commitBytes'
    | 'inboxCommands'
    | 'inboxBytes'
    | 'openWorkflows'
    | 'endedWorkflowsKept'
    | 'endedWorkflowsBytes'
    | 'leaseMs',
    number
  >
>;

/** The shard takes no more input: this coordinator ends, or has lost the shard. */
export class ShardStopped extends Error {
  constructor() {
    super('this coordinator is ending');
    this.name = 'ShardStopped';
  }
}

/** Pause that an overloaded shard asks for. */
const RETRY_AFTER_MS = 1_000;

export class Shard implements WorkerInbox {
  readonly durability: Durability;
  readonly #ports: ShardPorts;
  readonly #core: ShardCore;
  readonly #desk: WorkerDesk;
  readonly #table: WorkflowTable;
  readonly #bounds: ShardBounds;
  /** How far the journal was ahead of the clock when it was read, in milliseconds: added to the clock. */
  #aheadMs = 0;
  #inbox: ((at: number) => void)[] = [];
  #turnPlanned = false;
  #alarmAt: number | null = null;
  #stopped = false;

  private constructor(store: Store, ownership: Ownership, ports: ShardPorts, observer: ShardObserver, bounds: ShardBounds) {
    this.durability = Durability[store.durability];
    this.#ports = ports;
    this.#bounds = bounds;
    this.#table = new WorkflowTable({ workflows: bounds.endedWorkflowsKept, bytes: bounds.endedWorkflowsBytes });
    const caps = { events: bounds.commitEvents, bytes: bounds.commitBytes };
    const commits = new CommitLoop(
      store,
      ownership,
      caps,
      (outcome) => this.#fail(`commit: ${'message' in outcome ? outcome.message : outcome.kind}`),
      (error) => this.#break(error),
      (events) => observer.committed(events),
    );
    this.#core = new ShardCore(this.#table, commits, ownership, ports, observer);
    this.#desk = new WorkerDesk(this.#core, this.durability);
  }

  /** Takes the shard over and rebuilds what its journal holds. `bounds`: those that differ from the limits. */
  static async open(store: Store, ports: ShardPorts, observer: ShardObserver, bounds: Partial<ShardBounds> = {}): Promise<Shard> {
    const ownership = await store.acquire();
    const shard = new Shard(store, ownership, ports, observer, { ...limits, ...bounds });
    await shard.#recover(store);
    return shard;
  }

  /** Accepts workflows; all of one call are decided in one turn. The replies are in the order of the submissions. Rejects with `ShardStopped`. */
  submit(submissions: readonly Submission[]): Promise<SubmitReply[]> {
    const full = this.#overload(submissions.length);
    if (full !== null) return Promise.resolve(submissions.map(() => overloaded(full)));
    return this.#ask((at) => submissions.map((submission) => this.#submit(submission, at)));
  }

  /** Steers one workflow. Rejects with `ShardStopped`. */
  command(workflowId: string, command: ClientCommand): Promise<CommandReply> {
    return this.#ask((at) => {
      const record = this.#table.get(workflowId);
      if (record === undefined) return { kind: 'not-found' };
      const decision = this.#core.execute(record, { ...command, at });
      if (decision.kind === 'events') return { kind: 'done', state: decision.state, at };
      return { kind: 'ignored', reason: decision.reason, message: decision.message, state: record.state, at };
    });
  }

  /**
   * Reads the table. `read` runs in a turn; what it returns must not change later (states never do). Rejects with what it throws,
   * for a reader's fault is nobody else's, or with `ShardStopped`.
   */
  async query<T>(read: (table: WorkflowTable, at: number) => T): Promise<T> {
    const answer = await this.#ask((at): { readonly value: T } | { readonly error: unknown } => {
      try {
        return { value: read(this.#table, at) };
      } catch (error) {
        return { error };
      }
    });
    if ('error' in answer) throw answer.error;
    return answer.value;
  }

  /** Follows one workflow: committed events after `afterSeq` at once, then on as they come. Null when there is no such workflow. */
  watch(workflowId: string, afterSeq: number, watcher: Watcher): { readonly stop: () => void; readonly record: WorkflowRecord } | null {
    const record = this.#table.get(workflowId);
    if (record === undefined) return null;
    for (let seq = afterSeq + 1; seq <= record.events.length; seq++) watcher.event(seq, record.events.at(seq - 1)!);
    record.watchers ??= new Set();
    record.watchers.add(watcher);
    return {
      record,
      stop: () => {
        record.watchers?.delete(watcher);
        if (record.watchers?.size === 0) record.watchers = null;
      },
    };
  }

  stats(): ShardStats {
    return {
      openWorkflows: this.#table.open,
      readyJobs: this.#core.readyJobs,
      runningJobs: this.#core.runningJobs,
      inbox: this.#inbox.length,
      uncommittedEvents: this.#core.commits.backlogEvents,
      committedSeq: this.#core.commits.committedSeq,
    };
  }

  /** Takes no more input. What was committed stays; what waits for a commit is dropped, and nobody was told of it. */
  stop(): void {
    this.#stopped = true;
    this.#inbox = [];
    this.#core.commits.stop();
    this.#ports.alarm(null, () => {});
  }

  attach(worker: AttachedWorker, outbox: WorkerOutbox): void {
    this.#enqueue((at) => this.#desk.attach(worker, outbox, at));
  }

  capacity(workerId: string, sessionId: string, available: number, open: boolean): void {
    this.#desk.capacity(workerId, sessionId, available, open);
    // Room alone is worth a turn: a job may be waiting for it.
    if (open && available > 0) this.#plan();
  }

  replies(workerId: string, sessionId: string, replies: readonly AssignReply[]): void {
    this.#enqueue((at) => this.#desk.replies(workerId, sessionId, replies, at));
  }

  beats(workerId: string, sessionId: string, beats: readonly LeaseBeat[], whole: boolean): void {
    this.#enqueue((at) => this.#desk.beats(workerId, sessionId, beats, whole, at));
  }

  results(workerId: string, sessionId: string, results: readonly Result[]): void {
    this.#enqueue((at) => this.#desk.results(workerId, sessionId, results, at));
  }

  detach(workerId: string, sessionId: string): void {
    this.#enqueue(() => this.#desk.detach(workerId, sessionId));
  }

  lost(workerId: string, sessionId: string, reason: string): void {
    this.#enqueue((at) => this.#desk.lost(workerId, sessionId, reason, at));
  }

  #submit(submission: Submission, at: number): SubmitReply {
    const { idempotencyKey } = submission;
    const earlier = idempotencyKey === '' ? undefined : this.#table.byKey(idempotencyKey);
    if (earlier !== undefined) {
      if (earlier.state.requestHash !== submission.requestHash) return { kind: 'key-reused', workflowId: earlier.state.id };
      return { kind: 'accepted', state: earlier.state, existed: true, at };
    }
    const { openWorkflows } = this.#bounds;
    if (this.#table.open >= openWorkflows) return overloaded(`${openWorkflows} workflows are open (limit openWorkflows)`);
    const decision = decide(null, { kind: 'submit', at, ...submission });
    if (decision.kind === 'ignored') throw new Error(`invariant broken: submit was ignored: ${decision.message}`);
    const record = this.#table.add(decision.state);
    this.#core.apply(record, decision.state, decision.events, at, false);
    this.#core.observer.workflowSubmitted();
    return { kind: 'accepted', state: decision.state, existed: false, at };
  }

  #overload(submissions: number): string | null {
    const { inboxCommands, inboxBytes } = this.#bounds;
    const { backlogEvents, backlogBytes } = this.#core.commits;
    if (this.#inbox.length + submissions > inboxCommands || backlogEvents >= inboxCommands) {
      return `${inboxCommands} commands wait (limit inboxCommands)`;
    }
    return backlogBytes >= inboxBytes ? `${inboxBytes} bytes wait to be committed (limit inboxBytes)` : null;
  }

  #ask<T>(answer: (at: number) => T): Promise<T> {
    if (this.#stopped) return Promise.reject(new ShardStopped());
    return new Promise((resolve) => {
      this.#enqueue((at) => {
        const reply = answer(at);
        this.#core.commits.after(() => resolve(reply));
      });
    });
  }

  #enqueue(input: (at: number) => void): void {
    if (this.#stopped) return;
    this.#inbox.push(input);
    this.#plan();
  }

  #plan(): void {
    if (this.#turnPlanned || this.#stopped) return;
    this.#turnPlanned = true;
    this.#ports.soon(() => this.#turn());
  }

  #turn(): void {
    this.#turnPlanned = false;
    if (this.#stopped) return;
    try {
      this.#decide(this.#now());
    } catch (error) {
      this.#break(error);
    }
  }

  #decide(at: number): void {
    const inputs = this.#inbox;
    this.#inbox = [];
    for (const input of inputs) input(at);
    this.#core.fire(at);
    this.#core.match(at);
    this.#core.commits.flush();
    const due = this.#core.nextDue();
    if (due === this.#alarmAt) return;
    this.#alarmAt = due;
    this.#ports.alarm(due === null ? null : due - this.#aheadMs, () => {
      this.#alarmAt = null;
      this.#plan();
    });
  }

  #now(): number {
    return this.#ports.now() + this.#aheadMs;
  }

  async #recover(store: Store): Promise<void> {
    const { workflows, lastAt } = await readJournal(store);
    if (workflows.length === 0) return;
    this.#aheadMs = Math.max(0, lastAt - this.#ports.now());
    const at = this.#now();
    const records = workflows.map(({ state, events }) => this.#core.restore(state, events, at, this.#bounds.leaseMs));
    const ended = records.filter(({ state }) => hasEnded(state.status)).sort((a, b) => a.state.endedAt - b.state.endedAt);
    for (const record of ended) this.#table.ended(record);
    this.#plan();
  }

  /** What must not be possible: nothing of this turn is written, and nothing follows it. */
  #break(error: unknown): void {
    this.#fail(`an invariant is broken: ${error instanceof Error ? error.stack : String(error)}`);
  }

  #fail(reason: string): void {
    this.stop();
    this.#ports.stop(reason);
  }
}

function overloaded(message: string): SubmitReply {
  return { kind: 'overloaded', message, retryAfterMs: RETRY_AFTER_MS };
}
