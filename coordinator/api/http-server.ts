/**
 * The fastify side of the faces: REST, Connect and the routes of the system over HTTP/1.1 and HTTP/2, with one way to answer errors.
 *
 * Invariants
 * 1. Token and origin are judged on the headers, before a body is read.
 * 2. Every error is answered as JSON with a code; none shows more than was meant for the caller.
 */
import http, { type IncomingMessage, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Code, ConnectError, cors as connectCors } from '@connectrpc/connect';
import cors from '@fastify/cors';
import { limits } from '@workflow-orchestrator/proto/limits';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Authenticate } from './auth.ts';
import { type ErrorLog, errorHeaders, errorJson, HttpError, httpStatus, malformed, presentable, tooLarge } from './errors.ts';
import { apiHeaders } from './http-headers.ts';
import { type OriginPolicy, originProblem } from './origin.ts';
import { openPaths } from './routes.ts';

/** What the HTTP side needs to know. */
export interface HttpOptions {
  readonly authenticate: Authenticate;
  readonly origins: OriginPolicy;
  readonly log: ErrorLog;
  readonly headersTimeoutMs: number;
  /** Time for a whole request to arrive. */
  readonly requestArrivalMs: number;
  /** Whether the server is stopping: answers then close their connection. */
  readonly stopping: () => boolean;
  readonly onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

/** How often timeouts of headers and requests are looked at, in milliseconds. */
const timeoutCheckMs = 1_000;
/** Longest path parameter; identifiers are shorter, and what is longer gets a clear refusal by its rule. */
const pathParameterLength = 1_024;

/** A fastify instance on an HTTP/1.1 server that does not listen yet. */
export function createHttpServer(options: HttpOptions): { app: FastifyInstance; server: Server } {
  const { log } = options;
  const app: FastifyInstance = fastify({
    serverFactory: (handler) => createServer(handler, options),
    routerOptions: { maxParamLength: pathParameterLength, ignoreTrailingSlash: true },
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, request, reply) => answerError(error, request, reply, log),
  });
  app.setErrorHandler((error, request, reply) => answerError(error, request, reply, log));
  if (options.origins.allowed.length > 0) {
    app.register(cors, {
      origin: [...options.origins.allowed],
      methods: ['GET', 'HEAD', 'POST'],
      allowedHeaders: [...connectCors.allowedHeaders, 'Authorization', 'Idempotency-Key', 'Last-Event-ID', 'Request-Timeout'],
      exposedHeaders: [...connectCors.exposedHeaders, 'Retry-After'],
      maxAge: 7200,
    });
  }
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(apiHeaders);
    if (options.stopping() && request.raw.httpVersionMajor === 1) reply.header('connection', 'close');
    const hasHost = request.raw.httpVersion !== '1.1' || request.headers.host !== undefined;
    done(hasHost ? refusal(request.headers, pathOf(request.url), options) : malformed('the header Host is missing'));
  });
  return { app, server: app.server };
}

/** Why a request may not go on, judged by its headers alone; undefined when it may. */
export function refusal(
  headers: IncomingMessage['headers'],
  path: string,
  options: Pick<HttpOptions, 'authenticate' | 'origins'>,
): ConnectError | undefined {
  const problem = originProblem(headers, options.origins);
  if (problem !== null) return new HttpError(403, Code.PermissionDenied, problem, 'CROSS_ORIGIN');
  if (openPaths.has(path)) return undefined;
  return options.authenticate(headers.authorization) ?? undefined;
}

/** The path of a request's URL. */
export function pathOf(url: string): string {
  const end = url.indexOf('?');
  return end < 0 ? url : url.slice(0, end);
}

function createServer(handler: http.RequestListener, options: HttpOptions): Server {
  const server = http.createServer(
    {
      headersTimeout: options.headersTimeoutMs,
      requestTimeout: Math.max(options.requestArrivalMs, options.headersTimeoutMs),
      connectionsCheckingInterval: Math.min(timeoutCheckMs, options.headersTimeoutMs),
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      // Refused by the hook above, with an answer that says so; Node's own has no body.
      requireHostHeader: false,
      // Only WebSockets are upgraded. Clients that offer h2c by `Upgrade` (curl --http2) are answered in HTTP/1.1 instead.
      shouldUpgradeCallback: (request: IncomingMessage) => request.headers.upgrade?.toLowerCase() === 'websocket',
    } as http.ServerOptions,
    handler,
  );
  server.keepAliveTimeout = 72_000; // longer than load balancers keep theirs
  server.on('upgrade', options.onUpgrade);
  server.on('checkExpectation', answerExpectation);
  return server;
}

/** Answers a request that expects something other than `100-continue`. */
function answerExpectation(request: IncomingMessage, response: http.ServerResponse): void {
  const message = `nothing meets the header Expect: ${String(request.headers.expect).slice(0, 200)}`;
  const error = new HttpError(417, Code.InvalidArgument, message, 'MALFORMED_REQUEST');
  const headers = { ...apiHeaders, ...errorHeaders(error), 'content-type': 'application/json; charset=utf-8', connection: 'close' };
  response.writeHead(httpStatus(error), headers).end(JSON.stringify(errorJson(error)));
}

/** The one way to answer an error over HTTP. */
export function answerError(cause: FastifyError | unknown, request: FastifyRequest, reply: FastifyReply, log: ErrorLog): FastifyReply {
  const error = fromFastify(cause, request) ?? presentable(cause, log, { url: pathOf(request.url) });
  return reply
    .code(httpStatus(error))
    .headers({ ...errorHeaders(error), 'content-type': 'application/json; charset=utf-8' })
    .send(JSON.stringify(errorJson(error)));
}

/** The framework's own refusals in our words; null for anything else. */
function fromFastify(cause: unknown, request: FastifyRequest): ConnectError | null {
  const { code, statusCode } = cause as Partial<FastifyError>;
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return tooLarge(request.routeOptions.bodyLimit ?? limits.requestBytes);
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return malformed('the body is not as long as its Content-Length says');
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new HttpError(415, Code.InvalidArgument, 'the content type is not of the form type/subtype', 'UNSUPPORTED_MEDIA_TYPE');
    case 'FST_ERR_BAD_URL':
      return malformed(`the path ${JSON.stringify(pathOf(request.url).slice(0, 200))} is not percent-encoded as it should be`);
    default:
      return typeof code === 'string' && code.startsWith('FST_') && statusCode !== undefined && statusCode < 500
        ? malformed((cause as Error).message)
        : null;
  }
}

const clientErrors: Readonly<Record<string, readonly [number, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request did not arrive in time'],
  HPE_HEADER_OVERFLOW: [431, 'the headers are larger than 16 KiB'],
};

/** Answers bytes that are no HTTP request, and closes. */
function answerClientError(error: Error & { code?: string; rawPacket?: unknown }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const isTls = Buffer.isBuffer(error.rawPacket) && error.rawPacket[0] === 0x16; // opens with a TLS handshake
  const [status, message] = clientErrors[error.code ?? ''] ?? [
    400,
    isTls ? 'this port speaks plain HTTP: use http://, not https://' : 'this is no HTTP request',
  ];
  writeRawError(socket, status, new ConnectError(message, Code.InvalidArgument));
}

/** Answers on a socket that no response object belongs to, and closes it. */
export function writeRawError(socket: Duplex, status: number, error: ConnectError): void {
  const body = JSON.stringify(errorJson(error));
  const headers = {
    ...apiHeaders,
    ...errorHeaders(error),
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  };
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? ''}\r\n${head.join('')}\r\n${body}`, () => socket.destroy());
}
