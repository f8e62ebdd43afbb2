/**
 * Requests from bytes and responses to bytes, in the two forms that all faces share: protobuf and its JSON mapping. Pure.
 *
 * Invariants
 * 1. What is read is bounded in depth and number of messages before memory is taken for it (bytes are bounded by the face that read them).
 * 2. Bytes that cannot be read are `invalid_argument` and say what is wrong and where.
 */
import { isUtf8 } from 'node:buffer';
import {
  type DescMessage,
  fromBinary,
  fromJson,
  isFieldSet,
  type JsonObject,
  type JsonValue,
  type Message,
  type ScalarType,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { isFieldError, scalarZeroValue } from '@bufbuild/protobuf/reflect';
import type { ConnectError } from '@connectrpc/connect';
import { limits } from '@workflow-orchestrator/proto/limits';
import { nearest } from '@workflow-orchestrator/proto/nearest';
import { fieldError, malformed } from './errors.ts';
import { binaryNodes, countFromBytes, jsonNodes } from './node-count.ts';

/** Nesting that a decoder goes down to: messages of the contract, and in them JSON, each level of which is two messages (a Value and what it holds). */
export const messageDepth = limits.protobufDepth + 2 * limits.jsonDepth;

/** How protobuf is read on every face. Unknown fields are not kept: nothing here passes a request on. */
export const binaryOptions = { recursionLimit: messageDepth, readUnknownFields: false } as const;

/** How JSON is read where a newer client may know more fields than this server. */
export const lenientJsonOptions = { recursionLimit: messageDepth, ignoreUnknownFields: true } as const;

const strictJsonOptions = { recursionLimit: messageDepth } as const;

/** Refuses bytes that would become more than `limits.requestNodes` messages, objects and lists: throws `invalid_argument`. */
function countNodes(schema: DescMessage, bytes: Buffer, json: boolean): void {
  if (bytes.length < countFromBytes) return;
  try {
    const count = json ? jsonNodes(bytes, limits.requestNodes) : binaryNodes(schema, bytes, limits.requestNodes, messageDepth);
    if (count <= limits.requestNodes) return;
  } catch {
    return; // cut off: the decoder says so
  }
  throw fieldError([
    { field: '', description: `the request holds more than ${limits.requestNodes} messages, objects and lists`, rule: 'request.nodes' },
  ]);
}

/** A request from its binary form. Throws `invalid_argument`. */
export function decodeBinary(schema: DescMessage, bytes: Buffer): Message {
  countNodes(schema, bytes, false);
  try {
    return fromBinary(schema, bytes, binaryOptions);
  } catch (cause) {
    throw malformed(`the request is not a ${schema.typeName} in protobuf form: ${messageOf(cause)}`);
  }
}

/** JSON of a request from its bytes. Throws `invalid_argument` with the place. */
export function parseJson(schema: DescMessage, bytes: Buffer): JsonValue {
  countNodes(schema, bytes, true);
  const text = utf8(bytes);
  try {
    return JSON.parse(text) as JsonValue;
  } catch (cause) {
    throw malformed(`the body is not JSON: ${messageOf(cause)}`);
  }
}

/** Text from its bytes, without a byte order mark. Throws `invalid_argument` when they are not UTF-8. */
export function utf8(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw malformed('the body is not UTF-8');
  const start = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  return bytes.toString('utf8', start);
}

/** A request from parsed JSON, where unknown keys are refused or dropped. Throws `invalid_argument` that names the field. */
export function decodeJson(schema: DescMessage, json: JsonValue, unknownKeys: 'refuse' | 'drop'): Message {
  try {
    return fromJson(schema, json, unknownKeys === 'refuse' ? strictJsonOptions : lenientJsonOptions);
  } catch (cause) {
    throw jsonError(schema, json, cause, unknownKeys);
  }
}

/** A response in binary form. */
export function encodeBinary(schema: DescMessage, message: Message): Uint8Array {
  return toBinary(schema, message);
}

/** A message in the JSON mapping. */
export function encodeJson(schema: DescMessage, message: Message): JsonValue {
  return toJson(schema, message);
}

/**
 * A response in the JSON mapping with every plain field of its own named: a list that is empty is `[]` and a false is `false`.
 * In the messages inside, what is not set is left out, as the mapping has it.
 */
export function encodeWholeJson(schema: DescMessage, message: Message): JsonObject {
  const json = toJson(schema, message) as JsonObject;
  for (const field of schema.fields) {
    if (json[field.jsonName] !== undefined || isFieldSet(message, field)) continue;
    if (field.fieldKind === 'list') json[field.jsonName] = [];
    else if (field.fieldKind === 'scalar' && field.oneof === undefined) json[field.jsonName] = zero(field.scalar);
  }
  return json;
}

/** The zero of a scalar type in the JSON mapping: 64-bit integers are strings there, bytes base64. */
function zero(scalar: ScalarType): JsonValue {
  const value = scalarZeroValue(scalar, false);
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Uint8Array ? '' : value;
}

function jsonError(schema: DescMessage, json: JsonValue, cause: unknown, unknownKeys: 'refuse' | 'drop'): ConnectError {
  const violations = unknownKeys === 'refuse' ? unknownKeysOf(schema, json) : [];
  if (violations.length > 0) return fieldError(violations);
  const fieldCause = cause instanceof Error ? cause.cause : undefined;
  if (isFieldError(fieldCause)) return fieldError([{ field: fieldCause.field().name, description: fieldCause.message, rule: 'json' }]);
  return malformed(messageOf(cause).replace(/^cannot decode /, 'cannot read '));
}

function unknownKeysOf(schema: DescMessage, json: JsonValue): { field: string; description: string; rule: string }[] {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return [];
  const known = new Set(schema.fields.flatMap((field) => [field.jsonName, field.name]));
  return Object.keys(json)
    .filter((key) => !known.has(key))
    .map((key) => {
      const meant = nearest(
        key,
        schema.fields.map((field) => field.name),
      );
      const right = meant === null ? `known: ${schema.fields.map((field) => field.name).join(', ')}` : `did you mean '${meant}'?`;
      return { field: key, description: `no such field; ${right}`, rule: 'json' };
    });
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
