/**
 * HTTP/2 connections without TLS: gRPC streams go to the gRPC handler, every other to the same handler as HTTP/1.1.
 *
 * Invariants
 * 1. A connection has at most `limits.http2Streams` streams at once, and bounded windows and headers.
 * 2. A failing connection ends itself and nothing else.
 *
 * Node counts a stream that its caller has reset until the packet is read to its end: a caller with as many streams as it may have, which
 * resets one and opens another at once, has the new one refused (ENHANCE_YOUR_CALM). It had no effect and can be sent again.
 */
import http2, { type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { limits } from '@workflow-orchestrator/proto/limits';
import { isGrpc } from './grpc.ts';

/** Bytes that a peer may send on one stream, and on one connection, before they are read. */
const streamWindowBytes = 256 * 1024;
const connectionWindowBytes = 4 * 1024 * 1024;
/** Bytes of the headers of a request, as for HTTP/1.1. */
const headerBytes = 16 * 1024;
/** Memory of one session in megabytes: what is queued for a slow reader; one response may be tens of megabytes. */
const sessionMegabytes = 256;

/** Who serves a stream. */
export interface Http2Handlers {
  readonly grpc: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;
  readonly http: (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void;
}

/** The HTTP/2 side of a listener. */
export interface Http2Connections {
  /** Takes over a socket whose first bytes are the HTTP/2 preface. */
  accept(socket: Socket): void;
  /** Asks all peers to open no more streams here; connections close when their streams have ended. */
  drain(): void;
}

/** HTTP/2 connections that are served by `handlers`. */
export function createHttp2Connections(handlers: Http2Handlers): Http2Connections {
  const sessions = new Set<ServerHttp2Session>();
  const server = http2.createServer({
    settings: { maxConcurrentStreams: limits.http2Streams, initialWindowSize: streamWindowBytes, maxHeaderListSize: headerBytes },
    maxSessionMemory: sessionMegabytes,
  });
  server.on('session', (session) => {
    sessions.add(session);
    session.setLocalWindowSize(connectionWindowBytes);
    session.on('error', () => session.destroy());
    session.on('close', () => sessions.delete(session));
  });
  server.on('stream', (stream, headers, _flags, rawHeaders) => {
    if (isGrpc(headers)) return handlers.grpc(stream, headers);
    stream.on('error', () => {});
    handlers.http(new http2.Http2ServerRequest(stream, headers, {}, rawHeaders), new http2.Http2ServerResponse(stream));
  });
  return {
    accept: (socket) => server.emit('connection', socket),
    drain: () => {
      for (const session of sessions) session.close();
    },
  };
}
