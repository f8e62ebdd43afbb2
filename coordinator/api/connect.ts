/**
 * The Connect protocol. Unary calls by POST, the ones that are made all the time, are translated here, at a fraction of the library's cost;
 * the library does the rest: streams, unary calls by GET, and gRPC-Web.
 *
 * Invariants
 * 1. The path says what is called, the content type how it is encoded; both ways of translation answer alike.
 * 2. JSON from a client that is newer than this server is read: unknown fields are dropped.
 */
import type { DescMethodServerStreaming, DescMethodUnary, Message } from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createConnectRouter, type HandlerContext } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Call, callerGone } from './call.ts';
import { binaryOptions, decodeBinary, decodeJson, encodeBinary, encodeJson, lenientJsonOptions, parseJson } from './codec.ts';
import { parseConnectTimeout, unaryDeadlineMs } from './deadline.ts';
import type { Endpoint } from './endpoint.ts';
import { HttpError, malformed } from './errors.ts';
import { headerOf } from './http-headers.ts';
import { mediaType, unpacked } from './rest-body.ts';

const jsonType = 'application/json';
const binaryType = 'application/proto';

/** Responses of the library from this size on are compressed for clients that ask for it: below, it costs more than it saves. */
const compressMinBytes = 64 * 1024;

/** Registers a route for each method, at `/package.Service/Method`. */
export function registerConnect(app: FastifyInstance, endpoints: readonly Endpoint[]): void {
  app.register((scope, _options, done) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser([jsonType, binaryType], { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    // What the library reads itself stays a stream.
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null, undefined));
    for (const endpoint of endpoints) {
      const { method, streams } = endpoint;
      const byGet = !streams && method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
      scope.route({
        method: byGet ? ['GET', 'POST'] : 'POST',
        url: `/${endpoint.name}`,
        bodyLimit: endpoint.requestBytes,
        exposeHeadRoute: false,
        handler: connectHandler(endpoint),
      });
    }
    done();
  });
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;

function connectHandler(endpoint: Endpoint): Handler {
  const library = libraryHandler(endpoint);
  return (request, reply) => {
    if (request.method === 'GET') return serveByLibrary(library, request, reply);
    const type = mediaType(request.headers['content-type']);
    if (!endpoint.streams && (type === jsonType || type === binaryType)) return serveUnary(endpoint, type === jsonType, request, reply);
    const right = endpoint.streams ? /^application\/(connect\+(json|proto)|grpc-web.*)$/ : /^application\/grpc-web/;
    if (right.test(type ?? '')) return serveByLibrary(library, request, reply);
    const types = endpoint.streams ? 'application/connect+json or application/connect+proto' : `${jsonType} or ${binaryType}`;
    throw new HttpError(415, Code.InvalidArgument, `cannot read the content type ${type}; send ${types}`, 'UNSUPPORTED_MEDIA_TYPE');
  };
}

async function serveUnary(endpoint: Endpoint, json: boolean, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const header = (name: string) => headerOf(request.headers, name);
  const version = header('connect-protocol-version');
  if (version !== null && version !== '1')
    throw malformed(`Connect-Protocol-Version is ${JSON.stringify(version)}; this server speaks "1"`);
  const call = new Call('connect', header, unaryDeadlineMs(parseConnectTimeout(header('connect-timeout-ms'))));
  reply.raw.once('close', () => call.cancel(callerGone()));

  const { input, output } = endpoint;
  const read = json
    ? (bytes: Buffer) => decodeJson(input, bytes.length === 0 ? {} : parseJson(bytes), 'drop')
    : (bytes: Buffer) => decodeBinary(input, bytes);
  const decode = () => {
    const bytes = unpacked((request.body as Buffer | undefined) ?? Buffer.alloc(0), request.headers, endpoint.requestBytes);
    return bytes instanceof Promise ? bytes.then(read) : read(bytes);
  };
  const encode = json
    ? (response: Message) => JSON.stringify(encodeJson(output, response))
    : (response: Message) => Buffer.from(encodeBinary(output, response));
  const body = await endpoint.unary<string | Buffer>(call, decode, encode);
  return reply.header('content-type', json ? jsonType : binaryType).send(body);
}

async function serveByLibrary(handler: UniversalHandler, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  reply.hijack();
  const { raw } = reply;
  try {
    const response = await handler(universalRequestFromNodeRequest(request.raw, raw, undefined, undefined));
    for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) raw.setHeader(name, value);
    await universalResponseToNodeResponse(response, raw);
  } catch (cause) {
    // The endpoint has told and counted what there was to tell; what is left is a connection that broke.
    if (ConnectError.from(cause).code !== Code.Aborted) request.log.debug({ err: cause }, 'a Connect call broke off');
    raw.destroy();
  }
  return reply;
}

function libraryHandler(endpoint: Endpoint): UniversalHandler {
  const router = createConnectRouter({
    grpc: false,
    readMaxBytes: endpoint.requestBytes,
    compressMinBytes,
    binaryOptions,
    jsonOptions: lenientJsonOptions,
  });
  if (endpoint.streams) {
    const implementation = (request: Message, context: HandlerContext) =>
      endpoint.stream(
        callOf(context, (askedMs) => askedMs),
        () => request,
        (item) => item,
      );
    router.rpc(endpoint.method as DescMethodServerStreaming, implementation);
  } else {
    const implementation = (request: Message, context: HandlerContext) =>
      endpoint.unary(
        callOf(context, unaryDeadlineMs),
        () => request,
        (response) => response,
      );
    router.rpc(endpoint.method as DescMethodUnary, implementation);
  }
  return router.handlers[0];
}

function callOf(context: HandlerContext, deadline: (askedMs: number | null) => number | null): Call {
  const call = new Call('connect', (name) => context.requestHeader.get(name), deadline(context.timeoutMs() ?? null));
  const { signal } = context;
  const onAbort = () => call.cancel(ConnectError.from(signal.reason ?? callerGone(), Code.Canceled));
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  return call;
}
