/** Workers that die, are told to end, or are cut off while they run a job. */

import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';
import { Job_Status, Workflow_Status } from '@workflow-orchestrator/proto';
import t, { type Test } from 'tap';
import { eventually, startCoordinator, testWorkers } from './support/system.ts';

const sleeper = (ms: number, thenMs = ms) =>
  `workflow: { name: sleeper, jobs: [{ id: nap, type: sleep, parameters: { ms: ${ms}, thenMs: ${thenMs} } }] }`;

t.test('kill -9 of a worker that runs a job: the job runs again elsewhere', async (t) => {
  const { client, url } = await startCoordinator(t);
  const workers = testWorkers(t, t.testdir());
  const first = await workers.start(url, 'w1');
  const { id } = await client.submitAndStartWorkflow({ yaml: sleeper(60_000, 10) });
  await eventually('the job starts', () => workers.lines().some(({ what }) => what === 'start'));
  await workers.start(url, 'w2');
  first.child.kill('SIGKILL');
  const workflow = await client.waitFor(id, { timeoutMs: 20_000 });
  t.equal(workflow.status, Workflow_Status.SUCCEEDED);
  const attempts = await client.attempts(id, 'nap');
  t.same(
    attempts.map(({ workerId, error }) => [workerId, error?.code]),
    [
      ['w1', 'WORKER_LOST'],
      ['w2', undefined],
    ],
  );
});

t.test('a job that says max_attempts: 1 is not run twice, whatever happens to its worker', async (t) => {
  const { client, url } = await startCoordinator(t);
  const workers = testWorkers(t, t.testdir());
  const first = await workers.start(url, 'w1');
  const yaml = 'workflow: { name: once, jobs: [{ id: nap, type: sleep, retry: { max_attempts: 1 }, parameters: { ms: 60000 } }] }';
  const { id } = await client.submitAndStartWorkflow({ yaml });
  await eventually('the job starts', () => workers.lines().length === 1);
  await workers.start(url, 'w2');
  first.child.kill('SIGKILL');
  const workflow = await client.waitFor(id, { timeoutMs: 20_000 });
  t.equal(workflow.status, Workflow_Status.FAILED);
  t.equal(workflow.error?.code, 'WORKER_LOST');
  t.equal(workers.lines().length, 1);
});

t.test('a job that ends its worker at once has had its attempt: max_attempts: 1 holds', async (t) => {
  const { client, url } = await startCoordinator(t);
  const workers = testWorkers(t, t.testdir());
  await workers.start(url, 'w1');
  await workers.start(url, 'w2');
  const yaml = 'workflow: { name: poison, jobs: [{ id: boom, type: crash, retry: { max_attempts: 1 } }] }';
  const { id } = await client.submitAndStartWorkflow({ yaml });
  const workflow = await client.waitFor(id, { timeoutMs: 20_000 });
  t.equal(workflow.status, Workflow_Status.FAILED);
  t.equal(workflow.error?.code, 'WORKER_LOST');
  t.equal(workers.lines().length, 1, 'it ran once');
});

t.test('SIGTERM of a worker loses and repeats nothing', async (t) => {
  const { client, url } = await startCoordinator(t);
  const workers = testWorkers(t, t.testdir());
  const first = await workers.start(url, 'w1');
  const started = await Promise.all(Array.from({ length: 8 }, () => client.submitAndStartWorkflow({ yaml: sleeper(3_000) })));
  await eventually('all jobs run', () => workers.lines().length === 8);
  await workers.start(url, 'w2');
  first.child.kill('SIGTERM');
  const late = await client.submitAndStartWorkflow({ yaml: sleeper(10) });
  for (const { id } of [...started, late]) t.equal((await client.waitFor(id, { timeoutMs: 20_000 })).status, Workflow_Status.SUCCEEDED);
  t.equal(await first.exited, 0);
  const ends = workers.lines().filter(({ what }) => what === 'end');
  t.equal(ends.length, 9, 'each job ran once');
  t.equal(ends.filter(({ worker }) => worker === 'w1').length, 8, 'what ran there ended there');
  t.equal(ends.find(({ workflow }) => workflow === late.id)?.worker, 'w2', 'what came later went elsewhere');
});

/** A TCP proxy that can be cut and healed. */
async function proxy(t: Test, port: number) {
  const sockets = new Set<Socket>();
  let open = true;
  const server = createServer((client) => {
    if (!open) return client.destroy();
    const upstream = connect(port, '127.0.0.1');
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    open = false;
    for (const socket of sockets) socket.destroy();
  };
  t.teardown(() => {
    cut();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, cut, heal: () => (open = true) };
}

t.test('a worker that is cut off and back within the grace delivers its result once', async (t) => {
  const { client, port } = await startCoordinator(t);
  const link = await proxy(t, port);
  const workers = testWorkers(t, t.testdir());
  await workers.start(link.url, 'w1');
  const { id } = await client.submitAndStartWorkflow({ yaml: sleeper(600) });
  await eventually('the job starts', () => workers.lines().length === 1);
  link.cut();
  await eventually('the job ends while its worker is cut off', () => workers.lines().length === 2);
  link.heal();
  const workflow = await client.waitFor(id, { timeoutMs: 20_000 });
  t.equal(workflow.status, Workflow_Status.SUCCEEDED);
  t.equal((await client.attempts(id, 'nap')).length, 1);
  t.equal(workers.lines().length, 2, 'it ran once');
});

t.test('a worker that is back too late is told STALE, and the other attempt counts', async (t) => {
  const { client, port, url } = await startCoordinator(t);
  const link = await proxy(t, port);
  const workers = testWorkers(t, t.testdir());
  await workers.start(link.url, 'w1');
  const { id } = await client.submitAndStartWorkflow({ yaml: sleeper(1_500, 4_000) });
  await eventually('the job starts', () => workers.lines().length === 1);
  link.cut();
  await workers.start(url, 'w2');
  await eventually(
    'the lease is revoked and the job is offered again',
    async () => (await client.job(id, 'nap')).status === Job_Status.RUNNING && (await client.job(id, 'nap')).workerId === 'w2',
  );
  await eventually('the first attempt has ended and its result waits', () =>
    workers.lines().some(({ what, worker }) => what === 'end' && worker === 'w1'),
  );
  link.heal();
  const workflow = await client.waitFor(id, { timeoutMs: 20_000 });
  t.equal(workflow.status, Workflow_Status.SUCCEEDED);
  t.equal(workflow.jobs[0]?.workerId, 'w2');
  const refused = await eventually('the late result is refused', async () => {
    const text = await (await fetch(`${url}/metrics`)).text();
    return /wf_results_refused_total\{verdict="(\w+)"\} 1/.exec(text)?.[1];
  });
  t.equal(refused, 'stale');
});
