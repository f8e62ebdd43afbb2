/**
 * One port, three faces: the same call and the same failure through Connect, gRPC and REST; who is let in; how the server starts and stops.
 */
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { getOption } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { DefinitionProblemsSchema, WorkflowService } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import { health, http } from '@workflow-orchestrator/proto/vendor';
import t from 'tap';
import { WebSocket, WebSocketServer } from 'ws';
import { badDefinition, startFaces, until } from './support/faces.ts';
import { connectGrpc, type GrpcError } from './support/grpc-client.ts';

const getWorkflow = 'workflow.v1.WorkflowService/GetWorkflow';

/** One request with its answer read whole. */
async function ask(url: string, init?: RequestInit) {
  const response = await fetch(url, init);
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: text.startsWith('{') ? JSON.parse(text) : null };
}

function post(body: string, headers: Record<string, string> = {}): RequestInit {
  return { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } };
}

/** Sends bytes on a plain socket and gives everything that comes back until it is closed. */
async function exchange(port: number, bytes: string | Buffer): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  socket.write(bytes);
  let said = '';
  socket.on('data', (chunk) => {
    said += chunk.toString('latin1');
  });
  socket.on('error', () => {});
  await once(socket, 'close');
  return said;
}

t.test('the same call through every face, on one port', async (t) => {
  const faces = await startFaces();
  t.teardown(faces.close);
  const baseUrl = faces.base;
  const expected = { id: 'w1', name: 'demo', status: 'RUNNING', lastEventSeq: '9007199254740993' };

  t.match((await ask(`${baseUrl}/workflows/w1`)).json, expected, 'REST');
  t.match((await ask(`${baseUrl}/${getWorkflow}`, post('{"workflowId":"w1"}'))).json, { workflow: expected }, 'Connect JSON by hand');

  const transports = {
    'Connect binary': createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat: true }),
    'Connect JSON': createConnectTransport({ baseUrl, httpVersion: '1.1' }),
    'Connect by GET': createConnectTransport({ baseUrl, httpVersion: '1.1', useHttpGet: true }),
    'gRPC-Web': createGrpcWebTransport({ baseUrl, httpVersion: '1.1' }),
    'gRPC of another library': createGrpcTransport({ baseUrl }),
  };
  for (const [name, transport] of Object.entries(transports)) {
    const client = createClient(WorkflowService, transport);
    const { workflow } = await client.getWorkflow({ workflowId: 'w1' });
    t.match(workflow, { id: 'w1', lastEventSeq: 9_007_199_254_740_993n }, name);
    const seqs: bigint[] = [];
    for await (const { item } of client.watchWorkflow({ workflowId: 'three', afterSeq: 1n }))
      if (item.case === 'event') seqs.push(item.value.seq);
    t.strictSame(seqs, [2n, 3n], `${name}, a stream`);
    const error = await client.submitWorkflow({ source: { case: 'yaml', value: 'bad' } }).catch(ConnectError.from);
    t.equal((error as ConnectError).code, Code.InvalidArgument, `${name}, an error`);
    t.match((error as ConnectError).findDetails(DefinitionProblemsSchema)[0].problems, badDefinition, `${name}, its details`);
  }

  for (const reflection of ['v1', 'v1alpha'] as const) {
    const client = await connectGrpc(`127.0.0.1:${faces.port}`, { reflection });
    t.match(await client.call(getWorkflow, { workflowId: 'w1' }), { workflow: expected }, `gRPC by reflection ${reflection}`);
    const items: unknown[] = [];
    for await (const item of client.stream('workflow.v1.WorkflowService/WatchWorkflow', { workflowId: 'three' })) items.push(item);
    t.strictSame(
      items,
      [1, 2, 3].map((seq) => ({ event: { seq: String(seq) } })),
    );
    const method = client.registry.getService('workflow.v1.WorkflowService')?.method.getWorkflow;
    t.equal(method && getOption(method, http).pattern.value, '/workflows/{workflow_id}', 'custom options come along');
    client.close();
  }
  const metrics = await faces.metrics.metrics();
  for (const face of ['rest', 'connect', 'grpc']) t.match(metrics, `wf_api_calls_total{face="${face}",method="${getWorkflow}",code="ok"}`);
  t.match(metrics, 'wf_api_open_streams 0');
});

