/**
 * An error as gRPC sends it: code, message, and in trailers its details as `google.rpc.Status`. Pure.
 * All of it together fits the header limits of all known clients (8 KiB), so a long list of problems is cut there, and only there.
 */
import { create, type DescMessage, isFieldSet, type Message, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { ConnectError } from '@connectrpc/connect';
import { cutUtf8, encodedDetails, retryDelayMs } from './errors.ts';

/** Bytes of `google.rpc.Status`, which travels in base64. */
const statusBytes = 4_500;
/** Characters of the message when it is percent-encoded. */
const messageLength = 1_500;

/** A failed call: what grpc-js is given. */
export interface GrpcStatus {
  readonly code: number;
  readonly message: string;
  /** Trailers by name; those that end in `-bin` are bytes. */
  readonly trailers: Readonly<Record<string, string | Buffer>>;
}

/** The status of an error. */
export function grpcStatus(error: ConnectError): GrpcStatus {
  const message = fittingMessage(error.rawMessage.toWellFormed());
  const trailers: Record<string, string | Buffer> = {};
  if (error.details.length > 0) trailers['grpc-status-details-bin'] = Buffer.from(encodeStatus(error, message));
  const delayMs = retryDelayMs(error);
  if (delayMs !== null) trailers['grpc-retry-pushback-ms'] = String(delayMs);
  return { code: error.code, message, trailers };
}

/** As much of a message as fits percent-encoded, where a character can take nine times its length. */
function fittingMessage(message: string): string {
  let text = cutUtf8(message, messageLength);
  while (encodeURI(text).length > messageLength) text = cutUtf8(text, Math.floor(Buffer.byteLength(text) * 0.8));
  return text;
}

/** `google.rpc.Status`: code 1, message 2, details 3, each a `google.protobuf.Any` with type URL 1 and value 2. */
function encodeStatus(error: ConnectError, message: string): Uint8Array {
  const writer = new BinaryWriter().tag(1, WireType.Varint).int32(error.code).tag(2, WireType.LengthDelimited).string(message);
  for (const detail of fittingDetails(error, statusBytes - Buffer.byteLength(message))) {
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

/** A message with its first list cut so that it fits into `maxBytes`; null when nothing of it does. */
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
