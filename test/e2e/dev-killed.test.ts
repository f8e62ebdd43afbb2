/**
 * `wf dev` and all its processes are killed with kill -9 in the middle of the example of the README, and started again: the example ends SUCCEEDED, and nothing that was
 * acknowledged runs again. Each execution is seen from outside: `save` and `alert` by the server of this test that they call, the others by the log of the workers.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Job_Status, Workflow_Status, WorkflowClient } from '@workflow-orchestrator/sdk';
import t, { type Test } from 'tap';
import { eventually, root } from './support/system.ts';

const pipeline = join(root, 'examples/workflow_definitions/data-pipeline.yaml');
t.setTimeout(110_000);

/** The world that the example reaches: it keeps a request waiting until it is let go. */
async function startWorld(t: Test) {
  const seen: { readonly path: string; readonly key: string }[] = [];
  const held = new Map<string, ServerResponse>();
  const server = createServer((request: IncomingMessage, response) => {
    seen.push({ path: request.url ?? '', key: String(request.headers['idempotency-key'] ?? '') });
    request.resume();
    held.set(request.url ?? '', response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    calls: (path: string) => seen.filter((call) => call.path === path),
    /** Answers the latest request to a path. */
    answer: (path: string) => held.get(path)?.setHeader('content-type', 'application/json').end('{"ok":true}'),
  };
}

/** `wf dev` in a folder. */
class Dev {
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #pids: number[] = [];
  readonly #executed: string[];
  address = '';

  constructor(t: Test, folder: string, executed: string[]) {
    this.#executed = executed;
    const { DATABASE_URL: _d, REDIS_URL: _r, DATA_DIR: _f, WORKFLOW_TOKEN: _t, PORT: _p, ...clean } = process.env;
    const words = ['dev', '--json', '--port', '0', '--workers', '2', '--connections', 'connections.yaml'];
    this.#process = spawn(process.execPath, [join(root, 'sdk/cli/bin/wf.js'), ...words], {
      cwd: folder,
      env: { ...clean, LOG_LEVEL: 'debug' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#exited = once(this.#process, 'close');
    createInterface({ input: this.#process.stdout! }).on('line', (line) => this.#read(JSON.parse(line)));
    t.teardown(() => this.kill());
  }

  #read({
    started,
    listening,
    log,
  }: {
    started?: { pid: number };
    listening?: { address: string };
    log?: { source: string; line: string };
  }): void {
    if (started !== undefined) this.#pids.push(started.pid);
    if (listening !== undefined) this.address = listening.address;
    if (log === undefined || !log.source.startsWith('dev-') || !log.line.startsWith('{')) return;
    const { msg, jobId } = JSON.parse(log.line) as { msg: string; jobId?: string };
    if (msg.startsWith('attempt ')) this.#executed.push(`${jobId} ${msg.slice('attempt '.length)}`);
  }

  /** kill -9 to all of it. */
  async kill(): Promise<void> {
    for (const pid of [this.#process.pid!, ...this.#pids.splice(0)]) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended already.
      }
    }
    await this.#exited;
  }
}

t.test('wf dev is killed twice in the middle of the example, which ends well, and what was acknowledged ran once', async (t) => {
  const world = await startWorld(t);
  const folder = t.testdir({
    'connections.yaml': `
schemas: { input-schema: { type: object } }
endpoints: { data-store: { url: "http://127.0.0.1:${world.port}/save", timeout: 60s } }
channels: { slack-alerts: { kind: webhook, url: "http://127.0.0.1:${world.port}/alert", timeout: 60s } }
network: { allow: ["127.0.0.1:${world.port}"] }
`,
  });
  const executed: string[] = [];
  const start = async () => {
    const dev = new Dev(t, folder, executed);
    await eventually('it listens', () => dev.address !== '', 40_000);
    return { dev, client: new WorkflowClient(dev.address) };
  };

  const first = await start();
  const { id } = await first.client.submitAndStartWorkflow({ file: pipeline });
  await eventually('save and alert are under way', () => world.calls('/save').length + world.calls('/alert').length === 2, 40_000);
  const before = await first.client.get(id);
  t.same(
    before.jobs.map(({ id: job, status }) => `${job} ${status === Job_Status.SUCCEEDED}`),
    ['validate true', 'process true', 'save false', 'alert false'],
  );
  await first.dev.kill();

  const second = await start();
  await eventually('both are tried again', () => world.calls('/save').length + world.calls('/alert').length === 4, 40_000);
  world.answer('/alert');
  await eventually('alert is acknowledged', async () => (await second.client.job(id, 'alert')).status === Job_Status.SUCCEEDED, 40_000);
  await second.dev.kill();

  const third = await start();
  await eventually('save is tried again', () => world.calls('/save').length === 3, 40_000);
  world.answer('/save');
  const workflow = await third.client.waitFor(id, { timeoutMs: 40_000 });
  t.equal(workflow.status, Workflow_Status.SUCCEEDED);
  t.equal(world.calls('/alert').length, 2, 'alert was not called again after it was acknowledged');
  t.equal(world.calls('/save').length, 3);
  for (const path of ['/save', '/alert']) {
    const keys = new Set(world.calls(path).map(({ key }) => key));
    t.equal(keys.size, 1, 'one key for all tries');
    t.notOk(keys.has(''), 'by which the other side can refuse doubles');
  }
  t.same(executed.sort(), ['alert succeeded', 'process succeeded', 'save succeeded', 'validate succeeded'], 'each was done once');
});
