/**
 * What a call costs the coordinator, face by face: CPU time of the server's process for each call, with a service that does nothing.
 *
 *   node --conditions=workflow-orchestrator test/bench/faces.ts [calls]
 *
 * The server runs in a process of its own, so that the client's time is not counted; 32 calls are under way at once.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import grpc from '@grpc/grpc-js';
import { GetWorkflowRequestSchema, SubmitWorkflowRequestSchema } from '@workflow-orchestrator/proto';
import { startFaces } from '../integration/support/faces.ts';
import { grpcFrame } from '../integration/support/grpc-client.ts';

const inFlight = 32;

if (process.argv[2] === 'serve') await serve();
else await measure(Number(process.argv[2] ?? 20_000));

async function serve(): Promise<void> {
  const faces = await startFaces();
  process.on('message', (message) => {
    if (message === 'end') process.exit();
    faces.seen.requests.length = 0;
    process.send?.(process.cpuUsage());
  });
  process.send?.(faces.port);
}

async function measure(calls: number): Promise<void> {
  const child = fork(import.meta.filename, ['serve'], { execArgv: ['--conditions=workflow-orchestrator'] });
  const [port] = (await once(child, 'message')) as [number];
  const cpuUs = async () => {
    child.send('cpu');
    const [{ user, system }] = (await once(child, 'message')) as [NodeJS.CpuUsage];
    return user + system;
  };
  for (const [name, { perCall, call }] of Object.entries(scenarios(port))) {
    const run = async (count: number) => {
      let left = count;
      await Promise.all(
        Array.from({ length: inFlight }, async () => {
          while (left-- > 0) await call();
        }),
      );
    };
    await run(calls / 4);
    const before = await cpuUs();
    const startedAt = performance.now();
    await run(calls);
    const elapsedMs = performance.now() - startedAt;
    const perCallUs = (await cpuUs()) / (calls * perCall) - before / (calls * perCall);
    console.log(
      `${name.padEnd(34)} ${perCallUs.toFixed(1).padStart(7)} us CPU   ${((calls * perCall * 1000) / elapsedMs).toFixed(0).padStart(7)} /s`,
    );
  }
  child.send('end');
  await once(child, 'exit');
  process.exit();
}

/** Each scenario: one call of the client, and how many units of work it is. */
function scenarios(port: number): Record<string, { perCall: number; call: () => Promise<unknown> }> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: inFlight });
  const request = (method: string, path: string, headers: http.OutgoingHttpHeaders = {}, body: Buffer | string = '') =>
    new Promise<void>((resolve, reject) => {
      const sent = http.request(
        { host: '127.0.0.1', port, agent, method, path, headers: { ...headers, 'content-length': Buffer.byteLength(body) } },
        (response) => {
          response
            .resume()
            .on('end', () => (response.statusCode === 200 ? resolve() : reject(new Error(`${path}: ${response.statusCode}`))));
        },
      );
      sent.on('error', reject).end(body);
    });

  const get = '/workflow.v1.WorkflowService/GetWorkflow';
  const submit = '/workflow.v1.WorkflowService/SubmitWorkflow';
  const submitRequest = create(SubmitWorkflowRequestSchema, {
    source: { case: 'definitionName', value: 'etl' },
    inputs: { a: 1, b: 'x'.repeat(150) },
    start: true,
    idempotencyKey: 'k1',
  });
  const submitBytes = Buffer.from(toBinary(SubmitWorkflowRequestSchema, submitRequest));
  const submitJson = JSON.stringify({ definitionName: 'etl', inputs: submitRequest.inputs, start: true, idempotencyKey: 'k1' });
  const getBytes = Buffer.from(toBinary(GetWorkflowRequestSchema, create(GetWorkflowRequestSchema, { workflowId: 'w1' })));

  const channel = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  const same = (bytes: Buffer) => bytes;
  const unary = (path: string, bytes: Buffer) =>
    new Promise<void>((resolve, reject) =>
      channel.makeUnaryRequest(path, same, same, bytes, (error) => (error === null ? resolve() : reject(error))),
    );

  const session = http2.connect(`http://127.0.0.1:${port}`);
  const rawUnary = (path: string, framed: Buffer) =>
    new Promise<void>((resolve, reject) => {
      const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' });
      stream.on('error', reject).on('end', resolve).resume();
      stream.end(framed);
    });
  const json = { 'content-type': 'application/json' };
  const proto = { 'content-type': 'application/proto' };
  return {
    'REST GET /healthz': { perCall: 1, call: () => request('GET', '/healthz') },
    'REST GetWorkflow': { perCall: 1, call: () => request('GET', '/workflows/w1') },
    'REST SubmitWorkflow, JSON': { perCall: 1, call: () => request('POST', '/workflows', json, submitJson) },
    'REST SubmitWorkflow, YAML': {
      perCall: 1,
      call: () => request('POST', '/workflows/from-yaml?start=true', { 'content-type': 'text/plain' }, 'x'.repeat(300)),
    },
    'Connect GetWorkflow, JSON': { perCall: 1, call: () => request('POST', get, json, '{"workflowId":"w1"}') },
    'Connect GetWorkflow, binary': { perCall: 1, call: () => request('POST', get, proto, getBytes) },
    'Connect SubmitWorkflow, binary': { perCall: 1, call: () => request('POST', submit, proto, submitBytes) },
    'Connect GetWorkflow, by GET': {
      perCall: 1,
      call: () => request('GET', `${get}?connect=v1&encoding=json&message=${encodeURIComponent('{"workflowId":"w1"}')}`),
    },
    'gRPC GetWorkflow, grpc-js client': { perCall: 1, call: () => unary(get, getBytes) },
    'gRPC SubmitWorkflow, grpc-js client': { perCall: 1, call: () => unary(submit, submitBytes) },
    'gRPC GetWorkflow, plain client': { perCall: 1, call: () => rawUnary(get, grpcFrame(getBytes)) },
    'SSE, a call of three items': { perCall: 1, call: () => request('GET', '/workflows/three/events') },
  };
}
