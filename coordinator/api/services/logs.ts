/**
 * Lines that handlers wrote, in memory, bounded, for reading and following. Low priority by design: lines are dropped and counted, jobs never wait for them.
 *
 * Invariants
 * 1. One attempt keeps at most `limits.logBytesPerAttempt`, all workflows together at most `limits.logBytesTotal`; the workflow whose first line is oldest goes first.
 * 2. A line that comes twice (sent again after a reconnect) is kept once.
 */
import { create } from '@bufbuild/protobuf';
import { type LogLine, LogLineSchema } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';

interface AttemptLog {
  bytes: number;
  lastNumber: number;
  dropped: number;
}

interface WorkflowLog {
  readonly lines: LogLine[];
  readonly attempts: Map<string, AttemptLog>;
  bytes: number;
  readonly followers: Set<() => void>;
}

/** Bookkeeping of one line besides its text. */
const LINE_OVERHEAD_BYTES = 200;

export class Logs {
  readonly #workflows = new Map<string, WorkflowLog>();
  #bytes = 0;

  /** Keeps lines of one worker. */
  append(lines: readonly LogLine[]): void {
    for (const line of lines) this.#append(line);
  }

  /** Lines of a workflow from place `from` on, of one job or (empty) of all; and the place to go on from. */
  read(workflowId: string, jobId: string, from: number): { readonly lines: LogLine[]; readonly next: number } {
    const log = this.#workflows.get(workflowId);
    if (log === undefined) return { lines: [], next: from };
    const lines = log.lines.slice(from);
    return { lines: jobId === '' ? lines : lines.filter((line) => line.jobId === jobId), next: log.lines.length };
  }

  /** Calls `onLines` whenever there are new lines. Returns how to stop. */
  follow(workflowId: string, onLines: () => void): () => void {
    const log = this.#of(workflowId);
    log.followers.add(onLines);
    return () => log.followers.delete(onLines);
  }

  #of(workflowId: string): WorkflowLog {
    let log = this.#workflows.get(workflowId);
    if (log === undefined) {
      log = { lines: [], attempts: new Map(), bytes: 0, followers: new Set() };
      this.#workflows.set(workflowId, log);
    }
    return log;
  }

  #append(line: LogLine): void {
    const log = this.#of(line.workflowId);
    const attempt = log.attempts.get(line.leaseToken) ?? { bytes: 0, lastNumber: 0, dropped: 0 };
    log.attempts.set(line.leaseToken, attempt);
    if (line.number !== 0 && line.number <= attempt.lastNumber) return;
    attempt.lastNumber = Math.max(attempt.lastNumber, line.number);
    const bytes = Buffer.byteLength(line.message) + LINE_OVERHEAD_BYTES;
    if (attempt.bytes + bytes > limits.logBytesPerAttempt) {
      attempt.dropped += 1;
      return;
    }
    log.lines.push(attempt.dropped === 0 ? line : create(LogLineSchema, { ...line, dropped: line.dropped + attempt.dropped }));
    attempt.dropped = 0;
    attempt.bytes += bytes;
    log.bytes += bytes;
    this.#bytes += bytes;
    this.#evict(line.workflowId);
    for (const onLines of log.followers) onLines();
  }

  #evict(current: string): void {
    for (const [workflowId, log] of this.#workflows) {
      if (this.#bytes <= limits.logBytesTotal) return;
      if (workflowId === current || log.followers.size > 0) continue;
      this.#workflows.delete(workflowId);
      this.#bytes -= log.bytes;
    }
  }
}
