/**
 * The heart of a shard: applies decisions. Every change of a workflow goes through `apply`, which keeps the journal, the ready queue,
 * the leases of workers, the timers and the watchers in step with the state.
 *
 * Invariants
 * 1. Durable events go to the commit loop before any effect that rests on them.
 * 2. Every job that is READY, without a lease, not to stop, in a workflow that is RUNNING, and whose time has come, has an entry in the ready queue;
 *    one whose time has not come has an entry in the agenda. Every armed timer has an agenda entry at its time or earlier.
 * 3. Every lease of a state is listed under its worker, and no other is.
 * 4. What a recovery found READY may be running: it is offered to nobody for as long as a lease lasts, unless its worker came back with it before.
 */

import type { DurableEvent, WorkflowEvent, WorkflowState } from '@workflow-orchestrator/engine/machine';
import {
  type Command,
  type Decision,
  decide,
  hasEnded,
  isDurable,
  isToStop,
  jobTimer,
  nextWake,
  readyJobs,
  recovered,
  workflowTimer,
} from '@workflow-orchestrator/engine/machine';
import { Agenda, type Moment } from './agenda.ts';
import { assignmentOf } from './assignment.ts';
import type { CommitLoop } from './commit-loop.ts';
import { sizeOf } from './event-size.ts';
import type { Followers } from './followers.ts';
import { match } from './matcher.ts';
import { observe } from './observation.ts';
import type { ShardObserver, ShardPorts } from './ports.ts';
import { type ReadyJob, ReadyQueue } from './ready-queue.ts';
import type { FoundWorkflow } from './recovery.ts';
import { type WorkerEntry, WorkerTable } from './workers.ts';
import type { WorkflowRecord, WorkflowTable } from './workflow-table.ts';

/** Fencing tokens of one epoch: the epoch above, a counter below. 2^21 epochs of 2^32 assignments fit an exact number. */
const FENCING_TOKENS_PER_EPOCH = 2 ** 32;

export class ShardCore {
  readonly table: WorkflowTable;
  readonly workers = new WorkerTable();
  readonly commits: CommitLoop;
  readonly observer: ShardObserver;
  readonly #queue = new ReadyQueue((entry) => this.#waits(entry));
  readonly #agenda = new Agenda((moment) => this.#means(moment));
  readonly #ports: ShardPorts;
  readonly #epoch: number;
  readonly #followers: Followers;
  /** Until when workers may come back with attempts of before the recovery, milliseconds since 1970. */
  #backBy = 0;
  #assignments = 0;
  #ready = 0;
  #running = 0;

  /** `epoch`: under which the shard was acquired. */
  constructor(table: WorkflowTable, commits: CommitLoop, epoch: number, ports: ShardPorts, observer: ShardObserver, followers: Followers) {
    this.table = table;
    this.commits = commits;
    this.observer = observer;
    this.#ports = ports;
    this.#epoch = epoch;
    this.#followers = followers;
  }

  /** Jobs that a worker could be given now. */
  get readyJobs(): number {
    return this.#ready;
  }

  /** Jobs that a worker has accepted. */
  get runningJobs(): number {
    return this.#running;
  }

  /** When the next timer or retry is due; null when none is. */
  nextDue(): number | null {
    return this.#agenda.next();
  }

  /** Whether a lease token was given by an earlier owner of the shard: its attempt may be taken up again. */
  isEarlierToken(token: string): boolean {
    const epoch = /^(\d{1,15})\./.exec(token)?.[1];
    return epoch !== undefined && Number(epoch) < this.#epoch;
  }

  nextFencingToken(): number {
    this.#assignments += 1;
    return this.#epoch * FENCING_TOKENS_PER_EPOCH + this.#assignments;
  }

  /** Decides `command` for a workflow and applies what follows. `fromHolder`: the worker that holds the lease says so itself, and need not be told. */
  execute(record: WorkflowRecord, command: Command, fromHolder = false): Decision {
    const decision = decide(record.state, command);
    if (decision.kind === 'events') this.apply(record, decision.state, decision.events, command.at, fromHolder);
    return decision;
  }

