/** The stock worker as people start it: settings, the README's example, signals. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t from 'tap';

const root = join(import.meta.dirname, '../..');

/** A program of the project and all that it wrote. */
interface Program {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
}

function start(t: { teardown(fn: () => void): void }, args: readonly string[], env: Record<string, string>): Program {
  const child = spawn(process.execPath, [...args], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let text = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding('utf8').on('data', (part: string) => (text += part));
  t.teardown(() => void child.kill('SIGKILL'));
  return { child, output: () => text, ended: new Promise((resolve) => child.once('close', resolve)) };
}

const startWorker = (t: { teardown(fn: () => void): void }, env: Record<string, string>, args: readonly string[] = []) =>
  start(t, ['--conditions=workflow-orchestrator', join(root, 'worker/main.ts'), ...args], env);

/** A coordinator on a free port. */
async function coordinator(t: { teardown(fn: () => void): void }): Promise<string> {
  const program = start(t, ['--conditions=workflow-orchestrator', join(root, 'coordinator/main.ts'), '--port', '0'], {});
  const port = await new Promise<number>((resolve, reject) => {
    program.child.once('message', (message) => resolve((message as { port: number }).port));
    void program.ended.then(() => reject(new Error(program.output())));
  });
  return `http://127.0.0.1:${port}`;
}

async function eventually<T>(what: () => Promise<T | null>): Promise<T> {
  for (;;) {
    const found = await what();
    if (found !== null) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

interface WorkflowJson {
  readonly id: string;
  readonly status: string;
  readonly jobs: readonly {
    readonly id: string;
    readonly status: string;
    readonly output: unknown;
    readonly error?: { readonly code: string };
  }[];
}

/** Submits and starts a workflow. */
async function submit(url: string, yaml: string): Promise<string> {
  const response = await fetch(`${url}/workflows/from-yaml`, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: yaml });
  const { id } = (await response.json()) as WorkflowJson;
  await fetch(`${url}/workflows/${id}/start`, { method: 'POST' });
  return id;
}

const read = async (url: string, id: string) => (await (await fetch(`${url}/workflows/${id}`)).json()) as WorkflowJson;
const ended = (url: string, id: string) =>
  eventually(async () => {
    const workflow = await read(url, id);
    return ['SUCCEEDED', 'FAILED', 'CANCELLED'].includes(workflow.status) ? workflow : null;
  });

t.test('bad settings and connections: a line for each problem, exit code 2', async (t) => {
  const folder = t.testdir({ 'c.yaml': 'endpoints: { a: { url: "${MISSING}", methd: x } }\n' });
  const file = join(folder, 'c.yaml');
  const settings = startWorker(t, { LOG_LEVEL: 'loud', COORDINATOR_URL: 'nowhere' }, ['--slots', '0']);
  t.equal(await settings.ended, 2);
  t.match(settings.output(), /^worker: COORDINATOR_URL: "nowhere": .*\nworker: --slots: "0": .*\nworker: LOG_LEVEL: "loud": .*\n$/);

  const connections = startWorker(t, { CONNECTIONS_FILE: file, WORKER_TYPES: 'validation,clenup' });
  t.equal(await connections.ended, 2);
  t.equal(
    connections.output(),
    [
      `worker: WORKER_TYPES: no job type 'clenup'; known: validation, processing, integration, cleanup; did you mean 'cleanup'?`,
      `worker: ${file}:1:19: endpoints.a.url: environment variable MISSING is not set`,
      `worker: ${file}:1:38: endpoints.a.methd: is no field of an endpoint of kind http; did you mean 'method'?`,
      '',
    ].join('\n'),
  );
});

t.test('what it would run with, without the token', async (t) => {
  const program = startWorker(t, { WORKFLOW_TOKEN: 'hunter2-hunter2', DATA_DIR: '/data' }, ['--print-config', '--slots', '3']);
  t.equal(await program.ended, 0);
  t.notMatch(program.output(), /hunter2/);
  t.match(JSON.parse(program.output()), {
    slots: { value: 3, source: 'flag' },
    dataDir: { value: '/data', source: 'environment' },
    coordinatorUrl: { source: 'default' },
  });
  const help = startWorker(t, {}, ['--help']);
  t.equal(await help.ended, 0);
  t.match(help.output(), /CONNECTIONS_FILE/);
});

t.test('the example of the README, as it stands', async (t) => {
  const url = await coordinator(t);
  const folder = t.testdir();
  const worker = startWorker(t, {
    COORDINATOR_URL: `${url.replace('http', 'ws')}/workers`,
    WORKER_ID: 'worker-1',
    CONNECTIONS_FILE: join(root, 'examples/connections.yaml'),
    DATA_DIR: folder,
  });
  const id = await submit(url, readFileSync(join(root, 'examples/workflow_definitions/data-pipeline.yaml'), 'utf8'));
  const workflow = await ended(url, id);
  t.match(workflow, {
    status: 'SUCCEEDED',
    jobs: ['validate', 'process', 'save', 'alert'].map((job) => ({ id: job, status: 'SUCCEEDED' })),
  });
  t.match(
    JSON.parse(readFileSync(join(folder, 'store/data-store.jsonl'), 'utf8')),
    { key: `${id}/save/0`, data: {} },
    'the data is really kept',
  );

  const other = await submit(url, 'workflow: { name: unknown, jobs: [{ id: a, type: integration, parameters: { endpoint: data-stor } }] }');
  t.match(await ended(url, other), { status: 'FAILED', jobs: [{ error: { code: 'UNKNOWN_CONNECTION' } }] });

  worker.child.kill('SIGTERM');
  t.equal(await worker.ended, 0, 'a signal ends it well');
  t.match(worker.output(), /worker starts/);
});

t.test('a signal lets what runs end; a second one does not wait', async (t) => {
  const url = await coordinator(t);
  const waiting: ServerResponse[] = [];
  const slow = createServer((_, response) => void waiting.push(response));
  await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    slow.closeAllConnections();
    slow.close();
  });
  const port = (slow.address() as AddressInfo).port;
  const folder = t.testdir();
  const file = join(folder, 'c.yaml');
  writeFileSync(file, `network: { allow: ["127.0.0.1:${port}"] }\n`);
  const yaml = `workflow: { name: slow, jobs: [{ id: a, type: integration, parameters: { url: "http://127.0.0.1:${port}/" } }] }`;
  const env = { COORDINATOR_URL: url, CONNECTIONS_FILE: file, DATA_DIR: folder, WORKER_DRAIN_MS: '60000' };

  const patient = startWorker(t, { ...env, WORKER_ID: 'patient' });
  const first = await submit(url, yaml);
  await eventually(async () => waiting.at(0) ?? null);
  patient.child.kill('SIGTERM');
  await eventually(async () => (patient.output().includes('worker ends') ? true : null));
  waiting[0].end('done');
  t.equal(await patient.ended, 0);
  t.match(await ended(url, first), { status: 'SUCCEEDED', jobs: [{ output: { status: 200, body: 'done' } }] });

  const hurried = startWorker(t, { ...env, WORKER_ID: 'hurried' });
  await submit(url, yaml);
  await eventually(async () => waiting.at(1) ?? null);
  hurried.child.kill('SIGINT');
  await eventually(async () => (hurried.output().includes('worker ends') ? true : null));
  hurried.child.kill('SIGINT');
  t.equal(await hurried.ended, 1);
});

t.test('the launcher passes arguments, signals and the exit code on, and takes the worker along when it is killed', async (t) => {
  const launcher = join(root, 'worker/bin/workflow-worker.js');
  const bad = start(t, [launcher, '--slots', 'many'], {});
  t.equal(await bad.ended, 2);
  t.match(bad.output(), /--slots: "many"/);

  const good = start(t, [launcher], { COORDINATOR_URL: 'http://127.0.0.1:1' });
  await eventually(async () => (good.output().includes('worker starts') ? true : null));
  good.child.kill('SIGTERM');
  t.equal(await good.ended, 0);

  const killed = start(t, [launcher], { COORDINATOR_URL: 'http://127.0.0.1:1' });
  await eventually(async () => (killed.output().includes('worker starts') ? true : null));
  killed.child.kill('SIGKILL');
  // `close` comes when the last process that holds the streams is gone: the worker's.
  await killed.ended;
  t.match(killed.output(), /the starter is gone/);
});
