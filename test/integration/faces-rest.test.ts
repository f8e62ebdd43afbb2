/** REST in detail: how requests are put together from path, query, body and headers, what is refused, streams, and the OpenAPI document. */
import { gzipSync } from 'node:zlib';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { Job_Status, type ListWorkflowsRequest, type SubmitWorkflowRequest, Workflow_Status } from '@workflow-orchestrator/proto';
import t from 'tap';
import { startFaces, until } from './support/faces.ts';

const faces = await startFaces();
t.teardown(faces.close);

/** One request; gives the answer, and the request message if it reached a service. */
async function ask(path: string, init: RequestInit = {}) {
  const before = faces.seen.requests.length;
  const response = await fetch(faces.base + path, init);
  const text = await response.text();
  const json = response.headers.get('content-type')?.startsWith('application/json') && text !== '' ? JSON.parse(text) : null;
  return { status: response.status, headers: response.headers, text, json, request: faces.seen.requests[before] ?? null };
}

function post(body: string | Buffer | undefined, headers: Record<string, string> = {}): RequestInit {
  return { method: 'POST', headers, body: body === undefined ? null : Buffer.from(body) };
}

const json = { 'content-type': 'application/json' };
const violations = (answer: { json: { details: { debug: { violations: { field: string; description: string }[] } }[] } }) =>
  answer.json.details[0].debug.violations;

t.test('a definition as raw text', async (t) => {
  for (const type of [
    'text/plain',
    'application/yaml',
    'text/yaml',
    'application/x-yaml',
    'text/plain; charset=utf-8',
    'application/json',
    'application/octet-stream',
  ]) {
    const { status, request } = await ask('/workflows/from-yaml', post('name: größe', { 'content-type': type }));
    t.equal(status, 200, type);
    t.match(request, { source: { case: 'yaml', value: 'name: größe' }, start: false });
  }
  const withQuery = await ask(
    `/workflows/from-yaml?start=true&labels[team]=data&labels[env]=prod&inputs=${encodeURIComponent('{"limit":5}')}&idempotency_key=k1`,
    post('x', { 'content-type': 'text/plain' }),
  );
  t.match(withQuery.request, { start: true, labels: { team: 'data', env: 'prod' }, inputs: { limit: 5 }, idempotencyKey: 'k1' });
  t.match(withQuery.json, { id: 'w1', inputs: { limit: 5 } }, 'the workflow itself is the answer');
  t.equal(
    (await ask('/workflows/from-yaml?start', post('x'))).request && (faces.seen.requests.at(-1) as SubmitWorkflowRequest).start,
    true,
    'a bare parameter is true',
  );
  t.match(
    (await ask('/workflows/from-yaml', post('\uFEFFname: x', { 'content-type': 'text/yaml' }))).request,
    { source: { value: 'name: x' } },
    'a byte order mark is no text',
  );
  t.match(
    (await ask('/workflows/from-yaml', post(gzipSync('name: z'), { 'content-type': 'text/yaml', 'content-encoding': 'gzip' }))).request,
    { source: { value: 'name: z' } },
  );
});

t.test('content types and encodings that nobody reads', async (t) => {
  for (const [headers, says] of [
    [
      { 'content-type': 'application/x-www-form-urlencoded' },
      /curl sends this unless told otherwise\); send one of: text\/plain, application\/yaml/,
    ],
    [{ 'content-type': 'text/plain; charset=iso-8859-1' }, /the charset iso-8859-1/],
    [{ 'content-type': 'text/plain', 'content-encoding': 'zstd' }, /'zstd'; known: identity, gzip, deflate, br/],
  ] as [Record<string, string>, RegExp][]) {
    t.match(await ask('/workflows/from-yaml', post('x', headers)), {
      status: 415,
      request: null,
      json: { code: 'invalid_argument', message: says },
    });
  }
  t.match(await ask('/workflows', post('{}', { 'content-type': 'text/plain' })), {
    status: 415,
    json: { message: /send one of: application\/json/ },
  });
  t.match(await ask('/workflows/from-yaml', post(Buffer.from([0x61, 0xff]), { 'content-type': 'text/plain' })), {
    status: 400,
    json: { message: /not UTF-8/ },
  });
  t.match(await ask('/workflows/from-yaml', post('no gzip', { 'content-encoding': 'gzip' })), {
    status: 400,
    json: { message: /not valid gzip/ },
  });
});

