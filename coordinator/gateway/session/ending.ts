/**
 * How a session answers what is wrong, and the ways in which it ends.
 *
 * Invariants
 * 1. Every way out of attaching or ready tells the shard: detach (leases hold for the grace) or lost (they are gone).
 * 2. A fatal error is the last frame of its connection (R8).
 */
import { create } from '@bufbuild/protobuf';
import { closeCodes, type ProtocolError, type ProtocolErrorCode, ProtocolErrorSchema } from '@workflow-orchestrator/proto';
import { type Session, type SessionOutput, whoIs } from './state.ts';

/** Answers a bad frame or entry; the session goes on, unless there were too many (R8). */
export function complain(session: Session, code: ProtocolErrorCode, message: string, now: number, outputs: SessionOutput[]): void {
  session.badFrames += 1;
  if (session.badFrames >= session.limits.frameErrors) {
    fail(session, 'LIMIT_EXCEEDED', `${session.badFrames} bad frames; the last: ${message}`, closeCodes.refused, now, outputs);
    return;
  }
  session.outgoing.errors.push(protocolError(session, code, message, false));
  outputs.push({ kind: 'wake' });
}

/** Ends the connection with a fatal error; leases hold for the grace. */
export function fail(
  session: Session,
  code: ProtocolErrorCode,
  message: string,
  closeCode: number,
  now: number,
  outputs: SessionOutput[],
): void {
  session.outgoing.errors.push(protocolError(session, code, message, true));
  outputs.push({ kind: 'note', level: 'warn', message: `worker ${nameOf(session)}: connection refused: ${code}: ${message}` });
  outputs.push({ kind: 'close', code: closeCode, reason: code, abrupt: false });
  detach(session, now, outputs);
}

/** The worker does not read what it is sent. */
export function dropSlow(session: Session, what: string, now: number, outputs: SessionOutput[]): void {
  outputs.push({ kind: 'note', level: 'warn', message: `worker ${nameOf(session)}: connection dropped: ${what}` });
  outputs.push({ kind: 'close', code: closeCodes.slow, reason: 'slow consumer', abrupt: true });
  detach(session, now, outputs);
}

/** The connection is gone: leases hold for the grace (R33). Before the shard knew of it there is nothing to hold. */
export function detach(session: Session, now: number, outputs: SessionOutput[]): void {
  const { phase } = session;
  if (phase.kind !== 'attaching' && phase.kind !== 'ready') {
    session.phase = { kind: 'ended' };
    return;
  }
  session.phase = { kind: 'detached', who: phase.who, graceUntil: now + session.limits.reconnectGraceMs };
  outputs.push({ kind: 'detach' });
}

/** The worker said farewell: its leases end with the session (R34). */
export function farewell(session: Session, outputs: SessionOutput[]): void {
  outputs.push({ kind: 'note', level: 'info', message: `worker ${nameOf(session)}: ended` });
  session.phase = { kind: 'ended' };
  outputs.push({ kind: 'lost', reason: 'the worker ended' });
}

/** The worker is gone: its leases end with the session. */
export function lose(session: Session, reason: string, outputs: SessionOutput[]): void {
  outputs.push({ kind: 'note', level: 'warn', message: `worker ${nameOf(session)}: lost: ${reason}` });
  session.phase = { kind: 'ended' };
  outputs.push({ kind: 'lost', reason });
}

function nameOf(session: Session): string {
  return whoIs(session)?.worker.workerId ?? '(unknown)';
}

function protocolError(session: Session, code: ProtocolErrorCode, message: string, fatal: boolean): ProtocolError {
  return create(ProtocolErrorSchema, { code, message, frameSeq: BigInt(session.numbering.handled), fatal });
}
