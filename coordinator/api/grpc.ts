// !!! NOTE FROM THE INTEGRATOR TO WHO WRITES THIS FOLDER (remove when done): gRPC must be served by @grpc/grpc-js (Server + createConnectionInjector/injectConnection,
// generic handlers over protobuf-es descriptors), as architecture.md section 5 and your task say: the users named that package, and "a well-kept library beats our own
// code, even a slower one". Do not keep an own gRPC wire/HTTP2 implementation: delete grpc-wire.ts, http2.ts, inflate.ts and reduce grpc.ts to the adapter.
// A plain HTTP/2 client without gRPC may simply get what grpc-js answers (415/UNIMPLEMENTED).
/**
 * gRPC calls on HTTP/2 streams: unary and server-streaming methods, and dialogs (one answer to each message), over protobuf descriptors.
 *
 * Invariants
 * 1. The token is checked on the headers, before a byte of the body is read.
 * 2. Every call that is not broken off by its caller ends with trailers that carry a status.
 * 3. A message that does not fit into the send buffer holds the next one back: nothing is asked of the service before the buffer has drained.
 * 4. A stream that is answered before its request has arrived is reset, so that the caller stops sending and the window is freed.
 */
import http2, { type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { ConnectError } from '@connectrpc/connect';
import { limits } from '@workflow-orchestrator/proto/limits';
import { nearest } from '@workflow-orchestrator/proto/nearest';
import type { Authenticate } from './auth.ts';
import { Call, callerGone } from './call.ts';
import { decodeBinary, encodeBinary } from './codec.ts';
import { parseGrpcTimeout, unaryDeadlineMs } from './deadline.ts';
import type { Decode, Endpoint } from './endpoint.ts';
import { malformed } from './errors.ts';
import { brokenProtocol, errorTrailers, FrameReader, frame, okTrailers } from './grpc-wire.ts';
import { inflate } from './inflate.ts';

/** What can be called. Paths are `/package.Service/Method`. */
export interface GrpcTable {
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  /** Answers each message of a call with one message, in order. What it throws ends the call. */
  readonly dialogs: ReadonlyMap<string, (request: Uint8Array) => Uint8Array>;
  /** Paths that need no token. */
  readonly open: ReadonlySet<string>;
  readonly authenticate: Authenticate;
}

/** Whether a stream's content type is gRPC with protobuf messages. */
export function isGrpc(headers: IncomingHttpHeaders): boolean {
  const type = headers['content-type'];
  return type !== undefined && /^application\/grpc(\+proto)?(;|$)/.test(type);
}

const answerHeaders = {
  ':status': 200,
  'content-type': 'application/grpc+proto',
  'grpc-accept-encoding': 'identity,gzip,deflate',
} as const;
const withTrailers = { waitForTrailers: true } as const;

/** Serves the gRPC streams of all connections. */
export function createGrpcHandler(table: GrpcTable): (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void {
  const paths = [...table.endpoints.keys(), ...table.dialogs.keys()];
  return (stream, headers) => {
    stream.on('error', () => {}); // 'close' follows, and that ends the call
    const path = headers[':path'] ?? '';
    const denied = table.open.has(path) ? null : table.authenticate(headers.authorization);
    if (denied !== null) return refuse(stream, denied);
    const endpoint = table.endpoints.get(path);
    if (endpoint !== undefined) return serveEndpoint(endpoint, stream, headers);
    const dialog = table.dialogs.get(path);
    if (dialog !== undefined) return serveDialog(dialog, stream);
    const meant = nearest(path, paths);
    refuse(stream, brokenProtocol(`there is no method ${path}${meant === null ? '' : `; did you mean ${meant}?`}`));
  };
}

function serveEndpoint(endpoint: Endpoint, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const header = (name: string) => {
    const value = headers[name];
    return value === undefined ? null : Array.isArray(value) ? value.join(', ') : value;
  };
  let call: Call;
  try {
    const askedMs = parseGrpcTimeout(header('grpc-timeout'));
    call = new Call('grpc', header, endpoint.streams ? askedMs : unaryDeadlineMs(askedMs));
  } catch (error) {
    refuse(stream, ConnectError.from(error));
    return;
  }
  stream.on('close', () => call.cancel(callerGone()));
  const decode = async () =>
    decodeBinary(endpoint.input, await receiveOne(stream, header('grpc-encoding') ?? 'identity', endpoint.requestBytes));
  const answered = endpoint.streams ? answerStream(endpoint, call, decode, stream) : answerUnary(endpoint, call, decode, stream);
  answered.catch((error: unknown) => refuse(stream, ConnectError.from(error)));
}

async function answerUnary(endpoint: Endpoint, call: Call, decode: Decode, stream: ServerHttp2Stream): Promise<void> {
  const bytes = await endpoint.unary(call, decode, (response) => frame(encodeBinary(endpoint.output, response)));
  if (stream.destroyed || stream.closed) return;
  stream.respond(answerHeaders, withTrailers);
  stream.once('wantTrailers', () => stream.sendTrailers(okTrailers));
  stream.end(bytes);
}

async function answerStream(endpoint: Endpoint, call: Call, decode: Decode, stream: ServerHttp2Stream): Promise<void> {
  let onDrain = () => {};
  stream.on('drain', () => onDrain());
  for await (const bytes of endpoint.stream(call, decode, (item) => frame(encodeBinary(endpoint.output, item)))) {
    if (stream.destroyed || stream.closed) return;
    if (!stream.headersSent) stream.respond(answerHeaders, withTrailers);
    if (stream.write(bytes)) continue;
    await call.until(
      new Promise<void>((resolve) => {
        onDrain = resolve;
      }),
    );
  }
  if (stream.destroyed || stream.closed) return;
  if (!stream.headersSent) stream.respond(answerHeaders, withTrailers);
  stream.once('wantTrailers', () => stream.sendTrailers(okTrailers));
  stream.end();
}

/** The one message of a request. Rejects when there is none, more than one, or one that is too long. */
function receiveOne(stream: ServerHttp2Stream, encoding: string, maxBytes: number): Promise<Buffer> {
  return new Promise<Buffer>((resolve, reject) => {
    const reader = new FrameReader(maxBytes);
    let message: { readonly compressed: boolean; readonly body: Buffer } | null = null;
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const next of reader.push(chunk)) {
          if (message !== null) throw brokenProtocol('this method takes one message, and a second one came');
          message = next;
        }
      } catch (error) {
        stream.removeAllListeners('data');
        reject(error);
      }
    });
    stream.on('end', () => {
      if (message === null || !reader.between)
        reject(malformed(message === null && reader.between ? 'no message came' : 'the message was cut off'));
      else if (message.compressed) resolve(inflate(message.body, encoding, maxBytes));
      else resolve(message.body);
    });
  });
}

