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
import type { ShardClient } from '../../shard/seat.ts';
import { payloadFrom, payloadsOf, toMessage } from '../../store/codec.ts';
import type { CallContext } from '../context.ts';
import { badField, translated } from './failures.ts';
import { Feed } from './feed.ts';
import type { OpenStreams } from './open-streams.ts';
import type { Reader } from './reader.ts';
import { renderJob, renderValue } from './render.ts';

type Item =
  | { readonly kind: 'event'; readonly seq: number; readonly event: DurableEvent }
  | { readonly kind: 'live'; readonly job: number; readonly live: JobState; readonly at: number };

/** The watches that are open. */
export class Watches {
  readonly #shard: ShardClient;
  readonly #reader: Reader;
  readonly #streams: OpenStreams;

  constructor({ shard, reader, streams }: { readonly shard: ShardClient; readonly reader: Reader; readonly streams: OpenStreams }) {
    this.#shard = shard;
    this.#reader = reader;
    this.#streams = streams;
  }

  /** Streams a workflow to one watcher. */
  async *watch({ workflowId, afterSeq: after, follow }: WatchWorkflowRequest, context: CallContext): AsyncIterable<WatchWorkflowResponse> {
    const afterSeq = Number(after);
    // Everything decided before this call is committed first: a watch that follows a submit finds its workflow.
    const found = await this.#reader.find(workflowId);
    const lastSeq = found.events.length;
    if (afterSeq > lastSeq) throw badField('after_seq', `the workflow has ${lastSeq} events so far`);

    const feed = new Feed<Item>(limits.watchBacklog + lastSeq - afterSeq, slow);
    const subscription = translated(() =>
      this.#shard.watch(workflowId, afterSeq, {
        event(seq, event) {
          feed.push({ kind: 'event', seq, event });
          if (event.kind === 'ended') feed.close();
        },
        live: (job, live, at) => feed.push({ kind: 'live', job, live, at }),
      }),
    );
    if (subscription === null) {
      // It is at rest: what was found is all there will ever be.
      for (let seq = afterSeq + 1; seq <= lastSeq; seq++)
        yield eventResponse(found.state, { kind: 'event', seq, event: found.events.at(seq - 1)! });
      return;
    }
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
function showPayloads(message: WorkflowEvent): void {
  for (const payload of payloadsOf(message)) show(payload);
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

function show(message: PayloadMessage): void {
  const payload = payloadFrom(message);
  if (payload?.encoding !== 'json') return;
  message.value = renderValue(payload);
  message.data = new Uint8Array();
}
