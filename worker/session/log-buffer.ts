/**
 * Lines of handlers on their way to the coordinator (R60): bounded, never in the way of results.
 *
 * Invariants
 * 1. Lines of one attempt leave in the order in which they were written.
 * 2. A dropped line is counted in the next line of its attempt that is not; `endLines` writes one for those at the end.
 */
import { create } from '@bufbuild/protobuf';
import { cutText, type LogLine, type LogLine_Level, LogLineSchema } from '@workflow-orchestrator/proto';
import type { WorkerLimits } from './worker-limits.ts';

/** Lines that wait, oldest first. */
export interface LogBuffer {
  readonly lines: LogLine[];
  bytes: number;
}

/** What is known of one attempt's lines. */
export interface LogTally {
  /** Lines so far, dropped ones too. */
  written: number;
  bytes: number;
  /** Dropped since the last line that was kept. */
  dropped: number;
  /** When the last one was written, in milliseconds since 1970. */
  timeMs: number;
}

/** The attempt that a line belongs to. */
export interface LogOrigin {
  readonly leaseToken: string;
  readonly workflowId: string;
  readonly jobId: string;
  readonly attempt: number;
}

/** No lines. */
export function newLogBuffer(): LogBuffer {
  return { lines: [], bytes: 0 };
}

/** No lines yet. */
export function newLogTally(): LogTally {
  return { written: 0, bytes: 0, dropped: 0, timeMs: 0 };
}

/** Bytes of a line besides its words, about. */
const lineOverheadBytes = 160;

/** Adds a line, or drops and counts it. `timeMs`: milliseconds since 1970. True when it was kept. */
export function addLine(
  buffer: LogBuffer,
  tally: LogTally,
  origin: LogOrigin,
  level: LogLine_Level,
  message: string,
  timeMs: number,
  bytesPerAttempt: number,
  limits: WorkerLimits,
): boolean {
  tally.written += 1;
  tally.timeMs = timeMs;
  const text = cutText(message, limits.logLineBytes);
  const bytes = text.length + lineOverheadBytes;
  if (tally.bytes + text.length > bytesPerAttempt || buffer.bytes + bytes > limits.workerLogBytes) {
    tally.dropped += 1;
    return false;
  }
  tally.bytes += text.length;
  push(buffer, origin, level, text, tally);
  return true;
}

/** Says how many lines were dropped at the end of an attempt, when some were. */
export function endLines(buffer: LogBuffer, tally: LogTally, origin: LogOrigin, level: LogLine_Level): void {
  if (tally.dropped === 0) return;
  tally.written += 1;
  push(buffer, origin, level, 'lines were dropped: too much log', tally);
}

/** Takes the oldest lines, about `mostBytes` of them. */
export function takeLines(buffer: LogBuffer, mostBytes: number): LogLine[] {
  let bytes = 0;
  let count = 0;
  while (count < buffer.lines.length && bytes < mostBytes) {
    bytes += buffer.lines[count]!.message.length + lineOverheadBytes;
    count += 1;
  }
  buffer.bytes -= bytes;
  return buffer.lines.splice(0, count);
}

function push(buffer: LogBuffer, origin: LogOrigin, level: LogLine_Level, message: string, tally: LogTally): void {
  const { leaseToken, workflowId, jobId, attempt } = origin;
  const line = create(LogLineSchema, { leaseToken, workflowId, jobId, attempt, level, message });
  line.timeMs = BigInt(Math.round(tally.timeMs));
  line.dropped = tally.dropped;
  line.number = tally.written;
  tally.dropped = 0;
  buffer.lines.push(line);
  buffer.bytes += message.length + lineOverheadBytes;
}
