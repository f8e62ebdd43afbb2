/**
 * Following one workflow.
 *
 * Invariants
 * 1. Events come in order, without gaps, from `after_seq` on; the event that ends the workflow is the last item.
 * 2. Live updates come between them, never before the event that made them possible.
 * 3. No event shows a lease token: it is a matter between the coordinator and its workers. The journal keeps it.
 */
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import type { DurableEvent, JobState, WorkflowState } from '@workflow-orchestrator/engine/machine';
import {
  ErrorInfoSchema,
  type Payload as PayloadMessage,
  type WatchWorkflowRequest,
  type WatchWorkflowResponse,
  WatchWorkflowResponseSchema,
  type WorkflowEvent,
} from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Shard } from '../../shard/shard.ts';
import { payloadFrom, toMessage } from '../../store/codec.ts';
import type { CallContext } from '../context.ts';
import { answered, badField, notFound } from './failures.ts';
import { Feed } from './feed.ts';
import type { OpenStreams } from './open-streams.ts';
import { renderJob, renderValue } from './render.ts';

type Item =
  | { readonly kind: 'event'; readonly seq: number; readonly event: DurableEvent }
  | { readonly kind: 'live'; readonly job: number; readonly live: JobState; readonly at: number };

/** The watches that are open on one shard. */
export class Watches {
  readonly #shard: Shard;
  readonly #streams: OpenStreams;

  constructor(shard: Shard, streams: OpenStreams) {
    this.#shard = shard;
    this.#streams = streams;
  }

  /** Streams a workflow to one watcher. */
  async *watch({ workflowId, afterSeq: after, follow }: WatchWorkflowRequest, context: CallContext): AsyncIterable<WatchWorkflowResponse> {
    const afterSeq = Number(after);
    // Everything decided before this call is committed first: a watch that follows a submit finds its workflow.
    const lastSeq = await answered(this.#shard.query((table) => table.get(workflowId)?.events.length ?? null));
    if (lastSeq === null) throw notFound('workflow', workflowId);
    if (afterSeq > lastSeq) throw badField('after_seq', `the workflow has ${lastSeq} events so far`);

    const feed = new Feed<Item>(limits.watchBacklog + lastSeq - afterSeq, slow);
    const subscription = this.#shard.watch(workflowId, afterSeq, {
      event(seq, event) {
        feed.push({ kind: 'event', seq, event });
        if (event.kind === 'ended') feed.close();
      },
      live: (job, live, at) => feed.push({ kind: 'live', job, live, at }),
    });
    if (subscription === null) throw notFound('workflow', workflowId);
    const { record } = subscription;
    if (follow === false || record.events.at(-1)?.kind === 'ended') feed.close();
    let leave = () => {};
    try {
      leave = this.#streams.enter();
      for await (const items of feed.batches(context.signal)) {
        for (const item of items) yield item.kind === 'event' ? eventResponse(record.state, item) : liveResponse(record.state, item);
      }
    } finally {
      leave();
      subscription.stop();
    }
  }
}

function eventResponse({ graph }: WorkflowState, { event, seq }: Extract<Item, { kind: 'event' }>): WatchWorkflowResponse {
  const message = toMessage(event, seq);
  if ('job' in event) message.jobId = graph.jobs[event.job]!.id;
  showPayloads(message);
  hideLease(message);
  return create(WatchWorkflowResponseSchema, { item: { case: 'event', value: message } });
}

function liveResponse(state: WorkflowState, { job, at, live }: Extract<Item, { kind: 'live' }>): WatchWorkflowResponse {
  return create(WatchWorkflowResponseSchema, { item: { case: 'jobUpdate', value: renderJob(state, job, live, at) } });
}

function slow(): ConnectError {
  return new ConnectError('the watcher is too slow; resume with the last seq that it saw', Code.ResourceExhausted, undefined, [
    { desc: ErrorInfoSchema, value: { reason: 'SLOW_WATCHER', metadata: { limit: 'watchBacklog' } } },
  ]);
}

/** Clients speak natural JSON: the payloads of an event as values. */
function showPayloads({ kind }: WorkflowEvent): void {
  for (const payload of payloadsOf(kind)) show(payload);
}

function hideLease({ kind }: WorkflowEvent): void {
  switch (kind.case) {
    case 'jobRetryScheduled':
    case 'jobSucceeded':
    case 'jobFailed':
    case 'jobCancelled':
      if (kind.value.attempt !== undefined) kind.value.attempt.leaseToken = '';
      break;
    default:
  }
}

function payloadsOf(kind: WorkflowEvent['kind']): readonly (PayloadMessage | undefined)[] {
  switch (kind.case) {
    case 'submitted':
      return [kind.value.inputs];
    case 'ended':
      return [kind.value.outputs, kind.value.error?.details];
    case 'jobReady':
      return [kind.value.parameters];
    case 'jobSucceeded':
      return [kind.value.output];
    case 'jobRetryScheduled':
    case 'jobFailed':
      return [kind.value.error?.details];
    case 'jobCheckpointed':
      return [kind.value.checkpoint];
    default:
      return [];
  }
}

function show(message: PayloadMessage | undefined): void {
  const payload = payloadFrom(message);
  if (message === undefined || payload?.encoding !== 'json') return;
  message.value = renderValue(payload);
  message.data = new Uint8Array();
}
