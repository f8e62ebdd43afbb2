/**
 * A worker's end of the stream: a pure machine. Inputs come from the connections, from the handlers and from the program; every input returns what the
 * shell is to do. The rules R1 to R70 are in proto/PROTOCOL.md.
 *
 * Invariants
 * 1. No input throws, whatever the coordinator sent.
 * 2. A result is given up only when it was acked, or its attempt lost (R40, R42), or the program stops without waiting.
 * 3. Never more handlers run or linger than there are slots.
 * 4. The worker ends by its own will only: it connects again without limit (R54).
 */
import {
  type CoordinatorFrame,
  closeCodes,
  type NumberVerdict,
  type ProtocolErrorCode,
  takeNumbers,
  takeUnread,
} from '@workflow-orchestrator/proto';
import { abandonAll, endOverdue, finishAttempt } from './attempts.ts';
import { accuse, closeAll, dial, dialFailed, giveUpDial, giveUpReady, readyGone } from './dial.ts';
import { complain, handleBody, handleWelcome } from './from-coordinator.ts';
import type { Outcome } from './outcome.ts';
import { flushInto, sendEmptyHeartbeat, sendHello } from './outgoing.ts';
import { arm, live, type Phase, type Ready, type Wire, type WorkerOutput, type WorkerSession } from './state.ts';

/** The program starts the worker. */
export function start(session: WorkerSession, at: number): WorkerOutput[] {
  const outputs: WorkerOutput[] = [];
  if (session.phase.kind === 'idle') dial(session, null, at, outputs);
  arm(session, outputs);
  return outputs;
}

/** A connection that was asked for is there. */
export function opened(session: WorkerSession, link: number, at: number): WorkerOutput[] {
  const outputs: WorkerOutput[] = [];
  const { phase } = session;
  if (phase.kind !== 'connecting' || phase.wire.link !== link) return outputs;
  const { wire, previous } = phase;
  session.phase = { kind: 'greeting', wire, until: at + session.limits.welcomeTimeoutMs, previous };
  wire.heardAt = at;
  wire.beatAt = at + session.limits.heartbeatIntervalMs;
  sendHello(session, wire, at, outputs);
  arm(session, outputs);
  return outputs;
}

/** A connection is gone, or could not be made. `reason` is for people; `retryAfterMs`: how long the coordinator asked to wait, 0 when it did not. */
export function closed(session: WorkerSession, link: number, reason: string, retryAfterMs: number, at: number): WorkerOutput[] {
  const outputs: WorkerOutput[] = [];
  const { phase } = session;
  const ready = live(session);
  if (ready !== null && ready.wire.link === link) readyGone(session, ready, reason, at, outputs);
  else if ((phase.kind === 'connecting' || phase.kind === 'greeting') && phase.wire.link === link) {
    dialFailed(session, phase.previous, phase.wire.url, reason, retryAfterMs, at, outputs);
  }
  endIfDone(session, at, outputs);
  arm(session, outputs);
  return outputs;
}

/** A frame came on a connection. */
export function receive(session: WorkerSession, link: number, frame: CoordinatorFrame, at: number): WorkerOutput[] {
  const outputs: WorkerOutput[] = [];
  const { phase } = session;
  const ready = live(session);
  if (ready !== null && ready.wire.link === link) {
    const verdict = take(ready.wire, frame, at);
    if (verdict.kind === 'next') handleBody(session, ready, frame.body, at, outputs);
    else if (verdict.kind === 'broken') {
      accuse(ready.wire, 'BAD_FRAME', verdict.message, outputs);
      giveUpReady(session, ready, closeCodes.badFrame, verdict.message, at, outputs);
    }
  } else if (phase.kind === 'greeting' && phase.wire.link === link) {
    const verdict = take(phase.wire, frame, at);
    if (verdict.kind === 'next') greet(session, phase, frame, at, outputs);
    else if (verdict.kind === 'broken') refuseGreeting(session, phase.wire, 'BAD_FRAME', verdict.message, at, outputs);
  }
  endIfDone(session, at, outputs);
  arm(session, outputs);
  return outputs;
}