t.test('a JSON body', async (t) => {
  const submitted = await ask('/workflows', post('{"definitionName":"etl","inputs":{"a":[1,{"b":null}]},"start":true}', json));
  t.match(submitted.request, { source: { case: 'definitionName', value: 'etl' }, inputs: { a: [1, { b: null }] }, start: true });
  t.match(
    (await ask('/workflows', post('{"definition_name":"etl"}', json))).request,
    { source: { value: 'etl' } },
    'names as in the contract work too',
  );
  t.match((await ask('/workflows/w7/cancel', post('{"reason":"late","force":true}', json))).request, {
    workflowId: 'w7',
    reason: 'late',
    force: true,
  });
  t.match((await ask('/workflows/w7/cancel', post(undefined))).request, { workflowId: 'w7', reason: '' }, 'no body is an empty one');
  t.match((await ask('/workflows/w7/cancel', post('{"workflowId":"other"}', json))).request, { workflowId: 'w7' }, 'the path wins');
  t.match((await ask('/workflows/w7/start', post('{}', json))).request, { workflowId: 'w7' }, 'clients send {} where nothing is wanted');

  const wrong: [string, string, RegExp][] = [
    ['/workflows', '{"definitionName":', /the body is not JSON: .*position|the body is not JSON: Unexpected end/],
    ['/workflows', '[]', /not a JSON object/],
    ['/workflows', '{"start":"yes"}', /start: expected boolean, got "yes"/],
    [
      '/workflows',
      '{"definitonName":"etl","strat":true}',
      /definitonName: no such field; did you mean 'definition_name'\?; strat: no such field; did you mean 'start'/,
    ],
    ['/workflows', '{"yaml":"a","definitionName":"b"}', /oneof set multiple times/],
    ['/workflows', '{}', /source: exactly one of yaml, definition_hash, definition_name is required/],
    ['/workflows/w7/start', '{"a":1}', /takes no body/],
  ];
  for (const [path, body, says] of wrong)
    t.match(await ask(path, post(body, json)), { status: 400, request: null, json: { code: 'invalid_argument', message: says } }, body);
});

t.test('fields of a query', async (t) => {
  const { request } = await ask(
    '/workflows?status=running&status=FAILED,paused&name=etl&submitted_after=2026-11-01T00:00:00.5Z&label=a%3D1&label=b%3D2&pageSize=7&page_token=abc',
  );
  const { status, name, submittedAfter, label, pageSize, pageToken } = request as ListWorkflowsRequest;
  t.strictSame(status, [Workflow_Status.RUNNING, Workflow_Status.FAILED, Workflow_Status.PAUSED]);
  t.equal(timestampMs(submittedAfter!), Date.parse('2026-11-01T00:00:00.500Z'));
  t.match({ name, label, pageSize, pageToken }, { name: 'etl', label: ['a=1', 'b=2'], pageSize: 7, pageToken: 'abc' });
  t.match((await ask('/workflows/w1/jobs?status=5')).request, { workflowId: 'w1', status: [Job_Status.SUCCEEDED] }, 'an enum by number');
  t.match((await ask('/workflows/w%2F1/jobs/a%20b')).request, { workflowId: 'w/1', jobId: 'a b' }, 'path segments are decoded');

  const all = await ask('/workflows?status=RUNING&page_size=many&page_size=2&submitted_after=yesterday&nmae=x&name[a]=b');
  t.equal(all.status, 400);
  t.strictSame(
    violations(all).map(({ field, description }) => `${field}: ${description}`),
    [
      'status: "RUNING" is none of PENDING, RUNNING, PAUSED, SUCCEEDED, FAILED, CANCELLED',
      'page_size: is given more than once',
      'submitted_after: "yesterday" is not a time such as 2026-12-01T00:00:00Z',
      "nmae: no such parameter; did you mean 'name'?",
      "name[a]: 'name' has no entries; write name=value",
    ],
    'every wrong parameter at once',
  );
  t.match(violations(await ask('/workflows?page_size=-1')), [{ field: 'page_size', description: /whole number from 0 on/ }]);
  t.match(violations(await ask('/workflows?page_size=99999999999')), [{ field: 'page_size', description: /99999999999/ }]);
  t.match(violations(await ask('/workflows?page_size=1001')), [{ field: 'page_size', description: /1000/ }], 'the rules of the contract');
  t.match(
    violations(await ask('/workflows/from-yaml?definition_name=x', post('y'))),
    [{ field: 'definition_name' }],
    'the body has taken the place of its alternatives',
  );
  t.match(violations(await ask('/workflows/from-yaml?inputs=5&start=perhaps', post('y'))).length, 2);
  t.match(violations(await ask('/workflows?start=true', post('{}', json)))[0].description, 'no such parameter; this call takes none');
});

