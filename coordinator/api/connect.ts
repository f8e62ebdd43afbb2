/**
 * The Connect protocol, and gRPC-Web with it.
 *
 * Invariants
 * 1. A unary call by POST is received, read and answered here, within the limits and with the errors of all faces. Streams, GET and gRPC-Web go by the library's plugin
 *    for fastify: its way of a unary call costs five times that of the rest.
 * 2. JSON from a client that is newer than this server is read: unknown fields are dropped.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import type { DescMethodServerStreaming, DescMethodUnary, Message } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from '@connectrpc/connect';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Call, callerGone } from './call.ts';
import { binaryOptions, decodeBinary, decodeJson, encodeBinary, encodeJson, lenientJsonOptions, parseJson } from './codec.ts';
import { parseConnectTimeout, unaryDeadlineMs } from './deadline.ts';
import type { Endpoint } from './endpoint.ts';
import { errorHeaders, HttpError, tooLarge } from './errors.ts';
import { headerOf } from './http-headers.ts';
import { mediaType } from './rest-body.ts';
import { unpacked } from './unpack.ts';

const jsonType = 'application/json';
const binaryType = 'application/proto';
const timeoutHeader = 'connect-timeout-ms';
const gzip = promisify(zlib.gzip);

/** Answers from this size on are compressed for clients that ask for it: below, it costs more than it saves. */
const compressMinBytes = 64 * 1024;

/** Registers a route for each method, at `/package.Service/Method`. */
export function registerConnect(app: FastifyInstance, endpoints: readonly Endpoint[]): void {
  const byPath = new Map(endpoints.map((endpoint) => [`/${endpoint.name}`, endpoint]));
  app.register((scope, _options, done) => {
    scope.addHook('preHandler', async (request, reply) => {
      const endpoint = byPath.get(request.routeOptions.url ?? '');
      if (endpoint === undefined || request.method !== 'POST') return;
      const form = formOf(endpoint, request.headers);
      return form === null ? undefined : answer(endpoint, form, request, reply);
    });
    scope.register(fastifyConnectPlugin, {
      routes: (router) => {
        for (const endpoint of endpoints) addRoute(router, endpoint);
      },
      grpc: false,
      compressMinBytes,
      binaryOptions,
      jsonOptions: lenientJsonOptions,
    });
    done();
  });
}

/** How a unary call is written; null for what the library reads. Throws for a content type that nobody reads. */
function formOf(endpoint: Endpoint, headers: IncomingHttpHeaders): Form | null {
  const type = mediaType(headers['content-type']);
  if (!endpoint.streams && (type === jsonType || type === binaryType)) return forms[type];
  if ((endpoint.streams ? /^application\/(connect\+(json|proto)|grpc-web.*)$/ : /^application\/grpc-web/).test(type ?? '')) return null;
  const types = endpoint.streams ? 'application/connect+json or application/connect+proto' : `${jsonType} or ${binaryType}`;
  throw new HttpError(415, Code.InvalidArgument, `cannot read the content type ${type}; send ${types}`, 'UNSUPPORTED_MEDIA_TYPE');
}

/** Requests and responses in one of the two forms of a unary call. */
interface Form {
  readonly contentType: string;
  read(endpoint: Endpoint, bytes: Buffer): Message;
  write(endpoint: Endpoint, response: Message): Buffer;
}

const forms: Readonly<Record<typeof jsonType | typeof binaryType, Form>> = {
  [jsonType]: {
    contentType: jsonType,
    read: ({ input }, bytes) => decodeJson(input, bytes.length === 0 ? {} : parseJson(input, bytes), 'drop'),
    write: ({ output }, response) => Buffer.from(JSON.stringify(encodeJson(output, response))),
  },
  [binaryType]: {
    contentType: binaryType,
    read: ({ input }, bytes) => decodeBinary(input, bytes),
    write: ({ output }, response) => {
      const { buffer, byteOffset, byteLength } = encodeBinary(output, response);
      return Buffer.from(buffer, byteOffset, byteLength);
    },
  },
};

/** Answers a unary call. What it throws is answered as on every face. */
async function answer(endpoint: Endpoint, form: Form, { raw, headers }: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const call = new Call(
    'connect',
    (name) => headerOf(headers, name),
    unaryDeadlineMs(parseConnectTimeout(headerOf(headers, timeoutHeader))),
  );
  reply.raw.once('close', () => call.abandon());
  const receive = async () =>
    form.read(endpoint, await unpacked(await readWhole(raw, endpoint.requestBytes), headers, endpoint.requestBytes));
  const body = await endpoint.unary(call, receive, (response) => form.write(endpoint, response));
  reply.header('content-type', form.contentType);
  if (body.length < compressMinBytes || !/\bgzip\b/.test(headerOf(headers, 'accept-encoding') ?? '')) return reply.send(body);
  return reply.header('content-encoding', 'gzip').send(await gzip(body));
}

async function readWhole(raw: IncomingMessage, maxBytes: number): Promise<Buffer> {
  if (Number(raw.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let size = 0;
  // By events: an async iterator costs as much as the rest of a small call.
  await new Promise<void>((resolve, reject) => {
    raw.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) reject(tooLarge(maxBytes));
      else chunks.push(chunk);
    });
    raw.on('end', resolve);
    raw.on('error', reject);
  });
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, size);
}

function addRoute(router: ConnectRouter, endpoint: Endpoint): void {
  const options = { readMaxBytes: endpoint.requestBytes };
  if (endpoint.streams)
    router.rpc(endpoint.method as DescMethodServerStreaming, (request, context) => stream(endpoint, request, context), options);
  else router.rpc(endpoint.method as DescMethodUnary, (request, context) => unary(endpoint, request, context), options);
}

/** What comes by GET or gRPC-Web. */
async function unary(endpoint: Endpoint, request: Message, context: HandlerContext): Promise<Message> {
  const call = beginCall(context, unaryDeadlineMs);
  try {
    return await endpoint.unary(
      call,
      () => request,
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
