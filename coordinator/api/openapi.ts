/** The OpenAPI 3.1 document of the REST face, from the same annotations that it serves by, in the words of the contracts' comments. Pure. */
import type { DescField } from '@bufbuild/protobuf';
import { comments } from '@workflow-orchestrator/proto/comments';
import { described, fieldComment, fieldSchema, messageRef, messageSchemas, type Schema } from './openapi-schema.ts';
import type { Binding } from './rest-binding.ts';
import { queryFields } from './rest-query.ts';

/** What the document tells about the server. */
export interface OpenApiInfo {
  readonly version: string;
  /** Whether calls need the bearer token. */
  readonly secured: boolean;
}

/** The document. */
export function openApiDocument(bindings: readonly Binding[], info: OpenApiInfo): object {
  const paths: Record<string, Record<string, Schema>> = {};
  for (const binding of bindings) {
    paths[binding.path] ??= {};
    paths[binding.path][binding.verb.toLowerCase()] = operation(binding, operationId(binding, bindings));
  }
  const roots = bindings.flatMap(({ endpoint, body, responseField }) => [
    responseField?.message ?? endpoint.output,
    ...(body.kind === 'whole' ? [endpoint.input] : []),
  ]);
  const services = [...new Set(bindings.map(({ endpoint }) => endpoint.method.parent))];
  return {
    openapi: '3.1.0',
    info: {
      title: 'Workflow Orchestrator',
      version: info.version,
      description: 'Submit, steer and follow workflows. The same calls are served as Connect and gRPC on the same port.',
    },
    ...(info.secured ? { security: [{ token: [] }] } : {}),
    tags: services.map(({ name, typeName }) => ({ name, description: comments[typeName] ?? '' })),
    paths,
    components: {
      schemas: { ...messageSchemas(roots), ConnectError: errorSchema },
      responses: {
        Error: {
          description: 'The call failed; `code` says how, for programs.',
          content: { 'application/json': { schema: { $ref: '#/components/schemas/ConnectError' } } },
        },
      },
      parameters: {
        RequestTimeout: {
          name: 'Request-Timeout',
          in: 'header',
          description: 'Time to answer in, such as `500ms` or `5s`.',
          schema: { type: 'string', pattern: '^\\d{1,9}(ms|s|m)$' },
        },
        IdempotencyKey: {
          name: 'Idempotency-Key',
          in: 'header',
          description: 'The field `idempotencyKey` as a header.',
          schema: { type: 'string', maxLength: 255 },
        },
        LastEventId: {
          name: 'Last-Event-ID',
          in: 'header',
          description: 'Id of the last event that was seen: the stream goes on after it.',
          schema: { type: 'string', pattern: '^\\d+$' },
        },
      },
      ...(info.secured ? { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } } : {}),
    },
  };
}

/** `GetWorkflow`; a further binding of the same method is numbered from 2 on. */
function operationId(binding: Binding, bindings: readonly Binding[]): string {
  const { method } = binding.endpoint;
  const place = bindings.filter((one) => one.endpoint === binding.endpoint).indexOf(binding);
  return place === 0 ? method.name : `${method.name}${place + 1}`;
}

function operation(binding: Binding, id: string): Schema {
  const { endpoint, body } = binding;
  const comment = comments[`${endpoint.method.parent.typeName}.${endpoint.method.name}`] ?? '';
  return {
    operationId: id,
    tags: [endpoint.method.parent.name],
    summary: /^.*?[.!?](?=\s|$)/.exec(comment)?.[0] ?? comment,
    description: comment,
    parameters: parameters(binding),
    ...(body.kind === 'none' ? {} : { requestBody: requestBody(binding) }),
    responses: { '200': answer(binding), default: { $ref: '#/components/responses/Error' } },
  };
}

function parameters(binding: Binding): Schema[] {
  const { endpoint, pathFields } = binding;
  const has = (name: string) => endpoint.input.fields.some((field) => field.name === name);
  return [
    ...pathFields.map((field) => ({ ...parameter(field, 'path'), required: true })),
    ...queryFields(binding).map((field) => ({ ...parameter(field, 'query'), ...queryStyle(field) })),
    ...(has('idempotency_key') ? [{ $ref: '#/components/parameters/IdempotencyKey' }] : []),
    ...(endpoint.streams && has('after_seq') ? [{ $ref: '#/components/parameters/LastEventId' }] : []),
    ...(endpoint.streams ? [] : [{ $ref: '#/components/parameters/RequestTimeout' }]),
  ];
}

function parameter(field: DescField, place: 'path' | 'query'): Schema {
  return described({ name: field.name, in: place, schema: fieldSchema(field) }, fieldComment(field));
}

/** How a field that is no plain value is written in a query. */
function queryStyle(field: DescField): Schema {
  if (field.fieldKind === 'map') return { style: 'deepObject', explode: true };
  return field.fieldKind === 'message' && fieldSchema(field).type === 'object'
    ? { schema: { type: 'string', contentMediaType: 'application/json' } }
    : {};
}

function requestBody({ endpoint, body }: Binding): Schema {
  if (body.kind === 'whole') return { content: { 'application/json': { schema: messageRef(endpoint.input) } } };
  const field = body.kind === 'text' ? body.field : null;
  const schema = { type: 'string' };
  return {
    required: true,
    ...(field === null ? {} : { description: fieldComment(field) }),
    content: { 'application/yaml': { schema }, 'text/plain': { schema }, 'application/json': { schema: { type: 'object' } } },
  };
}

function answer({ endpoint, responseField }: Binding): Schema {
  if (endpoint.streams) {
    const item = messageRef(endpoint.output);
    const description = 'Server-Sent Events whose data is one JSON message each, the last one named `end`; JSON lines when asked for.';
    return { description, content: { 'text/event-stream': { schema: { type: 'string' } }, 'application/x-ndjson': { schema: item } } };
  }
  const message = responseField?.message ?? endpoint.output;
  const description = responseField === null ? (comments[message.typeName] ?? 'Done.') : fieldComment(responseField);
  return { description, content: { 'application/json': { schema: messageRef(message) } } };
}

const errorSchema: Schema = {
  type: 'object',
  description: 'Why a call failed, in the error JSON of the Connect protocol.',
  required: ['code'],
  properties: {
    code: {
      type: 'string',
      enum: [
        'canceled',
        'unknown',
        'invalid_argument',
        'deadline_exceeded',
        'not_found',
        'already_exists',
        'permission_denied',
        'resource_exhausted',
        'failed_precondition',
        'aborted',
        'out_of_range',
        'unimplemented',
        'internal',
        'unavailable',
        'data_loss',
        'unauthenticated',
      ],
    },
    message: { type: 'string', description: 'For people.' },
    details: {
      type: 'array',
      items: {
        type: 'object',
        required: ['type', 'value'],
        properties: {
          type: { type: 'string', description: 'Full name of the message, such as `workflow.v1.DefinitionProblems`.' },
          value: { type: 'string', description: 'The message in binary form, base64.' },
          debug: { description: 'The same as JSON.' },
        },
      },
    },
  },
};
