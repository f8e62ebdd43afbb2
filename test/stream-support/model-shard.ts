/**
 * A shard reduced to what workers see of it: jobs that must each end once, leases, acks that come later than results.
 * It holds the gateway to its promises: a call that `port.ts` does not allow is a violation.
 */
import { create } from '@bufbuild/protobuf';
import {
  type AssignReply,
  InFlightVerdict_Verdict,
  InFlightVerdictSchema,
  type LeaseBeat,
  type Result,
  ResultAck_Verdict,
  ResultAckSchema,
} from '@workflow-orchestrator/proto';
import type { AttachedWorker, WorkerInbox, WorkerOutbox } from '../../coordinator/gateway/port.ts';
import type { Random } from '../engine-support/random.ts';
import { assignment } from './frames.ts';
import type { Timeline } from './timeline.ts';

/** One job. */
export interface ModelJob {
  readonly id: string;
  /** Of the lease; null when there is none. */
  token: string | null;
  workerId: string | null;
  isAccepted: boolean;
  /** Whole heartbeats in a row that did not name it. */
  missed: number;
  /** Token of the result that counts. */
  doneBy: string | null;
  outcome: string | null;
  /** Leases that ended without a result. */
  takenBack: number;
}

/** How a shard may fail its workers, 0 to 1 per call. */
export interface ShardFaults {
  /** Gives more than the credit allows. */
  readonly greed: number;
  /** Loses results before it has judged them, as one that has to load its state anew. */
  readonly amnesia: number;
}

interface Seat {
  readonly sessionId: string;
  readonly instanceId: string;
  readonly outbox: WorkerOutbox;
  available: number;
  open: boolean;
  unsent: number;
  isAttached: boolean;
}

/** Whole heartbeats without a word of an accepted attempt, after which its lease ends. */
const mostMissed = 3;

/** All jobs. */
export class ModelShard implements WorkerInbox {
  readonly jobs: ModelJob[];
  readonly violations: string[] = [];
  /** Verdicts by token. */
  readonly verdicts = new Map<string, ResultAck_Verdict[]>();
  faults: ShardFaults;
  readonly #timeline: Pick<Timeline, 'after'>;
  readonly #random: Random;
  readonly #seats = new Map<string, Seat>();
  readonly #sessionsSeen = new Set<string>();
  #tokens = 0;

  constructor(count: number, timeline: Pick<Timeline, 'after'>, random: Random, faults: ShardFaults) {
    this.faults = faults;
    this.#timeline = timeline;
    this.#random = random;
    this.jobs = Array.from({ length: count }, (_, i) => ({
      id: `job${i}`,
      token: null,
      workerId: null,
      isAccepted: false,
      missed: 0,
      doneBy: null,
      outcome: null,
      takenBack: 0,
    }));
  }

  get isDone(): boolean {
    return this.jobs.every((job) => job.doneBy !== null);
  }

  /** The job whose lease has this token. */
  holder(token: string): ModelJob | undefined {
    return this.jobs.find((job) => job.token === token);
  }

  /** What an attached worker is told by. */
  outboxOf(workerId: string): WorkerOutbox | undefined {
    return this.#seats.get(workerId)?.outbox;
  }

  /** Room that an attached worker has. */
  roomOf(workerId: string): number {
    return this.#seats.get(workerId)?.available ?? 0;
  }

