/**
 * The worker stream over real sockets: what a wrong client gets, and what becomes of work when connections, workers and readers fail.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { ResultAck_Verdict } from '@workflow-orchestrator/proto';
import { createWorker, type WorkerEvent } from '@workflow-orchestrator/worker';
import t from 'tap';
import { WebSocket } from 'ws';
import { assignment, hello, json } from '../stream-support/frames.ts';
import { HandWorker, startGateway, until } from '../stream-support/gateway-server.ts';
import { startProxy } from '../stream-support/tcp-proxy.ts';

/** Limits of a test that cannot wait for seconds. */
const quick = { heartbeatIntervalMs: 100, suspectMs: 400, leaseMs: 800, reconnectGraceMs: 200 };
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** The HTTP answer to a request for the stream. */
async function refusalOf(
  port: number,
  protocol: string,
  token: string,
): Promise<{ status: number; retryAfter: string | null; body: { code: string; message: string } }> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/workers`, protocol === '' ? [] : [protocol], {
    headers: { Authorization: `Bearer ${token}` },
  });
  socket.on('error', () => {});
  const [, response] = await once(socket, 'unexpected-response');
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, retryAfter: response.headers['retry-after'] ?? null, body: JSON.parse(body) };
}

t.test('who may not come in is told why, over HTTP (R1, R2)', async (t) => {
  const server = await startGateway(0, { authenticate: (token) => token === 'secret', limits: { handshakesPerSecond: 1 } });
  const wrong = await refusalOf(server.port, 'workflow.worker.v1', 'guess');
  t.match(wrong, { status: 401, body: { code: 'unauthenticated', message: /Authorization: Bearer/ } });
  const other = await refusalOf(server.port, 'chat', 'secret');
  t.match(other, { status: 400, body: { code: 'invalid_argument', message: /workflow\.worker\.v1/ } });
  const first = await new HandWorker(server.port, 'secret').opened();
  const second = await refusalOf(server.port, 'workflow.worker.v1', 'secret');
  t.match(second, { status: 503, retryAfter: '1', body: { code: 'unavailable', message: /too many new connections/ } });
  first.send(hello());
  await first.line(/^welcome/);
  await server.close();
});

t.test('a worker with a wrong token keeps trying, and says why it cannot', async (t) => {
  const server = await startGateway(0, { authenticate: (token) => token === 'secret' });
  const said: string[] = [];
  const worker = createWorker({ url: server.url, token: 'guess', log: { ...silent, warn: (message) => said.push(message) } });
  worker.handle('noop', () => null);
  const started = t.rejects(worker.start(), /ended before a coordinator took it/);
  await until(() => said.length > 0, 'a warning');
  t.match(said[0], /refused with HTTP 401: the header 'Authorization: Bearer <token>' is missing or its token is not valid here/);
  await worker.stop();
  await started;
  await server.close();
});

t.test('wrong frames: bytes, text, too large, unknown fields, no Hello (R3, R4, R7, R8, R10)', async (t) => {
  const server = await startGateway(0, { limits: { helloTimeoutMs: 100, frameBytes: 10_000, frameEntries: 100 } });

  const garbage = await new HandWorker(server.port).opened();
  garbage.socket.send(Buffer.from('not a frame'));
  t.match(await garbage.line(/^error/), /fatal BAD_FRAME: the bytes are no WorkerFrame/);
  t.equal(await garbage.line(/^closed/), 'closed 1008');

  const mute = await new HandWorker(server.port).opened();
  t.match(await mute.line(/^error/), /fatal UNEXPECTED_FRAME: no hello within 100 ms/);
  t.equal(await mute.line(/^closed/), 'closed 4004');

  const worker = await new HandWorker(server.port).opened();
  worker.send(hello());
  await worker.line(/^welcome/);
  worker.socket.send('text');
  t.equal(await worker.line(/^error/), 'error BAD_FRAME: a text message came; frames are binary');
  // seq 2, ack 0, and a body with the number 1000 that nobody knows yet.
  worker.socket.send(Buffer.from([0x08, 0x02, 0xc2, 0x3e, 0x01, 0x00]));
  t.match(await worker.line(/^error/), /UNEXPECTED_FRAME: frame 2 has no body/);
  // seq 3, and results with ten thousand empty entries.
  const bomb = Buffer.concat([Buffer.from([0x08, 0x03, 0x3a, 0xc0, 0x25]), Buffer.alloc(4_800, Buffer.from([0x0a, 0x00]))]);
  worker.socket.send(bomb);
  t.equal(await worker.line(/^error/), 'error BAD_FRAME: a frame holds at most 100 entries');
  // seq 4 and an empty heartbeat, with a field inside and one outside that nobody knows.
  worker.socket.send(Buffer.from([0x08, 0x04, 0x32, 0x03, 0xa0, 0x06, 0x01, 0xf8, 0x06, 0x01]));
  t.equal(await worker.line(/^reply/), 'reply', 'unknown fields are ignored, the session lives');
  let reason = '';
  worker.socket.once('close', (_code, words) => {
    reason = words.toString();
  });
  worker.socket.send(Buffer.alloc(10_001));
  t.equal(await worker.line(/^closed/), 'closed 1009');
  await null;
  t.equal(reason, 'a frame has at most 10000 bytes');
  await server.close();
});

t.test('one worker id, two connections: taken over by the same process, refused to another (R13)', async (t) => {
  const server = await startGateway(0);
  const first = await new HandWorker(server.port).opened();
  first.send(hello());
  await first.line(/^welcome/);
  const stranger = await new HandWorker(server.port).opened();
  stranger.send(hello({ instanceId: 'i2' }));
  t.match(await stranger.line(/^error/), /fatal WORKER_ID_TAKEN/);
  t.equal(await stranger.line(/^closed/), 'closed 1008');
  const second = await new HandWorker(server.port).opened();
  second.send(hello({ connection: 2n }));
  await second.line(/^welcome/);
  t.equal(await first.line(/^closed/), 'closed 4001');
  t.equal(server.gateway.workers().length, 1);
  second.socket.close(1000);
  await until(() => server.gateway.workers().length === 0, 'the farewell');
  t.same(server.shard.violations, []);
  await server.close();
});

t.test('a connection that breaks for a second: the result is delivered once (R33, R40)', async (t) => {
  const server = await startGateway(1);
  const proxy = await startProxy(server.port);
  let runs = 0;
  let finish = () => {};
  const events: WorkerEvent[] = [];
  const worker = createWorker({ url: `http://127.0.0.1:${proxy.port}`, log: silent, onEvent: (event) => void events.push(event) });
  worker.handle('noop', async () => {
    runs += 1;
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    return 'done';
  });
  await worker.start();
  await until(() => runs === 1, 'the job runs');
  proxy.cut();
  await until(() => events.some(({ kind }) => kind === 'disconnected'), 'the worker notices');
  finish();
  setTimeout(() => proxy.mend(), 1_000);
  await until(() => server.shard.isDone, 'the job ends');
  t.equal(runs, 1);
  t.same([...server.shard.verdicts.values()], [[ResultAck_Verdict.ACCEPTED]]);
  await until(() => worker.state().resultsWaiting === 0, 'the ack');
  await worker.drain();
  t.same(server.shard.violations, []);
  await proxy.close();
  await server.close();
});

