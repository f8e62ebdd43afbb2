/**
 * The faces of the coordinator on one port: REST, Connect, gRPC, the worker stream's WebSocket, health, metrics, the OpenAPI document.
 *
 * Invariants
 * 1. One implementation of each service; the faces only translate.
 * 2. `close` ends by its deadline, whatever is connected.
 */
import type { IncomingMessage } from 'node:http';
import { createServer as createSocketServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Code, ConnectError } from '@connectrpc/connect';
import { RetryInfoSchema } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { createAuthenticate } from './auth.ts';
import type { Call } from './call.ts';
import { registerConnect } from './connect.ts';
import { type AnyMountedService, createEndpoints, type EndpointContext } from './endpoint.ts';
import { HttpError, httpStatus } from './errors.ts';
import { createGrpcServer, type GrpcTable } from './grpc.ts';
import { createHealthService } from './health.ts';
import { createHttpServer, type HttpOptions, pathOf, refusal, writeRawError } from './http-server.ts';
import { listenOn, stopListening } from './listen.ts';
import { createApiMetrics } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { createReflection } from './reflection.ts';
import { registerRest } from './rest.ts';
import { bindingsOf } from './rest-binding.ts';
import { createNotFound, type Readiness, registerSystemRoutes } from './routes.ts';
import { sniff } from './sniff.ts';

/** Where workers connect. */
export const workerStreamPath = '/workers';

/** What the faces are made of. */
export interface ApiServerOptions {
  /** What `mount` made, one for each service. */
  readonly services: readonly AnyMountedService[];
  /** Takes over a WebSocket handshake on `workerStreamPath` whose token and origin have been judged. */
  readonly gateway: { handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void };
  /** Address or name to listen on; `localhost` means both its addresses. */
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** A port for gRPC alone, besides; 0 takes a free one, null or nothing none. */
  readonly grpcPort?: number | null;
  /** The bearer token that callers must show; null for none. */
  readonly token: string | null;
  /** Origins of pages that may call, besides the coordinator's own. */
  readonly corsOrigins?: readonly string[];
  readonly ready: () => Readiness;
  readonly metrics: Registry;
  readonly log: Logger;
  readonly version: string;
  /** Limits that differ from `proto/limits.ts`, for tests. */
  readonly limits?: { readonly headersTimeoutMs?: number; readonly requestArrivalMs?: number; readonly streams?: number };
}

/** The faces, ready to listen. */
export interface ApiServer {
  /** Opens the ports; gives the ones that were taken. Rejects with `ListenError`. */
  listen(): Promise<{ port: number; grpcPort?: number }>;
  /** Ends the streams that are open: those who called may open them again, here or elsewhere. */
  endStreams(): void;
  /** Takes no new connection, ends streams, lets calls under way finish for `graceMs`, then closes what is left. */
  close(graceMs: number): Promise<void>;
}

