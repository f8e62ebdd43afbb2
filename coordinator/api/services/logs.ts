/**
 * Lines that handlers wrote, in memory, bounded, for reading and following. Low priority by design: lines are dropped and counted, jobs never wait for them.
 *
 * Invariants
 * 1. One attempt keeps at most `logBytesPerAttempt`, all workflows together at most `logBytesTotal`. For a new line the workflow whose first line is
 *    oldest goes, unless somebody follows it; where none is left to go the line is dropped. A line that tells of dropped ones has a little room more.
 * 2. A line that comes twice (sent again after a reconnect) is kept once.
 * 3. Nothing is kept for a workflow without lines and without followers.
 * 4. Every dropped line of an attempt is told once: in `dropped` of the next line that is kept, else by `untold`.
 * 5. What is read holds no lease token: it is a matter between the coordinator and its workers.
 */
import { create } from '@bufbuild/protobuf';
import { type LogLine, LogLine_Level, LogLineSchema } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';

/** How much is kept: `proto/limits.ts` says what each is. */
export type LogBounds = Readonly<Record<'logBytesPerAttempt' | 'logBytesTotal', number>>;

interface AttemptLog {
  bytes: number;
  lastNumber: number;
  /** Lines that were dropped since the last one that was kept; `lastDropped` is the newest of them. */
  dropped: number;
  lastDropped: LogLine | null;
}

interface WorkflowLog {
  readonly lines: LogLine[];
  readonly attempts: Map<string, AttemptLog>;
  bytes: number;
  readonly followers: Set<() => void>;
}

/** Bookkeeping of one line besides its text. */
const LINE_OVERHEAD_BYTES = 200;

/** Room beyond `logBytesPerAttempt` for lines that tell of dropped ones. */
const CLOSING_BYTES = 1_024;

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

  /** For each attempt whose last lines were dropped, of one job or (empty) of all, one line that tells how many. It belongs after all lines. */
  untold(workflowId: string, jobId: string): LogLine[] {
    const attempts = [...(this.#workflows.get(workflowId)?.attempts.values() ?? [])];
    return attempts.flatMap(({ dropped, lastDropped, lastNumber }) => {
      if (lastDropped === null || (jobId !== '' && lastDropped.jobId !== jobId)) return [];
      const { attempt, timeMs } = lastDropped;
      const message = 'lines were dropped: too much log';
      const level = LogLine_Level.WARN;
      return [
        create(LogLineSchema, { workflowId, jobId: lastDropped.jobId, attempt, timeMs, level, message, dropped, number: lastNumber }),
      ];
    });
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
    let attempt = log.attempts.get(line.leaseToken);
    if (attempt === undefined) {
      attempt = { bytes: 0, lastNumber: 0, dropped: 0, lastDropped: null };
      log.attempts.set(line.leaseToken, attempt);
    }
    if (line.number !== 0 && line.number <= attempt.lastNumber) return false;
    attempt.lastNumber = Math.max(attempt.lastNumber, line.number);
    const bytes = lineBytes(line);
    const room = this.#bounds.logBytesPerAttempt + (line.dropped > 0 ? CLOSING_BYTES : 0);
    if (attempt.bytes + bytes > room || !this.#makeRoom(log, bytes)) {
      attempt.dropped += 1 + line.dropped;
      attempt.lastDropped = create(LogLineSchema, { ...line, message: '' });
      return false;
    }
    log.lines.push(create(LogLineSchema, { ...line, leaseToken: '', dropped: line.dropped + attempt.dropped }));
    attempt.dropped = 0;
    attempt.lastDropped = null;
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