t.test('the same failure through every face', async (t) => {
  const faces = await startFaces();
  t.teardown(faces.close);
  const grpc = await connectGrpc(`127.0.0.1:${faces.port}`);
  t.teardown(() => grpc.close());

  const cases = [
    {
      name: 'not found',
      method: getWorkflow,
      request: { workflowId: 'none' },
      rest: () => ask(`${faces.base}/workflows/none`),
      status: 404,
      code: 'not_found',
      grpc: 5,
    },
    {
      name: 'a rule of a field',
      method: getWorkflow,
      request: { workflowId: 'x'.repeat(65) },
      rest: () => ask(`${faces.base}/workflows/${'x'.repeat(65)}`),
      status: 400,
      code: 'invalid_argument',
      grpc: 3,
    },
    {
      name: 'problems of a definition',
      method: 'workflow.v1.WorkflowService/SubmitWorkflow',
      request: { yaml: 'bad' },
      rest: () => ask(`${faces.base}/workflows/from-yaml`, post('bad', { 'content-type': 'text/plain' })),
      status: 400,
      code: 'invalid_argument',
      grpc: 3,
    },
    {
      name: 'no room',
      method: 'workflow.v1.WorkflowService/SubmitWorkflow',
      request: { yaml: 'ok', idempotencyKey: 'busy' },
      rest: () => ask(`${faces.base}/workflows/from-yaml`, post('ok', { 'content-type': 'text/yaml', 'idempotency-key': 'busy' })),
      status: 429,
      code: 'resource_exhausted',
      grpc: 8,
    },
  ];
  for (const one of cases) {
    await t.test(one.name, async (t) => {
      const rest = await one.rest();
      const connect = await ask(`${faces.base}/${one.method}`, post(JSON.stringify(one.request)));
      const failed = await grpc.call(one.method, one.request).catch((error: GrpcError) => error);
      t.equal(rest.status, one.status);
      t.equal(connect.status, one.status);
      t.equal(rest.json.code, one.code);
      t.strictSame(connect.json, rest.json, 'Connect and REST say the same');
      t.equal(failed.code, one.grpc);
      t.equal(failed.message, rest.json.message);
      const debugs = Object.fromEntries((rest.json.details as { type: string; debug: unknown }[]).map(({ type, debug }) => [type, debug]));
      t.strictSame((failed as GrpcError).details, debugs, 'the details of gRPC are those of the others');
      if (one.name !== 'no room') return;
      t.equal(rest.headers.get('retry-after'), '2', 'in whole seconds');
      t.equal((failed as GrpcError).metadata['grpc-retry-pushback-ms'], '1500');
    });
  }

  await t.test('an exception that nobody expected is hidden and logged', async (t) => {
    const rest = await ask(`${faces.base}/workflows/boom`);
    const connect = await ask(`${faces.base}/${getWorkflow}`, post('{"workflowId":"boom"}'));
    const failed = (await grpc.call(getWorkflow, { workflowId: 'boom' }).catch((error: GrpcError) => error)) as GrpcError;
    t.equal(rest.status, 500);
    t.equal(failed.code, Code.Internal);
    for (const said of [rest.text, connect.text, JSON.stringify([failed.message, failed.details])])
      t.notMatch(said, /secret|TypeError|\.ts/);
    const ids = [rest.json.details[0].debug.metadata.error_id, connect.json.details[0].debug.metadata.error_id];
    const logged = faces.seen.log.filter((line) => line.level === 50);
    t.equal(logged.length, 3, 'once for each call');
    t.strictSame(
      logged.slice(0, 2).map((line) => line.errorId),
      ids,
    );
    t.match(logged[0], { method: getWorkflow, face: 'rest', err: { message: /secret/ } });
  });
});

