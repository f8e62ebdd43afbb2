/**
 * How long nobody serves when the active coordinator is killed (kill -9), and when it is told to end (SIGTERM): from the last submit that it acknowledged, or from the
 * kill, to the first one that the other coordinator acknowledges. Two clients ask, one each coordinator, all the time. Run it with
 * `node --conditions=workflow-orchestrator test/bench/takeover.ts [--rounds 20] [--redis]`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { WorkflowClient } from '@workflow-orchestrator/sdk';
import { Program } from '../chaos/system.ts';
import { freePort } from '../services/port.ts';
import { startPostgres } from '../services/postgres-process.ts';
import { startRedis } from '../services/redis-process.ts';
import { Teardown } from './programs.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '20' }, redis: { type: 'boolean', default: false } } });
const rounds = Number(values.rounds);
const yaml = 'workflow: { name: takeover, jobs: [{ id: a, type: nobody }] }';

const t = new Teardown();
try {
  const folder = await mkdtemp(join(tmpdir(), 'bench-takeover-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const postgres = await startPostgres();
  t.teardown(postgres.close);
  const redis = values.redis ? await startRedis('save') : null;
  if (redis !== null) t.teardown(redis.close);
  const nodes: { readonly program: Program; readonly url: string }[] = [];
  for (const name of ['c1', 'c2']) {
    const port = await freePort();
    const env = { PORT: String(port), DATABASE_URL: postgres.url, LOG_LEVEL: 'warn', ...(redis === null ? {} : { REDIS_URL: redis.url }) };
    const program = new Program(name, '../../coordinator/main.ts', env, folder);
    t.teardown(() => program.end('SIGKILL'));
    nodes.push({ program, url: `http://127.0.0.1:${port}` });
    program.start();
  }
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    const gaps: number[] = [];
    for (let round = 0; round < rounds; round += 1) gaps.push(await gapOf(signal));
    gaps.sort((a, b) => a - b);
    const at = (part: number) => Math.round(gaps[Math.min(gaps.length - 1, Math.ceil(part * gaps.length) - 1)]!);
    process.stdout.write(`${JSON.stringify({ signal, rounds, p50_ms: at(0.5), p99_ms: at(0.99), all_ms: gaps.map(Math.round) })}\n`);
  }

  /** One takeover: both are there, the active one gets the signal, the other one takes a submit; then the first is started again. */
  async function gapOf(signal: 'SIGKILL' | 'SIGTERM'): Promise<number> {
    const [active, other] = await roles();
    const asks = new AbortController();
    let last = 0;
    const old = acknowledged(active.url, asks.signal, (at) => {
      last = at;
    });
    while (last === 0) await sleep(5);
    if (signal === 'SIGKILL') last = performance.now();
    const ending = active.program.end(signal);
    const first = await new Promise<number>((resolve) => void acknowledged(other.url, asks.signal, resolve));
    asks.abort();
    await Promise.all([old, ending]);
    active.program.start();
    return first - last;
  }

  /** Submits on and on, and tells when each is acknowledged. */
  async function acknowledged(url: string, signal: AbortSignal, tell: (at: number) => void): Promise<void> {
    const client = new WorkflowClient(url, { retry: { maxAttempts: 1 } });
    while (!signal.aborted) {
      const isAcknowledged = await client.submitWorkflow({ yaml }, { signal, timeoutMs: 5_000 }).then(
        () => true,
        () => false,
      );
      if (isAcknowledged) tell(performance.now());
      await sleep(5);
    }
  }

  /** Waits until one is active and the other stands by; the active one, and the other. */
  async function roles() {
    for (;;) {
      const said = await Promise.all(
        nodes.map(({ url }) =>
          fetch(`${url}/readyz`).then(
            async (answer) => ((await answer.json()) as { detail: { role: string } }).detail.role,
            () => '',
          ),
        ),
      );
      const at = said.indexOf('ACTIVE');
      if (at >= 0 && said[1 - at] === 'STANDBY') return [nodes[at]!, nodes[1 - at]!] as const;
      await sleep(50);
    }
  }
} finally {
  await t.run();
}
