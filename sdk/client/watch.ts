/**
 * Following a workflow, whatever happens to the connection.
 *
 * Invariants
 * 1. Events come in order, each once, without a gap: a repeated one is dropped, a gap is never passed on but read again.
 * 2. While it follows, it ends after the event that ends the workflow, and only then; or it throws.
 * 3. A broken connection is opened again (`stream.ts`) after the last event that was seen.
 */
import type { Job, WatchWorkflowResponse, Workflow, WorkflowEvent } from '@workflow-orchestrator/proto';
import { WorkflowError } from './error.ts';
import { isEnded } from './status.ts';
import { type Connection, overConnections, type StreamCaller, type StreamOptions } from './stream.ts';

/** One step of a watch: an event of the workflow, or a job whose live state changed (not kept, latest wins). */
export type WatchStep = { readonly kind: 'event'; readonly event: WorkflowEvent } | { readonly kind: 'job'; readonly job: Job };

/** How to watch. */
export interface WatchOptions extends StreamOptions {
  /** Events after this number only; 0 (all) when absent. */
  readonly afterSeq?: bigint | undefined;
  /** False: end after the events that there are now. */
  readonly follow?: boolean | undefined;
}

/** The calls that a watch rests on. */
export interface WatchSource {
  open(request: { workflowId: string; afterSeq: bigint; follow: boolean }, connection: Connection): AsyncIterable<WatchWorkflowResponse>;
  /** The workflow without its jobs. */
  get(workflowId: string, signal: AbortSignal): Promise<Workflow>;
}

/** Follows one workflow. Throws `WorkflowError`. */
export function watchWorkflow(
  source: WatchSource,
  caller: StreamCaller,
  workflowId: string,
  options: WatchOptions = {},
): AsyncGenerator<WatchStep, void, undefined> {
  const follow = options.follow ?? true;
  let seen = options.afterSeq ?? 0n;
  return overConnections(caller, options, async function* (connection): AsyncGenerator<WatchStep, WorkflowError | null> {
    for await (const { item } of source.open({ workflowId, afterSeq: seen, follow }, connection)) {
      if (item.case === 'jobUpdate') {
        connection.heard();
        yield { kind: 'job', job: item.value };
        continue;
      }
      if (item.case !== 'event' || item.value.seq <= seen) continue;
      if (item.value.seq !== seen + 1n) return new WorkflowError('data_loss', `event ${item.value.seq} came where ${seen + 1n} was due`);
      seen = item.value.seq;
      connection.heard();
      yield { kind: 'event', event: item.value };
      if (item.value.kind.case === 'ended') return null;
    }
    if (!follow) return null;
    // Asked for what comes after the end, the server has nothing to send: the workflow itself tells.
    const workflow = await source.get(workflowId, connection.signal);
    if (isEnded(workflow) && workflow.lastEventSeq <= seen) return null;
    return new WorkflowError('unavailable', 'the stream ended before the workflow did');
  });
}
