/** What the faces refuse so that one caller cannot take memory, time or connections from the others; each limit is exceeded by one. */
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { create, type JsonObject, toBinary, toJson } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import {
  BatchSubmitWorkflowsRequestSchema,
  GetWorkflowRequestSchema,
  SubmitWorkflowRequestSchema,
  WorkflowService,
} from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import t from 'tap';
import { messageDepth } from '../../coordinator/api/codec.ts';
import { type Faces, startFaces, until } from './support/faces.ts';
import { connectGrpc, type GrpcClient, type GrpcError, grpcFrame } from './support/grpc-client.ts';

const submit = 'workflow.v1.WorkflowService/SubmitWorkflow';
const batch = 'workflow.v1.WorkflowService/BatchSubmitWorkflows';
const watch = 'workflow.v1.WorkflowService/WatchWorkflow';
const get = 'workflow.v1.WorkflowService/GetWorkflow';

/** What became of a request: `ok`, or code and message. */
interface Outcome {
  readonly code: string;
  readonly message: string;
}

/** The ways to send a request that is given in binary form. */
function senders(faces: Faces, grpc: GrpcClient, name: string) {
  const viaHttp =
    (type: string, path = `/${name}`) =>
    async (body: Uint8Array | string, headers: Record<string, string> = {}): Promise<Outcome> => {
      const response = await fetch(faces.base + path, {
        method: 'POST',
        body: Buffer.from(body),
        headers: { 'content-type': type, ...headers },
      });
      const text = await response.text();
      return response.ok ? { code: 'ok', message: '' } : JSON.parse(text);
    };
  const viaGrpc = async (body: Uint8Array): Promise<Outcome> => {
    try {
      await grpc.callBytes(name, body);
      return { code: 'ok', message: '' };
    } catch (error) {
      const { code, message } = error as GrpcError;
      return { code: new ConnectError('', code as Code).message.slice(1, -1), message };
    }
  };
  return { rest: viaHttp, connectBinary: viaHttp('application/proto'), connectJson: viaHttp('application/json'), grpc: viaGrpc };
}

/** A submit whose binary form has exactly so many bytes. */
function submitOf(bytes: number): Uint8Array {
  const empty = toBinary(
    SubmitWorkflowRequestSchema,
    create(SubmitWorkflowRequestSchema, { source: { case: 'yaml', value: 'x'.repeat(bytes - 10) } }),
  );
  return toBinary(
    SubmitWorkflowRequestSchema,
    create(SubmitWorkflowRequestSchema, { source: { case: 'yaml', value: 'x'.repeat(bytes - 10 + bytes - empty.length) } }),
  );
}