  /** Applies events that lead from `record.state` to `state`. */
  apply(record: WorkflowRecord, state: WorkflowState, events: readonly WorkflowEvent[], at: number, fromHolder: boolean): void {
    const before = record.state;
    record.state = state;
    const durable = events.filter(isDurable);
    if (durable.length > 0) {
      const firstEventSeq = state.seq - durable.length + 1;
      const bytes = sizeOf(durable);
      this.commits.append({ workflowId: state.id, firstEventSeq, events: durable }, bytes);
      this.commits.after(() => this.#publish(record, firstEventSeq, durable, bytes));
    }
    this.commits.after(() => this.#followers.changed(record, state));
    const touched = new Set<number>();
    let isLifted = false;
    for (const event of events) {
      if ('job' in event) touched.add(event.job);
      else if (event.kind === 'paused') this.#withdraw(record);
      // A cancel and a timeout lift a pause.
      else if (event.kind === 'resumed' || event.kind === 'cancelRequested' || event.kind === 'timedOut') isLifted = true;
      observe(this.observer, state, event);
    }
    for (const job of touched) this.#follow(record, before, job, at, fromHolder);
    this.#cancelSent(record, events);
    if (hasEnded(state.status)) return;
    if (isLifted) this.#offerAgain(record, at);
    else this.#arm(record, touched);
  }

  /** Whether a heartbeat of this job says anything that the state does not know: liveness where it is limited, or progress. */
  needsBeat(record: WorkflowRecord, job: number, progress: number | null, message: string): boolean {
    const { lease } = record.state.jobs[job]!;
    if (lease === null) return false;
    if (record.state.graph.jobs[job]!.timeouts.heartbeatMs !== null) return true;
    return lease.progress !== progress || lease.progressMessage !== message;
  }

  /** Fires everything that is due at `now`. */
  fire(now: number): void {
    for (let moment = this.#agenda.take(now); moment !== null; moment = this.#agenda.take(now)) {
      const record = this.table.get(moment.workflowId);
      if (record === undefined || hasEnded(record.state.status)) continue;
      if (moment.job !== null) this.#offer(record, moment.job, now);
      else if (record.wakeAt === moment.at) {
        record.wakeAt = 0;
        this.execute(record, { kind: 'tick', at: now });
        if (!hasEnded(record.state.status)) this.#wake(record, nextWake(record.state));
      }
    }
  }

  /** Gives ready jobs to workers with room. */
  match(now: number): void {
    if (this.#ready > 0) match(this.#queue, this.workers, now, (entry, worker) => this.#assign(entry, worker, now));
  }

  /** Something at `at` needs a turn of the shard, though no workflow does. */
  wakeAt(at: number): void {
    this.#agenda.add({ at, workflowId: '', job: null });
  }

  /** Puts a workflow in place that was read from the journal: its events, its timers, and what is READY once no worker can come back with it. */
  restore({ state, events, checkpointed }: FoundWorkflow, at: number, leaseMs: number): WorkflowRecord {
    if (hasEnded(state.status)) return this.table.add(state, events, checkpointed);
    this.#backBy = at + leaseMs;
    const record = this.table.add(recovered(state, this.#backBy), events, checkpointed);
    const ready = [...state.jobs.keys()].filter((index) => state.jobs[index]!.phase === 'READY');
    // Between two attempts nothing runs: such a job waits for its own time only.
    record.awaited = new Set(ready.filter((index) => state.jobs[index]!.notBefore <= at));
    for (const job of ready) this.#offer(record, job, at);
    this.#wake(record, nextWake(record.state));
    return record;
  }

  #assign(entry: ReadyJob, worker: WorkerEntry, now: number): boolean {
    if (!this.#waits(entry)) return false;
    const record = this.table.get(entry.workflowId)!;
    this.#unqueue(record, entry.job);
    const fencingToken = this.nextFencingToken();
    const token = `${this.#epoch}.${this.#assignments}.${this.#ports.nonce()}`;
    const decision = this.execute(record, { kind: 'assign', at: now, job: entry.job, token, workerId: worker.id, fencingToken });
    if (decision.kind === 'ignored') return false;
    const { room, outbox } = worker;
    const assignment = assignmentOf(record.state, entry.job);
    this.observer.jobAssigned(assignment.type, now - entry.since);
    room.unsent += 1;
    this.commits.after(() => {
      room.unsent -= 1;
      room.available -= 1;
      // A connection that is gone meanwhile gets nothing: `attach` or `lost` takes the lease back.
      if (worker.outbox !== outbox) return;
      const place = worker.leases.get(token);
      if (place !== undefined) place.isSent = true;
      outbox?.assign([assignment]);
    });
    return true;
  }

  /** Keeps leases and the ready queue in step with one job that events touched. */
  #follow(record: WorkflowRecord, before: WorkflowState, index: number, at: number, fromHolder: boolean): void {
    const job = record.state.jobs[index]!;
    const lease = job.lease;
    const old = before === record.state ? null : (before.jobs[index]?.lease ?? null);
    if (old !== null && old.token !== lease?.token) {
      const worker = this.workers.get(old.workerId);
      worker?.removeLease(old.token);
      if (old.acceptedAt !== null) this.#running -= 1;
      if (!fromHolder && worker !== undefined) this.commits.after(() => worker.outbox?.revoke([old.token]));
    }
    if (lease !== null && old?.token !== lease.token) {
      const { type } = record.state.graph.jobs[index]!;
      const isSent = lease.acceptedAt !== null;
      this.workers.get(lease.workerId)?.addLease(lease.token, { workflowId: record.state.id, job: index, type, isSent, missedBeats: 0 });
      record.awaited?.delete(index);
    }
    if (lease?.acceptedAt != null && (old?.token !== lease.token || old.acceptedAt === null)) this.#running += 1;
    if (lease === null && job.phase === 'READY') this.#offer(record, index, at);
    else this.#unqueue(record, index);
    if (record.watchers !== null && !hasEnded(job.phase)) {
      this.commits.after(() => {
        for (const watcher of record.watchers ?? []) watcher.live(index, job, at);
      });
    }
  }

  /** Puts a job that waits for a worker where it belongs: the queue now, or the agenda until its time. */
  #offer(record: WorkflowRecord, index: number, now: number): void {
    const { state } = record;
    const job = state.jobs[index]!;
    if (job.phase !== 'READY' || job.lease !== null || isToStop(state, index) || record.queued?.has(index)) return;
    const dueAt = this.#dueAt(record, index);
    if (dueAt > now) this.#agenda.add({ at: dueAt, workflowId: state.id, job: index });
    else if (state.status === 'RUNNING') {
      const entry = { workflowId: state.id, job: index, since: now };
      record.queued ??= new Map();
      record.queued.set(index, entry);
      this.#ready += 1;
      this.#queue.add(state.graph.jobs[index]!, entry);
    }
  }

  /** A pause is over: whatever came due in it is offered, and time in the queue counts again. What is due later has its agenda entry. */
  #offerAgain(record: WorkflowRecord, now: number): void {
    for (const job of readyJobs(record.state)) if (this.#dueAt(record, job) <= now) this.#offer(record, job, now);
    this.#wake(record, nextWake(record.state));
  }

  /** When a job that is READY may be offered. */
  #dueAt(record: WorkflowRecord, index: number): number {
    const { notBefore } = record.state.jobs[index]!;
    return record.awaited?.has(index) ? Math.max(notBefore, this.#backBy) : notBefore;
  }

  #withdraw(record: WorkflowRecord): void {
    this.#ready -= record.queued?.size ?? 0;
    record.queued = null;
  }

  #unqueue(record: WorkflowRecord, index: number): void {
    if (record.queued?.delete(index)) this.#ready -= 1;
  }

  /** Whether an entry of the ready queue is the one that counts for its job. */
  #waits(entry: ReadyJob): boolean {
    return this.table.get(entry.workflowId)?.queued?.get(entry.job) === entry;
  }