/** Puts the faces together. Throws when a service is incomplete or annotated in a way that cannot be served. */
export function createServer(options: ApiServerOptions): ApiServer {
  const { log, version } = options;
  const headersTimeoutMs = options.limits?.headersTimeoutMs ?? limits.headersTimeoutMs;
  const requestArrivalMs = options.limits?.requestArrivalMs ?? limits.unaryDeadlineMaxMs;
  const sockets = new Set<Socket>();
  const undecided = new Set<Socket>();
  const openStreams = new Set<Call>();
  let stopping = false;

  const context: EndpointContext = {
    metrics: createApiMetrics(options.metrics),
    log,
    openStreams,
    maxStreams: options.limits?.streams ?? limits.watches,
  };
  const endpoints = createEndpoints(options.services, context);
  const bindings = endpoints.flatMap(bindingsOf);
  const authenticate = createAuthenticate(options.token);
  const origins = { allowed: options.corsOrigins ?? [], localNamesOnly: options.token === null && isLoopback(options.host) };

  const httpOptions: HttpOptions = { authenticate, origins, log, headersTimeoutMs, requestArrivalMs, stopping: () => stopping, onUpgrade };
  const { app, server } = createHttpServer(httpOptions);
  registerSystemRoutes(app, {
    ready: options.ready,
    metrics: options.metrics,
    version,
    openApi: () => openApiDocument(bindings, { version, secured: options.token !== null }),
  });
  registerRest(app, bindings);
  registerConnect(app, endpoints);
  app.setNotFoundHandler(
    createNotFound([
      ...bindings,
      ...['/healthz', '/readyz', '/metrics', '/openapi.json'].map((path) => ({ verb: 'GET', path })),
      ...endpoints.map(({ name }) => ({ verb: 'POST', path: `/${name}` })),
    ]),
  );

  const grpc = createGrpcServer(grpcTable());
  const listeners: Server[] = [server];

  // The HTTP server listens itself, so that it watches over its connections; their first bytes are looked at before it sees them.
  const [toHttp1] = server.listeners('connection') as ((socket: Socket) => void)[];
  const onConnection = (socket: Socket) => accept(socket, { http1: (one) => toHttp1.call(server, one), http2: grpc.accept });
  server.removeAllListeners('connection').on('connection', onConnection);

  function accept(socket: Socket, handlers: { http1(socket: Socket): void; http2(socket: Socket): void }): void {
    sockets.add(socket);
    undecided.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      undecided.delete(socket);
    });
    const decided = (handler: (socket: Socket) => void) => (one: Socket) => {
      undecided.delete(one);
      handler(one);
    };
    sniff(socket, { http1: decided(handlers.http1), http2: decided(handlers.http2) }, headersTimeoutMs);
  }

  function onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => {}); // whoever takes it over listens too; without anybody the process would end
    const path = pathOf(request.url ?? '');
    const refused =
      refusal(request.headers, path, httpOptions) ??
      (path.replace(/\/$/, '') === workerStreamPath
        ? null
        : new HttpError(
            404,
            Code.NotFound,
            `there is no WebSocket at ${path.slice(0, 200)}; workers connect to ${workerStreamPath}`,
            'NO_SUCH_ROUTE',
          ));
    if (refused !== null) writeRawError(socket, httpStatus(refused), refused);
    else options.gateway.handleUpgrade(request, socket, head);
  }

  function grpcTable(): GrpcTable {
    const names = options.services.map(({ service }) => service.typeName);
    const healthService = createHealthService(names, () => !stopping && options.ready().ready);
    const health = createEndpoints([healthService], context);
    const byPath = new Map([...endpoints, ...health].map((endpoint) => [`/${endpoint.name}`, endpoint]));
    const dialogs = createReflection([...options.services, healthService].map(({ service }) => service));
    return { endpoints: byPath, dialogs, open: new Set(health.map(({ name }) => `/${name}`)), authenticate, requestArrivalMs };
  }

  async function listen(): Promise<{ port: number; grpcPort?: number }> {
    try {
      return await openPorts();
    } catch (error) {
      await close(0); // one port is of no use without the other
      throw error;
    }
  }

  async function openPorts(): Promise<{ port: number; grpcPort?: number }> {
    await app.ready();
    const hosts = options.host === 'localhost' ? ['127.0.0.1', '::1'] : [options.host];
    const port = await listenOn(server, hosts[0], options.port, { flag: '--port' });
    for (const host of hosts.slice(1)) await listenBesides(host, port, onConnection);
    if (options.grpcPort === undefined || options.grpcPort === null) return { port };
    const grpcListener = createSocketServer({ noDelay: true, keepAlive: true }, (socket) => {
      accept(socket, { http2: grpc.accept, http1: (one) => writeRawError(one, 400, notHere) });
    });
    listeners.push(grpcListener);
    return { port, grpcPort: await listenOn(grpcListener, hosts[0], options.grpcPort, { flag: '--grpc-port' }) };
  }

  /** The second address of `localhost`, where the machine has it. */
  async function listenBesides(host: string, port: number, onSocket: (socket: Socket) => void): Promise<void> {
    const listener = createSocketServer({ noDelay: true, keepAlive: true, allowHalfOpen: true }, onSocket);
    try {
      await listenOn(listener, host, port, { flag: '--port' });
      listeners.push(listener);
    } catch (error) {
      log.debug({ err: error }, `not listening on ${host}`);
    }
  }

  function endStreams(): void {
    for (const call of openStreams) call.cancel(stoppingError());
  }

  async function close(graceMs: number): Promise<void> {
    stopping = true;
    const closed = Promise.all(listeners.map(stopListening));
    endStreams();
    for (const socket of undecided) socket.destroy();
    grpc.drain(graceMs);
    // A connection becomes idle when its last answer is out.
    const idle = setInterval(() => server.closeIdleConnections(), 20);
    const deadline = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, graceMs);
    server.closeIdleConnections();
    await closed;
    clearInterval(idle);
    clearTimeout(deadline);
    await app.close();
  }

  return { listen, endStreams, close };
}

const notHere = new ConnectError('this port speaks gRPC only; REST, Connect and the page are on the other one', Code.InvalidArgument);

/** What a stream is told when the coordinator stops: it may be opened again, here or elsewhere. */
function stoppingError(): ConnectError {
  const detail = { desc: RetryInfoSchema, value: { retryDelay: { seconds: 1n, nanos: 0 } } };
  return new ConnectError('the coordinator is stopping', Code.Unavailable, undefined, [detail]);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
