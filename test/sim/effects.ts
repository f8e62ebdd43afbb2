/** The seam between sessions and the shard, with everything that crosses it written down. */
import { InFlightVerdict_Verdict, ResultAck_Verdict } from '@workflow-orchestrator/proto';
import type { AttachedWorker, WorkerInbox, WorkerOutbox } from '../../coordinator/gateway/port.ts';
import type { Shard } from '../../coordinator/shard/shard.ts';
import type { HistoryEvent, HistoryValue } from '../checkers/history.ts';
import { nameOf } from '../shard-support/worker-double.ts';
import type { SimNode } from './node.ts';
import type { Surroundings } from './surroundings.ts';

/** Where a token was given: for what is said about it later. */
export interface Given {
  readonly workflow: string;
  readonly job: string;
  /** Whether heartbeats decide over it. */
  readonly needsBeats: boolean;
  /** Results that came under it. */
  results: number;
}

const given = new WeakMap<Surroundings, Map<string, Given>>();

/** What was assigned in a run, by token. */
export function givenIn(world: Surroundings): Map<string, Given> {
  const known = given.get(world) ?? new Map<string, Given>();
  given.set(world, known);
  return known;
}

/** The shard as sessions see it. `onEffect` is called for every effect. */
export function effectsOf(shard: Shard, node: SimNode, world: Surroundings, onEffect: () => void): WorkerInbox {
  const tokens = givenIn(world);
  const seam = new Seam(shard, node, world);
  const outboxOf = (outbox: WorkerOutbox, { workerId: worker, sessionId: session }: AttachedWorker): WorkerOutbox => ({
    welcome: (verdicts) => {
      onEffect();
      const are = (kind: InFlightVerdict_Verdict) => verdicts.flatMap(({ leaseToken, verdict }) => (verdict === kind ? [leaseToken] : []));
      const [kept, dropped] = [are(InFlightVerdict_Verdict.KEEP), are(InFlightVerdict_Verdict.ABANDON)];
      if (kept.length > 0) world.reached('a worker came back with what it runs, and kept it');
      if (dropped.length > 0) world.reached('a worker came back with what is no longer its own');
      seam.tell('welcome', {}, { worker, session, tokens: kept, dropped });
      outbox.welcome(verdicts);
    },
    assign: (assignments) => {
      onEffect();
      for (const { workflowId, jobId, attempt, leaseToken, heartbeatTimeoutMs } of assignments) {
        tokens.set(leaseToken, { workflow: workflowId, job: jobId, needsBeats: heartbeatTimeoutMs > 0, results: 0 });
        seam.tell('assign', { workflow: workflowId, job: jobId, attempt }, { token: leaseToken, worker });
      }
      outbox.assign(assignments);
    },
    ack: (acks) => {
      onEffect();
      for (const { leaseToken, verdict } of acks) {
        const answer = nameOf(ResultAck_Verdict, verdict);
        if (verdict !== ResultAck_Verdict.ACCEPTED) world.reached(`a result was answered ${answer}`);
        seam.tell('ack', placeOf(leaseToken), { token: leaseToken, answer, worker });
      }
      outbox.ack(acks);
    },
    cancel: (leaseTokens, reason) => {
      seam.tell('stop', {}, { worker, tokens: leaseTokens });
      outbox.cancel(leaseTokens, reason);
    },
    revoke: (leaseTokens) => {
      seam.tell('revoke', {}, { worker, tokens: leaseTokens });
      outbox.revoke(leaseTokens);
    },
  });
  const placeOf = (token: string): Partial<HistoryEvent> => {
    const place = tokens.get(token);
    return place === undefined ? {} : { workflow: place.workflow, job: place.job };
  };
  return {
    attach: (worker, outbox) => {
      const { workerId, sessionId, inFlight } = worker;
      seam.hear('attach', {}, { worker: workerId, session: sessionId, tokens: inFlight.map(({ leaseToken }) => leaseToken) });
      shard.attach(worker, outboxOf(outbox, worker));
    },
    capacity: (workerId, sessionId, available, open) => shard.capacity(workerId, sessionId, available, open),
    replies: (worker, session, replies) => {
      for (const { leaseToken: token, accepted } of replies)
        seam.hear('answer', placeOf(token), { worker, session, token, answer: accepted ? 'accepted' : 'refused' });
      shard.replies(worker, session, replies);
    },
    beats: (worker, session, beats, whole) => {
      for (const { leaseToken: token, idleMs } of beats)
        if (tokens.get(token)?.needsBeats) seam.hear('beat', placeOf(token), { worker, session, token, idleMs: Number(idleMs) });
      shard.beats(worker, session, beats, whole);
    },
    results: (worker, session, results) => {
      for (const { leaseToken: token, outcome } of results) {
        seam.hear('result', placeOf(token), { worker, session, token, outcome: outcome.case ?? 'none' });
        const place = tokens.get(token);
        if (place === undefined) continue;
        place.results += 1;
        if (place.results === 3) world.reached('a result was sent three times');
      }
      shard.results(worker, session, results);
    },
    detach: (worker, session) => {
      seam.hear('detach', {}, { worker, session });
      shard.detach(worker, session);
    },
    lost: (worker, session, reason) => {
      world.reached('a worker was given up');
      seam.hear('lost', {}, { worker, session });
      shard.lost(worker, session, reason);
    },
  };
}

/** Writes down what crosses, and in whose tenure. */
class Seam {
  readonly #shard: Shard;
  readonly #node: SimNode;
  readonly #world: Surroundings;
  readonly #tenure: string;

  constructor(shard: Shard, node: SimNode, world: Surroundings) {
    this.#shard = shard;
    this.#node = node;
    this.#world = world;
    this.#tenure = shard.ownership.termId;
  }

  /** An effect that leaves. */
  tell(f: string, about: Partial<HistoryEvent>, value: HistoryValue): void {
    const { epoch, termId } = this.#shard.ownership;
    const told = { ...value, tenure: this.#tenure };
    this.#world.record(this.#node, { op: 0, f, type: 'ok', ...about, epoch, term: termId, value: told });
  }

  /** What a worker says. */
  hear(f: string, about: Partial<HistoryEvent>, value: HistoryValue): void {
    this.#world.record(this.#node, { op: 0, f, type: 'ok', ...about, value: { ...value, tenure: this.#tenure } });
  }
}