t.test('the idempotency key as header', async (t) => {
  t.match((await ask('/workflows', post('{"definitionName":"etl"}', { ...json, 'idempotency-key': 'k9' }))).request, {
    idempotencyKey: 'k9',
  });
  const both = await ask('/workflows', post('{"definitionName":"etl","idempotencyKey":"k1"}', { ...json, 'idempotency-key': 'k2' }));
  t.match(both, { status: 400, json: { message: /differs from the header Idempotency-Key/ } });
});

t.test('answers', async (t) => {
  t.strictSame((await ask('/workflows?name=none')).json, { workflows: [], nextPageToken: '' }, 'an empty list is a list');
  t.strictSame((await ask('/definitions/validate', post('bad'))).json, { valid: false, problems: [] }, 'a false is false');
  const { headers } = await ask('/workflows/w1');
  t.match(headers.get('content-type'), 'application/json');
  t.equal(headers.get('x-content-type-options'), 'nosniff');
  t.equal(headers.get('access-control-allow-origin'), null, 'same origin only');
  const head = await fetch(`${faces.base}/workflows/w1`, { method: 'HEAD' });
  t.equal(head.status, 200);
  t.equal((await ask('/workflows/')).status, 200, 'a slash at the end changes nothing');
});

t.test('requests that no route takes', async (t) => {
  const wrongVerb = await ask('/workflows/w1/start');
  t.match(wrongVerb, { status: 405, json: { code: 'unimplemented', message: 'GET /workflows/w1/start is not possible; POST is' } });
  t.equal(wrongVerb.headers.get('allow'), 'POST');
  t.equal((await ask('/workflows', { method: 'DELETE' })).headers.get('allow'), 'POST, GET');
  t.match(await ask('/workflow'), { status: 404, json: { code: 'not_found', message: 'there is no /workflow; did you mean /workflows?' } });
  t.match(await ask('/a/b/c/d'), { status: 404, json: { message: /openapi.json lists all calls/ } });
  t.match(await ask('/workflow.v1.WorkflowService/GetWorkflow', { method: 'PUT' }), { status: 405 });
  t.match(await ask('/workflow.v1.WorkflowService/GetWorkflow', post('x', { 'content-type': 'text/plain' })), {
    status: 415,
    json: { message: /send application\/json or application\/proto/ },
  });
  t.match(await ask('/workflow.v1.WorkflowService/WatchWorkflow', post('{}', json)), { status: 415, json: { message: /connect\+json/ } });
  t.match(
    await ask('/workflow.v1.WorkflowService/GetWorkflow', post('{"workflowId":"w1","newField":1}', json)),
    { status: 200 },
    'Connect: a newer client is understood',
  );
});