/** A message came that is no frame; `problem` says why. */
export function receiveUnreadable(session: WorkerSession, link: number, problem: string, at: number): WorkerOutput[] {
  const outputs: WorkerOutput[] = [];
  const { phase } = session;
  const ready = live(session);
  if (ready !== null && ready.wire.link === link) {
    takeUnread(ready.wire.numbering);
    complain(session, ready, 'BAD_FRAME', problem, at, outputs);
  } else if (phase.kind === 'greeting' && phase.wire.link === link) {
    refuseGreeting(session, phase.wire, 'BAD_FRAME', problem, at, outputs);
  }
  arm(session, outputs);
  return outputs;
}

/** The alarm fired: does what is due. */
export function tick(session: WorkerSession, at: number): WorkerOutput[] {
  const outputs: WorkerOutput[] = [];
  const lateMs = at - session.alarmAt;
  session.alarmAt = Number.POSITIVE_INFINITY;
  if (Number.isFinite(lateMs) && lateMs > 0) {
    session.lagMs = Math.max(session.lagMs, lateMs);
    // This process stood still; what the coordinator sent meanwhile may still wait in the socket.
    if (lateMs > session.limits.stallToleranceMs) forgiveSilence(session, lateMs);
  }
  checkPhase(session, at, outputs);
  const ready = live(session);
  if (ready !== null) checkReady(session, ready, at, outputs);
  endOverdue(session, at, outputs);
  if (at >= session.stopAt && session.phase.kind !== 'closed') stopNow(session, at, outputs);
  endIfDone(session, at, outputs);
  arm(session, outputs);
  return outputs;
}

/** A handler has returned. */
export function finish(session: WorkerSession, leaseToken: string, outcome: Outcome, at: number): WorkerOutput[] {
  const outputs: WorkerOutput[] = [];
  finishAttempt(session, leaseToken, outcome, at, outputs);
  endIfDone(session, at, outputs);
  arm(session, outputs);
  return outputs;
}

/** No more work; ends when what runs is done and its results are acked (R51). */
export function drain(session: WorkerSession, reason: string, at: number): WorkerOutput[] {
  const outputs: WorkerOutput[] = [{ kind: 'wake' }];
  session.draining ??= reason;
  endIfDone(session, at, outputs);
  arm(session, outputs);
  return outputs;
}

/** Drains, but not for longer than `graceMs`: what still runs then is stopped, and what was not delivered is given up. The coordinator offers it to others. */
export function stop(session: WorkerSession, reason: string, graceMs: number, at: number): WorkerOutput[] {
  session.stopAt = Math.min(session.stopAt, at + graceMs);
  return drain(session, reason, at);
}

/** Sends what waits. `congested`: the connection is slow. */
export function flush(session: WorkerSession, at: number, congested: boolean): WorkerOutput[] {
  const outputs: WorkerOutput[] = [];
  flushInto(session, at, congested, outputs);
  arm(session, outputs);
  return outputs;
}

function take(wire: Wire, frame: CoordinatorFrame, at: number): NumberVerdict {
  const verdict = takeNumbers(wire.numbering, frame.seq, frame.ack);
  if (verdict.kind === 'next') wire.heardAt = at;
  return verdict;
}

/** R14: Welcome, or why not. */
function greet(
  session: WorkerSession,
  phase: Extract<Phase, { kind: 'greeting' }>,
  frame: CoordinatorFrame,
  at: number,
  outputs: WorkerOutput[],
): void {
  const { body } = frame;
  if (body.case === 'welcome') handleWelcome(session, phase, body.value, at, outputs);
  else if (body.case === 'error')
    giveUpDial(session, closeCodes.goingAway, `refused: ${body.value.code}: ${body.value.message}`, at, outputs);
  else refuseGreeting(session, phase.wire, 'UNEXPECTED_FRAME', `the first frame was ${body.case ?? 'unknown'}, not welcome`, at, outputs);
}

