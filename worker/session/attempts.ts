/**
 * What happens to the attempts that a worker holds, whatever the connection does.
 *
 * Invariants
 * 1. A slot is free when the handler has returned, not before (R42).
 * 2. A result is kept until it is acked, or the attempt is lost or abandoned (R40, R42).
 * 3. `taken` counts `running` and `lingering` by type.
 */
import type { Assignment } from '@workflow-orchestrator/proto';
import { LogLine_Level } from '@workflow-orchestrator/proto';
import { endLines, newLogTally } from './log-buffer.ts';
import { failure, type Outcome, resultBytes, resultOf } from './outcome.ts';
import { type AbortReason, live, occupied, type Running, type WorkerOutput, type WorkerSession } from './state.ts';

/** Why an assignment cannot be taken, or null when it can (R22). */
export function whyNot(session: WorkerSession, { type }: Assignment): string | null {
  if (session.draining !== null) return 'draining';
  const slots = session.capabilities.get(type);
  if (slots === undefined) return 'no handler';
  if (occupied(session) >= session.profile.slots || (session.taken.get(type) ?? 0) >= slots) return 'no slot';
  return null;
}

/** Takes an assignment and has its handler started. */
export function begin(session: WorkerSession, assignment: Assignment, at: number, outputs: WorkerOutput[]): void {
  const runUntil = assignment.runTimeoutMs > 0n ? at + Number(assignment.runTimeoutMs) : Number.POSITIVE_INFINITY;
  session.running.set(assignment.leaseToken, {
    assignment,
    acceptedAt: at,
    lifeAt: at,
    progress: null,
    progressMessage: '',
    checkpoint: null,
    runUntil,
    cancelUntil: Number.POSITIVE_INFINITY,
    log: newLogTally(),
  });
  session.overdueAt = Math.min(session.overdueAt, runUntil);
  session.taken.set(assignment.type, (session.taken.get(assignment.type) ?? 0) + 1);
  outputs.push({ kind: 'run', assignment });
}

/** The handler has returned. */
export function finishAttempt(session: WorkerSession, token: string, outcome: Outcome, at: number, outputs: WorkerOutput[]): void {
  const type = session.lingering.get(token);
  if (type !== undefined) {
    session.lingering.delete(token);
    release(session, type);
    outputs.push({ kind: 'wake' });
    return;
  }
  const attempt = session.running.get(token);
  if (attempt === undefined) return;
  const wasCancelled = attempt.cancelUntil !== Number.POSITIVE_INFINITY;
  // R50: whatever a cancelled handler throws is how it stopped; an output is an output.
  const actual: Outcome = wasCancelled && outcome.kind === 'failed' ? { kind: 'cancelled' } : outcome;
  release(session, attempt.assignment.type);
  keepResult(session, attempt, actual, at);
  outputs.push({ kind: 'wake' });
}

/** Moves an attempt from running to ended. */
function keepResult(session: WorkerSession, attempt: Running, outcome: Outcome, at: number): void {
  const { assignment, checkpoint } = attempt;
  const result = resultOf(assignment, outcome, at - attempt.acceptedAt, session.limits);
  const bytes = resultBytes(result);
  session.running.delete(assignment.leaseToken);
  const parting = result.outcome.case === 'error' ? (checkpoint?.payload ?? null) : null;
  session.ended.set(assignment.leaseToken, { result, bytes, checkpoint: parting, sentAt: null });
  session.endedBytes += bytes;
  session.unsent.add(assignment.leaseToken);
  endLines(session.logs, attempt.log, assignment, LogLine_Level.WARN);
}

/** The result was acked (R41), or is not wanted any more. */
export function forgetResult(session: WorkerSession, token: string): boolean {
  const ended = session.ended.get(token);
  if (ended === undefined) return false;
  session.ended.delete(token);
  session.unsent.delete(token);
  session.endedBytes -= ended.bytes;
  return true;
}

/** The coordinator asks an attempt to stop (R50). */
export function cancelAttempt(session: WorkerSession, token: string, reason: string, at: number, outputs: WorkerOutput[]): void {
  const attempt = session.running.get(token);
  if (attempt === undefined || attempt.cancelUntil !== Number.POSITIVE_INFINITY) return;
  attempt.cancelUntil = at + (live(session)?.cancelGraceMs ?? session.limits.cancelGraceMs);
  session.overdueAt = Math.min(session.overdueAt, attempt.cancelUntil);
  outputs.push({ kind: 'abort', leaseToken: token, reason: { kind: 'cancelled', reason } });
}

/** The lease is gone (R42): stops the handler, forgets the result. */
export function loseAttempt(session: WorkerSession, token: string, outputs: WorkerOutput[]): void {
  forgetResult(session, token);
  const attempt = session.running.get(token);
  if (attempt === undefined) return;
  session.running.delete(token);
  linger(session, attempt, { kind: 'lost' }, outputs);
}

/** Ends what is overdue: run timeouts (R25), and cancelled attempts that did not stop. */
export function endOverdue(session: WorkerSession, at: number, outputs: WorkerOutput[]): void {
  if (at < session.overdueAt) return;
  let first = Number.POSITIVE_INFINITY;
  for (const attempt of [...session.running.values()]) {
    if (at >= attempt.cancelUntil) {
      keepResult(session, attempt, { kind: 'cancelled' }, at);
      linger(session, attempt, null, outputs);
    } else if (at >= attempt.runUntil) {
      const runTimeoutMs = Number(attempt.assignment.runTimeoutMs);
      keepResult(session, attempt, { kind: 'failed', error: failure('TIMEOUT', `ran longer than ${runTimeoutMs} ms`, true) }, at);
      linger(session, attempt, { kind: 'timeout', runTimeoutMs }, outputs);
    } else {
      first = Math.min(first, attempt.runUntil, attempt.cancelUntil);
    }
  }
  session.overdueAt = first;
  outputs.push({ kind: 'wake' });
}

/** Stops every handler and forgets it: the worker ends now. Returns how many there were. */
export function abandonAll(session: WorkerSession, outputs: WorkerOutput[]): number {
  const attempts = [...session.running.values()];
  session.running.clear();
  for (const attempt of attempts) linger(session, attempt, { kind: 'stopping' }, outputs);
  return attempts.length;
}

/** The attempt is no longer held, but its handler has not returned. It stays counted in `taken`. */
function linger(session: WorkerSession, attempt: Running, reason: AbortReason | null, outputs: WorkerOutput[]): void {
  const { leaseToken, type } = attempt.assignment;
  session.lingering.set(leaseToken, type);
  if (reason !== null) outputs.push({ kind: 'abort', leaseToken, reason });
}

function release(session: WorkerSession, type: string): void {
  session.taken.set(type, (session.taken.get(type) ?? 1) - 1);
}
