/**
 * What each frame of the coordinator does.
 */
import { create } from '@bufbuild/protobuf';
import {
  type Assignments,
  AssignReplySchema,
  type CoordinatorFrame,
  closeCodes,
  InFlightVerdict_Verdict,
  type ProtocolErrorCode,
  ProtocolErrorSchema,
  ResultAck_Verdict,
  type Welcome,
} from '@workflow-orchestrator/proto';
import { streamUrl } from '../url.ts';
import { begin, cancelAttempt, forgetResult, loseAttempt, whyNot } from './attempts.ts';
import { accuse, dialElsewhere, giveUpReady } from './dial.ts';
import type { Phase, Ready, WorkerOutput, WorkerSession } from './state.ts';

/** Takes in Welcome (R15): the connection is the one in use from now on. */
export function handleWelcome(
  session: WorkerSession,
  phase: Extract<Phase, { kind: 'greeting' }>,
  welcome: Welcome,
  at: number,
  outputs: WorkerOutput[],
): void {
  const { limits } = session;
  const { wire, previous } = phase;
  for (const { leaseToken, verdict } of welcome.verdicts) {
    if (verdict !== InFlightVerdict_Verdict.ABANDON) continue;
    noteUnwanted(session, leaseToken, 'is given up: the coordinator does not know its lease any more', outputs);
    loseAttempt(session, leaseToken, outputs);
  }
  // What the other connection may have taken with it.
  for (const attempt of session.running.values()) if (attempt.checkpoint !== null) attempt.checkpoint.frame = 0;
  session.unsent.clear();
  for (const [token, ended] of session.ended) {
    ended.sentAt = null;
    session.unsent.add(token);
  }
  session.replies = [];
  session.errors = [];
  session.failures = 0;
  session.lastFailures.clear();
  session.welcomedUrl = wire.url;
  session.round = [];
  session.roundRetryAfterMs = 0;
  session.lastSessionId = welcome.sessionId;
  session.learnedUrls = welcome.coordinatorUrls.map(streamUrl).flatMap((read) => (read.kind === 'url' ? [read.url] : []));
  const heartbeatMs = welcome.heartbeatIntervalMs || limits.heartbeatIntervalMs;
  wire.beatAt = at + heartbeatMs;
  session.phase = {
    kind: 'ready',
    wire,
    sessionId: welcome.sessionId,
    coordinatorId: welcome.coordinatorId,
    heartbeatMs,
    leaseMs: welcome.leaseMs || limits.leaseMs,
    cancelGraceMs: welcome.cancelGraceMs || limits.cancelGraceMs,
    frameBytes: Math.min(welcome.maxFrameBytes || limits.frameBytes, limits.frameBytes),
    logBytes: Math.min(welcome.maxLogBytes || limits.logBytesPerAttempt, limits.logBytesPerAttempt),
    received: 0,
    granted: 0,
    drainSent: false,
    leaving: false,
  };
  if (previous !== null) outputs.push({ kind: 'close', link: previous.wire.link, code: closeCodes.goingAway, reason: 'moved' });
  outputs.push({ kind: 'welcomed', url: wire.url, sessionId: welcome.sessionId, coordinatorId: welcome.coordinatorId });
  outputs.push({ kind: 'wake' });
}