/** What came instead of Welcome makes no sense. */
function refuseGreeting(
  session: WorkerSession,
  wire: Wire,
  code: ProtocolErrorCode,
  message: string,
  at: number,
  outputs: WorkerOutput[],
): void {
  accuse(wire, code, message, outputs);
  giveUpDial(session, closeCodes.badFrame, message, at, outputs);
}

function checkPhase(session: WorkerSession, at: number, outputs: WorkerOutput[]): void {
  const { phase, limits } = session;
  switch (phase.kind) {
    case 'waiting':
      if (at >= phase.until) dial(session, phase.previous, at, outputs);
      break;
    case 'connecting':
      if (at >= phase.until) giveUpDial(session, closeCodes.goingAway, `no connection within ${limits.connectTimeoutMs} ms`, at, outputs);
      break;
    case 'greeting':
      if (at >= phase.until) giveUpDial(session, closeCodes.noGreeting, `no welcome within ${limits.welcomeTimeoutMs} ms`, at, outputs);
      else if (at >= phase.wire.beatAt) sendEmptyHeartbeat(session, phase.wire, at, outputs);
      break;
    case 'idle':
    case 'ready':
    case 'closed':
      break;
    default:
      phase satisfies never;
  }
}

function checkReady(session: WorkerSession, ready: Ready, at: number, outputs: WorkerOutput[]): void {
  const { wire } = ready;
  if (at - wire.heardAt >= ready.leaseMs) {
    giveUpReady(session, ready, closeCodes.silent, `nothing heard for ${ready.leaseMs} ms`, at, outputs);
    return;
  }
  resend(session, at, outputs);
  if (at >= wire.beatAt) outputs.push({ kind: 'wake' });
}

/** R40: a result that is not acked for long may have been lost behind the connection. */
function resend(session: WorkerSession, at: number, outputs: WorkerOutput[]): void {
  const { resultResendMs } = session.limits;
  let count = 0;
  for (const [token, ended] of session.ended) {
    if (ended.sentAt === null || at - ended.sentAt < resultResendMs || count >= resendBatch) break;
    ended.sentAt = null;
    session.unsent.add(token);
    // To the end: `ended` stays in the order in which results were last sent, so the first one is the next that is due.
    session.ended.delete(token);
    session.ended.set(token, ended);
    count += 1;
  }
  if (count > 0) outputs.push({ kind: 'wake' });
}

/** Results that are sent again at once. */
const resendBatch = 1_000;

function forgiveSilence(session: WorkerSession, lateMs: number): void {
  const { phase } = session;
  if (phase.kind === 'greeting') session.phase = { ...phase, until: phase.until + lateMs };
  const ready = live(session);
  if (ready !== null) ready.wire.heardAt += lateMs;
}

function stopNow(session: WorkerSession, at: number, outputs: WorkerOutput[]): void {
  flushInto(session, at, false, outputs);
  const undelivered = session.ended.size;
  const stopped = abandonAll(session, outputs);
  if (stopped + undelivered > 0) {
    const message = `stopped before ${stopped} attempts had ended and ${undelivered} results were acked; the coordinator offers them to other workers`;
    outputs.push({ kind: 'note', level: 'warn', message });
  }
  closeAll(session, session.draining ?? 'stopped', outputs);
}

/** R51: a worker that drains ends when it holds nothing. */
function endIfDone(session: WorkerSession, at: number, outputs: WorkerOutput[]): void {
  const { draining, phase, running, ended } = session;
  if (draining === null || phase.kind === 'closed' || running.size > 0 || ended.size > 0) return;
  flushInto(session, at, false, outputs);
  closeAll(session, draining, outputs);
}
