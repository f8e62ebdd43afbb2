/**
 * REST: the annotated methods as plain HTTP with JSON.
 *
 * Invariants
 * 1. A request is put together from path, query, body and headers as its annotation says, then goes the way of every other face.
 * 2. What the annotation does not name is refused with the name that was probably meant, never dropped.
 * 3. Server streams answer with Server-Sent Events or JSON lines; a cursor of the stream is the event id, so that `Last-Event-ID` resumes.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { DescField, DescMessage, JsonObject, JsonValue, Message } from '@bufbuild/protobuf';
import type { FastifyInstance, FastifyReply, FastifyRequest, preParsingHookHandler } from 'fastify';
import { Call } from './call.ts';
import { decodeJson, encodeJson, encodeWholeJson, parseJson, utf8 } from './codec.ts';
import { parseRequestTimeout, unaryDeadlineMs } from './deadline.ts';
import { fieldError, malformed, type Violation } from './errors.ts';
import { headerOf } from './http-headers.ts';
import type { Binding, BodyTarget } from './rest-binding.ts';
import { contentTypeError } from './rest-body.ts';
import { createReadQuery, type Query, queryFields } from './rest-query.ts';
import { sendStream, streamForm } from './rest-stream.ts';
import { unpacked } from './unpack.ts';

const jsonType = 'application/json; charset=utf-8';

/** Registers a route for each binding. */
export function registerRest(app: FastifyInstance, bindings: readonly Binding[]): void {
  app.register((scope, _options, done) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    for (const binding of bindings) {
      const { endpoint, verb, path } = binding;
      scope.route({
        method: verb,
        url: path.replaceAll(/\{(\w+)\}/g, ':$1'),
        bodyLimit: endpoint.requestBytes,
        exposeHeadRoute: !endpoint.streams,
        // Before the body is received: a type that nobody reads is not worth it.
        ...(binding.body.kind === 'none' ? {} : { preParsing: contentTypeGate(binding.body) }),
        handler: endpoint.streams ? streamHandler(binding) : unaryHandler(binding),
      });
    }
    done();
  });
}

