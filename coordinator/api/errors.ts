/**
 * Errors on their way out: one `ConnectError` becomes an HTTP status with JSON, or a gRPC status. What no service meant to tell is hidden.
 *
 * Invariants
 * 1. A client sees a code, a message and details that were meant for it; never a stack trace, a file name or the text of an unexpected exception.
 * 2. An unexpected exception is logged once, under an id that the client is told.
 * 3. The same failure has the same code, message and details on every face.
 */
import { randomUUID } from 'node:crypto';
import { create, type DescMessage, type JsonObject, type MessageInitShape, toBinary, toJson } from '@bufbuild/protobuf';
import { base64Encode } from '@bufbuild/protobuf/wire';
import { Code, ConnectError } from '@connectrpc/connect';
import { codeToHttpStatus, codeToString } from '@connectrpc/connect/protocol-connect';
import { ErrorInfoSchema, type FieldViolation, FieldViolationsSchema, RetryInfoSchema } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';

/** A detail as a face sends it: already bytes. */
export interface EncodedDetail {
  /** Full name of the message. */
  readonly type: string;
  readonly value: Uint8Array;
  /** The same as JSON, for people. */
  readonly debug?: unknown;
}

/** Name of a code as clients of Connect and REST see it, such as `not_found`. */
export function codeName(code: Code): string {
  return codeToString(code);
}

/** An error for which HTTP knows a better status than its code would get, such as 413 or 415. */
export class HttpError extends ConnectError {
  readonly httpStatus: number;

  constructor(httpStatus: number, code: Code, message: string, reason: string, metadata: Record<string, string> = {}) {
    super(message, code, undefined, [{ desc: ErrorInfoSchema, value: { reason, metadata } }]);
    this.httpStatus = httpStatus;
  }
}

/** HTTP status of an error: the Connect mapping of its code, unless the error names a better one. */
export function httpStatus(error: ConnectError): number {
  return 'httpStatus' in error && typeof error.httpStatus === 'number' ? error.httpStatus : codeToHttpStatus(error.code);
}

/** One bad field: its path, what would be right, and the id of the rule. */
export type Violation = Pick<FieldViolation, 'field' | 'description' | 'rule'>;

/** A request whose fields break rules. `violations` is never empty; of very many the first `limits.fieldViolations` are told. */
export function fieldError(violations: readonly Violation[]): ConnectError {
  const shown = violations.slice(0, 3).map(({ field, description }) => (field === '' ? description : `${field}: ${description}`));
  const more = violations.length > shown.length ? `; and ${violations.length - shown.length} more` : '';
  return new ConnectError(`invalid request: ${shown.join('; ')}${more}`, Code.InvalidArgument, undefined, [
    { desc: FieldViolationsSchema, value: { violations: violations.slice(0, limits.fieldViolations) } },
  ]);
}

/** A request that cannot be read at all: not JSON, not protobuf, not UTF-8. */
export function malformed(message: string): ConnectError {
  return new ConnectError(message, Code.InvalidArgument, undefined, [{ desc: ErrorInfoSchema, value: { reason: 'MALFORMED_REQUEST' } }]);
}

/** A request of more bytes than its method takes. */
export function tooLarge(maxBytes: number): HttpError {
  const metadata = { limit: maxBytes === limits.batchRequestBytes ? 'batchRequestBytes' : 'requestBytes', max: String(maxBytes) };
  return new HttpError(413, Code.ResourceExhausted, `the request is larger than ${maxBytes} bytes`, 'LIMIT_EXCEEDED', metadata);
}

/** No room now; the request had no effect. */
export function noRoom(message: string, retryAfterMs: number): ConnectError {
  const retryDelay = { seconds: BigInt(Math.floor(retryAfterMs / 1000)), nanos: (retryAfterMs % 1000) * 1_000_000 };
  return new ConnectError(message, Code.ResourceExhausted, undefined, [{ desc: RetryInfoSchema, value: { retryDelay } }]);
}

/** Where unexpected exceptions are written: the `error` of a pino logger. */
export interface ErrorLog {
  error(fields: object, message: string): void;
}

/** Whatever was thrown, as the error that a client may see. Unexpected exceptions are logged and become `internal` with the id of that line. */
export function presentable(cause: unknown, log: ErrorLog, where: object): ConnectError {
  if (cause instanceof ConnectError) return withSentMessage(cause);
  const errorId = randomUUID();
  log.error({ err: cause, errorId, ...where }, 'unexpected error in a call');
  return new ConnectError(`internal error; the coordinator's log tells more under the id ${errorId}`, Code.Internal, undefined, [
    { desc: ErrorInfoSchema, value: { reason: 'INTERNAL', metadata: { error_id: errorId } } },
  ]);
}

/** The error with its message cut at `limits.errorMessageBytes`. */
function withSentMessage(error: ConnectError): ConnectError {
  if (Buffer.byteLength(error.rawMessage) <= limits.errorMessageBytes) return error;
  const cut = new ConnectError(cutUtf8(error.rawMessage, limits.errorMessageBytes), error.code, error.metadata, undefined, error.cause);
  cut.details = error.details;
  return cut;
}

/** The start of a text that fits into `maxBytes` of UTF-8, with an ellipsis when something is missing. */
export function cutUtf8(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  const bytes = Buffer.from(text);
  let end = maxBytes - Buffer.byteLength('…');
  while ((bytes[end] & 0xc0) === 0x80) end -= 1; // not in the middle of a character
  return `${bytes.toString('utf8', 0, end)}…`;
}

/** The details as bytes, each with JSON for people where it can be written. */
export function encodedDetails(error: ConnectError): EncodedDetail[] {
  return error.details.map((detail) => {
    if (!('desc' in detail))
      return { type: detail.type, value: detail.value, ...(detail.debug === undefined ? {} : { debug: detail.debug }) };
    return encodeDetail(detail.desc, detail.value);
  });
}

function encodeDetail(desc: DescMessage, value: MessageInitShape<DescMessage>): EncodedDetail {
  const message = create(desc, value);
  return { type: desc.typeName, value: toBinary(desc, message), debug: toJson(desc, message) };
}

/** The error JSON of Connect and REST. */
export function errorJson(error: ConnectError): JsonObject {
  const details = encodedDetails(error).map(({ type, value, debug }) => ({
    type,
    value: base64Encode(value, 'std_raw'),
    ...(debug === undefined ? {} : { debug: debug as JsonObject }),
  }));
  return { code: codeName(error.code), message: error.rawMessage, ...(details.length > 0 ? { details } : {}) };
}

/** How long to wait before the request may be sent again, in milliseconds; null when the error does not say. */
export function retryDelayMs(error: ConnectError): number | null {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay === undefined ? null : Number(delay.seconds) * 1000 + Math.ceil(delay.nanos / 1_000_000);
}

/** Headers that go with an error over HTTP: when to come back, and how to show who one is. */
export function errorHeaders(error: ConnectError): Record<string, string> {
  const headers: Record<string, string> = {};
  const delayMs = retryDelayMs(error);
  if (delayMs !== null) headers['retry-after'] = String(Math.max(1, Math.ceil(delayMs / 1000)));
  if (error.code === Code.Unauthenticated) headers['www-authenticate'] = 'Bearer realm="workflow"';
  return headers;
}