t.test('many problems: all over HTTP, as many as fit into the trailers of gRPC', async (t) => {
  const faces = await startFaces();
  t.teardown(faces.close);
  const grpc = await connectGrpc(`127.0.0.1:${faces.port}`);
  t.teardown(() => grpc.close());
  const requests = Array.from({ length: 300 }, (_, i) => ({ yaml: 'ok', idempotencyKey: `${i}`.padEnd(300, 'k') }));
  const request = { requests };
  const connect = await ask(`${faces.base}/workflow.v1.WorkflowService/BatchSubmitWorkflows`, post(JSON.stringify(request)));
  const all = connect.json.details[0].debug.violations;
  t.equal(all.length, limits.fieldViolations);
  const failed = (await grpc
    .call('workflow.v1.WorkflowService/BatchSubmitWorkflows', request)
    .catch((error: GrpcError) => error)) as GrpcError;
  t.equal(failed.code, 3);
  const some = (failed.details['workflow.v1.FieldViolations'] as { violations: unknown[] }).violations;
  t.ok(some.length > 10 && some.length < all.length, `${some.length} of ${all.length}`);
  t.strictSame(some, all.slice(0, some.length), 'the first ones, whole');
});

t.test('the token', async (t) => {
  const gateway = new WebSocketServer({ noServer: true });
  const faces = await startFaces({
    token: 'open-sesame',
    gateway: {
      handleUpgrade: (request, socket, head) =>
        gateway.handleUpgrade(request, socket, head, (ws) => ws.on('message', (data) => ws.send(`echo ${data}`))),
    },
  });
  t.teardown(faces.close);
  const address = `127.0.0.1:${faces.port}`;
  const bearer = { authorization: 'Bearer open-sesame' };

  for (const [headers, says] of [
    [{}, /send the header `Authorization: Bearer <token>`/],
    [{ authorization: 'Basic abc' }, /not of the form/],
    [{ authorization: 'Bearer wrong' }, /not the one/],
  ] as [Record<string, string>, RegExp][]) {
    const rest = await ask(`${faces.base}/workflows/w1`, { headers });
    t.equal(rest.status, 401);
    t.equal(rest.headers.get('www-authenticate'), 'Bearer realm="workflow"');
    t.match(rest.json, { code: 'unauthenticated', message: says });
    t.equal((await ask(`${faces.base}/${getWorkflow}`, post('{"workflowId":"w1"}', headers))).status, 401);
    t.equal((await ask(`${faces.base}/no/such/path`, { headers })).status, 401, 'who has no token learns nothing');
    t.equal((await ask(`${faces.base}/metrics`, { headers })).status, 401);
  }
  const denied = await connectGrpc(address).catch((error: GrpcError) => error);
  t.equal((denied as GrpcError).code, 16, 'gRPC, reflection included');
  const client = await connectGrpc(address, { token: 'open-sesame' });
  t.match(await client.call(getWorkflow, { workflowId: 'w1' }), { workflow: { id: 'w1' } });
  client.close();
  t.equal((await ask(`${faces.base}/workflows/w1`, { headers: bearer })).status, 200);
  t.equal(faces.seen.requests.length, 2, 'nothing else reached a service');

  for (const path of ['/healthz', '/readyz']) t.equal((await ask(faces.base + path)).status, 200, `${path} is open`);
  const checks = createClient(health.Health, createGrpcTransport({ baseUrl: faces.base }));
  t.match(await checks.check({}), { status: 1 }, 'so is the health service of gRPC');

  const refused = new WebSocket(`ws://${address}/workers`);
  const [, response] = await once(refused, 'unexpected-response');
  t.equal(response.statusCode, 401, 'a handshake without the token');
  response.resume();
  const ws = new WebSocket(`ws://${address}/workers`, { headers: bearer });
  await once(ws, 'open');
  ws.send('hello');
  const [data] = await once(ws, 'message');
  t.equal(String(data), 'echo hello', 'a handshake with it');
  ws.close();
  const elsewhere = new WebSocket(`ws://${address}/elsewhere`, { headers: bearer });
  const [, notFound] = await once(elsewhere, 'unexpected-response');
  t.equal(notFound.statusCode, 404);
});

