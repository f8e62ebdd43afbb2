/**
 * Submits: the idempotency key that makes one safe to repeat, and the cutting of many into batches.
 */
import { create, type JsonObject, type JsonValue, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  type BatchSubmitResult,
  type Durability,
  type SubmitWorkflowRequest,
  SubmitWorkflowRequestSchema,
} from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { WorkflowErrorCode } from './error.ts';
import type { Repeatable } from './retry.ts';
import { resolveSource, type WorkflowSource } from './source.ts';

/** What goes with a submitted workflow. */
export interface SubmitInit {
  /** Values for the definition's `inputs`. */
  readonly inputs?: JsonObject | undefined;
  /** Labels for filters. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** A second submit with the same key answers with the first workflow. Made up when absent, so that a retry is safe. */
  readonly idempotencyKey?: string | undefined;
  /** Start at once. */
  readonly start?: boolean | undefined;
}

/** One of many workflows to submit. */
export interface BatchItem extends SubmitInit {
  readonly source: WorkflowSource;
}

/** What became of one of many. */
export type BatchResult =
  | { readonly kind: 'accepted'; readonly workflowId: string; readonly existed: boolean; readonly durability: Durability }
  | { readonly kind: 'refused'; readonly code: WorkflowErrorCode; readonly message: string };

/** A request, and whether it may be sent twice. */
export interface PreparedSubmit {
  readonly request: SubmitWorkflowRequest;
  readonly repeatable: Repeatable;
}

/**
 * Builds the request. A key is made up only for a definition that is seen to have no `idempotency_key` of its own: one made up would
 * take that one's place, and the definition's author could no longer rely on it.
 */
export async function prepareSubmit(source: WorkflowSource, init: SubmitInit, newKey: () => string): Promise<PreparedSubmit> {
  const resolved = await resolveSource(source);
  const mayHaveKey = resolved.case !== 'yaml' || resolved.value.includes('idempotency_key');
  const idempotencyKey = init.idempotencyKey ?? (mayHaveKey ? '' : newKey());
  const fields: MessageInitShape<typeof SubmitWorkflowRequestSchema> = {
    source: resolved,
    labels: { ...init.labels },
    start: init.start ?? false,
    idempotencyKey,
  };
  if (init.inputs !== undefined) fields.inputs = init.inputs;
  return { request: create(SubmitWorkflowRequestSchema, fields), repeatable: idempotencyKey === '' ? 'once' : 'repeatable' };
}

/** A key that nobody else makes up. Works on pages served over plain HTTP too, where `crypto.randomUUID` is missing. */
export function newIdempotencyKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `auto-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** Cuts requests into batches that the server takes: by number, and by size with room for framing. */
export function cutBatches(
  prepared: readonly PreparedSubmit[],
  maxRequests: number = limits.batchRequests,
  maxBytes: number = limits.batchRequestBytes * 0.9,
): PreparedSubmit[][] {
  const batches: PreparedSubmit[][] = [];
  let batch: PreparedSubmit[] = [];
  let bytes = 0;
  for (const submit of prepared) {
    const size = requestBytes(submit.request, maxBytes);
    if (batch.length > 0 && (batch.length >= maxRequests || bytes + size > maxBytes)) {
      batches.push(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(submit);
    bytes += size;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

/**
 * Bytes of one request in a batch, or more. Written out only where a generous estimate says that the exact size matters:
 * to write every request twice is most of what a large batch costs its sender.
 */
function requestBytes(request: SubmitWorkflowRequest, maxBytes: number): number {
  const { source, inputs, labels, idempotencyKey } = request;
  const most = 64 + bytesAtMost(source.value ?? '') + bytesAtMost(inputs ?? null) + bytesAtMost(labels) + bytesAtMost(idempotencyKey);
  // Requests that small fill a batch by their number before their bytes are worth a closer look.
  if (most * limits.batchRequests <= maxBytes) return most;
  return toBinary(SubmitWorkflowRequestSchema, request).length + 8;
}

/** Bytes that a JSON value takes as a protobuf value, at most. */
function bytesAtMost(value: JsonValue): number {
  // A tag and a length of up to five bytes, for the value and for what holds it.
  const framing = 24;
  if (typeof value === 'string') return framing + value.length * 3;
  if (typeof value !== 'object' || value === null) return framing;
  let sum = framing;
  for (const key in value) sum += key.length * 3 + framing + bytesAtMost((value as Record<string, JsonValue>)[key]!);
  return sum;
}

/** One result of a batch as a union. */
export function batchResult(result: BatchSubmitResult): BatchResult {
  if (result.errorCode !== '') return { kind: 'refused', code: result.errorCode as WorkflowErrorCode, message: result.errorMessage };
  return { kind: 'accepted', workflowId: result.workflowId, existed: result.existed, durability: result.durability };
}