  /** Whether an entry of the agenda would lead to anything. */
  #means({ workflowId, job, at }: Moment): boolean {
    if (workflowId === '') return true;
    const record = this.table.get(workflowId);
    if (record === undefined || hasEnded(record.state.status)) return false;
    if (job === null) return record.wakeAt === at;
    const { phase, lease } = record.state.jobs[job]!;
    return phase === 'READY' && lease === null && !record.queued?.has(job);
  }

  #cancelSent(record: WorkflowRecord, events: readonly WorkflowEvent[]): void {
    for (const event of events) {
      if (event.kind !== 'attemptCancelSent') continue;
      const workerId = record.state.jobs[event.job]!.lease?.workerId;
      if (workerId !== undefined) this.commits.after(() => this.workers.get(workerId)?.outbox?.cancel([event.token], event.reason));
    }
  }

  #arm(record: WorkflowRecord, touched: ReadonlySet<number>): void {
    let next = workflowTimer(record.state)?.at ?? null;
    for (const job of touched) {
      const at = jobTimer(record.state, job)?.at;
      if (at !== undefined && (next === null || at < next)) next = at;
    }
    this.#wake(record, next);
  }

  #wake(record: WorkflowRecord, at: number | null): void {
    if (at === null || (record.wakeAt !== 0 && record.wakeAt <= at)) return;
    record.wakeAt = at;
    this.#agenda.add({ at, workflowId: record.state.id, job: null });
  }

  #publish(record: WorkflowRecord, firstSeq: number, events: readonly DurableEvent[], bytes: number): void {
    this.#followers.committed(events.length, bytes);
    for (let i = 0; i < events.length; i++) {
      const event = events[i]!;
      record.events.push(event);
      if (record.watchers !== null) for (const watcher of record.watchers) watcher.event(firstSeq + i, event);
      if (event.kind !== 'ended') continue;
      this.table.ended(record);
      this.#followers.ended(record);
    }
  }
}
