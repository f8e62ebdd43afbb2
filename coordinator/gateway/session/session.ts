/**
 * One worker connection, seen from the coordinator: a pure machine. Inputs come from the socket (this file), from the shard (`from-shard.ts`,
 * `assignments.ts`) and from the roster (`admission.ts`); every input returns what the shell is to do. The rules R1 to R70 are in proto/PROTOCOL.md.
 *
 * Invariants
 * 1. No input throws, whatever the worker sent.
 * 2. A frame is handled once, or the connection is given up (R5).
 * 3. Silence of the worker is measured while this process runs: time in which it stood still itself is taken off (`tick`), and nobody is judged before what
 *    came meanwhile had time to be read.
 */
import { type CoordinatorFrame, closeCodes, takeNumbers, takeUnread, type WorkerFrame } from '@workflow-orchestrator/proto';
import { takeBack } from './assignments.ts';
import { complain, detach, dropSlow, fail, farewell, lose } from './ending.ts';
import { handleBody, handleHello } from './from-worker.ts';
import { takeFrames } from './outgoing.ts';
import { arm, type Session, type SessionOutput, tellCapacity } from './state.ts';

/** A frame came. */
export function receive(session: Session, frame: WorkerFrame, at: number): SessionOutput[] {
  const outputs: SessionOutput[] = [];
  if (isOver(session)) return outputs;
  const now = at - session.stalledMs;
  const verdict = takeNumbers(session.numbering, frame.seq, frame.ack);
  if (verdict.kind === 'double') return outputs;
  hear(session, now, outputs);
  const { phase } = session;
  if (verdict.kind === 'broken') fail(session, 'BAD_FRAME', verdict.message, closeCodes.badFrame, now, outputs);
  else if (phase.kind === 'greeting') handleHello(session, phase, frame.body, now, outputs);
  else if (phase.kind === 'ready') handleBody(session, phase, frame.body, now, outputs);
  // R14: Heartbeats before Welcome are signs of life and no more.
  else if (frame.body.case !== 'heartbeat') complain(session, 'UNEXPECTED_FRAME', 'only heartbeat comes before welcome', now, outputs);
  arm(session, outputs);
  return outputs;
}

/** A message came that is no frame (R3, R4); `problem` says why. */
export function receiveUnreadable(session: Session, problem: string, at: number): SessionOutput[] {
  const outputs: SessionOutput[] = [];
  if (isOver(session)) return outputs;
  const now = at - session.stalledMs;
  takeUnread(session.numbering);
  hear(session, now, outputs);
  if (session.phase.kind === 'greeting') fail(session, 'BAD_FRAME', problem, closeCodes.refused, now, outputs);
  else complain(session, 'BAD_FRAME', problem, now, outputs);
  arm(session, outputs);
  return outputs;
}

/** The alarm fired: does what is due. */
export function tick(session: Session, at: number): SessionOutput[] {
  const outputs: SessionOutput[] = [];
  takeStallOff(session, at);
  const now = at - session.stalledMs;
  session.alarmAt = Number.POSITIVE_INFINITY;
  const { phase, limits } = session;
  switch (phase.kind) {
    case 'greeting':
      if (now < phase.helloBy) break;
      fail(session, 'UNEXPECTED_FRAME', `no hello within ${limits.helloTimeoutMs} ms`, closeCodes.noGreeting, now, outputs);
      break;
    case 'attaching':
    case 'ready':
      checkLiveness(session, now, outputs);
      break;
    case 'detached':
      if (now >= phase.graceUntil) lose(session, `did not come back within ${limits.reconnectGraceMs} ms`, outputs);
      break;
    case 'introduced':
    case 'ended':
      break;
    default:
      phase satisfies never;
  }
  arm(session, outputs);
  return outputs;
}

/**
 * Invariant 3. How long this process stood still before the alarm was due is not known, and what the worker sent meanwhile, or its new connection, still waits
 * to be read: it gets time for that. Once: a loop that is late each time must come to a judgement too.
 */
function takeStallOff(session: Session, at: number): void {
  const { stallToleranceMs } = session.limits;
  const lateMs = at - session.stalledMs - session.alarmAt;
  const isStalled = lateMs > stallToleranceMs;
  if (isStalled) session.stalledMs += lateMs + (session.isStalled ? 0 : stallToleranceMs);
  session.isStalled = isStalled;
}

/** R32, the slow consumer, and R22, in this order. */
function checkLiveness(session: Session, now: number, outputs: SessionOutput[]): void {
  const { limits, flow, phase } = session;
  const silentMs = now - session.heardAt;
  if (silentMs >= limits.leaseMs) {
    const reason = `silent for ${limits.leaseMs} ms`;
    outputs.push({ kind: 'close', code: closeCodes.silent, reason, abrupt: true });
    lose(session, reason, outputs);
    return;
  }
  if (flow.bufferedBytes > 0 && now - flow.progressAt >= limits.outboundStallMs) {
    dropSlow(session, `it took nothing of what it was sent for ${limits.outboundStallMs} ms`, now, outputs);
    return;
  }
  if (silentMs >= limits.suspectMs && !session.suspect) {
    session.suspect = true;
    tellCapacity(session, outputs);
  }
  if (phase.kind === 'ready') takeBack(session, phase.work, now, outputs);
}

/** The socket is gone. `code` is the WebSocket close code, 1006 when there was none. */
export function socketClosed(session: Session, code: number, at: number): SessionOutput[] {
  const outputs: SessionOutput[] = [];
  if (isOver(session)) return outputs;
  const attached = session.phase.kind === 'attaching' || session.phase.kind === 'ready';
  // R34: 1000 is a farewell.
  if (attached && code === closeCodes.done) farewell(session, outputs);
  else detach(session, at - session.stalledMs, outputs);
  arm(session, outputs);
  return outputs;
}

/** How many bytes wait to go out, and how many went out in all. */
export function observeFlow(session: Session, bufferedBytes: number, flushedBytes: number, at: number): SessionOutput[] {
  const outputs: SessionOutput[] = [];
  if (isOver(session)) return outputs;
  const { flow, limits } = session;
  const now = at - session.stalledMs;
  if (flushedBytes > flow.flushedBytes || bufferedBytes === 0 || flow.bufferedBytes === 0) flow.progressAt = now;
  flow.bufferedBytes = bufferedBytes;
  flow.flushedBytes = flushedBytes;
  if (bufferedBytes >= limits.outboundDropBytes) {
    dropSlow(session, `${bufferedBytes} bytes wait for it, more than ${limits.outboundDropBytes}`, now, outputs);
  } else if (flow.congested ? bufferedBytes <= limits.outboundPauseBytes / 2 : bufferedBytes >= limits.outboundPauseBytes) {
    flow.congested = !flow.congested;
    tellCapacity(session, outputs);
  }
  arm(session, outputs);
  return outputs;
}

/** The frames that wait, numbered. The shell sends them in this order. */
export function flush(session: Session): CoordinatorFrame[] {
  return takeFrames(session.outgoing, session.numbering, session.told, session.limits);
}

/** Whether nothing that comes from the socket matters any more. */
function isOver(session: Session): boolean {
  return session.phase.kind === 'detached' || session.phase.kind === 'ended';
}

function hear(session: Session, now: number, outputs: SessionOutput[]): void {
  session.heardAt = now;
  if (!session.suspect) return;
  session.suspect = false;
  tellCapacity(session, outputs);
}