t.test('pages of other origins', async (t) => {
  const faces = await startFaces({ corsOrigins: ['https://ops.example.com'] });
  t.teardown(faces.close);
  const from = (origin: string) => ask(`${faces.base}/workflows/from-yaml`, post('ok', { 'content-type': 'text/plain', origin }));
  t.match(await from('https://evil.example.com'), { status: 403, json: { code: 'permission_denied', message: /pages of https:\/\/evil/ } });
  t.equal(faces.seen.requests.length, 0);
  t.equal((await from(faces.base)).status, 200, 'its own');
  const allowed = await from('https://ops.example.com');
  t.equal(allowed.status, 200);
  t.equal(allowed.headers.get('access-control-allow-origin'), 'https://ops.example.com');
  const preflight = await ask(`${faces.base}/workflows`, {
    method: 'OPTIONS',
    headers: {
      origin: 'https://ops.example.com',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization',
    },
  });
  t.equal(preflight.status, 204);
  const rebound = await exchange(faces.port, 'GET /workflows/w1 HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n');
  t.match(rebound, /403 Forbidden[\s\S]*no name of this machine/, 'a name that a foreign name server points here');
  const ws = new WebSocket(`ws://127.0.0.1:${faces.port}/workers`, { origin: 'https://evil.example.com' });
  const [, response] = await once(ws, 'unexpected-response');
  t.equal(response.statusCode, 403);
});

t.test('health and readiness', async (t) => {
  const faces = await startFaces();
  t.teardown(faces.close);
  const client = createClient(health.Health, createGrpcTransport({ baseUrl: faces.base }));
  const watch = client.watch({ service: 'workflow.v1.WorkflowService' })[Symbol.asyncIterator]();
  t.match((await watch.next()).value, { status: 1 });
  faces.ready = false;
  t.match((await watch.next()).value, { status: 2 }, 'a watch is told of the change');
  await watch.return?.();
  t.match(await client.check({}), { status: 2 });
  t.match(Object.keys((await client.list({})).statuses), ['', 'workflow.v1.WorkflowService']);
  t.match(await client.check({ service: 'no.such.Service' }).catch((error) => error.code), Code.NotFound);
  t.match(await ask(`${faces.base}/readyz`), { status: 503, json: { ready: false, detail: { store: 'down' } } });
  t.equal((await ask(`${faces.base}/healthz`)).status, 200, 'alive all the same');
});

