/**
 * Lines of handlers, followed over broken connections: the server keeps no cursor, so lines that an earlier connection brought are recognised by
 * job, attempt and number.
 */
import type { LogLine, ReadLogsResponse } from '@workflow-orchestrator/proto';
import { type Caller, throwIfAborted } from './call.ts';
import { isTransient, toWorkflowError, type WorkflowError } from './error.ts';
import { Patience, type StreamOptions } from './watch.ts';

/** Which lines. */
export interface LogOptions extends StreamOptions {
  /** Only this job. */
  readonly jobId?: string | undefined;
  /** Go on until the workflow ends. */
  readonly follow?: boolean | undefined;
}

/** Opens one stream of lines from the first on. */
export type OpenLogs = (
  request: { workflowId: string; jobId: string; follow: boolean },
  signal: AbortSignal,
) => AsyncIterable<ReadLogsResponse>;

/** Lines in the order in which they arrived, each once. Ends with the workflow when it follows, else after those that there are now. */
export async function* readLogs(
  open: OpenLogs,
  caller: Pick<Caller, 'clock'>,
  workflowId: string,
  options: LogOptions = {},
): AsyncGenerator<LogLine, void, undefined> {
  const patience = new Patience(caller, options);
  const seen = new Map<string, number>();
  for (;;) {
    throwIfAborted(options.signal);
    const connection = new AbortController();
    // Within one connection each line comes once, even where an attempt that was offered twice counts its lines from 1 again.
    const before = new Map(seen);
    const abort = () => connection.abort(options.signal?.reason);
    options.signal?.addEventListener('abort', abort);
    let failure: WorkflowError;
    try {
      const request = { workflowId, jobId: options.jobId ?? '', follow: options.follow ?? false };
      for await (const { lines } of open(request, connection.signal)) {
        for (const line of lines) {
          const attempt = `${line.jobId}/${line.attempt}`;
          // A line without a number cannot be recognised: better twice than never.
          if (line.number > 0 && line.number <= (before.get(attempt) ?? 0)) continue;
          seen.set(attempt, Math.max(line.number, seen.get(attempt) ?? 0));
          patience.restore();
          yield line;
        }
      }
      return;
    } catch (thrown) {
      throwIfAborted(options.signal);
      failure = toWorkflowError(thrown);
      if (!isTransient(failure) && failure.code !== 'canceled') throw failure;
    } finally {
      options.signal?.removeEventListener('abort', abort);
      connection.abort();
    }
    await patience.pause(failure);
  }
}
