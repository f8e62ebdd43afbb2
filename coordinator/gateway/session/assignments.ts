/**
 * Assignments of one session: sent on credit, answered in time or taken back (R20 to R22).
 *
 * Invariants
 * 1. Never more are sent than were granted. What the shard gives beyond that goes back to it at once.
 * 2. The shard hears of each token that it gave exactly one answer from here: the worker's, or that there was none. A later one of the worker is not passed on;
 *    the worker is told that the attempt is lost.
 */
import { create } from '@bufbuild/protobuf';
import { type Assignment, type AssignReply, AssignReplySchema, cutText } from '@workflow-orchestrator/proto';
import { complain } from './ending.ts';
import { isToken } from './entries.ts';
import { assignmentBytes } from './outgoing.ts';
import { arm, type Session, type SessionOutput, tellCapacity, type Work } from './state.ts';
import { addRevoked } from './told.ts';

/** The shard gives jobs. */
export function assign(session: Session, assignments: readonly Assignment[], at: number): SessionOutput[] {
  const outputs: SessionOutput[] = [];
  const { phase, limits } = session;
  const now = at - session.stalledMs;
  const refused: AssignReply[] = [];
  const mayPass = phase.kind === 'ready' && !session.suspect && !session.draining && !session.leaving;
  for (const assignment of assignments) {
    if (!mayPass || phase.kind !== 'ready') refused.push(refusal(assignment, whyNot(session)));
    else if (phase.work.sent >= phase.work.granted) refused.push(refusal(assignment, 'no credit'));
    else if (assignmentBytes(assignment) > limits.frameBytes) refused.push(refusal(assignment, 'larger than a frame'));
    else {
      phase.work.sent += 1;
      phase.work.unanswered.set(assignment.leaseToken, now + limits.assignReplyMs);
      session.outgoing.assignments.push(assignment);
    }
  }
  if (session.outgoing.assignments.length > 0) outputs.push({ kind: 'wake' });
  if (refused.length > 0) {
    outputs.push({ kind: 'replies', replies: refused });
    tellCapacity(session, outputs);
  }
  arm(session, outputs);
  return outputs;
}

/** The worker answers. */
export function handleReplies(session: Session, work: Work, replies: readonly AssignReply[], now: number, outputs: SessionOutput[]): void {
  const known: AssignReply[] = [];
  let bad = 0;
  for (const reply of replies) {
    if (!isToken(reply.leaseToken, session.limits)) {
      bad += 1;
    } else if (work.unanswered.delete(reply.leaseToken)) {
      if (reply.accepted) work.running += 1;
      else reply.reason = cutText(reply.reason, session.limits.reasonBytes);
      known.push(reply);
    } else if (reply.accepted) {
      revokeAtOnce(session, reply.leaseToken, outputs);
    }
  }
  if (known.length > 0) outputs.push({ kind: 'replies', replies: known });
  if (bad > 0) complain(session, 'BAD_FRAME', `assign_replies: ${bad} without a valid lease_token`, now, outputs);
}

/** Takes back what was not answered in time. */
export function takeBack(session: Session, work: Work, now: number, outputs: SessionOutput[]): void {
  const replies: AssignReply[] = [];
  for (const [leaseToken, takeBackAt] of work.unanswered) {
    if (takeBackAt > now) break;
    work.unanswered.delete(leaseToken);
    replies.push(create(AssignReplySchema, { leaseToken, accepted: false, reason: 'no answer' }));
    revokeAtOnce(session, leaseToken, outputs);
  }
  if (replies.length > 0) outputs.push({ kind: 'replies', replies });
}

function revokeAtOnce(session: Session, token: string, outputs: SessionOutput[]): void {
  addRevoked(session.told, token);
  session.outgoing.lost.add(token);
  outputs.push({ kind: 'wake' });
}

function refusal(assignment: Assignment, reason: string): AssignReply {
  return create(AssignReplySchema, { leaseToken: assignment.leaseToken, accepted: false, reason });
}

function whyNot(session: Session): string {
  if (session.phase.kind !== 'ready') return 'the worker is not connected';
  if (session.suspect) return 'the worker is silent';
  return session.draining ? 'draining' : 'the coordinator goes away';
}
