/**
 * Encoded entries as one value, where they are not fields of their own: codec and CRC, four bytes each, then the body.
 */
import type { EncodedEntries } from '../journal.ts';

const HEADER_BYTES = 8;

/** What is read back. */
export type Encoded = Omit<EncodedEntries, 'payloads'>;

/** One value of encoded entries. */
export function pack({ codec, crc, body }: Encoded): Buffer {
  const record = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  record.writeUInt32BE(codec, 0);
  record.writeUInt32BE(crc, 4);
  record.set(body, HEADER_BYTES);
  return record;
}

/** The entries of a value. Throws when it is too short to be one; `what` names it. */
export function unpack(record: Buffer, what: string): Encoded {
  if (record.length < HEADER_BYTES) throw new Error(`${what}: ${record.length} bytes are no record`);
  return { codec: record.readUInt32BE(0), crc: record.readUInt32BE(4), body: copyOf(record, HEADER_BYTES) };
}

/** Bytes of their own: what was received lies in a larger piece of memory, which whoever keeps a part of it would keep whole. */
export function copyOf(received: Buffer, from = 0): Uint8Array {
  return new Uint8Array(received.subarray(from));
}

/** The same bytes as Redis takes them, not copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
