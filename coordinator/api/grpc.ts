/**
 * gRPC by grpc-js: its server is given a handler for each method, made from the descriptors, and the connections that speak HTTP/2.
 *
 * Invariants
 * 1. The token is checked on the headers, before a byte of the body is read.
 * 2. grpc-js sees bytes only: messages are read and written here, so that a bad request is `invalid_argument` and says why.
 * 3. A message that does not fit into the send buffer holds the next one back: nothing is asked of the service before the buffer has drained.
 */
import type { Socket } from 'node:net';
import { Code, ConnectError } from '@connectrpc/connect';
import grpc from '@grpc/grpc-js';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Authenticate } from './auth.ts';
import { Call } from './call.ts';
import { decodeBinary, encodeBinary } from './codec.ts';
import { unaryDeadlineMs } from './deadline.ts';
import type { Endpoint } from './endpoint.ts';
import { tooLarge } from './errors.ts';
import { grpcStatus } from './grpc-status.ts';

/** What can be called. Paths are `/package.Service/Method`. */
export interface GrpcTable {
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  /** Answers each message of a call with one message, in order. What it throws ends the call. */
  readonly dialogs: ReadonlyMap<string, (request: Uint8Array) => Uint8Array>;
  /** Paths that need no token. */
  readonly open: ReadonlySet<string>;
  readonly authenticate: Authenticate;
  /** Time for the message of a request to arrive. */
  readonly requestArrivalMs: number;
}

/** The gRPC side of all listeners. */
export interface GrpcServer {
  /** Takes over a socket whose first bytes are the HTTP/2 preface. */
  accept(socket: Socket): void;
  /** Asks all peers to open no more calls here; what is under way after `graceMs` is cut off. */
  drain(graceMs: number): void;
}

/** Memory of one connection in megabytes: what is queued for a slow reader; one answer may be tens of megabytes. */
const sessionMegabytes = 256;

/** A server for the methods of `table`. */
export function createGrpcServer(table: GrpcTable): GrpcServer {
  const server = new grpc.Server({
    'grpc.max_concurrent_streams': limits.http2Streams,
    'grpc.max_receive_message_length': limits.batchRequestBytes,
    'grpc.max_send_message_length': -1,
    'grpc-node.max_session_memory': sessionMegabytes,
    'grpc.enable_channelz': 0,
    interceptors: [createGate(table)],
  });
  for (const [path, endpoint] of table.endpoints) {
    if (endpoint.streams) server.register(path, streamHandler(endpoint), asIs, asIs, 'serverStream');
    else server.register(path, unaryHandler(endpoint), asIs, asIs, 'unary');
  }
  for (const [path, answer] of table.dialogs) server.register(path, dialogHandler(answer), asIs, asIs, 'bidi');
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  return { accept: (socket) => injector.injectConnection(socket), drain: (graceMs) => injector.drain(graceMs) };
}

const asIs = (bytes: Buffer): Buffer => bytes;

/** Judges the token on the headers, and gives the request its time to arrive. */
function createGate({ open, authenticate, requestArrivalMs }: GrpcTable): grpc.ServerInterceptor {
  return (method, call) => {
    const isDialog = method.requestStream;
    let arrival: NodeJS.Timeout | null = null;
    const arrived = () => {
      if (arrival !== null) clearTimeout(arrival);
    };
    return new grpc.ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata(metadata, pass) {
            const denied = open.has(method.path) ? null : authenticate(firstOf(metadata, 'authorization'));
            if (denied !== null) {
              call.sendStatus(statusOf(denied));
              return;
            }
            if (!isDialog) arrival = setTimeout(() => call.sendStatus(statusOf(notArrived())), requestArrivalMs);
            pass(metadata);
          },
          onReceiveHalfClose(pass) {
            arrived();
            pass();
          },
          onCancel: arrived,
        }),
    });
  };
}

function unaryHandler(endpoint: Endpoint): grpc.handleUnaryCall<Buffer, Buffer> {
  return (rpc, respond) => {
    const call = beginCall(rpc, unaryDeadlineMs);
    endpoint
      .unary(
        call,
        () => decode(endpoint, rpc.request),
        (response) => toBuffer(encodeBinary(endpoint.output, response)),
      )
      .then(
        (bytes) => respond(null, bytes),
        (error: unknown) => respond(serviceErrorOf(ConnectError.from(error))),
      );
  };
}

function streamHandler(endpoint: Endpoint): grpc.handleServerStreamingCall<Buffer, Buffer> {
  return (rpc) => {
    const call = beginCall(rpc, (askedMs) => askedMs);
    sendItems(endpoint, call, rpc).catch((error: unknown) => rpc.emit('error', serviceErrorOf(ConnectError.from(error))));
  };
}

async function sendItems(endpoint: Endpoint, call: Call, rpc: grpc.ServerWritableStream<Buffer, Buffer>): Promise<void> {
  let onDrain = () => {};
  rpc.on('drain', () => onDrain());
  const items = endpoint.stream(
    call,
    () => decode(endpoint, rpc.request),
    (item) => toBuffer(encodeBinary(endpoint.output, item)),
  );
  for await (const bytes of items) {
    if (rpc.write(bytes)) continue;
    await call.until(
      new Promise<void>((resolve) => {
        onDrain = resolve;
      }),
    );
  }
  rpc.end();
}

function dialogHandler(answer: (request: Uint8Array) => Uint8Array): grpc.handleBidiStreamingCall<Buffer, Buffer> {
  return (rpc) => {
    rpc.on('drain', () => rpc.resume());
    rpc.on('data', (request: Buffer) => {
      try {
        if (request.length > limits.requestBytes) throw tooLarge(limits.requestBytes);
        if (!rpc.write(toBuffer(answer(request)))) rpc.pause();
      } catch (error) {
        rpc.removeAllListeners('data');
        rpc.emit('error', serviceErrorOf(ConnectError.from(error)));
      }
    });
    rpc.on('end', () => rpc.end());
  };
}

type Rpc = grpc.ServerUnaryCall<Buffer, Buffer> | grpc.ServerWritableStream<Buffer, Buffer>;

function beginCall(rpc: Rpc, deadline: (askedMs: number | null) => number | null): Call {
  const until = Number(rpc.getDeadline());
  const askedMs = Number.isFinite(until) ? Math.max(0, until - Date.now()) : null;
  const call = new Call('grpc', (name) => firstOf(rpc.metadata, name), deadline(askedMs));
  // grpc-js tells of a deadline that it keeps itself in the same way as of a caller who goes away.
  rpc.on('cancelled', () => {
    if (Date.now() >= until) call.expire();
    else call.abandon();
  });
  return call;
}

function decode(endpoint: Endpoint, request: Buffer) {
  if (request.length > endpoint.requestBytes) throw tooLarge(endpoint.requestBytes);
  return decodeBinary(endpoint.input, request);
}

function firstOf(metadata: grpc.Metadata, name: string): string | null {
  const [value] = metadata.get(name);
  return value === undefined ? null : value.toString();
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function statusOf(error: ConnectError): { code: number; details: string; metadata: grpc.Metadata } {
  const { code, message, trailers } = grpcStatus(error);
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(trailers)) metadata.set(name, value);
  return { code, details: message, metadata };
}

function serviceErrorOf(error: ConnectError): grpc.ServiceError {
  const status = statusOf(error);
  return Object.assign(new Error(status.details), status);
}

function notArrived(): ConnectError {
  return new ConnectError('the request did not arrive in time', Code.DeadlineExceeded);
}