t.test('bytes of a request', async (t) => {
  const faces = await startFaces();
  const grpc = await connectGrpc(`127.0.0.1:${faces.port}`);
  t.teardown(() => grpc.close());
  t.teardown(faces.close);
  const max = limits.requestBytes;
  const send = senders(faces, grpc, submit);
  const text = send.rest('text/plain', '/workflows/from-yaml');
  const json = send.rest('application/json', '/workflows');
  const jsonOf = (bytes: number) => `{"yaml":"${'x'.repeat(bytes - 11)}"}`;
  t.equal(submitOf(max).length, max);

  const ways: [string, (bytes: number) => Promise<Outcome>][] = [
    ['REST text', (bytes) => text('x'.repeat(bytes))],
    ['REST JSON', (bytes) => json(jsonOf(bytes))],
    ['REST, unpacked', (bytes) => text(gzipSync('x'.repeat(bytes)), { 'content-encoding': 'gzip' })],
    ['Connect binary', (bytes) => send.connectBinary(submitOf(bytes))],
    ['Connect JSON', (bytes) => send.connectJson(jsonOf(bytes))],
    ['Connect, unpacked', (bytes) => send.connectBinary(gzipSync(submitOf(bytes)), { 'content-encoding': 'gzip' })],
    ['gRPC', (bytes) => send.grpc(submitOf(bytes))],
  ];
  for (const [name, way] of ways) {
    t.equal((await way(max)).code, 'ok', `${name}: as many as may be`);
    t.match(await way(max + 1), { code: 'resource_exhausted', message: `the request is larger than ${max} bytes` }, `${name}: one more`);
  }
  t.equal((await send.grpc(submitOf(20 * max))).code, 'resource_exhausted');
  for (let i = 0; i < 8; i += 1) t.equal((await send.grpc(submitOf(2 * max))).code, 'resource_exhausted');
  t.equal((await send.grpc(submitOf(max))).code, 'ok', 'refused bytes do not clog the connection');

  const chunked = http.request({
    host: '127.0.0.1',
    port: faces.port,
    path: '/workflows/from-yaml',
    method: 'POST',
    headers: { 'content-type': 'text/plain' },
  });
  chunked.on('error', () => {});
  const [response] = await Promise.all([
    once(chunked, 'response').then(([one]) => one as http.IncomingMessage),
    (async () => {
      for (let sent = 0; sent <= max; sent += 64 * 1024) chunked.write('x'.repeat(64 * 1024));
      chunked.end();
    })(),
  ]);
  t.equal(response.statusCode, 413, 'a body that does not say its length');
  response.resume();

  const most = limits.batchRequestBytes;
  const batchOf = (bytes: number) => {
    const base = toBinary(
      BatchSubmitWorkflowsRequestSchema,
      create(BatchSubmitWorkflowsRequestSchema, { requests: [{ source: { case: 'yaml', value: 'x'.repeat(bytes - 20) } }] }),
    );
    return toBinary(
      BatchSubmitWorkflowsRequestSchema,
      create(BatchSubmitWorkflowsRequestSchema, {
        requests: [{ source: { case: 'yaml', value: 'x'.repeat(bytes - 20 + bytes - base.length) } }],
      }),
    );
  };
  const sendBatch = senders(faces, grpc, batch);
  for (const [name, way] of [
    ['Connect', sendBatch.connectBinary],
    ['gRPC', sendBatch.grpc],
  ] as [string, (body: Uint8Array) => Promise<Outcome>][]) {
    t.equal((await way(batchOf(most))).code, 'ok', `a batch by ${name}`);
    t.match(await way(batchOf(most + 1)), { code: 'resource_exhausted', message: /larger than/ });
  }
});

t.test('messages of a request', async (t) => {
  const faces = await startFaces();
  const grpc = await connectGrpc(`127.0.0.1:${faces.port}`);
  t.teardown(() => grpc.close());
  t.teardown(faces.close);
  const send = senders(faces, grpc, batch);
  const binaryOf = (elements: number) => Buffer.alloc(2 * elements, Buffer.from([0x0a, 0x00]));
  const jsonOf = (elements: number) => `{"requests":[${'{},'.repeat(elements - 1)}{}]}`;
  // The request itself is one, and in JSON so is the list in it.
  const ways: [string, number, (elements: number) => Promise<Outcome>][] = [
    ['REST', 2, (elements) => send.rest('application/json', '/workflows/batch')(jsonOf(elements))],
    ['Connect JSON', 2, (elements) => send.connectJson(jsonOf(elements))],
    ['Connect binary', 1, (elements) => send.connectBinary(binaryOf(elements))],
    ['gRPC', 1, (elements) => send.grpc(binaryOf(elements))],
  ];
  const tooMany = (count: number) => ({
    code: 'invalid_argument',
    message: `invalid request: requests: holds ${count}, and at most 1000 are allowed`,
  });
  for (const [name, others, way] of ways) {
    const most = limits.requestNodes - others;
    t.match(await way(most), tooMany(most), `${name}: as many as may be are read`);
    t.match(
      await way(most + 1),
      { code: 'invalid_argument', message: /more than 200000 messages, objects and lists/ },
      `${name}: one more are not`,
    );
    t.match(await way(1_001), tooMany(1_001), `${name}: the rule of the contract`);
  }
  const violations = await send.connectBinary(binaryOf(1_000));
  t.match(violations.message, /requests\[0\].source: exactly one of yaml.*; and 997 more$/);
  t.equal(
    (violations as never as { details: { debug: { violations: unknown[] } }[] }).details[0].debug.violations.length,
    limits.fieldViolations,
  );
});

