/**
 * Frames to bytes and back.
 *
 * Invariants
 * 1. A frame is decoded only after its entries were counted: a megabyte of empty entries would take a hundred on the heap (R4).
 * 2. No decoded value keeps the buffer of the socket alive: payloads that outlive their frame are copied, all of a frame into one piece of memory.
 */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type CoordinatorFrame,
  CoordinatorFrameSchema,
  type Payload,
  type WorkerFrame,
  WorkerFrameSchema,
} from '@workflow-orchestrator/proto';
import type { StreamLimits } from './session/limits.ts';

/** Numbers of the bodies in `WorkerFrame`. */
const firstBody = 3;
const lastBody = 10;

/** A frame, or what is wrong with its bytes. */
export type Decoded = { readonly kind: 'frame'; readonly frame: WorkerFrame } | { readonly kind: 'bad'; readonly message: string };

const decodeOptions = { readUnknownFields: false } as const;
/** Room for the fields of a body that are no entries, such as the labels and capabilities of Hello. */
const fieldsBesidesEntries = 512;

/** Decodes what a worker sent. Never throws. */
export function decodeFrame(bytes: Uint8Array, limits: StreamLimits): Decoded {
  const most = limits.frameEntries + fieldsBesidesEntries;
  const fields = countBodyFields(bytes, most);
  if (fields === 'malformed') return { kind: 'bad', message: 'the bytes are no WorkerFrame' };
  if (fields === 'too many') return { kind: 'bad', message: `a frame holds at most ${limits.frameEntries} entries` };
  try {
    const frame = fromBinary(WorkerFrameSchema, bytes, decodeOptions);
    detachPayloads(frame);
    return { kind: 'frame', frame };
  } catch (error) {
    return { kind: 'bad', message: `the bytes are no WorkerFrame: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** Encodes what is sent to a worker. */
export function encodeFrame(frame: CoordinatorFrame): Uint8Array {
  return toBinary(CoordinatorFrameSchema, frame);
}

/** Reads varints; `at` stands behind the last one read, or is -1 after a malformed one. */
interface Cursor {
  readonly bytes: Uint8Array;
  at: number;
}

/** A varint up to 2^32; higher bits are skipped over, for only lengths and tags are wanted. */
function varint(cursor: Cursor): number {
  let value = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    if (cursor.at >= cursor.bytes.length) break;
    const byte = cursor.bytes[cursor.at++]!;
    if (shift < 35) value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return value;
  }
  cursor.at = -1;
  return 0;
}

/** Moves behind the value of a field; false when it is cut off or of a kind that proto3 does not have. */
function skip(cursor: Cursor, wireType: number, end: number): boolean {
  switch (wireType) {
    case 0:
      varint(cursor);
      return cursor.at >= 0 && cursor.at <= end;
    case 1:
      cursor.at += 8;
      return cursor.at <= end;
    case 2: {
      const length = varint(cursor);
      if (cursor.at < 0) return false;
      cursor.at += length;
      return cursor.at <= end;
    }
    case 5:
      cursor.at += 4;
      return cursor.at <= end;
    default:
      return false;
  }
}

/** Fields one level below the frame, without allocating: entries of the body are among them. Stops beyond `most`. */
function countBodyFields(bytes: Uint8Array, most: number): number | 'malformed' | 'too many' {
  const cursor: Cursor = { bytes, at: 0 };
  let count = 0;
  while (cursor.at < bytes.length) {
    const tag = varint(cursor);
    if (cursor.at < 0) return 'malformed';
    const field = tag >>> 3;
    // Only the bodies that are known are messages; what is behind other numbers is skipped, as the decoder does.
    if ((tag & 7) !== 2 || field < firstBody || field > lastBody) {
      if (!skip(cursor, tag & 7, bytes.length)) return 'malformed';
      continue;
    }
    const length = varint(cursor);
    const end = cursor.at + length;
    if (cursor.at < 0 || end > bytes.length) return 'malformed';
    while (cursor.at < end) {
      const inner = varint(cursor);
      if (cursor.at < 0 || !skip(cursor, inner & 7, end)) return 'malformed';
      count += 1;
      if (count > most) return 'too many';
    }
  }
  return count;
}

/** Copies the payloads that the shard keeps (outputs, error details, checkpoints) into one piece of memory of their own. */
function detachPayloads(frame: WorkerFrame): void {
  const payloads = keptPayloads(frame);
  if (payloads.length === 0) return;
  const memory = new Uint8Array(payloads.reduce((sum, payload) => sum + payload.data.length, 0));
  let at = 0;
  for (const payload of payloads) {
    const { length } = payload.data;
    memory.set(payload.data, at);
    payload.data = memory.subarray(at, at + length);
    at += length;
  }
}

function keptPayloads(frame: WorkerFrame): Payload[] {
  const kept: Payload[] = [];
  const { body } = frame;
  if (body.case === 'results') {
    for (const { outcome } of body.value.results) {
      if (outcome.case === 'output') kept.push(outcome.value);
      else if (outcome.case === 'error' && outcome.value.details) kept.push(outcome.value.details);
    }
  } else if (body.case === 'heartbeat') {
    for (const { checkpoint } of body.value.leases) if (checkpoint) kept.push(checkpoint);
  }
  return kept;
}