t.test('Server-Sent Events', async (t) => {
  const whole = await ask('/workflows/mixed/events');
  t.match(whole.headers.get('content-type'), 'text/event-stream');
  t.equal(
    whole.text,
    'id: 1\ndata: {"event":{"seq":"1"}}\n\ndata: {"jobUpdate":{"id":"a","progress":0.5}}\n\nid: 2\ndata: {"event":{"seq":"2"}}\n\nevent: end\ndata: {}\n\n',
  );
  const resumed = await ask('/workflows/three/events?after_seq=0', { headers: { 'last-event-id': '2' } });
  t.equal(resumed.text, 'id: 3\ndata: {"event":{"seq":"3"}}\n\nevent: end\ndata: {}\n\n', 'Last-Event-ID resumes, and wins over the URL');
  t.match(resumed.request, { afterSeq: 2n });
  t.equal(
    (await ask('/workflows/three/events', { headers: { 'last-event-id': '3' } })).status,
    204,
    'nothing more: 204 keeps an EventSource from coming back',
  );
  t.match(
    await ask('/workflows/three/events?after_seq=3'),
    { status: 200, text: 'event: end\ndata: {}\n\n' },
    'who did not resume is given an empty stream',
  );
  t.match((await ask('/workflows/three/events?follow=false')).request, { follow: false });
  t.match(await ask('/workflows/three/events', { headers: { 'last-event-id': 'x' } }), {
    status: 400,
    json: { message: /"x" is not the id of an event/ },
  });
  t.match(
    await ask('/workflows/none/events'),
    { status: 404, json: { code: 'not_found' } },
    'an error before the first item is an ordinary one',
  );
  t.match(await ask('/workflows/three/events?after=1'), { status: 400 });
  t.match(
    (await ask('/workflows/fails/events')).text,
    /^id: 1\n.*\n\nevent: end\ndata: \{"error":\{"code":"data_loss","message":"lost the thread"\}\}\n\n$/s,
    'a later one is the last event',
  );
  t.equal(
    (await ask('/workflows/w1/logs')).text,
    'data: {"lines":[{"message":"one"}]}\n\nevent: end\ndata: {}\n\n',
    'a stream without a cursor has no ids',
  );
});

t.test('JSON lines', async (t) => {
  const accept = { headers: { accept: 'application/x-ndjson' } };
  const whole = await ask('/workflows/three/events?after_seq=1', accept);
  t.match(whole.headers.get('content-type'), 'application/x-ndjson');
  t.equal(whole.text, '{"event":{"seq":"2"}}\n{"event":{"seq":"3"}}\n');
  t.equal(
    (await ask('/workflows/fails/events', accept)).text,
    '{"event":{"seq":"1"}}\n{"error":{"code":"data_loss","message":"lost the thread"}}\n',
  );
});

t.test('a stream that is silent at first is open all the same, and its end by the caller is noticed', async (t) => {
  const { ends } = faces.seen;
  const before = ends.length;
  const control = new AbortController();
  const response = await fetch(`${faces.base}/workflows/silent/events`, { signal: control.signal });
  t.equal(response.status, 200);
  control.abort();
  await until(() => ends.length > before, 'the service is told');
  t.equal(ends.at(-1), 'left');
});

t.test('the OpenAPI document', async (t) => {
  const { json: document, headers } = await ask('/openapi.json');
  t.match(headers.get('content-type'), 'application/json');
  t.match(document, { openapi: '3.1.0', info: { version: '1.2.3' } });
  const operations = Object.values(document.paths as Record<string, Record<string, { operationId: string; summary: string }>>).flatMap(
    (path) => Object.values(path),
  );
  const ids = operations.map(({ operationId }) => operationId);
  t.equal(new Set(ids).size, ids.length, 'operation ids are unique');
  t.ok(
    operations.every(({ summary }) => summary.length > 0),
    'every call says what it is for',
  );
  const refs = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, ref]) => ref);
  t.ok(refs.length > 50);
  for (const ref of new Set(refs)) t.ok(ref.split('/').reduce((node, key) => node?.[key], document) !== undefined, ref);
  t.match(document.paths['/workflows/{workflow_id}/events'].get, {
    parameters: [
      { name: 'workflow_id', in: 'path', required: true, schema: { type: 'string', minLength: 1, maxLength: 64 } },
      { name: 'after_seq' },
      { name: 'follow' },
      { $ref: /LastEventId/ },
    ],
    responses: { '200': { content: { 'text/event-stream': {} } } },
  });
  t.match(document.paths['/workflows/from-yaml'].post.requestBody.content, { 'application/yaml': { schema: { type: 'string' } } });
  t.match(document.components.schemas.Workflow.properties, {
    status: { type: 'string', enum: ['STATUS_UNSPECIFIED', 'PENDING'], description: 'Where it stands.' },
    submitTime: { type: 'string', format: 'date-time' },
    lastEventSeq: { type: 'string' },
    jobs: { type: 'array', items: { $ref: '#/components/schemas/Job' } },
  });
  t.equal(document.security, undefined);
  const secured = await startFaces({ token: 'x' });
  t.teardown(secured.close);
  const response = await fetch(`${secured.base}/openapi.json`, { headers: { authorization: 'Bearer x' } });
  t.match(await response.json(), { security: [{ token: [] }], components: { securitySchemes: { token: { scheme: 'bearer' } } } });
});
