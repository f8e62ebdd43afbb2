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
 */
import type { Graph, Payload } from '@workflow-orchestrator/engine/definition';
import { type DurableEvent, decide, evolve, type IgnoredReason, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import type { AssignReply, LeaseBeat, Result } from '@workflow-orchestrator/proto';
import { Durability } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { AttachedWorker, WorkerInbox, WorkerOutbox } from '../gateway/port.ts';
import type { Ownership, Store } from '../store/store.ts';
import { CommitLoop } from './commit-loop.ts';
import { ShardCore } from './core.ts';
import type { ShardObserver, ShardPorts, ShardStats } from './ports.ts';
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

/** Pause that an overloaded shard asks for. */
const RETRY_AFTER_MS = 1_000;

export class Shard implements WorkerInbox {
  readonly durability: Durability;
  readonly #ports: ShardPorts;
  readonly #core: ShardCore;
  readonly #desk: WorkerDesk;
  readonly #table: WorkflowTable;
  #inbox: ((at: number) => void)[] = [];
  #turnPlanned = false;
  #alarmAt: number | null = null;
  #stopped = false;

  private constructor(store: Store, ownership: Ownership, ports: ShardPorts, observer: ShardObserver) {
    this.durability = Durability[store.durability];
    this.#ports = ports;
    this.#table = new WorkflowTable({ workflows: limits.endedWorkflowsKept, bytes: limits.endedWorkflowsBytes });
    const caps = { events: limits.commitEvents, bytes: limits.commitBytes };
    const commits = new CommitLoop(
      store,
      ownership,
      caps,
      (outcome) => this.#fail(`commit: ${'message' in outcome ? outcome.message : outcome.kind}`),
      (events) => observer.committed(events),
    );
    this.#core = new ShardCore(this.#table, commits, ownership, ports, observer);
    this.#desk = new WorkerDesk(this.#core, this.durability);
  }

  /** Takes the shard over and rebuilds what its journal holds. */
  static async open(store: Store, ports: ShardPorts, observer: ShardObserver): Promise<Shard> {
    const ownership = await store.acquire();
    const shard = new Shard(store, ownership, ports, observer);
    await shard.#recover(store);
    return shard;
  }

  /** Accepts workflows; all of one call are decided in one turn. The replies are in the order of the submissions. */
  submit(submissions: readonly Submission[]): Promise<SubmitReply[]> {
    const full = this.#overload(submissions.length);
    if (full !== null) return Promise.resolve(submissions.map(() => ({ kind: 'overloaded', message: full, retryAfterMs: RETRY_AFTER_MS })));
    return new Promise((resolve) => {
      this.#enqueue((at) => {
        const replies = submissions.map((submission) => this.#submit(submission, at));
        this.#core.commits.after(() => resolve(replies));
      });
    });
  }

  /** Steers one workflow. */
  command(workflowId: string, command: ClientCommand): Promise<CommandReply> {
    return this.#ask((at) => {
      const record = this.#table.get(workflowId);
      if (record === undefined) return { kind: 'not-found' };
      const decision = this.#core.execute(record, { ...command, at });
      if (decision.kind === 'events') return { kind: 'done', state: decision.state, at };
      return { kind: 'ignored', reason: decision.reason, message: decision.message, state: record.state, at };
    });
  }

  /** Reads the table. `read` runs in a turn; what it returns must not change later (states never do). */
  query<T>(read: (table: WorkflowTable, at: number) => T): Promise<T> {
    return this.#ask((at) => read(this.#table, at));
  }

  /** Follows one workflow: committed events after `afterSeq` at once, then on as they come. Null when there is no such workflow. */
  watch(workflowId: string, afterSeq: number, watcher: Watcher): { readonly stop: () => void; readonly record: WorkflowRecord } | null {
    const record = this.#table.get(workflowId);
    if (record === undefined) return null;
    for (let seq = afterSeq + 1; seq <= record.events.length; seq++) watcher.event(seq, record.events[seq - 1]!);
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
      uncommittedEvents: this.#core.commits.backlog,
      committedSeq: this.#core.commits.committedSeq,
    };
  }

  /** Takes no more input. What was committed stays; what waits for a commit is dropped, and nobody was told of it. */
  stop(): void {
    this.#stopped = true;
    this.#inbox = [];
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
    const decision = decide(null, { kind: 'submit', at, ...submission });
    if (decision.kind === 'ignored') throw new Error(`invariant broken: submit was ignored: ${decision.message}`);
    const record = this.#table.add(decision.state);
    this.#core.apply(record, decision.state, decision.events, at, false);
    this.#core.observer.workflowSubmitted();
    return { kind: 'accepted', state: decision.state, existed: false, at };
  }

  #overload(submissions: number): string | null {
    if (this.#table.open + submissions > limits.openWorkflows) return `${limits.openWorkflows} workflows are open (limit openWorkflows)`;
    if (this.#inbox.length + submissions > limits.inboxCommands || this.#core.commits.backlog > limits.inboxCommands) {
      return `${limits.inboxCommands} commands wait (limit inboxCommands)`;
    }
    return null;
  }

  #ask<T>(answer: (at: number) => T): Promise<T> {
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
    const at = this.#ports.now();
    const inputs = this.#inbox;
    this.#inbox = [];
    for (const input of inputs) input(at);
    this.#core.fire(at);
    this.#core.match(at);
    this.#core.commits.flush();
    const due = this.#core.nextDue();
    if (due !== this.#alarmAt) {
      this.#alarmAt = due;
      this.#ports.alarm(due, () => {
        this.#alarmAt = null;
        this.#plan();
      });
    }
  }

  async #recover(store: Store): Promise<void> {
    const found = new Map<string, { state: WorkflowState | null; events: DurableEvent[] }>();
    for await (const batch of store.load(0)) {
      for (const { workflowId, events } of batch.entries) {
        const workflow = found.get(workflowId) ?? { state: null, events: [] };
        found.set(workflowId, workflow);
        for (const event of events) workflow.state = evolve(workflow.state, event);
        workflow.events.push(...events);
      }
    }
    const at = this.#ports.now();
    for (const { state, events } of found.values()) if (state !== null) this.#core.restore(state, events, at);
    if (found.size > 0) this.#plan();
  }

  #fail(reason: string): void {
    this.#stopped = true;
    this.#ports.stop(reason);
  }
}
