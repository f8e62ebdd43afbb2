/**
 * JSON values to bytes and back, with problems as values.
 */
import type { Payload } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Json } from '../handler.ts';

/** A value, or why there is none. */
export type Read = { readonly kind: 'value'; readonly value: Json } | { readonly kind: 'problem'; readonly message: string };
/** Bytes, or why there are none. */
export type Written = { readonly kind: 'bytes'; readonly bytes: Uint8Array } | { readonly kind: 'problem'; readonly message: string };

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Reads a payload (R24). `what` names it in problems. */
export function readPayload(payload: Payload | undefined, what: string): Read {
  if (payload === undefined || payload.data.length === 0) return { kind: 'value', value: null };
  if (payload.encoding !== '' && payload.encoding !== 'json') {
    return { kind: 'problem', message: `${what} has the encoding '${payload.encoding}'; only json can be read here` };
  }
  try {
    return { kind: 'value', value: JSON.parse(decoder.decode(payload.data)) as Json };
  } catch (error) {
    return { kind: 'problem', message: `${what} is no JSON: ${messageOf(error)}` };
  }
}

/** Writes what a handler gave; `undefined` is null. `what` names it in problems. */
export function writeValue(value: unknown, what: string): Written {
  let text: string | undefined;
  try {
    text = value === undefined ? 'null' : JSON.stringify(value);
  } catch (error) {
    return { kind: 'problem', message: `${what} cannot be written as JSON: ${messageOf(error)}` };
  }
  if (text === undefined) return { kind: 'problem', message: `${what} is a ${typeof value}, which JSON does not have` };
  if (isDeeperThan(text, limits.jsonDepth)) return { kind: 'problem', message: `${what} is nested deeper than ${limits.jsonDepth} levels` };
  return { kind: 'bytes', bytes: encoder.encode(text) };
}

/** What is to be said of a thing that was thrown. */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message === '' ? thrown.name : thrown.message;
  return typeof thrown === 'string' ? thrown : `a ${thrown === null ? 'null' : typeof thrown} was thrown`;
}

/** Whether JSON text, as `JSON.stringify` writes it, has more than `most` levels. */
function isDeeperThan(text: string, most: number): boolean {
  // Every level takes two characters.
  if (text.length <= most * 2) return false;
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 0x5c) i += 1;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) {
      depth += 1;
      if (depth > most) return true;
    } else if (code === 0x7d || code === 0x5d) depth -= 1;
  }
  return false;
}
