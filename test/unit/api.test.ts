/** The pure parts of the faces: framing, deadlines, errors, origins, counting, bindings. */
import { create, type DescField, fromBinary, type JsonObject, type JsonValue, toBinary } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { AnySchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  BatchSubmitWorkflowsRequestSchema,
  DefinitionProblemsSchema,
  ErrorInfoSchema,
  GetDefinitionRequestSchema,
  GetWorkflowRequestSchema,
  JobSchema,
  ListWorkflowsRequestSchema,
  RetryInfoSchema,
  SubmitWorkflowRequestSchema,
  SystemService,
  WorkflowService,
} from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import fc from 'fast-check';
import { Registry } from 'prom-client';
import t from 'tap';
import { createAuthenticate } from '../../coordinator/api/auth.ts';
import { Call } from '../../coordinator/api/call.ts';
import { decodeBinary, messageDepth } from '../../coordinator/api/codec.ts';
import { mount } from '../../coordinator/api/context.ts';
import { parseRequestTimeout, unaryDeadlineMs } from '../../coordinator/api/deadline.ts';
import { createEndpoints } from '../../coordinator/api/endpoint.ts';
import { cutUtf8, errorHeaders, errorJson, HttpError, httpStatus, presentable } from '../../coordinator/api/errors.ts';
import { grpcStatus } from '../../coordinator/api/grpc-status.ts';
import { createApiMetrics } from '../../coordinator/api/metrics.ts';
import { binaryNodes, jsonNodes } from '../../coordinator/api/node-count.ts';
import { originProblem } from '../../coordinator/api/origin.ts';
import { bindingsOf } from '../../coordinator/api/rest-binding.ts';
import { createReadQuery } from '../../coordinator/api/rest-query.ts';
import { eventStream, jsonLines, streamForm } from '../../coordinator/api/rest-stream.ts';
import { badDefinition } from '../../coordinator/api/services/failures.ts';
import { createValidate } from '../../coordinator/api/validate.ts';

const silent = { error() {} };

t.test('a gRPC status with its details fits into trailers', async (t) => {
  const problems = Array.from({ length: 500 }, (_, i) => ({
    line: i + 1,
    column: 1,
    path: `workflow.jobs[${i}]`,
    rule: 'unknown-key',
    message: 'ü'.repeat(40),
  }));
  const error = new ConnectError('é'.repeat(5_000), Code.InvalidArgument, undefined, [
    { desc: DefinitionProblemsSchema, value: { problems } },
    { desc: ErrorInfoSchema, value: { reason: 'BAD_DEFINITION' } },
    { desc: RetryInfoSchema, value: { retryDelay: { seconds: 2n, nanos: 1_000_000 } } },
  ]);
  const { code, message, trailers } = grpcStatus(error);
  const status = trailers['grpc-status-details-bin'] as Buffer;
  t.equal(code, 3);
  t.equal(trailers['grpc-retry-pushback-ms'], '2001');
  const size = encodeURI(message).length + status.toString('base64').length;
  t.ok(size < 7_800, `${size} bytes`);

  const reader = new BinaryReader(status);
  const details = new Map<string, Uint8Array>();
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 3) {
      const any = fromBinary(AnySchema, reader.bytes());
      details.set(any.typeUrl, any.value);
    } else reader.skip(wireType, field);
  }
  const { problems: told } = fromBinary(DefinitionProblemsSchema, details.get('type.googleapis.com/workflow.v1.DefinitionProblems')!);
  t.ok(told.length > 10 && told.length < 500, `${told.length} problems`);
  t.equal(told.at(-1)?.path, `workflow.jobs[${told.length - 1}]`, 'the first ones, whole');
  t.strictSame(grpcStatus(new ConnectError('no', Code.NotFound)), { code: 5, message: 'no', trailers: {} });
  t.equal(grpcStatus(new ConnectError('half \ud800', Code.NotFound)).message, 'half \ufffd', 'what is no text is made one');
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 3_000 }),
      (text) => encodeURI(grpcStatus(new ConnectError(text)).message).length <= 1_500,
    ),
  );
});

