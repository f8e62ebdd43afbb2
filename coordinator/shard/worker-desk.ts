/**
 * What workers say, turned into commands of workflows: the shard's side of `WorkerInbox`.
 *
 * Invariants
 * 1. Only the session that is attached speaks for a worker: words of an older one are dropped.
 * 2. Every result is answered, whatever became of it; the answer waits for the commit of what it caused.
 * 3. A lease that its worker no longer names is taken back after `MISSED_BEATS` heartbeats: nothing stays RUNNING because a worker forgot it.
 */

import { create } from '@bufbuild/protobuf';
import type { IgnoredReason } from '@workflow-orchestrator/engine/machine';
import type { AssignReply, InFlight, InFlightVerdict, LeaseBeat, Result, ResultAck } from '@workflow-orchestrator/proto';
import {
  type Durability,
  InFlightVerdict_Verdict,
  InFlightVerdictSchema,
  ResultAck_Verdict,
  ResultAckSchema,
} from '@workflow-orchestrator/proto';
import type { AttachedWorker, WorkerOutbox } from '../gateway/port.ts';
import type { ShardCore } from './core.ts';
import { checkpointOf, millisecondsOf, outcomeOf } from './wire.ts';
import { WorkerEntry } from './workers.ts';

/** Heartbeats without a word of an accepted attempt, after which its lease ends. */
const MISSED_BEATS = 3;

type Verdict = Exclude<IgnoredReason, 'invalid' | 'nothing-due'> | 'accepted';

const VERDICTS: Readonly<Record<Verdict, ResultAck_Verdict>> = {
  accepted: ResultAck_Verdict.ACCEPTED,
  duplicate: ResultAck_Verdict.DUPLICATE,
  stale: ResultAck_Verdict.STALE,
  ended: ResultAck_Verdict.WORKFLOW_ENDED,
};

export class WorkerDesk {
  readonly #core: ShardCore;
  readonly #durability: Durability;

  constructor(core: ShardCore, durability: Durability) {
    this.#core = core;
    this.#durability = durability;
  }

