/**
 * How many messages, objects and lists a body would become, counted without making them. Pure.
 *
 * Two bytes on the wire are enough for an empty message, and each takes a hundred or more in memory: the limit on bytes alone would
 * let one request take a gigabyte. Only large bodies need this; small ones cannot hold enough.
 */
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** Bytes from which on it is worth counting: fewer hold at most half as many messages. */
export const countFromBytes = 64 * 1024;

const fieldsByNumber = new WeakMap<DescMessage, ReadonlyMap<number, DescField>>();

/**
 * Messages in the binary form of a message, itself included; stops counting above `max`.
 * Throws what the reader throws when the bytes are cut off. `depth` bounds how deep it looks; what lies deeper is the decoder's to refuse.
 */
export function binaryNodes(schema: DescMessage, bytes: Uint8Array, max: number, depth: number): number {
  let fields = fieldsByNumber.get(schema);
  if (fields === undefined) {
    fields = new Map(schema.fields.map((field) => [field.number, field]));
    fieldsByNumber.set(schema, fields);
  }
  const reader = new BinaryReader(bytes);
  let count = 1;
  while (reader.pos < reader.len && count <= max) {
    const [number, wireType] = reader.tag();
    const field = fields.get(number);
    if (field?.message === undefined || wireType !== WireType.LengthDelimited) {
      reader.skip(wireType, number);
      continue;
    }
    const inner = reader.bytes();
    const body = field.fieldKind === 'map' ? mapValue(inner) : inner;
    count += body === null || depth <= 0 ? 1 : binaryNodes(field.message, body, max - count, depth - 1);
  }
  return count;
}

/** The value in an entry of a map, field 2 of it. */
function mapValue(entry: Uint8Array): Uint8Array | null {
  const reader = new BinaryReader(entry);
  let value: Uint8Array | null = null;
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number === 2 && wireType === WireType.LengthDelimited) value = reader.bytes();
    else reader.skip(wireType, number);
  }
  return value;
}

const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const openBracket = 0x5b;

/** Objects and lists in JSON text; stops counting above `max`. Text that is not JSON gets some number. */
export function jsonNodes(text: Buffer, max: number): number {
  let count = 0;
  for (let at = 0; at < text.length && count <= max; at += 1) {
    const byte = text[at];
    if (byte === openBrace || byte === openBracket) count += 1;
    else if (byte === quote) at = endOfString(text, at + 1);
  }
  return count;
}

/** Place of the quote that ends the string whose first character is at `start`; the end of the text when there is none. */
function endOfString(text: Buffer, start: number): number {
  for (let from = start; ; ) {
    const end = text.indexOf(quote, from);
    if (end < 0) return text.length;
    let backslashes = 0;
    while (text[end - 1 - backslashes] === backslash) backslashes += 1;
    if (backslashes % 2 === 0) return end;
    from = end + 1;
  }
}
