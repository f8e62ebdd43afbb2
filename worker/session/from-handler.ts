/**
 * What a handler says while it runs. All of it is kept until the next Heartbeat or flush; nothing is sent per call.
 * Words of an attempt that is not running any more are dropped: false.
 */
import { cutText, LogLine_Level } from '@workflow-orchestrator/proto';
import { addLine } from './log-buffer.ts';
import { jsonPayload } from './outcome.ts';
import { live, type WorkerSession } from './state.ts';

/** A sign of life. */
export function beat(session: WorkerSession, leaseToken: string, at: number): boolean {
  const attempt = session.running.get(leaseToken);
  if (attempt === undefined) return false;
  attempt.lifeAt = at;
  return true;
}

/** How far it is: `fraction` 0 to 1; anything else counts as the nearest of them. */
export function progress(session: WorkerSession, leaseToken: string, fraction: number, message: string, at: number): boolean {
  const attempt = session.running.get(leaseToken);
  if (attempt === undefined) return false;
  attempt.lifeAt = at;
  attempt.progress = Number.isNaN(fraction) ? attempt.progress : Math.min(1, Math.max(0, fraction));
  attempt.progressMessage = cutText(message, session.limits.reasonBytes);
  return true;
}

/** Stores how far it is, as UTF-8 JSON within `limits.checkpointBytes`; the latest wins. */
export function checkpoint(session: WorkerSession, leaseToken: string, json: Uint8Array, at: number): boolean {
  const attempt = session.running.get(leaseToken);
  if (attempt === undefined) return false;
  attempt.lifeAt = at;
  attempt.checkpoint = { payload: jsonPayload(json), frame: 0 };
  return true;
}

/** Log levels by the name of the method. */
export const levels = {
  debug: LogLine_Level.DEBUG,
  info: LogLine_Level.INFO,
  warn: LogLine_Level.WARN,
  error: LogLine_Level.ERROR,
} as const;

/** A line for `wf logs` (R60). `timeMs`: milliseconds since 1970. True when a flush is due. */
export function writeLine(
  session: WorkerSession,
  leaseToken: string,
  level: keyof typeof levels,
  message: string,
  timeMs: number,
): boolean {
  const attempt = session.running.get(leaseToken);
  if (attempt === undefined) return false;
  const bytesPerAttempt = live(session)?.logBytes ?? session.limits.logBytesPerAttempt;
  return addLine(session.logs, attempt.log, attempt.assignment, levels[level], message, timeMs, bytesPerAttempt, session.limits);
}