t.test('errors over HTTP', async (t) => {
  const statuses = {
    Canceled: 499,
    InvalidArgument: 400,
    DeadlineExceeded: 504,
    NotFound: 404,
    AlreadyExists: 409,
    PermissionDenied: 403,
    ResourceExhausted: 429,
  } as const;
  for (const [name, status] of Object.entries(statuses)) t.equal(httpStatus(new ConnectError('', Code[name as keyof typeof Code])), status);
  t.equal(httpStatus(new HttpError(413, Code.ResourceExhausted, 'x', 'LIMIT_EXCEEDED')), 413, 'a better status wins');
  const retry = new ConnectError('later', Code.Unavailable, undefined, [
    { desc: RetryInfoSchema, value: { retryDelay: { seconds: 0n, nanos: 50_000_000 } } },
  ]);
  t.strictSame(errorHeaders(retry), { 'retry-after': '1' }, 'at least a second');
  t.match(errorJson(retry), {
    code: 'unavailable',
    message: 'later',
    details: [{ type: 'workflow.v1.RetryInfo', debug: { retryDelay: '0.050s' } }],
  });
  const relayed = new ConnectError('from elsewhere', Code.NotFound);
  relayed.details.push({ type: 'workflow.v1.ResourceInfo', value: new Uint8Array([1]) });
  t.match(
    errorJson(relayed),
    { details: [{ type: 'workflow.v1.ResourceInfo', value: 'AQ' }] },
    'details of another coordinator pass through',
  );
  const long = presentable(new ConnectError('ä'.repeat(9_999), Code.Aborted), silent, {});
  t.equal(Buffer.byteLength(long.rawMessage), limits.errorMessageBytes - 1, 'cut between characters');
  t.equal(long.code, Code.Aborted);
  t.equal(cutUtf8('abc', 3), 'abc');
});

t.test('what nobody expected is logged under the id that the caller is told', async (t) => {
  const lines: { fields: { errorId?: string; err?: unknown }; message: string }[] = [];
  const error = presentable(
    new Error('password=hunter2'),
    { error: (fields, message) => lines.push({ fields, message }) },
    { method: 'm' },
  );
  t.equal(error.code, Code.Internal);
  t.notMatch(JSON.stringify(errorJson(error)), /hunter2/);
  t.match(error.rawMessage, lines[0].fields.errorId);
  t.match(lines[0], { fields: { method: 'm', err: { message: 'password=hunter2' } } });
  t.match(presentable('a string', silent, {}).code, Code.Internal);
});

t.test('deadlines as they are written', async (t) => {
  t.equal(parseRequestTimeout('500ms'), 500);
  t.equal(parseRequestTimeout(' 2m '), 120_000);
  t.equal(parseRequestTimeout(null), null);
  for (const bad of ['', '5', '-5s', '1h', '0.5s', '5s!']) t.throws(() => parseRequestTimeout(bad), { code: Code.InvalidArgument });
  t.equal(unaryDeadlineMs(null), limits.unaryDeadlineMs);
  t.equal(unaryDeadlineMs(limits.unaryDeadlineMaxMs + 1), limits.unaryDeadlineMaxMs);
  t.equal(unaryDeadlineMs(0), 0);
});

t.test('a call ends early once', async (t) => {
  const call = new Call('rest', () => null, null);
  const first = new ConnectError('first', Code.Unavailable);
  const waiting = call.until(new Promise(() => {}));
  call.cancel(first);
  call.cancel(new ConnectError('second', Code.Canceled));
  await t.rejects(waiting, first);
  t.equal(call.signal.reason, first, 'a signal that is asked for late is aborted');
  await t.rejects(call.until(Promise.reject(new Error('late'))), first);
  const over = new Call('rest', () => null, 60_000);
  over.close();
  over.abandon();
  t.notOk(over.signal.aborted, 'a call that is over is not broken off');
});

t.test('the token', async (t) => {
  t.equal(createAuthenticate(null)(undefined), null);
  const authenticate = createAuthenticate('s3cret');
  t.equal(authenticate('Bearer s3cret'), null);
  t.equal(authenticate('bearer  s3cret '), null);
  for (const bad of [undefined, '', 's3cret', 'Bearer', 'Bearer s3cre', 'Bearer s3cret x', 'Basic s3cret'])
    t.equal(authenticate(bad)?.code, Code.Unauthenticated, `${bad}`);
});

t.test('origins', async (t) => {
  const open = { allowed: ['https://ops.example.com'], localNamesOnly: false };
  const local = { allowed: [], localNamesOnly: true };
  t.equal(originProblem({ host: 'wf.example.com' }, open), null, 'no browser');
  t.equal(originProblem({ host: 'wf.example.com', origin: 'https://wf.example.com' }, open), null, 'its own page');
  t.equal(originProblem({ host: 'wf.example.com', origin: 'https://ops.example.com' }, open), null);
  t.match(originProblem({ host: 'wf.example.com', origin: 'https://wf.example.com.evil.com' }, open), /not allowed/);
  t.match(originProblem({ host: 'wf.example.com', origin: 'null' }, open), /not allowed/);
  for (const host of ['localhost:8000', '127.0.0.1:8000', '[::1]:8000', 'wf.localhost', 'LOCALHOST'])
    t.equal(originProblem({ host }, local), null, host);
  for (const host of ['evil.com', 'localhost.evil.com', '127.0.0.1.evil.com:80'])
    t.match(originProblem({ host }, local), /no name of this machine/, host);
});