t.test('depth of JSON', async (t) => {
  const faces = await startFaces();
  const grpc = await connectGrpc(`127.0.0.1:${faces.port}`);
  t.teardown(() => grpc.close());
  t.teardown(faces.close);
  const send = senders(faces, grpc, submit);
  /** A request whose inputs nest so deep: objects, with a list now and then. */
  const requestOf = (depth: number) => {
    let inputs: JsonObject = {};
    for (let level = 1; level < depth; level += 1) {
      const inList = level % 5 === 0 && level < depth - 1;
      inputs = { a: inList ? [inputs] : inputs };
      if (inList) level += 1;
    }
    return create(SubmitWorkflowRequestSchema, { source: { case: 'yaml', value: 'x' }, inputs });
  };
  const binary = (depth: number) => toBinary(SubmitWorkflowRequestSchema, requestOf(depth));
  const json = (depth: number) => JSON.stringify(toJson(SubmitWorkflowRequestSchema, requestOf(depth)));
  const ways: [string, (depth: number) => Promise<Outcome>][] = [
    ['REST', (depth) => send.rest('application/json', '/workflows')(json(depth))],
    ['Connect JSON', (depth) => send.connectJson(json(depth))],
    ['Connect binary', (depth) => send.connectBinary(binary(depth))],
    ['gRPC', (depth) => send.grpc(binary(depth))],
  ];
  for (const [name, way] of ways) {
    t.equal((await way(limits.jsonDepth)).code, 'ok', `${name}: as deep as may be`);
    t.match(
      await way(limits.jsonDepth + 1),
      { code: 'invalid_argument', message: 'invalid request: inputs: nests deeper than 64 levels' },
      `${name}: one deeper`,
    );
    t.match(
      await way(messageDepth * 2),
      { code: 'invalid_argument', message: /maximum recursion depth/ },
      `${name}: so deep that it is not read`,
    );
  }
  const absurd = `{"yaml":"x","inputs":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}}`;
  t.match(await send.connectJson(absurd), { code: 'invalid_argument' }, 'deep enough to end a careless process');
});

t.test('broken gRPC requests', async (t) => {
  const faces = await startFaces();
  t.teardown(faces.close);
  const session = http2.connect(faces.base);
  t.teardown(() => session.destroy());
  const message = Buffer.from(toBinary(GetWorkflowRequestSchema, create(GetWorkflowRequestSchema, { workflowId: 'w1' })));
  const call = async (body: Buffer, headers: http2.OutgoingHttpHeaders = {}) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': `/${get}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    stream.end(body);
    let trailers: http2.IncomingHttpHeaders = {};
    stream.on('response', (head) => Object.assign(trailers, head)).on('trailers', (more) => Object.assign(trailers, more));
    stream.resume();
    stream.on('error', () => {});
    await once(stream, 'close');
    trailers = { ...trailers };
    return { status: trailers['grpc-status'], message: decodeURIComponent(String(trailers['grpc-message'] ?? '')) };
  };
  const packed = gzipSync(message);
  const flagged = grpcFrame(packed, true);
  t.match(await call(grpcFrame(message)), { status: '0' });
  t.match(await call(flagged, { 'grpc-encoding': 'gzip' }), { status: '0' }, 'a packed message');
  t.match(await call(flagged, { 'grpc-encoding': 'zstd' }), { status: '12', message: /zstd/ });
  t.match(await call(flagged, { 'grpc-encoding': 'deflate' }), { status: '13' });
  t.match(await call(Buffer.alloc(0)), { status: '12' }, 'no message');
  t.match(await call(grpcFrame(message).subarray(0, -1)), { status: '12' }, 'half a message');
  t.match(await call(Buffer.concat([grpcFrame(message), grpcFrame(message)])), { status: '12' }, 'two messages');
  t.match(await call(grpcFrame(Buffer.from([0xff, 0xff]))), {
    status: '3',
    message: /not a workflow.v1.GetWorkflowRequest in protobuf form/,
  });
  t.match(await call(grpcFrame(message), { 'grpc-timeout': 'soon' }), { status: '13', message: /grpc-timeout/ });
  t.match(await call(grpcFrame(message), { ':path': '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo' }), { status: '0' });
  t.match(await call(grpcFrame(Buffer.from([0xff])), { ':path': '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo' }), {
    status: '3',
    message: /ServerReflectionRequest/,
  });
});