function serveDialog(answer: (request: Uint8Array) => Uint8Array, stream: ServerHttp2Stream): void {
  const reader = new FrameReader(limits.requestBytes);
  stream.respond(answerHeaders, withTrailers);
  stream.on('drain', () => stream.resume());
  stream.on('data', (chunk: Buffer) => {
    try {
      for (const { compressed, body } of reader.push(chunk)) {
        if (compressed) throw brokenProtocol('messages of this method may not be compressed');
        if (!stream.write(frame(answer(body)))) stream.pause();
      }
    } catch (error) {
      stream.removeAllListeners('data');
      refuse(stream, ConnectError.from(error));
    }
  });
  stream.on('end', () => {
    if (stream.destroyed || stream.closed || stream.writableEnded) return;
    stream.once('wantTrailers', () => stream.sendTrailers(okTrailers));
    stream.end();
  });
}

/** Ends a call with an error, and the sending of a request that has not arrived as a whole. */
function refuse(stream: ServerHttp2Stream, error: ConnectError): void {
  if (stream.destroyed || stream.closed || stream.writableEnded) return;
  const trailers = errorTrailers(error);
  if (stream.headersSent) {
    stream.once('wantTrailers', () => {
      stream.sendTrailers(trailers);
      stopReceiving(stream);
    });
    stream.end();
    return;
  }
  stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto', ...trailers }, { endStream: true });
  stopReceiving(stream);
}

function stopReceiving(stream: ServerHttp2Stream): void {
  if (stream.readableEnded || stream.endAfterHeaders) return;
  stream.resume();
  stream.close(http2.constants.NGHTTP2_NO_ERROR);
}