  attach(session: AttachedWorker, outbox: WorkerOutbox, at: number): void {
    let worker = this.#core.workers.get(session.workerId);
    if (worker === undefined) {
      worker = new WorkerEntry(session, outbox);
      this.#core.workers.put(worker);
    } else {
      worker.session = session;
      worker.outbox = outbox;
      this.#core.workers.changed();
    }
    worker.room = { available: 0, unsent: 0, open: false };
    const held = new Set(session.inFlight.map((attempt) => attempt.leaseToken));
    // What the worker does not name it does not have: an assignment lost on its way, or a process that started anew.
    for (const token of [...worker.leases.keys()])
      if (!held.has(token)) this.#takeBack(worker, token, 'the worker no longer holds the attempt', at);
    const verdicts = session.inFlight.map((attempt) => this.#verdict(worker, attempt, at));
    this.#core.commits.after(() => outbox.welcome(verdicts));
  }

  /** Told at once, not in a turn: room must never lag behind what was handed over. */
  capacity(workerId: string, sessionId: string, available: number, open: boolean): void {
    const worker = this.#speaker(workerId, sessionId);
    if (worker === null) return;
    worker.room.available = available;
    worker.room.open = open;
  }

  replies(workerId: string, sessionId: string, replies: readonly AssignReply[], at: number): void {
    const worker = this.#speaker(workerId, sessionId);
    if (worker === null) return;
    for (const reply of replies) {
      const place = worker.leases.get(reply.leaseToken);
      const record = place && this.#core.table.get(place.workflowId);
      if (place === undefined || record === undefined) {
        if (reply.accepted) this.#core.commits.after(() => worker.outbox?.revoke([reply.leaseToken]));
        continue;
      }
      const { job } = place;
      const token = reply.leaseToken;
      if (reply.accepted) {
        this.#core.execute(record, { kind: 'accept', at, job, token });
        continue;
      }
      this.#core.wakeAt(worker.refuse(place.type, at));
      // A worker that was only slow to answer must not start it after all.
      this.#core.execute(record, { kind: 'release', at, job, token, reason: reply.reason });
    }
  }

  beats(workerId: string, sessionId: string, beats: readonly LeaseBeat[], whole: boolean, at: number): void {
    const worker = this.#speaker(workerId, sessionId);
    if (worker === null) return;
    const unknown: string[] = [];
    const named = new Set<string>();
    for (const beat of beats) {
      named.add(beat.leaseToken);
      const place = worker.leases.get(beat.leaseToken);
      const record = place && this.#core.table.get(place.workflowId);
      if (place === undefined || record === undefined) {
        unknown.push(beat.leaseToken);
        continue;
      }
      place.missedBeats = 0;
      const lease = record.state.jobs[place.job]!.lease;
      if (lease?.cancelAt != null) this.#core.commits.after(() => worker.outbox?.cancel([beat.leaseToken], record.state.cancelReason));
      const progress = beat.progress ?? null;
      const checkpoint = checkpointOf(beat.checkpoint);
      if (this.#core.needsBeat(record, place.job, progress, beat.progressMessage) || checkpoint !== null) {
        this.#core.execute(record, {
          kind: 'beat',
          at,
          job: place.job,
          token: beat.leaseToken,
          idleMs: millisecondsOf(beat.idleMs),
          progress,
          progressMessage: beat.progressMessage,
          checkpoint,
        });
      }
    }
    for (const [token, place] of worker.leases) {
      if (!whole || named.has(token)) continue;
      const accepted = this.#core.table.get(place.workflowId)?.state.jobs[place.job]?.lease?.acceptedAt != null;
      if (accepted) place.missedBeats += 1;
      if (place.missedBeats >= MISSED_BEATS) this.#takeBack(worker, token, 'the worker no longer names the attempt', at);
    }
    if (unknown.length > 0) this.#core.commits.after(() => worker.outbox?.revoke(unknown));
  }

  results(workerId: string, sessionId: string, results: readonly Result[], at: number): void {
    const worker = this.#speaker(workerId, sessionId);
    if (worker === null) return;
    const acks: ResultAck[] = [];
    for (const result of results) {
      const verdict = this.#judge(workerId, result, at);
      if (verdict !== 'accepted') this.#core.observer.resultRefused(verdict);
      acks.push(create(ResultAckSchema, { leaseToken: result.leaseToken, verdict: VERDICTS[verdict], durability: this.#durability }));
    }
    this.#core.commits.after(() => worker.outbox?.ack(acks));
  }

  detach(workerId: string, sessionId: string): void {
    const worker = this.#speaker(workerId, sessionId);
    if (worker === null) return;
    worker.outbox = null;
    worker.room = { available: 0, unsent: 0, open: false };
  }

  lost(workerId: string, sessionId: string, reason: string, at: number): void {
    const worker = this.#speaker(workerId, sessionId);
    if (worker === null) return;
    worker.outbox = null;
    for (const token of [...worker.leases.keys()]) this.#takeBack(worker, token, reason, at);
    this.#core.workers.delete(workerId);
  }

  #speaker(workerId: string, sessionId: string): WorkerEntry | null {
    const worker = this.#core.workers.get(workerId);
    return worker !== undefined && worker.session.sessionId === sessionId ? worker : null;
  }

  #takeBack(worker: WorkerEntry, token: string, message: string, at: number): void {
    const place = worker.leases.get(token);
    if (place === undefined) return;
    const record = this.#core.table.get(place.workflowId);
    if (record === undefined) worker.removeLease(token);
    else if (place.isSent) this.#core.execute(record, { kind: 'workerLost', at, job: place.job, token, message });
    // Whoever was never offered the job was not lost with it.
    else this.#core.execute(record, { kind: 'release', at, job: place.job, token, reason: message });
  }

  #judge(workerId: string, result: Result, at: number): Verdict {
    const record = this.#core.table.get(result.workflowId);
    const job = record?.state.graph.indexOf.get(result.jobId);
    if (record === undefined || job === undefined) return 'stale';
    const { leaseToken: token, attempt } = result;
    const outcome = outcomeOf(result);
    const decision = this.#core.execute(
      record,
      { kind: 'result', at, job, token, attempt, workerId, runningMs: millisecondsOf(result.runningMs), outcome },
      true,
    );
    if (decision.kind === 'events') return 'accepted';
    return decision.reason === 'invalid' || decision.reason === 'nothing-due' ? 'stale' : decision.reason;
  }

  #verdict(worker: WorkerEntry, attempt: InFlight, at: number): InFlightVerdict {
    const say = (verdict: InFlightVerdict_Verdict) => create(InFlightVerdictSchema, { leaseToken: attempt.leaseToken, verdict });
    const keep = () => say(attempt.resultWaiting ? InFlightVerdict_Verdict.SEND_RESULT : InFlightVerdict_Verdict.KEEP);
    const record = this.#core.table.get(attempt.workflowId);
    const job = record?.state.graph.indexOf.get(attempt.jobId);
    if (worker.leases.has(attempt.leaseToken)) {
      // The accept may have been lost with the connection; that it runs says the same.
      if (record !== undefined && job !== undefined) this.#core.execute(record, { kind: 'accept', at, job, token: attempt.leaseToken });
      return keep();
    }
    if (record !== undefined && job !== undefined && this.#core.isEarlierToken(attempt.leaseToken)) {
      const decision = this.#core.execute(record, {
        kind: 'reattach',
        at,
        job,
        token: attempt.leaseToken,
        attempt: attempt.attempt,
        workerId: worker.id,
        runningMs: millisecondsOf(attempt.runningMs),
        fencingToken: this.#core.nextFencingToken(),
      });
      if (decision.kind === 'events') return keep();
    }
    // A result that waits is judged all the same, so that its worker learns STALE or DUPLICATE and may forget it.
    return say(attempt.resultWaiting ? InFlightVerdict_Verdict.SEND_RESULT : InFlightVerdict_Verdict.ABANDON);
  }
}
