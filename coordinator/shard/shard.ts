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
import { decide, hasEnded, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import type { AssignReply, LeaseBeat, Result } from '@workflow-orchestrator/proto';
import { Durability } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { AttachedWorker, WorkerInbox, WorkerOutbox } from '../gateway/port.ts';
import type { Archive, ListFilter, Ownership, Store } from '../store/store.ts';
import type { CheckpointBounds } from './checkpointer.ts';
import { CommitLoop } from './commit-loop.ts';
import { ShardCore } from './core.ts';
import { Followers } from './followers.ts';
import { KeyDesk } from './key-desk.ts';
import { PendingCalls } from './pending-calls.ts';
import type { ShardObserver, ShardPorts, ShardStats, StopCause } from './ports.ts';
import { type FoundWorkflow, foldHistory, readFailure, readShard } from './recovery.ts';
import { type ClientCommand, type CommandReply, ShardStopped, type Submission, type SubmitReply } from './requests.ts';
import { Tenure } from './tenure.ts';
import { WorkerDesk } from './worker-desk.ts';
import { type Watcher, type WorkflowRecord, WorkflowTable } from './workflow-table.ts';

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
    | 'unarchivedWorkflows'
    | 'leaseMs',
    number
  >
> &
  CheckpointBounds;

/** What a shard is opened with. */
export interface ShardOptions {
  readonly store: Store;
  readonly ownership: Ownership;
  /** When the acquisition was sent, by `ports.now`. */
  readonly acquiredAt: number;
  readonly ports: ShardPorts;
  readonly observer: ShardObserver;
  /** Those that differ from the limits. */
  readonly bounds?: Partial<ShardBounds>;
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
  readonly #archive: Archive | null;
  readonly #tenure: Tenure;
  readonly #followers: Followers;
  readonly #keys: KeyDesk;
  /** How far the journal was ahead of the clock when it was read, in milliseconds: added to the clock. */
  #aheadMs = 0;
  #inbox: ((at: number) => void)[] = [];
  #turnPlanned = false;
  #alarmAt: number | null = null;
  /** Why it takes no more input; null while it does. */
  #stopped: string | null = null;
  readonly #calls = new PendingCalls();
  #trouble: string | null = null;

  private constructor({ store, ownership, acquiredAt, ports, observer, bounds: given }: ShardOptions) {
    const bounds: ShardBounds = { ...limits, ...given };
    const { archive } = store;
    this.durability = Durability[store.durability];
    this.#ports = ports;
    this.#bounds = bounds;
    this.#archive = archive;
    this.#table = new WorkflowTable({ workflows: bounds.endedWorkflowsKept, bytes: bounds.endedWorkflowsBytes }, archive !== null);
    const onBroken = (error: unknown): void => this.#break(error);
    const onLost = (reason: string): void => this.#fail(reason, 'lost');
    const commits = new CommitLoop(
      store,
      ownership,
      { events: bounds.commitEvents, bytes: bounds.commitBytes },
      {
        mayTell: () => this.#tenure.mayTell(),
        onReclaimed: (taken) => this.#tenure.reclaimed(taken),
        later: ports.later,
        onLost,
        onBroken,
        onBatch: (events) => observer.committed(events),
        onTrouble: (message) => {
          this.#trouble = message;
          observer.trouble(message);
        },
      },
    );
    this.#tenure = new Tenure(store, ownership, acquiredAt, ports, commits, {
      onLost,
      onBroken,
      onRenewed: () => this.#guard(() => commits.flush()),
    });
    this.#followers = new Followers({
      store,
      table: this.#table,
      ports,
      bounds,
      ownership: () => this.#tenure.ownership,
      toldSeq: () => commits.toldSeq,
      onLost,
      onBroken,
    });
    this.#core = new ShardCore(this.#table, commits, ownership.epoch, ports, observer, this.#followers);
    this.#keys = new KeyDesk(archive, this.#table);
    this.#desk = new WorkerDesk(this.#core, this.durability);
  }

  /** Rebuilds what an acquired shard holds. Rejects when that is damaged, with `StoreUnavailable`, or with `ShardStopped` when it was lost meanwhile; it is stopped then. */
  static async open(options: ShardOptions): Promise<Shard> {
    const shard = new Shard(options);
    try {
      await shard.#recover(options.store, options.ownership);
    } catch (error) {
      shard.stop();
      throw await readFailure(options.store, options.ownership, error);
    }
    if (shard.#stopped !== null) throw new ShardStopped(shard.#stopped);
    return shard;
  }

  /**
   * Accepts workflows; all of one call are decided in one turn. The replies are in the order of the submissions.
   * Rejects with `ShardStopped`, `OutcomeUnknown`, and with `StoreUnavailable` when a key has to be looked up and cannot be.
   */
  submit(submissions: readonly Submission[]): Promise<SubmitReply[]> {
    return this.#keys.hold(submissions, (archived) => this.#take(submissions, archived));
  }

  /** A workflow that has ended and is not in memory any more; null when there is none. Rejects with `StoreUnavailable`. */
  async archived(workflowId: string): Promise<FoundWorkflow | null> {
    const entry = (await this.#archive?.get(workflowId)) ?? null;
    return entry === null ? null : foldHistory(entry);
  }

  /** Ended workflows in the archive, in memory or not. Rejects with `StoreUnavailable`. */
  async listArchived(filter: ListFilter): Promise<readonly WorkflowState[]> {
    return ((await this.#archive?.list(filter)) ?? []).map((entry) => foldHistory(entry).state);
  }

  /** Steers one workflow. Rejects with `ShardStopped` and `OutcomeUnknown`. */
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
    }, true);
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
      trouble: this.#trouble ?? (this.#tenure.mayTell() ? null : 'the lease of the shard could not be renewed'),
      unarchived: this.#table.unarchived,
    };
  }

  /** Milliseconds since 1970, as the shard counts them: never before what its journal has. */
  now(): number {
    return this.#ports.now() + this.#aheadMs;
  }

  /** What this shard owns at the moment. */
  get ownership(): Ownership {
    return this.#tenure.ownership;
  }

  /** Resolves when the archive and the live view have everything that is committed by now; also when the shard stops. */
  written(): Promise<void> {
    return this.#followers.written();
  }

  /** Takes no more input. What was committed stays; what waits for a commit is dropped, and nobody was told of it. Whoever waits for an answer is told why there is none. */
  stop(reason = 'this coordinator is ending'): void {
    if (this.#stopped !== null) return;
    this.#stopped = reason;
    this.#inbox = [];
    this.#core.commits.stop();
    this.#tenure.stop();
    this.#followers.stop();
    this.#ports.alarm(null, () => {});
    this.#calls.giveUp(reason);
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

  #take(submissions: readonly Submission[], archived: ReadonlyMap<string, FoundWorkflow>): Promise<SubmitReply[]> {
    const full = this.#overload(submissions.length);
    if (full !== null) return Promise.resolve(submissions.map(() => overloaded(full)));
    return this.#ask((at) => submissions.map((submission) => this.#submit(submission, archived, at)));
  }

  #submit(submission: Submission, archived: ReadonlyMap<string, FoundWorkflow>, at: number): SubmitReply {
    const { idempotencyKey } = submission;
    const earlier = idempotencyKey === '' ? undefined : (this.#table.byKey(idempotencyKey) ?? archived.get(idempotencyKey));
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
    const { inboxCommands, inboxBytes, unarchivedWorkflows } = this.#bounds;
    const { backlogEvents, backlogBytes, committedSeq, toldSeq } = this.#core.commits;
    if (this.#inbox.length + submissions > inboxCommands || backlogEvents >= inboxCommands) {
      return `${inboxCommands} commands wait (limit inboxCommands)`;
    }
    // While the lease cannot be renewed, what is committed is told to nobody: its answers and events wait in memory.
    if (committedSeq - toldSeq >= inboxCommands) return `the answers of ${inboxCommands} events wait for the lease (limit inboxCommands)`;
    if (backlogBytes >= inboxBytes) return `${inboxBytes} bytes wait to be committed (limit inboxBytes)`;
    return this.#table.unarchived < unarchivedWorkflows
      ? null
      : `${unarchivedWorkflows} ended workflows wait to be archived (limit unarchivedWorkflows)`;
  }

  /** Answers in a turn, and tells when everything that was decided until then is committed. */
  #ask<T>(answer: (at: number) => T, isRead = false): Promise<T> {
    if (this.#stopped !== null) return Promise.reject(new ShardStopped(this.#stopped));
    return this.#calls.open((call) =>
      this.#enqueue((at) => {
        if (!isRead) call.decided();
        const reply = answer(at);
        this.#core.commits.after(() => call.answer(reply));
      }),
    );
  }

  #enqueue(input: (at: number) => void): void {
    if (this.#stopped !== null) return;
    this.#inbox.push(input);
    this.#plan();
  }

  #plan(): void {
    if (this.#turnPlanned || this.#stopped !== null) return;
    this.#turnPlanned = true;
    this.#ports.soon(() => this.#turn());
  }

  #turn(): void {
    this.#turnPlanned = false;
    if (this.#stopped !== null) return;
    this.#guard(() => this.#decide(this.now()));
  }

  #guard(run: () => void): void {
    try {
      run();
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

  async #recover(store: Store, ownership: Ownership): Promise<void> {
    const { workflows, lastAt } = await readShard(store, ownership);
    if (this.#stopped !== null || workflows.length === 0) return;
    this.#aheadMs = Math.max(0, lastAt - this.#ports.now());
    const at = this.now();
    const records = workflows.map((workflow) => this.#core.restore(workflow, at, this.#bounds.leaseMs));
    const ended = records.filter(({ state }) => hasEnded(state.status)).sort((a, b) => a.state.endedAt - b.state.endedAt);
    for (const record of ended) {
      this.#table.ended(record);
      this.#followers.ended(record);
    }
    await this.#followers.catchUp(records);
    this.#plan();
  }

  /** What must not be possible: nothing of this turn is written, and nothing follows it. */
  #break(error: unknown): void {
    this.#fail(`an invariant is broken: ${error instanceof Error ? error.stack : String(error)}`, 'broken');
  }

  #fail(reason: string, cause: StopCause): void {
    if (this.#stopped !== null) return;
    this.stop(reason);
    this.#ports.stop(reason, cause);
  }
}

function overloaded(message: string): SubmitReply {
  return { kind: 'overloaded', message, retryAfterMs: RETRY_AFTER_MS };
}