function contentTypeGate(target: BodyTarget): preParsingHookHandler {
  return (request, _reply, payload, done) => done(contentTypeError(target, request.headers['content-type']), payload);
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;

function unaryHandler(binding: Binding): Handler {
  const { endpoint } = binding;
  const read = createReadRequest(binding);
  const encode = createEncodeAnswer(binding);
  return async (request, reply) => {
    const call = beginCall(request, reply, (askedMs) => unaryDeadlineMs(askedMs));
    const body = await endpoint.unary(call, () => read(request), encode);
    return reply.header('content-type', jsonType).send(body);
  };
}

function streamHandler(binding: Binding): Handler {
  const { endpoint } = binding;
  const read = createReadRequest(binding);
  const cursor = cursorOf(endpoint.input, endpoint.output);
  return async (request, reply) => {
    const form = streamForm(request.headers.accept);
    const call = beginCall(request, reply, (askedMs) => askedMs);
    const encode = (item: Message) => form.item(encodeJson(endpoint.output, item), cursor?.read(item) ?? null);
    const items = endpoint.stream(call, () => read(request), encode);
    const begin = () => {
      reply.hijack();
      return { ...headersOf(reply), 'content-type': form.contentType, 'cache-control': 'no-store', 'x-accel-buffering': 'no' };
    };
    if (await sendStream(reply.raw, call, items, form, begin)) return reply;
    // A browser's EventSource comes back for ever after an end; only 204 tells it that there is nothing more.
    if (cursor !== null && request.headers['last-event-id'] !== undefined) return reply.code(204).send();
    reply.raw.writeHead(200, begin());
    reply.raw.end(form.end(null));
    return reply;
  };
}

function beginCall(request: FastifyRequest, reply: FastifyReply, deadline: (askedMs: number | null) => number | null): Call {
  const header = (name: string) => headerOf(request.headers, name);
  const call = new Call('rest', header, deadline(parseRequestTimeout(header('request-timeout'))));
  reply.raw.once('close', () => call.abandon());
  return call;
}

/** Puts the request message together. */
function createReadRequest(binding: Binding): (request: FastifyRequest) => Message | Promise<Message> {
  const { endpoint, body, pathFields } = binding;
  const { input } = endpoint;
  const readQuery = createReadQuery(queryFields(binding));
  const idempotencyKey = input.fields.find((field) => field.name === 'idempotency_key') ?? null;
  const cursor = endpoint.streams ? cursorOf(input, endpoint.output) : null;

  const assemble = (request: FastifyRequest, json: JsonObject) => {
    for (const field of pathFields) json[field.jsonName] = (request.params as Record<string, string>)[field.name];
    const violations = readQuery(request.query as Query, json);
    if (idempotencyKey !== null) violations.push(...readIdempotencyKey(request.headers, idempotencyKey, json));
    if (cursor !== null) violations.push(...readLastEventId(request.headers, cursor.field, json));
    if (violations.length > 0) throw fieldError(violations);
    return decodeJson(input, json, 'refuse');
  };

  if (body.kind === 'none') {
    return (request) => {
      if (!saysNothing(request.body as Buffer | undefined)) throw malformed('this call takes no body');
      return assemble(request, {});
    };
  }
  const fromBytes =
    body.kind === 'text' ? (bytes: Buffer) => ({ [body.field.jsonName]: utf8(bytes) }) : (bytes: Buffer) => objectFrom(input, bytes);
  return (request) => {
    const bytes = unpacked((request.body as Buffer | undefined) ?? Buffer.alloc(0), request.headers, endpoint.requestBytes);
    return bytes instanceof Promise ? bytes.then((done) => assemble(request, fromBytes(done))) : assemble(request, fromBytes(bytes));
  };
}

/** Whether a body is missing, empty or an empty JSON object, which some clients send where none is wanted. */
function saysNothing(body: Buffer | undefined): boolean {
  return body === undefined || body.length === 0 || (body.length < 64 && /^\s*(\{\s*\}|null)?\s*$/.test(body.toString('latin1')));
}

/** A body that is a JSON object; an empty one is an empty object. */
function objectFrom(schema: DescMessage, bytes: Buffer): JsonObject {
  if (bytes.length === 0) return {};
  const json = parseJson(schema, bytes);
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw malformed('the body is not a JSON object');
  return json;
}

function readIdempotencyKey(headers: IncomingHttpHeaders, field: DescField, json: JsonObject): Violation[] {
  const key = headerOf(headers, 'idempotency-key');
  if (key === null) return [];
  const given = json[field.jsonName] ?? json[field.name];
  if (given !== undefined && given !== key)
    return [{ field: field.name, description: 'differs from the header Idempotency-Key', rule: 'header' }];
  json[field.jsonName] = key;
  return [];
}

/** The header wins over the query: an EventSource that comes back repeats its first URL. */
function readLastEventId(headers: IncomingHttpHeaders, field: DescField, json: JsonObject): Violation[] {
  const id = headerOf(headers, 'last-event-id');
  if (id === null || id === '') return [];
  if (!/^\d{1,20}$/.test(id))
    return [{ field: 'Last-Event-ID', description: `${JSON.stringify(id)} is not the id of an event`, rule: 'header' }];
  json[field.jsonName] = id;
  return [];
}

/** Where a stream can be resumed: the request's field `after_seq`, and the `seq` of an item's `event`. */
interface Cursor {
  readonly field: DescField;
  read(item: Message): string | null;
}

/** The cursor of a stream; null when it has none. */
function cursorOf(input: DescMessage, output: DescMessage): Cursor | null {
  const field = input.fields.find((one) => one.name === 'after_seq');
  const event = output.fields.find((one) => one.name === 'event');
  if (field === undefined || event?.oneof === undefined || event.message?.fields.some((one) => one.name === 'seq') !== true) return null;
  const oneof = event.oneof.localName;
  return {
    field,
    read(item) {
      const choice = (item as unknown as Record<string, { case?: string; value?: { seq: bigint } }>)[oneof];
      return choice.case === event.localName ? String(choice.value?.seq) : null;
    },
  };
}

function createEncodeAnswer(binding: Binding): (response: Message) => string {
  const { endpoint, responseField } = binding;
  const schema = responseField?.message;
  if (responseField === null || schema === undefined) return (response) => JSON.stringify(encodeWholeJson(endpoint.output, response));
  return (response) => {
    const part = (response as unknown as Record<string, Message | undefined>)[responseField.localName];
    const json: JsonValue = part === undefined ? {} : encodeWholeJson(schema, part);
    return JSON.stringify(json);
  };
}

/** Headers that hooks have set so far, for an answer that does not go through `send`. */
function headersOf(reply: FastifyReply): Record<string, string | number | string[]> {
  return Object.fromEntries(
    Object.entries(reply.getHeaders()).filter((entry): entry is [string, string | number | string[]] => entry[1] !== undefined),
  );
}
