/**
 * JSON values as bytes and back.
 *
 * Invariants
 * 1. Both directions are total: no input throws. What is no JSON reads as null; `decodePayload` says why.
 * 2. What is written can be read back, and what is read can be written: both stop at a depth of `limits.jsonDepth`.
 * 3. A payload is parsed once, however many expressions read it.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import type { ExpressionResult, Json, Payload } from './graph.ts';

/** The encoding that expressions can read. An empty encoding means the same. */
export const JSON_ENCODING = 'json';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });
const parsed = new WeakMap<Payload, ExpressionResult<Json>>();
const nothing = new Uint8Array(0);

/** A value as a payload. Null is no data. What lies deeper than `limits.jsonDepth` is cut to null: see `jsonDepthFits`. */
export function jsonPayload(value: Json): Payload {
  if (value === null || value === undefined) return { encoding: JSON_ENCODING, data: nothing };
  const fitting = jsonDepthFits(value) ? value : cut(value, limits.jsonDepth);
  const text = JSON.stringify(fitting);
  return { encoding: JSON_ENCODING, data: text === undefined ? nothing : encoder.encode(text) };
}

/** The value of a payload; null when it has none, is in another encoding, or is no JSON. */
export function readPayload(payload: Payload): Json {
  const result = decodePayload(payload);
  return result.kind === 'value' ? result.value : null;
}

/** The value of a payload, or why it has none that an expression could read. */
export function decodePayload(payload: Payload): ExpressionResult<Json> {
  const known = parsed.get(payload);
  if (known !== undefined) return known;
  const result = decode(payload);
  parsed.set(payload, result);
  return result;
}

/** Whether a value nests no deeper than `limits.jsonDepth`: a map or list that holds only scalars has depth 1. */
export function jsonDepthFits(value: Json, depth: number = limits.jsonDepth): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (depth === 0) return false;
  if (Array.isArray(value)) return value.every((item) => jsonDepthFits(item, depth - 1));
  for (const key in value) if (!jsonDepthFits((value as Record<string, Json>)[key], depth - 1)) return false;
  return true;
}

function decode({ encoding, data }: Payload): ExpressionResult<Json> {
  if (encoding !== JSON_ENCODING && encoding !== '') {
    return { kind: 'failure', message: `the encoding '${encoding}' cannot be read, only '${JSON_ENCODING}'` };
  }
  if (data.length === 0) return { kind: 'value', value: null };
  if (!bracketsFit(data)) return { kind: 'failure', message: `JSON deeper than ${limits.jsonDepth}` };
  try {
    return { kind: 'value', value: JSON.parse(decoder.decode(data)) as Json };
  } catch {
    return { kind: 'failure', message: 'no JSON' };
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Whether brackets outside of strings nest no deeper than `limits.jsonDepth`. */
function bracketsFit(data: Uint8Array): boolean {
  if (data.length <= limits.jsonDepth) return true;
  let depth = 0;
  for (let at = 0; at < data.length; at++) {
    const byte = data[at];
    if (byte === QUOTE) {
      for (at++; at < data.length && data[at] !== QUOTE; at++) if (data[at] === BACKSLASH) at++;
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > limits.jsonDepth) return false;
    } else if (byte === 0x5d || byte === 0x7d) {
      depth--;
    }
  }
  return true;
}

function cut(value: Json, depth: number): Json {
  if (typeof value !== 'object' || value === null) return value;
  if (depth === 0) return null;
  if (Array.isArray(value)) return value.map((item) => cut(item, depth - 1));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, cut(item, depth - 1)]));
}