t.test('messages are counted as the decoder would make them', async (t) => {
  const json = fc.letrec<{ value: JsonValue }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.integer(),
      fc.string(),
      fc.constant(null),
      fc.array(tie('value')),
      fc.dictionary(fc.string(), tie('value')),
    ),
  })).value;
  const containers = (value: JsonValue): number =>
    typeof value !== 'object' || value === null ? 0 : Object.values(value).reduce<number>((sum, one) => sum + containers(one), 1);
  fc.assert(fc.property(json, (value) => jsonNodes(Buffer.from(JSON.stringify(value)), 1e9) === containers(value)));
  t.equal(jsonNodes(Buffer.from('"{[\\\\\\"{["'), 1e9), 0, 'what is in a string is text');
  t.equal(jsonNodes(Buffer.from('[{"a":"no end'), 1e9), 2);

  // In protobuf each value in a Struct is a message, and each Struct and list too.
  const values = (value: JsonValue): number => {
    if (Array.isArray(value)) return value.reduce<number>((sum, one) => sum + values(one), 2);
    if (typeof value === 'object' && value !== null) return 1 + struct(value);
    return 1;
  };
  const struct = (object: JsonObject): number => Object.values(object).reduce<number>((sum, one) => sum + values(one), 1);
  fc.assert(
    fc.property(fc.array(fc.dictionary(fc.string(), json), { maxLength: 4 }), (all) => {
      const requests = all.map((inputs) => ({ inputs: inputs as JsonObject, labels: { a: 'b' } }));
      const bytes = toBinary(BatchSubmitWorkflowsRequestSchema, create(BatchSubmitWorkflowsRequestSchema, { requests }));
      const expected = requests.reduce((sum, { inputs }) => sum + 1 + struct(inputs), 1);
      return binaryNodes(BatchSubmitWorkflowsRequestSchema, bytes, 1e9, 1e9) === expected;
    }),
  );
});

t.test('rules of requests, with the depth of JSON in them', async (t) => {
  const validate = createValidate(SubmitWorkflowRequestSchema);
  const submit = (more: object) => create(SubmitWorkflowRequestSchema, { source: { case: 'yaml', value: 'x' }, ...more });
  t.equal(validate(submit({})), null);
  t.match(
    validate(submit({ labels: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`l${i}`, ''])) }))?.rawMessage,
    'labels: holds 33, and at most 32 are allowed',
  );
  t.match(validate(submit({ labels: { '': 'x' } }))?.rawMessage, /labels\[""\]: must not be empty/);
  const nested = (levels: number): JsonObject => (levels === 1 ? {} : { a: nested(levels - 1) });
  t.equal(validate(submit({ inputs: nested(limits.jsonDepth) })), null);
  t.match(validate(submit({ inputs: nested(limits.jsonDepth + 1) }))?.rawMessage, 'inputs: nests deeper than 64 levels');
  const inBatch = createValidate(BatchSubmitWorkflowsRequestSchema)(
    create(BatchSubmitWorkflowsRequestSchema, { requests: [submit({}), submit({ inputs: nested(99) })] }),
  );
  t.match(inBatch?.rawMessage, 'requests[1].inputs: nests deeper than 64 levels');
  // A Value is held as messages, not as plain JSON.
  const job = createValidate(JobSchema);
  const value = (levels: number): object => ({
    kind: levels === 0 ? { case: 'nullValue', value: 0 } : { case: 'listValue', value: { values: [value(levels - 1)] } },
  });
  t.equal(job(create(JobSchema, { output: value(limits.jsonDepth) })), null);
  t.match(job(create(JobSchema, { output: value(limits.jsonDepth + 1) }))?.rawMessage, 'output: nests deeper');
  const inStruct = { kind: { case: 'structValue', value: { fields: { a: value(limits.jsonDepth) } } } } as object;
  t.match(job(create(JobSchema, { output: inStruct }))?.rawMessage, 'output: nests deeper');
});

t.test('depth of protobuf messages', async (t) => {
  const lists = (levels: number): object => ({ kind: { case: 'listValue', value: { values: levels === 1 ? [] : [lists(levels - 1)] } } });
  const bytesOf = (output: object) => Buffer.from(toBinary(JobSchema, create(JobSchema, { output })));
  // The job is one level, each list two: the value, and the list in it.
  const deepest = (messageDepth - 2) / 2;
  const inner = (levels: number): object =>
    levels === 0 ? { kind: { case: 'nullValue', value: 0 } } : { kind: { case: 'listValue', value: { values: [inner(levels - 1)] } } };
  t.ok(decodeBinary(JobSchema, bytesOf(inner(deepest))), 'as deep as may be');
  t.throws(
    () => decodeBinary(JobSchema, bytesOf(lists(deepest + 1))),
    { code: Code.InvalidArgument, message: /recursion depth of 160/ },
    'one deeper',
  );
});