t.test('bytes that are no request', async (t) => {
  const faces = await startFaces({ limits: { headersTimeoutMs: 200 } });
  t.teardown(faces.close);
  t.match(
    await exchange(faces.port, Buffer.from('160301020001', 'hex')),
    /400 Bad Request[\s\S]*use http:\/\/, not https/,
    'a TLS handshake',
  );
  t.match(await exchange(faces.port, 'hello\r\n\r\n'), /400 Bad Request[\s\S]*no HTTP request/);
  t.match(await exchange(faces.port, `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`), /431 [\s\S]*16 KiB/);
  t.equal(await exchange(faces.port, 'PRI * HT'), '', 'half a preface, and then silence: closed in time');
  t.equal(await exchange(faces.port, ''), '', 'nothing at all');
  t.match(await exchange(faces.port, 'GET /healthz HTTP/1.1\r\nHost: lo'), /408 [\s\S]*in time/, 'half a request');
  t.match(await exchange(faces.port, 'PRI * HTTP/1.0\r\n\r\n'), /40[08] [\s\S]*"code"/, 'nearly the preface');
  t.match(
    await exchange(faces.port, 'GET /workflows/%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
    /400 [\s\S]*percent-encoded/,
  );
  t.match(
    await exchange(
      faces.port,
      'POST /workflows/w1/start HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    ),
    /"id":"w1"[\s\S]*"status":"ok"/,
    'two requests in one packet, both read',
  );
  const slow = net.connect(faces.port, '127.0.0.1');
  for (const letter of 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n') {
    slow.write(letter);
    await new Promise(setImmediate);
  }
  const [answer] = await once(slow, 'data');
  t.match(String(answer), /200 OK/, 'a request letter by letter');
});

t.test('HTTP/2 by hand', async (t) => {
  const faces = await startFaces();
  t.teardown(faces.close);
  const session = http2.connect(faces.base);
  t.teardown(() => session.destroy());
  const request = async (headers: http2.OutgoingHttpHeaders) => {
    const stream = session.request(headers);
    stream.end();
    const [head] = await once(stream, 'response');
    stream.resume();
    return head;
  };
  t.match(await request({ ':path': '/workflows/w1' }), { ':status': 415 }, 'what is not gRPC is told that it is not');
  const unknown = {
    ':method': 'POST',
    ':path': '/workflow.v1.WorkflowService/GetWorkflo',
    'content-type': 'application/grpc',
    te: 'trailers',
  };
  t.match(await request(unknown), { 'grpc-status': '12', 'grpc-message': /GetWorkflo/ });
  t.match(session.remoteSettings, { maxConcurrentStreams: limits.http2Streams });
});

t.test('a port of its own for gRPC', async (t) => {
  const faces = await startFaces({ grpcPort: 0 });
  t.teardown(faces.close);
  const client = await connectGrpc(`127.0.0.1:${faces.grpcPort}`);
  t.match(await client.call('workflow.v1.SystemService/GetInfo'), { openWorkflows: '7' });
  client.close();
  t.match(await ask(`http://127.0.0.1:${faces.grpcPort}/healthz`), { status: 400, json: { message: /speaks gRPC only/ } });
});

t.test('ports that cannot be had', async (t) => {
  const faces = await startFaces();
  t.teardown(faces.close);
  await t.rejects(startFaces({ port: faces.port }), {
    name: 'ListenError',
    code: 'EADDRINUSE',
    message: `port ${faces.port} is taken; choose another with --port`,
  });
  await t.rejects(startFaces({ grpcPort: faces.port }), { message: `port ${faces.port} is taken; choose another with --grpc-port` });
  await t.rejects(startFaces({ host: '203.0.113.7' }), { message: /'203.0.113.7' is no address of this machine/ });
  const both = await startFaces({ host: 'localhost' });
  t.teardown(both.close);
  t.equal((await ask(`http://localhost:${both.port}/healthz`)).status, 200);
});

t.test('stopping', async (t) => {
  const gateway = new WebSocketServer({ noServer: true });
  const faces = await startFaces({
    gateway: { handleUpgrade: (request, socket, head) => gateway.handleUpgrade(request, socket, head, () => {}) },
  });
  const address = `127.0.0.1:${faces.port}`;
  const client = await connectGrpc(address);
  const ws = new WebSocket(`ws://${address}/workers`);
  await once(ws, 'open');
  const idle = net.connect(faces.port, '127.0.0.1');
  await once(idle, 'connect');
  const stream = client.stream('workflow.v1.WorkflowService/WatchWorkflow', { workflowId: 'quiet' });
  await stream.next();
  const events = await fetch(`${faces.base}/workflows/quiet/events`);
  const unary = ask(`${faces.base}/workflows/stuck`, { headers: { 'request-timeout': '300ms' } });
  await until(() => faces.seen.requests.length === 3, 'all calls are under way');

  const stopped = faces.server.close(1_000);
  t.match(await stream.next().catch((error) => error), { code: 14, message: /stopping/ }, 'streams are told at once');
  t.match(await events.text(), /event: end\ndata: \{"error":\{"code":"unavailable"/);
  t.equal((await unary).status, 504, 'a call under way gets its answer');
  await t.rejects(fetch(`${faces.base}/healthz`), 'no new connection');
  t.equal(ws.readyState, WebSocket.OPEN, 'a WebSocket is left alone until the deadline');
  await stopped;
  await until(() => ws.readyState === WebSocket.CLOSED && idle.closed, 'everything is closed at the deadline');
  client.close();
});
