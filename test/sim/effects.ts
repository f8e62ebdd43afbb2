/** The seam between sessions and the shard, with everything that crosses it written down. */
import { InFlightVerdict_Verdict, ResultAck_Verdict } from '@workflow-orchestrator/proto';
import type { WorkerInbox, WorkerOutbox } from '../../coordinator/gateway/port.ts';
import type { Shard } from '../../coordinator/shard/shard.ts';
import { nameOf } from '../shard-support/worker-double.ts';
import type { SimNode } from './node.ts';
import type { Surroundings } from './surroundings.ts';

/** Where a token was given: for what is said about it later. */
export interface Given {
  readonly workflow: string;
  readonly job: string;
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
  const outboxOf = (outbox: WorkerOutbox): WorkerOutbox => ({
    welcome: (verdicts) => {
      onEffect();
      if (verdicts.some(({ verdict }) => verdict === InFlightVerdict_Verdict.KEEP))
        world.reached('a worker came back with what it runs, and kept it');
      if (verdicts.some(({ verdict }) => verdict === InFlightVerdict_Verdict.ABANDON))
        world.reached('a worker came back with what is no longer its own');
      outbox.welcome(verdicts);
    },
    assign: (assignments) => {
      onEffect();
      const { epoch, termId } = shard.ownership;
      for (const { workflowId, jobId, attempt, leaseToken } of assignments) {
        tokens.set(leaseToken, { workflow: workflowId, job: jobId, results: 0 });
        const value = { token: leaseToken };
        world.record(node, { op: 0, f: 'assign', type: 'ok', workflow: workflowId, job: jobId, attempt, epoch, term: termId, value });
      }
      outbox.assign(assignments);
    },
    ack: (acks) => {
      onEffect();
      const { epoch, termId } = shard.ownership;
      for (const { leaseToken, verdict } of acks) {
        const answer = nameOf(ResultAck_Verdict, verdict);
        const place = tokens.get(leaseToken);
        if (verdict !== ResultAck_Verdict.ACCEPTED) world.reached(`a result was answered ${answer}`);
        const value = { token: leaseToken, answer };
        const about = place === undefined ? {} : { workflow: place.workflow, job: place.job };
        world.record(node, { op: 0, f: 'ack', type: 'ok', ...about, epoch, term: termId, value });
      }
      outbox.ack(acks);
    },
    cancel: (leaseTokens, reason) => outbox.cancel(leaseTokens, reason),
    revoke: (leaseTokens) => outbox.revoke(leaseTokens),
  });
  return {
    attach: (worker, outbox) => shard.attach(worker, outboxOf(outbox)),
    capacity: (workerId, sessionId, available, open) => shard.capacity(workerId, sessionId, available, open),
    replies: (workerId, sessionId, replies) => shard.replies(workerId, sessionId, replies),
    beats: (workerId, sessionId, beats, whole) => shard.beats(workerId, sessionId, beats, whole),
    results: (workerId, sessionId, results) => {
      for (const { leaseToken } of results) {
        const place = tokens.get(leaseToken);
        if (place === undefined) continue;
        place.results += 1;
        if (place.results === 3) world.reached('a result was sent three times');
      }
      shard.results(workerId, sessionId, results);
    },
    detach: (workerId, sessionId) => shard.detach(workerId, sessionId),
    lost: (workerId, sessionId, reason) => {
      world.reached('a worker was given up');
      shard.lost(workerId, sessionId, reason);
    },
  };
}
