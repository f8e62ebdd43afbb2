/**
 * Who has a worker id (R13).
 *
 * Invariants
 * 1. At most one session of a worker id is known to the shard. `judge` decides which; both are never kept.
 * 2. A takeover calls nothing of the old session but its close: the shard hears of the new one, whose outbox replaces the old.
 */
import { closeCodes, type ProtocolErrorCode } from '@workflow-orchestrator/proto';
import { fail, lose } from './ending.ts';
import { arm, type Introduction, type Session, type SessionOutput, whoIs } from './state.ts';
import { addCancelled } from './told.ts';

/** What becomes of a worker that introduces itself. */
export type Admission =
  /** Nobody has the id. */
  | { readonly kind: 'admit' }
  /** The same process, connected anew: `replace` the old session. */
  | { readonly kind: 'take over' }
  /** Another process, and the first is gone: `evict` the old session. */
  | { readonly kind: 'evict' }
  | { readonly kind: 'refuse'; readonly code: ProtocolErrorCode; readonly message: string };

/** Decides. `current` is the session that has the id, `count` the number of workers known. */
export function judge(current: Session | undefined, who: Introduction, count: number, mostWorkers: number): Admission {
  const holder = current === undefined ? null : whoIs(current);
  if (current === undefined || holder === null) {
    if (count < mostWorkers) return { kind: 'admit' };
    return { kind: 'refuse', code: 'LIMIT_EXCEEDED', message: `${count} workers are connected, more than that are not taken` };
  }
  const { workerId, instanceId } = who.worker;
  if (holder.worker.instanceId === instanceId) {
    const isNewer = who.connection > holder.connection || who.connection === 0 || holder.connection === 0;
    if (isNewer) return { kind: 'take over' };
    return { kind: 'refuse', code: 'WORKER_ID_TAKEN', message: `a newer connection of this process has the worker id '${workerId}'` };
  }
  if (current.suspect || current.phase.kind === 'detached') return { kind: 'evict' };
  return {
    kind: 'refuse',
    code: 'WORKER_ID_TAKEN',
    message: `another process (instance ${holder.worker.instanceId}) is connected with the worker id '${workerId}'; every worker needs an id of its own`,
  };
}

/** The worker has its id: tells the shard. `old` is the session that it takes over, or null. */
export function admit(session: Session, old: Session | null, at: number): SessionOutput[] {
  const outputs: SessionOutput[] = [];
  if (session.phase.kind !== 'introduced') return outputs;
  const { who } = session.phase;
  session.phase = { kind: 'attaching', who };
  if (old !== null) {
    const held = new Set(who.worker.inFlight.filter((attempt) => !attempt.resultWaiting).map((attempt) => attempt.leaseToken));
    for (const [token, entry] of old.told.cancelled) if (held.has(token)) addCancelled(session.told, token, entry.reason);
    session.draining = old.drainReason !== null;
    session.drainReason = old.drainReason;
  }
  session.heardAt = at - session.stalledMs;
  outputs.push({ kind: 'attach', worker: who.worker });
  arm(session, outputs);
  return outputs;
}

/** The worker does not get its id. */
export function refuse(session: Session, code: ProtocolErrorCode, message: string, at: number): SessionOutput[] {
  const outputs: SessionOutput[] = [];
  const closeCode = code === 'LIMIT_EXCEEDED' ? closeCodes.tryLater : closeCodes.refused;
  fail(session, code, message, closeCode, at - session.stalledMs, outputs);
  return outputs;
}

/** A newer connection of the same process took over. */
export function replace(session: Session): SessionOutput[] {
  const isConnected = session.phase.kind === 'attaching' || session.phase.kind === 'ready';
  session.phase = { kind: 'ended' };
  return isConnected ? [{ kind: 'close', code: closeCodes.replaced, reason: 'a newer connection took over', abrupt: false }] : [];
}

/** Another process has the id now: the leases of the old one are gone. */
export function evict(session: Session): SessionOutput[] {
  const outputs: SessionOutput[] = [];
  if (session.phase.kind === 'attaching' || session.phase.kind === 'ready') {
    outputs.push({ kind: 'close', code: closeCodes.replaced, reason: 'another process has this worker id now', abrupt: true });
  }
  lose(session, 'another process started with its id', outputs);
  return outputs;
}