t.test(
  'a connection that is gone for longer than the leases: stale results are forgotten, running attempts abandoned (R15, R41, R42)',
  async (t) => {
    const server = await startGateway(2, { limits: quick });
    const proxy = await startProxy(server.port);
    const handlers: { finish: () => void; signal: AbortSignal }[] = [];
    const worker = createWorker({ url: `http://127.0.0.1:${proxy.port}`, slots: 2, log: silent, limits: { reconnectMaxMs: 200 } });
    worker.handle('noop', (_job, { signal }) => new Promise((resolve) => handlers.push({ finish: () => resolve('done'), signal })));
    await worker.start();
    await until(() => handlers.length === 2, 'both jobs run');
    proxy.cut();
    await until(() => server.gateway.workers().length === 0, 'the grace passes');
    handlers[0]!.finish();
    await until(() => worker.state().resultsWaiting === 1, 'the result waits');
    proxy.mend();
    await until(() => handlers.length >= 3, 'a job is given again');
    await until(() => worker.state().resultsWaiting === 0, 'the old result is judged');
    t.ok(handlers[1]!.signal.aborted, 'the attempt that still ran was told to stop');
    t.match(handlers[1]!.signal.reason, { name: 'CancelledError', message: /its lease is gone/ });
    handlers[1]!.finish();
    await until(() => handlers.length === 4, 'the other one too');
    for (const { finish } of handlers) finish();
    await until(() => server.shard.isDone, 'both end');
    t.ok([...server.shard.verdicts.values()].flat().includes(ResultAck_Verdict.STALE));
    await worker.drain();
    t.same(server.shard.violations, []);
    await proxy.close();
    await server.close();
  },
);

