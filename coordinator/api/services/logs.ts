/**
 * Lines that handlers wrote, in memory, bounded, for reading and following. Low priority by design: lines are dropped and counted, jobs never wait for them.
 *
 * Invariants
 * 1. One attempt keeps at most `logBytesPerAttempt`, all workflows together at most `logBytesTotal`. For a new line the workflow whose first line is
 *    oldest goes, unless somebody follows it; where none is left to go the line is dropped.
 * 2. A line that comes twice (sent again after a reconnect) is kept once.
 * 3. Nothing is kept for a workflow without lines and without followers.
 */
import { create } from '@bufbuild/protobuf';
import { type LogLine, LogLineSchema } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';

/** How much is kept: `proto/limits.ts` says what each is. */
export type LogBounds = Readonly<Record<'logBytesPerAttempt' | 'logBytesTotal', number>>;

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

/** What a line takes in memory, roughly. */
export function lineBytes(line: LogLine): number {
  return Buffer.byteLength(line.message) + LINE_OVERHEAD_BYTES;
}

export class Logs {
  readonly #bounds: LogBounds;
  readonly #workflows = new Map<string, WorkflowLog>();
  #bytes = 0;

  constructor(bounds: LogBounds = limits) {
    this.#bounds = bounds;
  }

  /** Bytes of all lines that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Workflows of which anything is kept. */
  get workflows(): number {
    return this.#workflows.size;
  }

  /** Keeps lines of one worker, and tells those who follow. */
  append(lines: readonly LogLine[]): void {
    const news = new Set<WorkflowLog>();
    for (const line of lines) {
      const log = this.#of(line.workflowId);
      if (this.#keep(log, line)) news.add(log);
      else this.#tidy(line.workflowId, log);
    }
    for (const log of news) for (const onLines of log.followers) onLines();
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
    return () => {
      log.followers.delete(onLines);
      this.#tidy(workflowId, log);
    };
  }

  #of(workflowId: string): WorkflowLog {
    let log = this.#workflows.get(workflowId);
    if (log === undefined) {
      log = { lines: [], attempts: new Map(), bytes: 0, followers: new Set() };
      this.#workflows.set(workflowId, log);
    }
    return log;
  }

  #tidy(workflowId: string, log: WorkflowLog): void {
    if (log.lines.length === 0 && log.followers.size === 0 && this.#workflows.get(workflowId) === log) this.#workflows.delete(workflowId);
  }

  #keep(log: WorkflowLog, line: LogLine): boolean {
    const known = log.attempts.get(line.leaseToken);
    const attempt = known ?? { bytes: 0, lastNumber: 0, dropped: 0 };
    if (line.number !== 0 && line.number <= attempt.lastNumber) return false;
    attempt.lastNumber = Math.max(attempt.lastNumber, line.number);
    const bytes = lineBytes(line);
    if (attempt.bytes + bytes > this.#bounds.logBytesPerAttempt || !this.#makeRoom(log, bytes)) {
      attempt.dropped += 1;
      return false;
    }
    if (known === undefined) log.attempts.set(line.leaseToken, attempt);
    log.lines.push(attempt.dropped === 0 ? line : create(LogLineSchema, { ...line, dropped: line.dropped + attempt.dropped }));
    attempt.dropped = 0;
    attempt.bytes += bytes;
    log.bytes += bytes;
    this.#bytes += bytes;
    return true;
  }

  #makeRoom(current: WorkflowLog, bytes: number): boolean {
    for (const [workflowId, log] of this.#workflows) {
      if (this.#bytes + bytes <= this.#bounds.logBytesTotal) return true;
      if (log === current || log.followers.size > 0) continue;
      this.#workflows.delete(workflowId);
      this.#bytes -= log.bytes;
    }
    return this.#bytes + bytes <= this.#bounds.logBytesTotal;
  }
}
