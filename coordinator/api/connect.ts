/**
 * The Connect protocol, and gRPC-Web with it, by the library's plugin for fastify.
 *
 * Invariants
 * 1. A unary request is received and read here, within the limits and with the errors of all faces; the library is handed an empty one, and
 *    the service the real one. (The library takes the limit on bytes only, and says `internal` of bytes that are no message.)
 * 2. JSON from a client that is newer than this server is read: unknown fields are dropped.
 */
import type { IncomingMessage } from 'node:http';
import type { DescMethodServerStreaming, DescMethodUnary, Message } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter, createContextKey, createContextValues, type HandlerContext } from '@connectrpc/connect';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Call, callerGone } from './call.ts';
import { binaryOptions, decodeBinary, decodeJson, lenientJsonOptions, parseJson } from './codec.ts';
import { unaryDeadlineMs } from './deadline.ts';
import type { Endpoint } from './endpoint.ts';
import { errorHeaders, HttpError, tooLarge } from './errors.ts';
import { mediaType } from './rest-body.ts';
import { unpacked } from './unpack.ts';

const jsonType = 'application/json';
const binaryType = 'application/proto';

/** Answers from this size on are compressed for clients that ask for it: below, it costs more than it saves. */
const compressMinBytes = 64 * 1024;

/** The request that was read before the library was called. */
const receivedKey = createContextKey<Message | null>(null);
/** An empty message: in JSON and in binary form. */
const emptyRequests = { json: Buffer.from('{}'), binary: Buffer.alloc(0) } as const;

/** Registers a route for each method, at `/package.Service/Method`. */
export function registerConnect(app: FastifyInstance, endpoints: readonly Endpoint[]): void {
  const byPath = new Map(endpoints.map((endpoint) => [`/${endpoint.name}`, endpoint]));
  app.register((scope, _options, done) => {
    const received = new WeakMap<FastifyRequest, Message>();
    scope.addHook('preHandler', async (request) => {
      const endpoint = byPath.get(request.routeOptions.url ?? '');
      if (endpoint === undefined || request.method !== 'POST') return;
      const message = await receive(endpoint, request);
      if (message === null) return;
      received.set(request, message);
      request.body = mediaType(request.headers['content-type']) === jsonType ? emptyRequests.json : emptyRequests.binary;
    });
    scope.register(fastifyConnectPlugin, {
      routes: (router) => {
        for (const endpoint of endpoints) addRoute(router, endpoint);
      },
      grpc: false,
      compressMinBytes,
      binaryOptions,
      jsonOptions: lenientJsonOptions,
      contextValues: (request) => createContextValues().set(receivedKey, received.get(request) ?? null),
    });
    done();
  });
}

/** The request of a unary call; null for a stream, which the library reads as such. Throws for a content type that nobody reads. */
async function receive(endpoint: Endpoint, { raw, headers }: FastifyRequest): Promise<Message | null> {
  const type = mediaType(headers['content-type']);
  if (!endpoint.streams && (type === jsonType || type === binaryType)) {
    const bytes = await unpacked(await readWhole(raw, endpoint.requestBytes), headers, endpoint.requestBytes);
    if (type === binaryType) return decodeBinary(endpoint.input, bytes);
    return decodeJson(endpoint.input, bytes.length === 0 ? {} : parseJson(endpoint.input, bytes), 'drop');
  }
  if ((endpoint.streams ? /^application\/(connect\+(json|proto)|grpc-web.*)$/ : /^application\/grpc-web/).test(type ?? '')) return null;
  const types = endpoint.streams ? 'application/connect+json or application/connect+proto' : `${jsonType} or ${binaryType}`;
  throw new HttpError(415, Code.InvalidArgument, `cannot read the content type ${type}; send ${types}`, 'UNSUPPORTED_MEDIA_TYPE');
}

async function readWhole(raw: IncomingMessage, maxBytes: number): Promise<Buffer> {
  if (Number(raw.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of raw as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, size);
}

function addRoute(router: ConnectRouter, endpoint: Endpoint): void {
  const options = { readMaxBytes: endpoint.requestBytes };
  if (endpoint.streams)
    router.rpc(endpoint.method as DescMethodServerStreaming, (request, context) => stream(endpoint, request, context), options);
  else router.rpc(endpoint.method as DescMethodUnary, (request, context) => unary(endpoint, request, context), options);
}

async function unary(endpoint: Endpoint, request: Message, context: HandlerContext): Promise<Message> {
  const call = beginCall(context, unaryDeadlineMs);
  try {
    return await endpoint.unary(
      call,
      () => context.values.get(receivedKey) ?? request,
      (response) => response,
    );
  } catch (error) {
    throw withHeaders(ConnectError.from(error));
  }
}

async function* stream(endpoint: Endpoint, request: Message, context: HandlerContext): AsyncGenerator<Message, void> {
  const call = beginCall(context, (askedMs) => askedMs);
  try {
    yield* endpoint.stream(
      call,
      () => request,
      (item) => item,
    );
  } catch (error) {
    throw withHeaders(ConnectError.from(error));
  }
}

function beginCall(context: HandlerContext, deadline: (askedMs: number | null) => number | null): Call {
  const call = new Call('connect', (name) => context.requestHeader.get(name), deadline(context.timeoutMs() ?? null));
  const { signal } = context;
  const onAbort = () => call.cancel(ConnectError.from(signal.reason ?? callerGone(), Code.Canceled));
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  return call;
}

function withHeaders(error: ConnectError): ConnectError {
  for (const [name, value] of Object.entries(errorHeaders(error))) error.metadata.set(name, value);
  return error;
}