t.test('a connection that stands and lets nothing through: both ends give it up (R31, R32)', async (t) => {
  const server = await startGateway(0, { limits: quick });
  const proxy = await startProxy(server.port);
  const said: string[] = [];
  const worker = createWorker({
    url: `http://127.0.0.1:${proxy.port}`,
    log: { ...silent, warn: (message) => said.push(message) },
    limits: { reconnectMaxMs: 200, connectTimeoutMs: 300 },
  });
  worker.handle('noop', () => null);
  await worker.start();
  proxy.freeze();
  await until(() => server.notes.some((note) => /lost: silent for 800 ms/.test(note)), 'the coordinator gives up');
  await until(() => said.some((line) => /nothing heard for 800 ms/.test(line)), 'the worker gives up');
  proxy.mend();
  await until(() => server.gateway.workers().length === 1, 'it is back');
  t.same(server.shard.violations, []);
  await worker.stop();
  await proxy.close();
  await server.close();
});

t.test('SIGTERM: takes nothing more, finishes, delivers, ends with 0 (R51)', async (t) => {
  const server = await startGateway(4);
  const program = new URL('../fixtures/worker-stream/draining-worker.ts', import.meta.url);
  const env = { ...process.env, COORDINATOR_URL: server.url, WORKER_ID: 'drains', JOB_MS: '300' };
  const child = fork(program, { env, execArgv: ['--conditions=workflow-orchestrator'] });
  let started = 0;
  child.on('message', (kind) => {
    if (kind === 'attemptStarted') started += 1;
  });
  await until(() => started === 2, 'two jobs run');
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  t.equal(code, 0);
  t.equal(server.shard.jobs.filter(({ doneBy }) => doneBy !== null).length, 2);
  t.equal(started, 2);
  t.ok(server.notes.some((note) => /worker drains: ended/.test(note)));
  t.same(server.gateway.workers(), []);
  await server.close();
});

t.test('a worker that does not read is dropped, the others go on', async (t) => {
  const server = await startGateway(0, { limits: { outboundDropBytes: 1024 * 1024 } });
  const slow = await new HandWorker(server.port).opened();
  slow.send(hello({ slots: 10_000 }));
  await slow.line(/^welcome/);
  const other = await new HandWorker(server.port).opened();
  other.send(hello({ workerId: 'w2' }));
  await other.line(/^welcome/);
  slow.socket.pause();
  const data = json('x'.repeat(200_000));
  slow.send({ case: 'credit', value: { granted: 1_000n } });
  const many = Array.from({ length: 40 }, (_, i) => assignment(`big${i}`, { parameters: { data } }));
  await until(() => server.shard.roomOf('w1') > 0, 'its credit');
  server.shard.outboxOf('w1')?.assign(many);
  await until(() => server.notes.some((note) => /worker w1: connection dropped: \d+ bytes wait for it/.test(note)), 'it is dropped');
  other.send({ case: 'heartbeat', value: {} });
  t.equal(await other.line(/^reply/), 'reply');
  slow.socket.terminate();
  other.socket.terminate();
  await server.close();
});

t.test('the coordinator ends: GoAway, time to move, and then the rest is closed (R53)', async (t) => {
  const next = await startGateway(1);
  const leaving = await startGateway(1, { coordinatorUrls: () => [`ws://127.0.0.1:${next.port}/workers`] });
  let calls = 0;
  const worker = createWorker({ url: leaving.url, log: silent, slots: 1 });
  worker.handle('noop', async (_job, { signal }) => {
    calls += 1;
    // The first one runs until it is abandoned: the other coordinator knows nothing of it.
    if (calls === 1) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    return 'done';
  });
  await worker.start();
  await until(() => worker.state().running === 1, 'a job runs');
  const stubborn = await new HandWorker(leaving.port).opened();
  stubborn.send(hello());
  await stubborn.line(/^welcome/);
  const closing = leaving.gateway.close({ reason: 'restart', withinMs: 500 });
  await stubborn.line(/^goAway \(restart\)/);
  await until(() => next.gateway.workers().length === 1, 'the worker moves');
  t.equal(await stubborn.line(/^closed/), 'closed 1012', 'the one that did not move is closed');
  await closing;
  await until(() => next.shard.isDone, 'it works where it is now');
  await worker.stop();
  for (const server of [next, leaving]) await server.close();
});

t.test('log lines and progress reach the other end', async (t) => {
  const server = await startGateway(1, { limits: quick });
  const worker = createWorker({ url: server.url, log: silent });
  worker.handle('noop', (_job, context) => {
    context.log.info('half way', { rows: 5 });
    context.progress(0.5, 'half');
    return null;
  });
  await worker.start();
  await until(() => server.shard.isDone, 'the job ends');
  t.match(server.lines, [{ message: 'half way {"rows":5}', number: 1 }]);
  await worker.stop();
  await server.close();
});
