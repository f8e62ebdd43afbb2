/**
 * Two addresses of which one takes calls: clients, `wf` and workers find it, and find the other one when that takes over.
 */
import { WorkflowClient, type WorkflowEvent, workflow, workflowStatusName } from '@workflow-orchestrator/sdk';
import { createWorker } from '@workflow-orchestrator/worker';
import pino from 'pino';
import t from 'tap';
import { startCoordinator } from '../../coordinator/coordinator.ts';
import { MemoryStore } from '../../coordinator/store/memory/memory.ts';
import { runCli } from '../../sdk/cli/program.ts';
import type { Terminal } from '../../sdk/cli/terminal.ts';
import { until } from '../stream-support/gateway-server.ts';
import { openDoor } from './support/door.ts';

/** The one that takes calls, whichever address leads to it. */
const running = await startCoordinator({
  store: new MemoryStore(),
  host: '127.0.0.1',
  port: 0,
  grpcPort: null,
  advertiseUrl: null,
  token: null,
  version: '0.0.0',
  log: pino({ level: 'silent' }),
  onStopped: (reason) => {
    throw new Error(reason);
  },
});
t.teardown(() => running.close(1_000));
const direct = new WorkflowClient(`http://127.0.0.1:${running.port}`);
const waiting = workflow('waits').job('first', { type: 'nobody-does-this' });
const retry = { initialDelayMs: 10, maxDelayMs: 50 };

t.test('calls find the address that takes them, and stay with it', async (t) => {
  const [one, two] = [await openDoor(t), await openDoor(t)];
  await one.standBy();
  await two.lead(running.port);
  const client = new WorkflowClient([one.url, two.url], { retry });
  t.equal(client.address, one.url);
  t.equal((await client.info()).coordinatorId, running.id);
  t.equal(client.address, two.url);
  await client.info();
  t.equal(one.refused(), 1, 'asked once');

  // Whose key is in the file: not to be sent twice, but what stands by did nothing.
  await client.register(waiting);
  const once = { definitionName: 'waits' } as const;
  const submitted = new WorkflowClient(`${one.url},${two.url}`, { retry, timeoutMs: 5_000 }).submitWorkflow(once);
  t.equal((await submitted).name, 'waits');
  t.equal(one.refused(), 2);

  await two.standBy();
  await one.lead(running.port);
  t.equal((await client.info()).coordinatorId, running.id);
  t.equal(client.address, one.url, 'the other one took over');
  const gone = await openDoor(t);
  const third = new WorkflowClient([gone.url, one.url], { retry });
  t.equal((await third.submitWorkflow(once)).name, 'waits', 'a connection that was never made');
  t.equal(third.address, one.url);
});

t.test('a silent host and an answer that breaks off cost a read one try', async (t) => {
  const [one, two] = [await openDoor(t), await openDoor(t)];
  await two.lead(running.port);
  await one.freeze();
  const client = new WorkflowClient([one.url, two.url], { retry, timeoutMs: 2_000 });
  t.equal((await client.info()).coordinatorId, running.id);
  t.equal(client.address, two.url);
  await one.breakOff();
  const other = new WorkflowClient([one.url, two.url], { retry });
  t.equal((await other.info()).coordinatorId, running.id);
  const once = new WorkflowClient([one.url, two.url], { retry });
  await t.rejects(once.submitWorkflow({ definitionName: 'waits' }), {
    code: 'unavailable',
    message: new RegExp(`^the connection to ${one.url} broke \\(`),
  });
});

t.test('one that takes over while a call waits is found within its time', async (t) => {
  const [one, two] = [await openDoor(t), await openDoor(t)];
  await two.standBy();
  const client = new WorkflowClient([one.url, two.url], { retry: { ...retry, maxAttempts: 1_000 } });
  const answer = client.info();
  await until(() => two.refused() >= 3, 'rounds');
  await two.lead(running.port);
  t.equal((await answer).coordinatorId, running.id);
});

t.test('none: one error that names each address with its reason', async (t) => {
  const [one, two] = [await openDoor(t), await openDoor(t)];
  await two.standBy();
  const client = new WorkflowClient([one.url, two.url], { retry: { ...retry, maxAttempts: 2 } });
  const message = `no coordinator takes the call at any of 2 addresses: ${one.url}: connection refused; ${two.url}: this coordinator stands by`;
  await t.rejects(client.info(), { code: 'unavailable', message });
  t.equal(two.refused(), 2, 'two rounds');
  await t.rejects(client.watch('w1', { giveUpAfterMs: 0 }).next(), { code: 'unavailable' });
  t.throws(() => new WorkflowClient([]), { code: 'invalid_argument', message: /no address/ });
  t.throws(() => new WorkflowClient('http://a,b:1'), { code: 'invalid_argument', message: /"b:1"/ });
});

t.test('a call that was under way when its address died is sent again only if that is safe', async (t) => {
  const [one, two] = [await openDoor(t), await openDoor(t)];
  await one.lead(running.port);
  await two.lead(running.port);
  let sent = 0;
  // The answer of the first address is lost after the coordinator has sent it.
  const lossy: typeof fetch = async (input, init) => {
    const answer = await fetch(input, init);
    if (!String(input).startsWith(one.url)) return answer;
    sent += 1;
    await answer.arrayBuffer();
    throw new TypeError('fetch failed');
  };
  const client = () => new WorkflowClient([one.url, two.url], { fetch: lossy, retry });
  const before = await ids();
  const { id } = await client().submitWorkflow(waiting);
  t.same(await ids(), [id, ...before], 'with its key, one workflow');
  await t.rejects(client().submitWorkflow({ definitionName: 'waits' }), { code: 'unavailable' });
  t.equal((await ids()).length, before.length + 2, 'without a key it is not sent twice');
  t.equal(workflowStatusName((await client().cancel(id)).status), 'CANCELLED', 'ended by the try whose answer was lost');
  t.equal(sent, 3);
  const gone = await openDoor(t);
  const past = new WorkflowClient([gone.url, two.url], { retry });
  await t.rejects(past.start(id), { code: 'failed_precondition' }, 'the try that was refused did not end it');
});