t.test('deadlines', async (t) => {
  const faces = await startFaces();
  t.teardown(faces.close);
  const { ends } = faces.seen;
  const rest = (id: string, timeout: string) => fetch(`${faces.base}/workflows/${id}`, { headers: { 'request-timeout': timeout } });
  const connect = (id: string, timeout: string) =>
    fetch(`${faces.base}/${get}`, {
      method: 'POST',
      body: JSON.stringify({ workflowId: id }),
      headers: { 'content-type': 'application/json', 'connect-timeout-ms': timeout },
    });
  for (const answer of [await rest('stuck', '50ms'), await connect('stuck', '50')]) {
    t.equal(answer.status, 504, 'whatever the service does');
    t.match(await answer.json(), { code: 'deadline_exceeded' });
  }
  t.equal((await rest('waits', '50ms')).status, 504);
  await until(() => ends.length === 1, 'the service is told by its signal');
  t.equal(ends[0], `aborted ${Code.DeadlineExceeded}`);
  t.match(await (await rest('w1', '5')).json(), { code: 'invalid_argument', message: /"5" is not a number with a unit, such as 500ms/ });
  t.match(await (await connect('w1', '-5')).json(), { code: 'invalid_argument' });
  const library = createClient(WorkflowService, createConnectTransport({ baseUrl: faces.base, httpVersion: '1.1', useHttpGet: true }));
  t.equal(
    ((await library.getWorkflow({ workflowId: 'stuck' }, { timeoutMs: 50 }).catch(ConnectError.from)) as ConnectError).code,
    Code.DeadlineExceeded,
  );

  const session = http2.connect(faces.base);
  t.teardown(() => session.destroy());
  const grpc = async (path: string, id: string, end: boolean) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': `/${path}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      'grpc-timeout': '50m',
    });
    const body = grpcFrame(toBinary(GetWorkflowRequestSchema, create(GetWorkflowRequestSchema, { workflowId: id })));
    if (end) stream.end(body);
    else stream.write(body.subarray(0, 6));
    const said: http2.IncomingHttpHeaders = {};
    stream
      .on('response', (head) => Object.assign(said, head))
      .on('trailers', (more) => Object.assign(said, more))
      .on('error', () => {});
    stream.resume();
    await once(stream, 'end');
    stream.close();
    return said['grpc-status'];
  };
  t.equal(await grpc(get, 'stuck', true), '4');
  t.equal(await grpc(get, 'w1', false), '4', 'a request that does not arrive');
  t.equal(await grpc(watch, 'quiet', true), '4', 'a stream has none unless the caller names one');
});

t.test('requests that do not arrive', async (t) => {
  const faces = await startFaces({ limits: { requestArrivalMs: 300, headersTimeoutMs: 200 } });
  t.teardown(faces.close);
  const session = http2.connect(faces.base);
  t.teardown(() => session.destroy());
  const stream = session.request({ ':method': 'POST', ':path': `/${get}`, 'content-type': 'application/grpc', te: 'trailers' });
  stream.write(Buffer.from([0, 0, 0, 0]));
  const [head] = await once(stream, 'response');
  t.match(head, { 'grpc-status': '4', 'grpc-message': /not%20arrive/ }, 'gRPC');
  stream.close();
  const socket = net.connect(faces.port, '127.0.0.1');
  socket.write('POST /workflows/from-yaml HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf');
  const [answer] = await once(socket, 'data');
  t.match(String(answer), /^HTTP\/1.1 408 /, 'HTTP/1.1');
  socket.destroy();
});

