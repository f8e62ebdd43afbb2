/**
 * The gRPC wire: messages in frames of five bytes and a body, statuses in trailers. Pure.
 *
 * Invariants
 * 1. A frame longer than the limit is refused when its length is read, before its body is kept.
 * 2. What goes into trailers fits the header limits of all known clients (8 KiB with everything).
 */
import { create, type DescMessage, isFieldSet, type Message, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, base64Encode, WireType } from '@bufbuild/protobuf/wire';
import { Code, ConnectError } from '@connectrpc/connect';
import { cutUtf8, encodedDetails, malformed, retryDelayMs, sentMessage, tooLarge } from './errors.ts';

const prefixBytes = 5;

/** Bytes of a status with its details, before base64, that fit into trailers. */
const statusBytes = 4_500;
/** Bytes of the percent-encoded message in trailers. */
const messageBytes = 1_500;

/** One message as it came: perhaps compressed. */
export interface Frame {
  readonly compressed: boolean;
  readonly body: Buffer;
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #have = 0;
  /** Bytes of the frame that is being read, prefix included; 0 while its prefix is not complete. */
  #want = 0;

  /** `maxBytes`: length of a message at most. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether no frame is half read. */
  get between(): boolean {
    return this.#have === 0;
  }

  /** Takes bytes and gives the frames that are complete. Throws `resource_exhausted` at a length above the limit. */
  push(chunk: Buffer): Frame[] {
    this.#chunks.push(chunk);
    this.#have += chunk.length;
    const frames: Frame[] = [];
    for (;;) {
      if (this.#want === 0) {
        if (this.#have < prefixBytes) return frames;
        const head = this.#joined();
        const length = head.readUInt32BE(1);
        if (length > this.#maxBytes) throw tooLarge(this.#maxBytes);
        if (head[0] > 1) throw malformed(`a gRPC message starts with 0 or 1, not ${head[0]}`);
        this.#want = prefixBytes + length;
      }
      if (this.#have < this.#want) return frames;
      const bytes = this.#joined();
      frames.push({ compressed: bytes[0] === 1, body: bytes.subarray(prefixBytes, this.#want) });
      const rest = bytes.subarray(this.#want);
      this.#chunks = rest.length === 0 ? [] : [rest];
      this.#have = rest.length;
      this.#want = 0;
    }
  }

  #joined(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks, this.#have)];
    return this.#chunks[0];
  }
}

/** A message in a frame, uncompressed. */
export function frame(body: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(prefixBytes + body.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(body.length, 1);
  bytes.set(body, prefixBytes);
  return bytes;
}

/** Trailers of a call that ended well. */
export const okTrailers = { 'grpc-status': '0' } as const;

/** Trailers of a call that failed: code, message, details as `google.rpc.Status`, and when to come back. */
export function errorTrailers(error: ConnectError): Record<string, string> {
  const message = sentMessage(error);
  const trailers: Record<string, string> = { 'grpc-status': String(error.code), 'grpc-message': percentEncode(message, messageBytes) };
  if (error.details.length > 0) trailers['grpc-status-details-bin'] = base64Encode(encodeStatus(error, message), 'std_raw');
  const delayMs = retryDelayMs(error);
  if (delayMs !== null) trailers['grpc-retry-pushback-ms'] = String(delayMs);
  return trailers;
}

/** Text for `grpc-message`: UTF-8, where everything but printable ASCII, and `%`, is percent-encoded; cut between characters at `maxBytes`. */
export function percentEncode(text: string, maxBytes: number): string {
  let encoded = '';
  for (const character of text) {
    const piece =
      character >= ' ' && character <= '~' && character !== '%'
        ? character
        : [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
    if (encoded.length + piece.length > maxBytes) break;
    encoded += piece;
  }
  return encoded;
}

/** `google.rpc.Status`: code 1, message 2, details 3, each a `google.protobuf.Any` with type URL 1 and value 2. */
function encodeStatus(error: ConnectError, message: string): Uint8Array {
  const text = cutUtf8(message, messageBytes);
  const writer = new BinaryWriter().tag(1, WireType.Varint).int32(error.code).tag(2, WireType.LengthDelimited).string(text);
  for (const detail of fittingDetails(error, statusBytes - Buffer.byteLength(text))) {
    writer.tag(3, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(`type.googleapis.com/${detail.type}`);
    writer.tag(2, WireType.LengthDelimited).bytes(detail.value);
    writer.join();
  }
  return writer.finish();
}

/** The details that fit into `room` bytes. Of a list of problems that does not fit as a whole, as many from its start as do. */
function fittingDetails(error: ConnectError, room: number): { type: string; value: Uint8Array }[] {
  const fitting: { type: string; value: Uint8Array }[] = [];
  let left = room;
  for (const [i, encoded] of encodedDetails(error).entries()) {
    const detail = error.details[i];
    const overhead = encoded.type.length + 32;
    const value =
      encoded.value.length + overhead <= left || !('desc' in detail)
        ? encoded.value
        : shortened(detail.desc, create(detail.desc, detail.value), left - overhead);
    if (value === null || value.length + overhead > left) continue;
    fitting.push({ type: encoded.type, value });
    left -= value.length + overhead;
  }
  return fitting;
}

/** A message with its lists cut so that it fits into `maxBytes`; null when nothing of it does. */
function shortened(desc: DescMessage, message: Message, maxBytes: number): Uint8Array | null {
  const list = desc.fields.find((field) => field.fieldKind === 'list' && isFieldSet(message, field));
  if (list === undefined) return null;
  const elements = (message as unknown as Record<string, unknown[]>)[list.localName];
  const withFirst = (count: number) =>
    toBinary(desc, create(desc, { ...message, [list.localName]: elements.slice(0, count) } as MessageInitShape<DescMessage>));
  let fits = 0;
  for (let step = 2 ** Math.floor(Math.log2(elements.length)); step >= 1; step /= 2) {
    if (fits + step <= elements.length && withFirst(fits + step).length <= maxBytes) fits += step;
  }
  return fits === 0 ? null : withFirst(fits);
}

/** What a peer that broke the protocol of a call is told. */
export function brokenProtocol(message: string): ConnectError {
  return new ConnectError(message, Code.Unimplemented);
}