t.test('a watch, a wait and logs go on at the other address, without a gap', async (t) => {
  const doors = [await openDoor(t), await openDoor(t)];
  await doors[0].lead(running.port);
  await doors[1].standBy();
  const client = new WorkflowClient(doors.map((door) => door.url));
  const { id } = await direct.submitAndStartWorkflow(waiting);
  const events: WorkflowEvent[] = [];
  const delays: number[] = [];
  const watching = (async () => {
    for await (const step of client.watch(id, { onReconnect: (_, delayMs) => delays.push(delayMs) }))
      if (step.kind === 'event') events.push(step.event);
  })();
  const ended = client.waitFor(id, { timeoutMs: 60_000 });
  const logs = (async () => {
    for await (const _ of client.logs(id, { follow: true })) t.fail('nobody wrote');
  })();
  for (let round = 0; round < 4; round += 1) {
    const { lastEventSeq } = await direct.get(id);
    await until(() => (events.at(-1)?.seq ?? 0n) >= lastEventSeq, 'the events until now');
    const [active, other] = round % 2 === 0 ? doors : [doors[1], doors[0]];
    const before = delays.length;
    await (round < 2 ? active.leave() : active.standBy());
    await until(() => delays.length > before, 'the break to be seen');
    if (round % 2 === 0) await direct.pause(id);
    else await direct.resume(id);
    await other.lead(running.port);
  }
  await direct.cancel(id);
  await Promise.all([watching, logs]);
  t.equal(workflowStatusName((await ended).status), 'CANCELLED');
  t.same(
    events.map((event) => event.seq),
    Array.from({ length: Number((await direct.get(id)).lastEventSeq) }, (_, index) => BigInt(index + 1)),
  );
  t.ok(delays.includes(0), 'the other address was tried at once');
});

t.test('wf works while one address is down, and says in one line why none answers', async (t) => {
  const [one, two] = [await openDoor(t), await openDoor(t)];
  await two.lead(running.port);
  const both = `${one.url},${two.url}`;
  const status = await wf(['status'], both);
  t.match(status, { code: 0, err: '' });
  t.match(status.out, two.url, 'the address in use');
  t.match(await wf(['status', '-u', one.url, '-u', two.url], 'http://127.0.0.1:1'), { code: 0 });
  await two.standBy();
  t.match(await wf(['list'], both), {
    code: 5,
    err: `wf: no coordinator takes the call at any of 2 addresses: ${one.url}: connection refused; ${two.url}: this coordinator stands by\n`,
  });
  t.match(await wf(['list', '-u', `${one.url},nowhere`], ''), { code: 2, err: /^wf: --coordinator-url: .*"nowhere" must be a URL/ });
});

t.test('a worker finds the address that takes it, and goes on at the other one', async (t) => {
  const [one, two] = [await openDoor(t), await openDoor(t)];
  await one.standBy();
  await two.lead(running.port);
  const connected: string[] = [];
  const worker = createWorker({
    url: `${one.url},${two.url}`,
    id: 'mover',
    log: { debug() {}, info() {}, warn() {}, error() {} },
    onEvent: (event) => {
      if (event.kind === 'connected') connected.push(new URL(event.url).host);
    },
  });
  const finish: (() => void)[] = [];
  let runs = 0;
  worker.handle('moves', () => {
    runs += 1;
    return new Promise((resolve) => finish.push(() => resolve('done')));
  });
  t.teardown(() => worker.stop({ graceMs: 0 }));
  await worker.start();
  t.same(connected, [new URL(two.url).host], 'past the one that stands by');
  const { id } = await direct.submitAndStartWorkflow(workflow('moves').job('a', { type: 'moves' }));
  await until(() => finish.length === 1, 'the job to run');
  await Promise.all([two.standBy(), one.lead(running.port)]);
  await until(() => connected.length === 2, 'the worker to move');
  t.equal(connected[1], new URL(one.url).host);
  finish[0]();
  t.equal(workflowStatusName((await direct.waitFor(id, { timeoutMs: 20_000 })).status), 'SUCCEEDED');
  t.equal(runs, 1, 'its attempt came along');
});

async function ids(): Promise<string[]> {
  const found = [];
  for await (const each of direct.list()) found.push(each.id);
  return found;
}

async function wf(argv: readonly string[], urls: string) {
  const written = { out: '', err: '' };
  const never = new AbortController().signal;
  const terminal: Terminal = {
    write: (text) => {
      written.out += text;
    },
    complain: (text) => {
      written.err += text;
    },
    readInput: async () => '',
    interactive: false,
    color: false,
    unicode: false,
    size: () => ({ columns: 120, rows: 40 }),
    env: { COORDINATOR_URL: urls },
    interrupted: never,
    forced: never,
  };
  return { code: await runCli(argv, terminal, '0.0.0'), ...written };
}