t.test('callers who go away', async (t) => {
  const faces = await startFaces();
  const grpc = await connectGrpc(`127.0.0.1:${faces.port}`);
  t.teardown(() => grpc.close());
  t.teardown(faces.close);
  const { ends } = faces.seen;
  const connect = createClient(WorkflowService, createConnectTransport({ baseUrl: faces.base, httpVersion: '1.1' }));
  const fetching = (path: string, init: RequestInit) => fetch(faces.base + path, init).then((response) => response.text());
  const unary: [string, (signal: AbortSignal) => Promise<unknown>][] = [
    ['REST', (signal) => fetching('/workflows/waits', { signal })],
    ['Connect', (signal) => connect.getWorkflow({ workflowId: 'waits' }, { signal })],
    ['gRPC', (signal) => grpc.call(get, { workflowId: 'waits' }, { signal })],
  ];
  for (const [name, call] of unary) {
    const calls = faces.seen.requests.length;
    const gone = ends.length;
    const control = new AbortController();
    const result = call(control.signal).catch(() => 'broken off');
    await until(() => faces.seen.requests.length > calls, 'the call has arrived');
    control.abort();
    t.equal(await result, 'broken off');
    await until(() => ends.length > gone, `${name}: the service is told`);
    t.equal(ends.at(-1), `aborted ${Code.Canceled}`, name);
  }
  const drain = async (items: AsyncIterable<unknown>) => {
    for await (const _ of items);
  };
  const streams: [string, (signal: AbortSignal) => Promise<unknown>][] = [
    ['REST', (signal) => fetching('/workflows/quiet/events', { signal })],
    ['Connect', (signal) => drain(connect.watchWorkflow({ workflowId: 'quiet' }, { signal }))],
    ['gRPC', (signal) => drain(grpc.stream(watch, { workflowId: 'quiet' }, { signal }))],
  ];
  for (const [name, call] of streams) {
    const calls = faces.seen.requests.length;
    const gone = ends.length;
    const control = new AbortController();
    const result = call(control.signal).catch(() => 'broken off');
    await until(() => faces.seen.requests.length > calls, 'the call has arrived');
    control.abort();
    t.equal(await result, 'broken off');
    await until(() => ends.length > gone, `${name}: the stream is left`);
  }
  await until(() => faces.seen.requests.length > 0, '');
  const metrics = await faces.metrics.metrics();
  for (const face of ['rest', 'connect', 'grpc']) t.match(metrics, `face="${face}",method="${watch}",code="canceled"} 1`);
  t.match(metrics, 'wf_api_open_streams 0');
  t.notOk(
    faces.seen.log.some((line) => line.level === 50),
    'that is no error of ours',
  );
});

t.test('readers who do not read', async (t) => {
  const faces = await startFaces();
  t.teardown(faces.close);
  const { seen } = faces;
  /** Waits until the stream asks for nothing more; gives how much it had asked for. */
  const settled = async () => {
    await until(() => seen.items > 0, 'the stream has begun');
    for (let before = -1; before !== seen.items; await delay(100)) before = seen.items;
    return seen.items;
  };
  const session = http2.connect(faces.base);
  t.teardown(() => session.destroy());
  const requestBytes = grpcFrame(toBinary(GetWorkflowRequestSchema, create(GetWorkflowRequestSchema, { workflowId: 'flood' })));
  const connectBytes = Buffer.from(JSON.stringify({ workflowId: 'flood' }));
  const plain = (head: string, body: Buffer = Buffer.alloc(0)) => {
    const socket = net.connect(faces.port, '127.0.0.1');
    socket.pause();
    socket.write(Buffer.concat([Buffer.from(`${head}\r\nHost: localhost\r\n\r\n`), body]));
    return { leave: () => socket.destroy(), read: () => socket.resume() };
  };
  const ways = {
    gRPC: () => {
      const stream = session.request({ ':method': 'POST', ':path': `/${watch}`, 'content-type': 'application/grpc', te: 'trailers' });
      stream.end(requestBytes);
      stream.on('error', () => {});
      return { leave: () => stream.close(http2.constants.NGHTTP2_CANCEL), read: () => stream.resume() };
    },
    'Server-Sent Events': () => plain('GET /workflows/flood/events HTTP/1.1'),
    Connect: () =>
      plain(
        `POST /${watch} HTTP/1.1\r\nContent-Type: application/connect+json\r\nContent-Length: ${connectBytes.length + 5}`,
        grpcFrame(connectBytes),
      ),
  };
  for (const [name, open] of Object.entries(ways)) {
    seen.items = 0;
    const gone = seen.ends.length;
    const reader = open();
    const items = await settled();
    t.ok(items < 400, `${name}: ${items} items of 50 kB are what buffers hold`);
    reader.read();
    await until(() => seen.items > items + 100, 'it goes on when it is read');
    reader.leave();
    await until(() => seen.ends.length > gone, `${name}: and ends when it is left`);
  }
});