  attach(worker: AttachedWorker, outbox: WorkerOutbox): void {
    if (this.#sessionsSeen.has(worker.sessionId)) this.violations.push(`session ${worker.sessionId} attached twice`);
    this.#sessionsSeen.add(worker.sessionId);
    const before = this.#seats.get(worker.workerId);
    if (before !== undefined && before.instanceId !== worker.instanceId)
      this.violations.push(`${worker.workerId} changed hands without lost`);
    const { sessionId, instanceId } = worker;
    const seat = { sessionId, instanceId, outbox, available: 0, open: false, unsent: 0, isAttached: true };
    this.#seats.set(worker.workerId, seat);
    const held = new Set(worker.inFlight.map(({ leaseToken }) => leaseToken));
    for (const job of this.#leasesOf(worker.workerId)) if (!held.has(job.token!)) this.#takeBack(job);
    const verdicts = worker.inFlight.map(({ leaseToken, resultWaiting }) => {
      const job = this.holder(leaseToken);
      const keeps = job !== undefined && job.workerId === worker.workerId;
      if (keeps) job.isAccepted = true;
      const { KEEP, ABANDON, SEND_RESULT } = InFlightVerdict_Verdict;
      return create(InFlightVerdictSchema, { leaseToken, verdict: resultWaiting ? SEND_RESULT : keeps ? KEEP : ABANDON });
    });
    this.#commit(() => outbox.welcome(verdicts));
  }

  capacity(workerId: string, sessionId: string, available: number, open: boolean): void {
    const seat = this.#seat('capacity', workerId, sessionId);
    if (seat === null) return;
    seat.available = available;
    seat.open = open;
    this.plan();
  }

  replies(workerId: string, sessionId: string, replies: readonly AssignReply[]): void {
    if (this.#seat('replies', workerId, sessionId) === null) return;
    for (const { leaseToken, accepted } of replies) {
      const job = this.holder(leaseToken);
      if (job === undefined) continue;
      if (accepted) job.isAccepted = true;
      else this.#takeBack(job);
    }
    this.plan();
  }

  beats(workerId: string, sessionId: string, beats: readonly LeaseBeat[], whole: boolean): void {
    const seat = this.#seat('beats', workerId, sessionId);
    if (seat === null) return;
    const named = new Set(beats.map(({ leaseToken }) => leaseToken));
    const unknown = [...named].filter((token) => this.holder(token)?.workerId !== workerId);
    if (unknown.length > 0) this.#commit(() => this.#seats.get(workerId)?.outbox.revoke(unknown));
    if (!whole) return;
    for (const job of this.#leasesOf(workerId)) {
      if (named.has(job.token!)) job.missed = 0;
      else if (job.isAccepted) job.missed += 1;
      if (job.missed >= mostMissed) this.#takeBack(job);
    }
    this.plan();
  }

  results(workerId: string, sessionId: string, results: readonly Result[]): void {
    if (this.#seat('results', workerId, sessionId) === null || this.#random.chance(this.faults.amnesia)) return;
    const acks = results.map((result) => {
      const verdict = this.#judge(result);
      const { leaseToken } = result;
      this.verdicts.set(leaseToken, [...(this.verdicts.get(leaseToken) ?? []), verdict]);
      return create(ResultAckSchema, { leaseToken, verdict });
    });
    this.#commit(() => {
      const seat = this.#seats.get(workerId);
      if (seat?.isAttached) seat.outbox.ack(acks);
    });
    this.plan();
  }

  detach(workerId: string, sessionId: string): void {
    const seat = this.#seat('detach', workerId, sessionId);
    if (seat === null) return;
    seat.isAttached = false;
    seat.open = false;
  }

  lost(workerId: string, sessionId: string): void {
    const seat = this.#seats.get(workerId);
    if (seat?.sessionId !== sessionId) {
      this.violations.push(`lost of ${sessionId}, which is not the session of ${workerId}`);
      return;
    }
    this.#seats.delete(workerId);
    for (const job of this.#leasesOf(workerId)) this.#takeBack(job);
    this.plan();
  }

  /** Asks a running job to stop. */
  cancelSome(): void {
    const running = this.jobs.filter((job) => job.isAccepted && job.token !== null);
    if (running.length === 0) return;
    const { token, workerId } = this.#random.pick(running);
    this.#seats.get(workerId!)?.outbox.cancel([token!], 'by chance');
  }

  /** Gives what waits to whom has room. */
  plan(): void {
    for (const [workerId, seat] of this.#seats) {
      while (seat.open && seat.isAttached && (seat.available > seat.unsent || this.#random.chance(this.faults.greed))) {
        const job = this.jobs.find(({ token, doneBy }) => token === null && doneBy === null);
        if (job === undefined) return;
        this.#tokens += 1;
        const token = `t${this.#tokens}`;
        Object.assign(job, { token, workerId, isAccepted: false, missed: 0 });
        seat.unsent += 1;
        this.#commit(() => {
          seat.unsent -= 1;
          seat.available -= 1;
          if (this.#seats.get(workerId) === seat && seat.isAttached) seat.outbox.assign([assignment(token, { jobId: job.id })]);
        });
      }
    }
  }

  #judge(result: Result): ResultAck_Verdict {
    const job = this.jobs.find(({ id }) => id === result.jobId)!;
    if (job.doneBy !== null) return job.doneBy === result.leaseToken ? ResultAck_Verdict.DUPLICATE : ResultAck_Verdict.STALE;
    if (job.token !== result.leaseToken) return ResultAck_Verdict.STALE;
    Object.assign(job, { token: null, workerId: null, doneBy: result.leaseToken, outcome: result.outcome.case ?? null });
    return ResultAck_Verdict.ACCEPTED;
  }

  #takeBack(job: ModelJob): void {
    const { token, workerId } = job;
    Object.assign(job, { token: null, workerId: null, isAccepted: false });
    job.takenBack += 1;
    if (workerId !== null && token !== null) this.#commit(() => this.#seats.get(workerId)?.outbox.revoke([token]));
  }

  #leasesOf(workerId: string): ModelJob[] {
    return this.jobs.filter((job) => job.workerId === workerId);
  }

  #seat(call: string, workerId: string, sessionId: string): Seat | null {
    const seat = this.#seats.get(workerId);
    if (seat === undefined || seat.sessionId !== sessionId || !seat.isAttached) {
      this.violations.push(`${call} of session ${sessionId} of ${workerId}, which is not attached`);
      return null;
    }
    return seat;
  }

  /** What follows comes when it is durable. */
  #commit(effect: () => void): void {
    this.#timeline.after(this.#random.below(20), () => {
      effect();
    });
  }
}
