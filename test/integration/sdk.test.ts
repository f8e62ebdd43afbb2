/**
 * The client library against a real coordinator over real sockets, with connections that break.
 */
import { readFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { WorkflowClient, type WorkflowEvent, workflow, workflowStatusName } from '@workflow-orchestrator/sdk';
import pino from 'pino';
import t from 'tap';
import { type RunningCoordinator, startCoordinator } from '../../coordinator/coordinator.ts';
import { MemoryStore } from '../../coordinator/store/memory/memory.ts';
import { ROOT } from '../repo/source.ts';

async function coordinator(token: string | null = null): Promise<RunningCoordinator> {
  const store = new MemoryStore();
  return startCoordinator({
    store,
    host: '127.0.0.1',
    port: 0,
    grpcPort: null,
    advertiseUrl: null,
    token,
    version: '0.0.0',
    log: pino({ level: 'silent' }),
    onStopped: (reason) => {
      throw new Error(reason);
    },
  });
}

/** A way to the coordinator that can be cut: what is open breaks, what is new is refused until it is mended. */
async function cuttable(port: number) {
  const open = new Set<Socket>();
  let whole = true;
  const server: Server = createServer((socket) => {
    if (!whole) return void socket.destroy();
    const onward = connect(port, '127.0.0.1');
    for (const each of [socket, onward]) {
      open.add(each);
      each.on('error', () => each.destroy());
      each.on('close', () => {
        open.delete(each);
        socket.destroy();
        onward.destroy();
      });
    }
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    cut() {
      whole = false;
      for (const socket of open) socket.destroy();
    },
    mend() {
      whole = true;
    },
    close: () => {
      for (const socket of open) socket.destroy();
      return new Promise((done) => server.close(done));
    },
  };
}

const waiting = workflow('waits', { inputs: { n: { type: 'integer', default: 1 } } })
  .job('first', { type: 'nobody-does-this' })
  .job('last', { type: 'nobody-does-this', needs: 'first' });

t.test('the whole API over a socket', async (t) => {
  const running = await coordinator('secret');
  t.teardown(() => running.close(1_000));
  const address = `http://127.0.0.1:${running.port}`;
  const client = new WorkflowClient(address, { token: 'secret' });
  await t.rejects(new WorkflowClient(address).info(), { code: 'unauthenticated' });
  await t.rejects(new WorkflowClient(address, { token: 'wrong' }).info(), { code: 'unauthenticated' });
  t.equal((await client.info()).coordinatorId, running.id);

  const submitted = await client.submitWorkflow(waiting, { inputs: { n: 2 }, labels: { team: 'a' } });
  t.match(submitted, { name: 'waits', inputs: { n: 2 }, labels: { team: 'a' } });
  t.equal(workflowStatusName(submitted.status), 'PENDING');
  t.equal(workflowStatusName((await client.start(submitted.id)).status), 'RUNNING');
  t.equal(workflowStatusName((await client.pause(submitted.id)).status), 'PAUSED');
  t.equal(workflowStatusName((await client.resume(submitted.id)).status), 'RUNNING');
  const jobs = [];
  for await (const job of client.jobs(submitted.id, { pageSize: 1 })) jobs.push(job.id);
  t.same(jobs, ['first', 'last']);
  t.equal((await client.job(submitted.id, 'last')).type, 'nobody-does-this');
  t.same(await client.attempts(submitted.id, 'first'), []);

  const { definition, existed } = await client.register(waiting);
  t.equal(existed, false, 'a submit registers nothing');
  t.equal((await client.register(waiting)).existed, true);
  t.equal(definition.hash, submitted.definitionHash);
  t.equal((await client.definition(definition.hash)).jobs.length, 2);
  const byName = await client.submitAndStartWorkflow({ definitionName: 'waits' });
  t.equal(byName.definitionHash, definition.hash);
  const names = [];
  for await (const each of client.definitions({ name: 'waits' })) names.push(each.name);
  t.same(names, ['waits']);
  t.match(await client.validate('workflow: { nam: x }\n'), { valid: false });
  const refused = await client.submitWorkflow({ yaml: 'workflow: { nam: x }' }).catch((error) => error);
  t.match(refused, { name: 'WorkflowError', code: 'invalid_argument' });
  t.ok(refused.problems.length > 1);

  const batch = await client.submitBatch([{ source: waiting, labels: { n: '1' } }, { source: { definitionName: 'nothing' } }]);
  t.match(batch, [{ kind: 'accepted' }, { kind: 'refused', code: 'not_found' }]);
  const found = [];
  for await (const each of client.list({ name: 'waits', labels: { team: 'a' }, pageSize: 1 })) found.push(each.id);
  t.same(found, [submitted.id]);
  t.equal((await client.listPage({ pageSize: 2 })).items.length, 2);

  const ended = client.waitFor(submitted.id, { timeoutMs: 10_000 });
  t.ok((await client.cancel(submitted.id, { reason: 'enough', force: true })).cancelRequested);
  t.equal(workflowStatusName((await ended).status), 'CANCELLED');
  t.equal(workflowStatusName((await client.waitFor(submitted.id, { until: 'CANCELLED' })).status), 'CANCELLED');
  await t.rejects(client.start(submitted.id), { code: 'failed_precondition' });
  await t.rejects(client.get('nothing'), { code: 'not_found', resource: { type: 'workflow', name: 'nothing' } });
  for await (const _ of client.logs(submitted.id, { follow: true })) t.fail('nobody wrote');
  for await (const _ of client.workers()) t.fail('nobody is connected');
  await t.rejects(client.drainWorker('nobody'), { code: 'not_found' });
});

t.test('a submit that is repeated makes one workflow', async (t) => {
  const running = await coordinator();
  t.teardown(() => running.close(1_000));
  let calls = 0;
  // The answer to the first try is lost after the coordinator has sent it.
  const lossy: typeof fetch = async (input, init) => {
    const answer = await fetch(input, init);
    calls += 1;
    if (calls > 1) return answer;
    await answer.arrayBuffer();
    throw new TypeError('fetch failed');
  };
  const client = new WorkflowClient(`http://127.0.0.1:${running.port}`, { fetch: lossy });
  const submitted = await client.submitWorkflow(waiting);
  t.equal(calls, 2);
  const all = [];
  for await (const each of client.list()) all.push(each.id);
  t.same(all, [submitted.id]);
});

t.test('a watch goes on over broken connections without a gap', async (t) => {
  const running = await coordinator();
  const way = await cuttable(running.port);
  t.teardown(async () => {
    await way.close();
    await running.close(1_000);
  });
  const direct = new WorkflowClient(`http://127.0.0.1:${running.port}`);
  const client = new WorkflowClient(way.url);
  const { id } = await direct.submitAndStartWorkflow(waiting);
  const events: WorkflowEvent[] = [];
  let broken = 0;
  const watching = (async () => {
    for await (const step of client.watch(id, { onReconnect: () => (broken += 1) })) if (step.kind === 'event') events.push(step.event);
  })();
  for (let round = 0; round < 4; round += 1) {
    const { lastEventSeq } = await direct.get(id);
    await until(() => (events.at(-1)?.seq ?? 0n) >= lastEventSeq);
    way.cut();
    const before = broken;
    await until(() => broken > before);
    if (round % 2 === 0) await direct.pause(id);
    else await direct.resume(id);
    way.mend();
  }
  await direct.cancel(id);
  await watching;
  const { lastEventSeq } = await direct.get(id);
  t.same(
    events.map((event) => event.seq),
    Array.from({ length: Number(lastEventSeq) }, (_, index) => BigInt(index + 1)),
  );
  t.equal(events.at(-1)?.kind.case, 'ended');
  t.ok(broken >= 4);
  for await (const _ of client.watch(id, { afterSeq: lastEventSeq })) t.fail('there is nothing after the end');
});

t.test('breaking off a watch leaves nothing open', async (t) => {
  const running = await coordinator();
  const client = new WorkflowClient(`http://127.0.0.1:${running.port}`);
  const { id } = await client.submitAndStartWorkflow(waiting);
  for await (const _ of client.watch(id)) break;
  const abort = new AbortController();
  const watch = client.watch(id, { signal: abort.signal });
  await watch.next();
  setImmediate(() => abort.abort());
  await t.rejects(
    (async () => {
      for await (const _ of watch);
    })(),
    { code: 'canceled' },
  );
  // A stream that was still open would hold this up until its deadline.
  await running.close(10_000);
});

t.test('a bundle for browsers needs nothing of Node', async (t) => {
  const seen = new Set<string>();
  const queue = [join(ROOT, 'sdk/index.ts')];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    const text = readFileSync(file, 'utf8');
    for (const [, specifier] of text.matchAll(/^(?:import|export)[^'"]*? from '([^']+)'/gm)) {
      t.notOk(specifier.startsWith('node:'), `${file} imports ${specifier}`);
      if (specifier.startsWith('.')) queue.push(resolve(dirname(file), specifier));
      if (specifier === '@workflow-orchestrator/proto') queue.push(join(ROOT, 'proto/index.ts'));
      if (specifier.startsWith('@workflow-orchestrator/proto/')) queue.push(join(ROOT, `proto/${specifier.slice(29)}.ts`));
      t.notOk(specifier.startsWith('@workflow-orchestrator/engine'), 'the compiler stays out of the bundle');
    }
    t.notOk(/\bimport\(/.test(text), `${file} loads nothing later`);
  }
  t.ok(seen.size > 15);
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((done) => setTimeout(done, 5));
}
