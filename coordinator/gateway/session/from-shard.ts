/**
 * What the shard, and the operator, ask of a session. Assignments are in `assignments.ts`.
 *
 * Invariants
 * 1. An input for a connection that is gone does nothing: acks are asked for again by the worker (R40), and what is to stop is told after a takeover (R13).
 */
import { create } from '@bufbuild/protobuf';
import {
  GoAwaySchema,
  type InFlightVerdict,
  InFlightVerdict_Verdict,
  protocolVersions,
  type ResultAck,
  WelcomeSchema,
} from '@workflow-orchestrator/proto';
import { arm, type Session, type SessionOutput, tellCapacity } from './state.ts';
import { addCancelled, addRevoked } from './told.ts';

/** The shard has judged the attempts that the worker holds (R15). */
export function welcome(
  session: Session,
  verdicts: readonly InFlightVerdict[],
  coordinatorUrls: readonly string[],
  at: number,
): SessionOutput[] {
  const outputs: SessionOutput[] = [];
  const { phase, limits, outgoing, told } = session;
  if (phase.kind !== 'attaching') return outputs;
  outgoing.welcome = create(WelcomeSchema, {
    sessionId: session.id,
    coordinatorId: session.coordinatorId,
    protocol: protocolVersions.max,
    heartbeatIntervalMs: limits.heartbeatIntervalMs,
    leaseMs: limits.leaseMs,
    assignReplyMs: limits.assignReplyMs,
    maxFrameBytes: limits.frameBytes,
    verdicts: fitting(verdicts, limits.frameBytes),
    coordinatorUrls: [...coordinatorUrls],
    maxLogBytes: limits.logBytesPerAttempt,
    cancelGraceMs: limits.cancelGraceMs,
  });
  const running = phase.who.worker.inFlight.filter((attempt) => !attempt.resultWaiting).length;
  session.phase = {
    kind: 'ready',
    who: phase.who,
    work: { granted: 0, sent: 0, unanswered: new Map(), running, partialBeats: new Map() },
  };
  // The silence before Welcome was this end's.
  session.heardAt = Math.max(session.heardAt, at - session.stalledMs);
  // R13: what was under way in the session that this one takes over.
  for (const [token, entry] of told.cancelled) queueCancel(session, token, entry.reason);
  if (session.drainReason !== null) outgoing.drain = session.drainReason;
  outputs.push({ kind: 'wake' });
  outputs.push({ kind: 'note', level: 'info', message: `worker ${phase.who.worker.workerId}: connected` });
  arm(session, outputs);
  return outputs;
}

/** Results are as durable as they get. */
export function ack(session: Session, acks: readonly ResultAck[]): SessionOutput[] {
  if (session.phase.kind !== 'ready' || acks.length === 0) return [];
  for (const entry of acks) session.outgoing.acks.push(entry);
  return [{ kind: 'wake' }];
}

/** Attempts are to stop (R50). */
export function cancel(session: Session, leaseTokens: readonly string[], reason: string): SessionOutput[] {
  if (session.phase.kind === 'ended') return [];
  for (const token of leaseTokens) {
    if (addCancelled(session.told, token, reason) && session.phase.kind === 'ready') queueCancel(session, token, reason);
  }
  return session.phase.kind === 'ready' ? [{ kind: 'wake' }] : [];
}

/** Leases are gone (R31). */
export function revoke(session: Session, leaseTokens: readonly string[]): SessionOutput[] {
  const { phase } = session;
  if (phase.kind !== 'ready') return [];
  for (const token of leaseTokens) {
    phase.work.unanswered.delete(token);
    addRevoked(session.told, token);
    session.outgoing.lost.add(token);
  }
  return leaseTokens.length > 0 ? [{ kind: 'wake' }] : [];
}

/** The worker is to take no more work and to end (R52). */
export function drain(session: Session, reason: string): SessionOutput[] {
  if (session.phase.kind === 'ended') return [];
  session.draining = true;
  session.drainReason = reason;
  if (session.phase.kind !== 'ready') return [];
  session.outgoing.drain = reason;
  const outputs: SessionOutput[] = [{ kind: 'wake' }];
  tellCapacity(session, outputs);
  return outputs;
}

/** This coordinator goes away (R53). */
export function goAway(session: Session, reason: string, reconnectDelayMs: number): SessionOutput[] {
  if (session.phase.kind !== 'ready' || session.leaving) return [];
  session.leaving = true;
  session.outgoing.goAway = create(GoAwaySchema, { reason, reconnectDelayMs });
  const outputs: SessionOutput[] = [{ kind: 'wake' }];
  tellCapacity(session, outputs);
  return outputs;
}

function queueCancel(session: Session, token: string, reason: string): void {
  const tokens = session.outgoing.cancels.get(reason);
  if (tokens) tokens.push(token);
  else session.outgoing.cancels.set(reason, [token]);
}

/** All verdicts, or, when they would not fit into a frame, those that are not what the worker does anyway (R15). */
function fitting(verdicts: readonly InFlightVerdict[], frameBytes: number): InFlightVerdict[] {
  const bytes = verdicts.reduce((sum, { leaseToken }) => sum + leaseToken.length * 3 + 8, 4096);
  if (bytes <= frameBytes) return [...verdicts];
  return verdicts.filter(({ verdict }) => verdict === InFlightVerdict_Verdict.ABANDON);
}