t.test('a query gives every kind of field', async (t) => {
  const fields = [
    ...SubmitWorkflowRequestSchema.fields,
    ...JobSchema.fields.filter(({ name }) => ['progress', 'causes', 'attempt', 'output'].includes(name)),
  ] as DescField[];
  const read = createReadQuery(fields);
  const into: JsonObject = {};
  t.strictSame(read({ progress: '0.5', causes: ['a', 'b,c'], attempt: '3', output: '[1]', start: '0', 'labels[]': 'x' }, into), []);
  t.strictSame(into, { progress: 0.5, causes: ['a', 'b,c'], attempt: '3', output: [1], start: false, labels: { '': 'x' } });
  const wrong = read({ progress: 'half', attempt: '1.5', output: '{', start: ['true', 'false'], labels: 'x', 'start[a]': '1' }, {});
  t.strictSame(
    wrong.map(({ description }) => description),
    [
      '"half" is not a number',
      '"1.5" is not a whole number from 0 on',
      'is not JSON',
      'is given more than once',
      'name an entry: labels[key]=value',
      "'start' has no entries; write start=value",
    ],
  );
});

t.test('endpoints and their bindings', async (t) => {
  const context = { metrics: createApiMetrics(new Registry()), log: silent, openStreams: new Set<Call>(), maxStreams: 1 };
  t.throws(() => createEndpoints([{ service: SystemService, methods: {} }], context), { message: /GetInfo.* is not implemented/ });
  const [info] = createEndpoints([mount(SystemService, { getInfo: async () => create(SystemService.method.getInfo.output) })], context);
  t.match(bindingsOf(info), [{ verb: 'GET', path: '/info', pathFields: [], body: { kind: 'none' }, responseField: null }]);
  const methods = Object.fromEntries(WorkflowService.methods.map(({ localName }) => [localName, () => {}]));
  const all = createEndpoints([{ service: WorkflowService, methods }], { ...context, metrics: createApiMetrics(new Registry()) });
  const bindings = all.flatMap(bindingsOf);
  t.strictSame(
    bindings
      .filter(({ endpoint }) => endpoint.method.name === 'SubmitWorkflow')
      .map(({ verb, path, body }) => `${verb} ${path} ${body.kind}`),
    ['POST /workflows/from-yaml text', 'POST /workflows whole'],
  );
  t.equal(new Set(bindings.map(({ verb, path }) => `${verb} ${path}`)).size, bindings.length, 'no two calls share a route');
  t.equal(all.find(({ method }) => method.name === 'BatchSubmitWorkflows')?.requestBytes, limits.batchRequestBytes);
});

t.test('streams as text', async (t) => {
  t.equal(streamForm(undefined), eventStream);
  t.equal(streamForm('text/event-stream, */*'), eventStream);
  t.equal(streamForm('application/x-ndjson'), jsonLines);
  t.equal(streamForm('application/jsonl; q=0.9'), jsonLines);
  t.equal(eventStream.item({ text: 'a\nb' }, '7'), 'id: 7\ndata: {"text":"a\\nb"}\n\n', 'a line break in a value breaks no line');
});

t.test('what a request breaks is said in words, not in patterns', async (t) => {
  const said = (error: ConnectError | null) => error?.rawMessage;
  t.equal(
    said(createValidate(SubmitWorkflowRequestSchema)(create(SubmitWorkflowRequestSchema))),
    'invalid request: source: exactly one of yaml, definition_hash, definition_name is required',
  );
  t.equal(
    said(createValidate(GetWorkflowRequestSchema)(create(GetWorkflowRequestSchema))),
    'invalid request: workflow_id: must not be empty',
  );
  t.equal(
    said(createValidate(GetDefinitionRequestSchema)(create(GetDefinitionRequestSchema, { hash: 'zzz' }))),
    'invalid request: hash: must be the whole hash of a definition, 64 characters of 0-9 and a-f',
  );
  t.equal(
    said(createValidate(ListWorkflowsRequestSchema)(create(ListWorkflowsRequestSchema, { label: ['a=1', 'team'] }))),
    'invalid request: label[1]: must be written key=value',
  );
});

t.test('a problem of the whole file is told without a path', async (t) => {
  const problem = { line: 1, column: 1, path: '', rule: 'missing-key', message: 'the file is empty', hint: 'it begins with: workflow:' };
  t.equal(badDefinition([problem] as never).rawMessage, 'line 1, column 1: the file is empty; it begins with: workflow:');
  t.equal(
    badDefinition([{ ...problem, path: 'workflow.name', hint: '' }] as never).rawMessage,
    'line 1, column 1: workflow.name: the file is empty',
  );
});
