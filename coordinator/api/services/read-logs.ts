/**
 * Reading and following the lines of one workflow.
 *
 * Invariants
 * 1. Every line that is kept is told once, in the order in which lines arrived, in messages of bounded size.
 * 2. How many lines were dropped after the last one of an attempt is told at the end of the stream.
 * 3. A stream that follows ends with the workflow: its end comes after every line that its workers sent before.
 */
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { hasEnded } from '@workflow-orchestrator/engine/machine';
import { type LogLine, type ReadLogsRequest, type ReadLogsResponse, ReadLogsResponseSchema } from '@workflow-orchestrator/proto';
import type { ShardClient } from '../../shard/seat.ts';
import type { CallContext } from '../context.ts';
import { notFound, translated } from './failures.ts';
import { Feed } from './feed.ts';
import { type Logs, lineBytes } from './logs.ts';
import type { OpenStreams } from './open-streams.ts';
import type { Reader } from './reader.ts';

/** Bytes of lines in one message, roughly. */
const MESSAGE_BYTES = 256 * 1024;

/** What logs are read from. */
export interface LogParts {
  readonly shard: ShardClient;
  readonly reader: Reader;
  readonly logs: Logs;
  readonly streams: OpenStreams;
}

/** Streams the lines of a workflow, or of one of its jobs. */
export async function* readLogs(
  { shard, reader, logs, streams }: LogParts,
  { workflowId, jobId, follow }: ReadLogsRequest,
  { signal }: CallContext,
): AsyncIterable<ReadLogsResponse> {
  // One word at a time is enough: whoever hears it reads all lines that are there.
  const news = new Feed<null>(1, () => new ConnectError('the reader is too slow', Code.ResourceExhausted));
  let isTold = false;
  const { state } = await reader.find(workflowId);
  // Null: it is at rest, and has ended.
  const watch = translated(() =>
    shard.watch(workflowId, 0, { event: (_, event) => event.kind === 'ended' && news.close(), live: () => {} }),
  );
  const stops = watch === null ? [] : [watch.stop];
  try {
    if (jobId !== '' && !state.graph.indexOf.has(jobId)) throw notFound('job', jobId);
    stops.push(streams.enter());
    stops.push(
      logs.follow(workflowId, () => {
        if (!isTold) news.push(null);
        isTold = true;
      }),
    );
    let next = 0;
    const unread = function* (): Iterable<ReadLogsResponse> {
      isTold = false;
      const found = logs.read(workflowId, jobId, next);
      next = found.next;
      yield* messagesOf(found.lines);
    };
    yield* unread();
    if (follow && watch !== null && !hasEnded(watch.record.state.status)) {
      for await (const _ of news.batches(signal)) yield* unread();
      yield* unread();
    }
    yield* messagesOf(logs.untold(workflowId, jobId));
  } finally {
    for (const stop of stops) stop();
  }
}

function* messagesOf(lines: readonly LogLine[]): Iterable<ReadLogsResponse> {
  let part: LogLine[] = [];
  let bytes = 0;
  for (const line of lines) {
    const size = lineBytes(line);
    if (part.length > 0 && bytes + size > MESSAGE_BYTES) {
      yield create(ReadLogsResponseSchema, { lines: part });
      part = [];
      bytes = 0;
    }
    part.push(line);
    bytes += size;
  }
  if (part.length > 0) yield create(ReadLogsResponseSchema, { lines: part });
}
