/**
 * `wf dev` and `wf quick-start` as people run them: real processes, a free port, signals. None may be left behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Workflow_Status } from '@workflow-orchestrator/proto';
import { WorkflowClient } from '@workflow-orchestrator/sdk';
import t from 'tap';
import { ROOT } from '../repo/source.ts';

const launcher = join(ROOT, 'sdk/cli/bin/wf.js');
const pipeline = join(ROOT, 'examples/workflow_definitions/data-pipeline.yaml');
t.setTimeout(100_000);

interface Line {
  readonly started?: { readonly name: string; readonly pid: number };
  readonly listening?: { readonly address: string };
  readonly log?: { readonly source: string; readonly line: string };
  readonly note?: string;
}

/** `wf dev --json` with the lines that it has written so far. */
class Dev {
  readonly process: ChildProcess;
  readonly lines: Line[] = [];
  readonly errors: string[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(dir: string, ...words: string[]) {
    this.process = spawn(process.execPath, [launcher, 'dev', '--json', '--port', '0', ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, DATA_DIR: undefined, LOG_LEVEL: 'warn', WORKFLOW_TOKEN: '', NODE_OPTIONS: '' },
      cwd: dir,
    });
    if (this.process.stdout === null || this.process.stderr === null) throw new Error('no pipes');
    createInterface({ input: this.process.stdout }).on('line', (line) => {
      this.lines.push(JSON.parse(line));
      for (const look of this.#waiting) look();
    });
    createInterface({ input: this.process.stderr }).on('line', (line) => this.errors.push(line));
  }

  /** Resolves with the first line that `find` takes. */
  until<T>(find: (line: Line) => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = () => {
        for (const line of this.lines) {
          const found = find(line);
          if (found !== undefined) {
            this.#waiting.delete(look);
            resolve(found);
            return;
          }
        }
      };
      this.#waiting.add(look);
      this.process.once('close', (code) =>
        reject(new Error(`wf dev ended with ${code}: ${this.errors.join(' ')} ${JSON.stringify(this.lines)}`)),
      );
      look();
    });
  }

  get pids(): number[] {
    return this.lines.flatMap((line) => (line.started === undefined ? [] : [line.started.pid]));
  }

  pidOf(name: string, from = 0): Promise<number> {
    let seen = 0;
    return this.until((line) => (line.started?.name === name && seen++ >= from ? line.started.pid : undefined));
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    const closed = once(this.process, 'close');
    this.process.kill(signal);
    const [code] = await closed;
    return code;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function allGone(pids: readonly number[]): Promise<void> {
  while (pids.some(isAlive)) await new Promise((done) => setTimeout(done, 20));
}

async function connected(client: WorkflowClient, workers: number): Promise<void> {
  for (;;) {
    let count = 0;
    for await (const _ of client.workers()) count += 1;
    if (count === workers) return;
    await new Promise((done) => setTimeout(done, 20));
  }
}

async function wf(dir: string, ...words: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [launcher, ...words], {
    cwd: dir,
    env: { ...process.env, ONCE: '1', LOG_LEVEL: undefined, WORKFLOW_TOKEN: '', NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (data) => {
    out += data;
  });
  child.stderr.on('data', (data) => {
    err += data;
  });
  const [code] = await once(child, 'close');
  return { code, out, err };
}

t.test('wf dev: serves, restarts a worker that crashed, ends without a trace', async (t) => {
  const dir = t.testdir();
  const dev = new Dev(dir, '--workers', '2');
  t.teardown(() => dev.process.kill('SIGKILL'));
  const { address } = await dev.until((line) => line.listening);
  const client = new WorkflowClient(address);
  await connected(client, 2);
  const submitted = await wf(dir, 'submit', pipeline, '--watch', '-u', address);
  t.equal(submitted.code, 0, submitted.out + submitted.err);
  t.match(submitted.out, /validate SUCCEEDED[\s\S]*process SUCCEEDED[\s\S]*save SUCCEEDED[\s\S]*data-pipeline SUCCEEDED/);

  const port = new URL(address).port;
  t.same(await wf(dir, 'dev', '--port', port), {
    code: 2,
    out: '',
    err: `wf: port ${port} is taken: end what listens there, or take another with --port (0 finds a free one)\n`,
  });

  process.kill(await dev.pidOf('dev-1'), 'SIGKILL');
  const note = await dev.until((line) => line.note);
  t.match(note, /^dev-1 ended with signal SIGKILL; starting it again in \d+ ms$/);
  await dev.pidOf('dev-1', 1);
  await connected(client, 2);
  t.equal(dev.pids.length, 4);
  t.equal(await dev.end('SIGINT'), 0, dev.errors.join('\n'));
  t.same(dev.pids.filter(isAlive), [], 'no process is left');
});

t.test('wf dev: its processes end when it is killed', async (t) => {
  const dev = new Dev(t.testdir(), '--workers', '1');
  t.teardown(() => dev.process.kill('SIGKILL'));
  const { address } = await dev.until((line) => line.listening);
  await connected(new WorkflowClient(address), 1);
  await dev.end('SIGKILL');
  await allGone(dev.pids);
  t.equal(dev.pids.length, 2);
});

t.test('wf dev: a coordinator that crashes is started again, and knows what it knew', async (t) => {
  const dev = new Dev(t.testdir(), '--workers', '1');
  t.teardown(() => dev.process.kill('SIGKILL'));
  const { address } = await dev.until((line) => line.listening);
  const client = new WorkflowClient(address, { retry: { maxAttempts: 30 } });
  const { id } = await client.submitWorkflow({
    yaml: 'workflow: { name: kept, jobs: [{ id: a, type: validation, parameters: { schema: {}, data: 1 } }] }',
  });
  const pid = await dev.pidOf('coordinator');
  process.kill(pid, 'SIGKILL');
  await dev.until(({ started }) => (started?.name === 'coordinator' && started.pid !== pid ? started.pid : undefined));
  t.match(await dev.until((line) => line.note), /coordinator ended with signal SIGKILL; starting it again/);
  await client.start(id);
  t.equal((await client.waitFor(id, { timeoutMs: 60_000 })).status, Workflow_Status.SUCCEEDED);
  t.equal(await dev.end('SIGTERM'), 0);
  await allGone(dev.pids);
});

t.test('wf dev --memory: without its coordinator it ends and says so', async (t) => {
  const dev = new Dev(t.testdir(), '--workers', '1', '--memory');
  t.teardown(() => dev.process.kill('SIGKILL'));
  await dev.until((line) => line.listening);
  const closed = once(dev.process, 'close');
  process.kill(await dev.pidOf('coordinator'), 'SIGKILL');
  const [code] = await closed;
  t.equal(code, 5);
  t.match(dev.errors.join('\n'), /the coordinator ended with signal SIGKILL/);
  await allGone(dev.pids);
});

t.test('wf dev: settings that cannot work are one clear line', async (t) => {
  const dir = t.testdir();
  t.match(await wf(dir, 'dev', '--port', 'x'), { code: 2, out: '', err: 'wf: --port: "x": must be a whole number from 0 to 65535\n' });
  t.match(await wf(dir, 'dev', '--host', '0.0.0.0', '--port', '0'), {
    code: 2,
    err: /^wf: HOST: "0\.0\.0\.0" is reachable from other machines/,
  });
  t.match(await wf(dir, 'dev', '--workers', 'many'), { code: 2, err: /^wf: --workers "many"/ });
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? String(bound.port) : '';
  t.match(await wf(dir, 'quick-start', '--port', port), { code: 2, err: new RegExp(`^wf: port ${port} is taken: .*\n$`) });
  for (const flags of [
    ['--port', port],
    ['--port', '0', '--grpc-port', port],
  ]) {
    t.match(
      await wf(dir, 'coordinator', ...flags),
      { code: 2, out: '', err: new RegExp(`^wf: port ${port} is taken: .* ${flags.at(-2)} .*\n$`) },
      flags.join(' '),
    );
  }
  server.close();
});

t.test('wf quick-start: runs the example to its end, and ends as it ended', async (t) => {
  const dir = t.testdir({
    'refused.yaml': 'workflow:\n  nam: refused\n',
    'fails.yaml':
      'workflow:\n  name: fails\n  jobs:\n    - { id: a, type: validation, parameters: { schema: { type: string }, data: 5 } }\n',
  });
  const good = await wf(dir, 'quick-start', '--port', '0');
  t.equal(good.code, 0, good.out + good.err);
  t.match(good.out, /coordinator http:\/\/localhost:\d+/);
  t.match(good.out, /data-pipeline SUCCEEDED after/);
  const bad = await wf(dir, 'quick-start', join(dir, 'fails.yaml'), '--port', '0', '--workers', '1');
  t.equal(bad.code, 1, bad.out + bad.err);
  t.match(bad.out, /fails FAILED after/);
  t.match(await wf(dir, 'quick-start', 'none.yaml', '--port', '0'), { code: 2, err: 'wf: cannot read none.yaml: no such file\n' });
  const refused = await wf(dir, 'quick-start', 'refused.yaml', '--port', '0', '--json');
  t.match(refused, { code: 2, out: '', err: /"refused\.yaml:2:\d+: / }, 'nothing was started for it');
});