/** Any frame on the connection in use. */
export function handleBody(
  session: WorkerSession,
  ready: Ready,
  body: CoordinatorFrame['body'],
  at: number,
  outputs: WorkerOutput[],
): void {
  switch (body.case) {
    case 'welcome':
      complain(session, ready, 'UNEXPECTED_FRAME', 'welcome comes once', at, outputs);
      break;
    case 'assignments':
      handleAssignments(session, ready, body.value, at, outputs);
      break;
    case 'heartbeatReply':
      for (const token of body.value.lost) loseAttempt(session, token, outputs);
      for (const token of body.value.cancel) cancelAttempt(session, token, '', at, outputs);
      if (body.value.lost.length > 0) outputs.push({ kind: 'wake' });
      break;
    case 'resultAcks':
      // R41: each verdict ends the duty to keep the result.
      for (const { leaseToken, verdict } of body.value.acks) {
        if (verdict === ResultAck_Verdict.STALE) noteUnwanted(session, leaseToken, 'came too late: another attempt counts', outputs);
        else if (verdict === ResultAck_Verdict.WORKFLOW_ENDED)
          noteUnwanted(session, leaseToken, 'came too late: the workflow has ended', outputs);
        const kept = session.ended.get(leaseToken);
        if (kept === undefined) continue;
        forgetResult(session, leaseToken);
        outputs.push({ kind: 'acknowledged', result: kept.result, verdict });
      }
      outputs.push({ kind: 'wake' });
      break;
    case 'cancel':
      for (const token of body.value.leaseTokens) cancelAttempt(session, token, body.value.reason, at, outputs);
      break;
    case 'drain':
      session.draining ??= body.value.reason || 'the coordinator asked for it';
      outputs.push({ kind: 'note', level: 'info', message: `the coordinator asks to drain: ${body.value.reason}` }, { kind: 'wake' });
      break;
    case 'goAway':
      if (ready.leaving || session.phase !== ready) break;
      ready.leaving = true;
      outputs.push({ kind: 'note', level: 'info', message: `${ready.wire.url} goes away: ${body.value.reason}` });
      dialElsewhere(session, ready, body.value.reconnectDelayMs, at);
      break;
    case 'error':
      outputs.push({ kind: 'note', level: 'warn', message: `${ready.wire.url}: ${body.value.code}: ${body.value.message}` });
      break;
    case undefined:
      complain(session, ready, 'UNEXPECTED_FRAME', `frame ${ready.wire.numbering.handled} has no body that protocol 1 knows`, at, outputs);
      break;
    default:
      body satisfies never;
  }
}

/** One line for the operator about work that counts for nothing; none when the worker does not hold the attempt. */
function noteUnwanted(session: WorkerSession, token: string, what: string, outputs: WorkerOutput[]): void {
  const result = session.ended.get(token)?.result;
  const held = result ?? session.running.get(token)?.assignment;
  if (held === undefined) return;
  const subject = result === undefined ? '' : 'the result of ';
  const message = `${subject}attempt ${held.attempt} of job '${held.jobId}' of workflow '${held.workflowId}' ${what}`;
  outputs.push({ kind: 'note', level: 'warn', message });
}

/** Answers a bad frame (R8); too many of them end the connection. */
export function complain(
  session: WorkerSession,
  ready: Ready,
  code: ProtocolErrorCode,
  message: string,
  at: number,
  outputs: WorkerOutput[],
): void {
  const { wire } = ready;
  wire.badFrames += 1;
  if (wire.badFrames >= session.limits.frameErrors) {
    const all = `${wire.badFrames} bad frames; the last: ${message}`;
    accuse(wire, 'LIMIT_EXCEEDED', all, outputs);
    giveUpReady(session, ready, closeCodes.badFrame, all, at, outputs);
    return;
  }
  session.errors.push(create(ProtocolErrorSchema, { code, message, frameSeq: BigInt(wire.numbering.handled), fatal: false }));
  outputs.push({ kind: 'note', level: 'warn', message: `${wire.url}: bad frame: ${message}` }, { kind: 'wake' });
}

/** R22, R23. */
function handleAssignments(session: WorkerSession, ready: Ready, { assignments }: Assignments, at: number, outputs: WorkerOutput[]): void {
  for (const assignment of assignments) {
    const { leaseToken } = assignment;
    ready.received += 1;
    let reason: string | null = null;
    if (!session.running.has(leaseToken) && !session.ended.has(leaseToken)) {
      reason = leaseToken === '' ? 'no lease token' : whyNot(session, assignment);
      if (reason === null) begin(session, assignment, at, outputs);
    }
    session.replies.push(create(AssignReplySchema, { leaseToken, accepted: reason === null, reason: reason ?? '' }));
  }
  outputs.push({ kind: 'wake' });
}
