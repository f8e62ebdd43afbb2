/**
 * The heart of a shard: applies decisions. Every change of a workflow goes through `apply`, which keeps the journal, the ready queue,
 * the leases of workers, the timers and the watchers in step with the state.
 *
 * Invariants
 * 1. Durable events go to the commit loop before any effect that rests on them.
 * 2. Every job that is READY, without a lease, in a workflow that is RUNNING, and whose time has come, has an entry in the ready queue;
 *    one whose time has not come has an entry in the agenda. Every armed timer has an agenda entry at its time or earlier.
 * 3. Every lease of a state is listed under its worker, and no other is.
 */

import type { DurableEvent, WorkflowEvent, WorkflowState } from '@workflow-orchestrator/engine/machine';
import {
  type Command,
  type Decision,
  decide,
  hasEnded,
  isDurable,
  jobTimer,
  nextWake,
  readyJobs,
  workflowTimer,
} from '@workflow-orchestrator/engine/machine';
import type { Ownership } from '../store/store.ts';
import { Agenda } from './agenda.ts';
import { assignmentOf } from './assignment.ts';
import type { CommitLoop } from './commit-loop.ts';
import { match } from './matcher.ts';
import type { ShardObserver, ShardPorts } from './ports.ts';
import { type ReadyJob, ReadyQueue } from './ready-queue.ts';
import { type WorkerEntry, WorkerTable } from './workers.ts';
import type { WorkflowRecord, WorkflowTable } from './workflow-table.ts';

/** Fencing tokens of one epoch: the epoch above, a counter below. 2^21 epochs of 2^32 assignments fit an exact number. */
const FENCING_TOKENS_PER_EPOCH = 2 ** 32;

export class ShardCore {
  readonly table: WorkflowTable;
  readonly workers = new WorkerTable();
  readonly commits: CommitLoop;
  readonly observer: ShardObserver;
  readonly #queue = new ReadyQueue();
  readonly #agenda = new Agenda();
  readonly #ports: ShardPorts;
  readonly #epoch: number;
  #assignments = 0;
  #running = 0;

  constructor(table: WorkflowTable, commits: CommitLoop, ownership: Ownership, ports: ShardPorts, observer: ShardObserver) {
    this.table = table;
    this.commits = commits;
    this.observer = observer;
    this.#ports = ports;
    this.#epoch = ownership.epoch;
  }

  get readyJobs(): number {
    return this.#queue.size;
  }

  get runningJobs(): number {
    return this.#running;
  }

  /** When the next timer or retry is due; null when none is. */
  nextDue(): number | null {
    return this.#agenda.next();
  }

  /** Whether a lease token was given by this ownership; one of an earlier owner may be taken up again. */
  isOwnToken(token: string): boolean {
    return token.startsWith(`${this.#epoch}.`);
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
      this.commits.append({ workflowId: state.id, firstEventSeq, events: durable }, sizeOf(durable));
      this.commits.after(() => this.#publish(record, firstEventSeq, durable));
    }
    const touched = new Set<number>();
    for (const event of events) {
      if ('job' in event) touched.add(event.job);
      else if (event.kind === 'resumed' || event.kind === 'cancelRequested' || event.kind === 'timedOut') {
        for (const job of readyJobs(state)) this.#offer(record, job, at);
      }
      this.#observe(before, state, event);
    }
    for (const job of touched) this.#follow(record, before, job, at, fromHolder);
    this.#cancelSent(record, events);
    if (!hasEnded(state.status)) this.#arm(record, touched);
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
    match(this.#queue, this.workers, now, (entry, worker) => this.#assign(entry, worker, now));
  }

  /** Something at `at` needs a turn of the shard, though no workflow does. */
  wakeAt(at: number): void {
    this.#agenda.add({ at, workflowId: '', job: null });
  }

  /** Puts a recovered workflow in place: its events, its ready jobs and its timers. */
  restore(state: WorkflowState, events: readonly DurableEvent[], at: number): WorkflowRecord {
    const record = this.table.add(state);
    record.events.push(...events);
    if (hasEnded(state.status)) {
      this.table.ended(record);
      return record;
    }
    for (const job of readyJobs(state)) this.#offer(record, job, at);
    this.#wake(record, nextWake(state));
    return record;
  }

  #assign(entry: ReadyJob, worker: WorkerEntry, now: number): boolean {
    const record = this.table.get(entry.workflowId);
    if (record === undefined) return false;
    record.queued.delete(entry.job);
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
      if (worker.outbox === outbox) outbox?.assign([assignment]);
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
      this.workers.get(lease.workerId)?.addLease(lease.token, { workflowId: record.state.id, job: index, type, missedBeats: 0 });
    }
    if (lease?.acceptedAt != null && (old?.token !== lease.token || old.acceptedAt === null)) this.#running += 1;
    if (lease === null && job.phase === 'READY') this.#offer(record, index, at);
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
    if (job.phase !== 'READY' || job.lease !== null || record.queued.has(index)) return;
    if (job.notBefore > now) this.#agenda.add({ at: job.notBefore, workflowId: state.id, job: index });
    else if (state.status === 'RUNNING') {
      record.queued.add(index);
      this.#queue.add(state.graph.jobs[index]!, { workflowId: state.id, job: index, since: now });
    }
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

  #publish(record: WorkflowRecord, firstSeq: number, events: readonly DurableEvent[]): void {
    for (let i = 0; i < events.length; i++) {
      const event = events[i]!;
      record.events.push(event);
      if (record.watchers !== null) for (const watcher of record.watchers) watcher.event(firstSeq + i, event);
      if (event.kind === 'ended') this.table.ended(record);
    }
  }

  #observe(before: WorkflowState, state: WorkflowState, event: WorkflowEvent): void {
    switch (event.kind) {
      case 'ended':
        this.observer.workflowEnded(event.status, event.at - state.submittedAt);
        return;
      case 'jobSucceeded':
      case 'jobFailed':
      case 'jobCancelled':
      case 'jobSkipped':
        this.observer.jobEnded(state.graph.jobs[event.job]!.type, state.jobs[event.job]!.phase);
        if (event.kind === 'jobFailed') this.observer.attemptFailed(state.graph.jobs[event.job]!.type, event.error.code);
        return;
      case 'jobRetryScheduled':
        this.observer.attemptFailed(before.graph.jobs[event.job]!.type, event.error.code);
        return;
      default:
    }
  }
}

/** Approximate bytes of events, for the caps of a commit. */
function sizeOf(events: readonly DurableEvent[]): number {
  let bytes = 0;
  for (const event of events) {
    bytes += 64;
    if (event.kind === 'submitted') bytes += event.inputs.data.length + 100;
    else if (event.kind === 'jobSucceeded') bytes += event.output.data.length;
    else if (event.kind === 'jobReady') bytes += event.parameters?.data.length ?? 0;
    else if (event.kind === 'jobCheckpointed') bytes += event.checkpoint.data.length;
    else if (event.kind === 'jobFailed' || event.kind === 'jobRetryScheduled')
      bytes += event.error.message.length + (event.error.details?.data.length ?? 0);
  }
  return bytes;
}
