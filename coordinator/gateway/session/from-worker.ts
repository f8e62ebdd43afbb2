/**
 * What each frame of a worker does to its session.
 */
import type { Credit, Heartbeat, LeaseBeat, LogLine, LogLines, Result, Results, WorkerFrame } from '@workflow-orchestrator/proto';
import { closeCodes, cutText } from '@workflow-orchestrator/proto';
import { handleReplies } from './assignments.ts';
import { complain, fail } from './ending.ts';
import { checkBeat, checkLine, checkResult } from './entries.ts';
import { judgeHello } from './hello.ts';
import { type Phase, type Session, type SessionOutput, tellCapacity, type Work } from './state.ts';
import { forget, isQuiet, settle } from './told.ts';

type Body = WorkerFrame['body'];

/** The first frame, and further ones that belong to it (R10). */
export function handleHello(
  session: Session,
  phase: Extract<Phase, { kind: 'greeting' }>,
  body: Body,
  now: number,
  outputs: SessionOutput[],
): void {
  if (body.case !== 'hello') {
    fail(session, 'UNEXPECTED_FRAME', 'the first frame must be hello', closeCodes.refused, now, outputs);
    return;
  }
  phase.parts.push(body.value);
  const held = phase.parts.reduce((sum, part) => sum + part.inFlight.length, 0);
  // The greeting lasts 5 s at most; this bounds what can pile up in it.
  if (body.value.partial && held <= session.limits.workerInFlight && phase.parts.length <= 1000) return;
  const verdict = judgeHello(phase.parts, session.id, session.limits);
  if (verdict.kind === 'wrong') {
    fail(session, verdict.code, verdict.message, closeCodes.refused, now, outputs);
    return;
  }
  session.phase = { kind: 'introduced', who: verdict.who };
  outputs.push({ kind: 'introduce', who: verdict.who });
}

/** Any frame after Welcome. */
export function handleBody(
  session: Session,
  phase: Extract<Phase, { kind: 'ready' }>,
  body: Body,
  now: number,
  outputs: SessionOutput[],
): void {
  const { work } = phase;
  switch (body.case) {
    case 'hello':
      complain(session, 'UNEXPECTED_FRAME', 'hello comes once', now, outputs);
      break;
    case 'credit':
      handleCredit(session, work, body.value, outputs);
      break;
    case 'assignReplies':
      handleReplies(session, work, body.value.replies, now, outputs);
      break;
    case 'heartbeat':
      handleHeartbeat(session, work, body.value, now, outputs);
      break;
    case 'results':
      handleResults(session, work, body.value, now, outputs);
      break;
    case 'logLines':
      handleLines(session, body.value, now, outputs);
      break;
    case 'drain':
      session.draining = true;
      tellCapacity(session, outputs);
      outputs.push({
        kind: 'note',
        level: 'info',
        message: `worker ${phase.who.worker.workerId}: drains: ${reason(session, body.value.reason)}`,
      });
      break;
    case 'error':
      outputs.push({
        kind: 'note',
        level: 'warn',
        message: `worker ${phase.who.worker.workerId}: says ${body.value.code}: ${reason(session, body.value.message)}`,
      });
      break;
    case undefined:
      complain(session, 'UNEXPECTED_FRAME', `frame ${session.numbering.handled} has no body that protocol 1 knows`, now, outputs);
      break;
    default:
      body satisfies never;
  }
}

/** R20. */
function handleCredit(session: Session, work: Work, credit: Credit, outputs: SessionOutput[]): void {
  const granted = Number(credit.granted);
  if (granted <= work.granted) return;
  work.granted = granted;
  tellCapacity(session, outputs);
}

/** R30, R31. The shard is told of a Heartbeat in parts when it is whole, of checkpoints at once (R26). */
function handleHeartbeat(session: Session, work: Work, heartbeat: Heartbeat, now: number, outputs: SessionOutput[]): void {
  const complaints: string[] = [];
  const beats: LeaseBeat[] = [];
  for (const beat of heartbeat.leases) {
    const complaint = checkBeat(beat, session.limits);
    if (complaint !== null) complaints.push(complaint);
    if (beat.leaseToken !== '') beats.push(beat);
  }
  if (heartbeat.partial) {
    const stored = beats.filter((beat) => beat.checkpoint !== undefined && !session.told.revoked.has(beat.leaseToken));
    if (stored.length > 0) outputs.push({ kind: 'beats', beats: stored, whole: false });
    if (work.partialBeats.size + beats.length > session.limits.workerInFlight) complaints.push('heartbeat: too many parts');
    else for (const beat of beats) work.partialBeats.set(beat.leaseToken, withoutCheckpoint(beat));
  } else {
    const whole = [...work.partialBeats.values(), ...beats];
    work.partialBeats.clear();
    beatWhole(session, work, whole, outputs);
    session.loopLagMs = heartbeat.loopLagMs;
  }
  if (complaints.length > 0) complain(session, 'BAD_FRAME', summary(complaints), now, outputs);
}

function beatWhole(session: Session, work: Work, beats: readonly LeaseBeat[], outputs: SessionOutput[]): void {
  const { told, outgoing } = session;
  work.running = beats.length;
  outgoing.replyDue = true;
  outputs.push({ kind: 'wake' });
  if (isQuiet(told)) {
    outputs.push({ kind: 'beats', beats, whole: true });
    return;
  }
  const named = new Set(beats.map((beat) => beat.leaseToken));
  for (const token of named) {
    if (told.revoked.has(token)) outgoing.lost.add(token);
    else if (told.cancelled.has(token)) outgoing.cancelAgain.add(token);
  }
  outputs.push({ kind: 'beats', beats: beats.filter((beat) => !told.revoked.has(beat.leaseToken)), whole: true });
  settle(told, named, session.numbering.acked);
}

/** R40. */
function handleResults(session: Session, work: Work, { results }: Results, now: number, outputs: SessionOutput[]): void {
  const right: Result[] = [];
  const complaints: string[] = [];
  const quiet = isQuiet(session.told);
  for (const result of results) {
    const complaint = checkResult(result, session.limits);
    if (complaint !== null) {
      complaints.push(complaint);
      continue;
    }
    work.unanswered.delete(result.leaseToken);
    work.partialBeats.delete(result.leaseToken);
    if (!quiet) forget(session.told, result.leaseToken);
    right.push(result);
  }
  work.running = Math.max(0, work.running - right.length);
  if (right.length > 0) outputs.push({ kind: 'results', results: right });
  if (complaints.length > 0) complain(session, 'BAD_FRAME', summary(complaints), now, outputs);
}

/** R60. */
function handleLines(session: Session, { lines }: LogLines, now: number, outputs: SessionOutput[]): void {
  const right: LogLine[] = [];
  const complaints: string[] = [];
  for (const line of lines) {
    const complaint = checkLine(line, session.limits);
    if (complaint === null) right.push(line);
    else complaints.push(complaint);
  }
  if (right.length > 0) outputs.push({ kind: 'lines', lines: right });
  if (complaints.length > 0) complain(session, 'BAD_FRAME', summary(complaints), now, outputs);
}

function summary(complaints: readonly string[]): string {
  return complaints.length === 1 ? complaints[0]! : `${complaints[0]} (and ${complaints.length - 1} more)`;
}

function reason(session: Session, text: string): string {
  return cutText(text, session.limits.reasonBytes);
}

function withoutCheckpoint(beat: LeaseBeat): LeaseBeat {
  const { checkpoint: _, ...rest } = beat;
  return rest;
}