t.test('streams at once', async (t) => {
  const faces = await startFaces({ limits: { streams: 2 } });
  const grpc = await connectGrpc(`127.0.0.1:${faces.port}`);
  t.teardown(() => grpc.close());
  t.teardown(faces.close);
  const first = grpc.stream(watch, { workflowId: 'quiet' });
  const second = grpc.stream(watch, { workflowId: 'quiet' });
  await first.next();
  await second.next();
  t.match(
    await grpc
      .stream(watch, { workflowId: 'three' })
      .next()
      .catch((error) => error),
    { code: 8, message: /2 streams are open/ },
  );
  const refused = await fetch(`${faces.base}/workflows/three/events`);
  t.equal(refused.status, 429);
  t.equal(refused.headers.get('retry-after'), '1');
  await first.return();
  await until(() => faces.seen.ends.length === 1, 'one is left');
  t.match((await grpc.stream(watch, { workflowId: 'three' }).next()).value, { event: { seq: '1' } });
  await second.return();
});

t.test('streams of one HTTP/2 connection', async (t) => {
  const faces = await startFaces();
  t.teardown(faces.close);
  const session = http2.connect(faces.base);
  t.teardown(() => session.destroy());
  await once(session, 'remoteSettings');
  const body = grpcFrame(toBinary(GetWorkflowRequestSchema, create(GetWorkflowRequestSchema, { workflowId: 'waits' })));
  const open = (timeout: string) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': `/${get}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      'grpc-timeout': timeout,
    });
    stream.on('error', () => {});
    stream.resume();
    stream.end(body);
  };
  for (let i = 0; i <= limits.http2Streams; i += 1) open(i === 0 ? '300m' : '10S');
  await until(() => faces.seen.requests.length === limits.http2Streams, 'a hundred calls have arrived');
  await new Promise((resolve) => session.ping((_, duration) => resolve(duration)));
  t.equal(faces.seen.requests.length, limits.http2Streams, 'the next one waits');
  await until(() => faces.seen.requests.length === limits.http2Streams + 1, 'until another has ended');
});

t.test('an answer of twenty megabytes', async (t) => {
  const faces = await startFaces();
  const grpc = await connectGrpc(`127.0.0.1:${faces.port}`);
  t.teardown(() => grpc.close());
  t.teardown(faces.close);
  const [rest, connect, viaGrpc] = await Promise.all([
    fetch(`${faces.base}/workflows/huge`).then((response) => response.text()),
    createClient(WorkflowService, createConnectTransport({ baseUrl: faces.base, httpVersion: '1.1', useBinaryFormat: true })).getWorkflow({
      workflowId: 'huge',
    }),
    grpc.call(get, { workflowId: 'huge' }),
  ]);
  t.ok(rest.length > 20_000_000);
  t.equal(String(connect.workflow?.inputs?.text).length, 20_000_000);
  t.equal((viaGrpc.workflow as { inputs: { text: string } }).inputs.text.length, 20_000_000);
});
