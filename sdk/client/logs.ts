/**
 * Lines of handlers, followed over broken connections: the server keeps no cursor, so lines that an earlier connection brought are recognised by
 * job, attempt and number.
 */
import type { LogLine, ReadLogsResponse } from '@workflow-orchestrator/proto';
import { type Connection, overConnections, type StreamCaller, type StreamOptions } from './stream.ts';

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
  connection: Connection,
) => AsyncIterable<ReadLogsResponse>;

/** Lines in the order in which they arrived, each once. Ends with the workflow when it follows, else after those that there are now. */
export function readLogs(
  open: OpenLogs,
  caller: StreamCaller,
  workflowId: string,
  options: LogOptions = {},
): AsyncGenerator<LogLine, void, undefined> {
  const seen = new Map<string, number>();
  const request = { workflowId, jobId: options.jobId ?? '', follow: options.follow ?? false };
  return overConnections(caller, options, async function* (connection): AsyncGenerator<LogLine, null> {
    // Within one connection each line comes once, even where an attempt that was offered twice counts its lines from 1 again.
    const before = new Map(seen);
    for await (const { lines } of open(request, connection)) {
      for (const line of lines) {
        const attempt = `${line.jobId}/${line.attempt}`;
        // A line without a number cannot be recognised: better twice than never.
        if (line.number > 0 && line.number <= (before.get(attempt) ?? 0)) continue;
        seen.set(attempt, Math.max(line.number, seen.get(attempt) ?? 0));
        connection.heard();
        yield line;
      }
    }
    return null;
  });
}
