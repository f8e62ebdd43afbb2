/**
 * How long a coordinator takes to serve with a hundred thousand open workflows in PostgreSQL, and how much memory it has then: from the start of the process until
 * `/readyz` says 200. Run it with `node --conditions=workflow-orchestrator test/bench/recovery.ts [--workflows 100000] [--rounds 3] [--jobs 3] [--profile folder]`.
 *
 * Once from the journal alone, and once from a checkpoint of everything, which is how it is when a coordinator has run for a while.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { compile, jsonPayload } from '@workflow-orchestrator/engine/definition';
import { type DurableEvent, decide, isDurable } from '@workflow-orchestrator/engine/machine';
import { monotonicFactory } from 'ulid';
import { openPostgresStore } from '../../coordinator/store/postgres/postgres.ts';
import type { JournalEntry, Ownership, Store } from '../../coordinator/store/store.ts';
import { freePort } from '../services/port.ts';
import { startPostgres } from '../services/postgres-process.ts';
import { Teardown } from './programs.ts';

const { values } = parseArgs({
  options: {
    workflows: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '3' },
    jobs: { type: 'string', default: '3' },
    profile: { type: 'string' },
  },
});
const workflows = Number(values.workflows);

const t = new Teardown();
try {
  const postgres = await startPostgres();
  t.teardown(postgres.close);
  const store = await openPostgresStore({ url: postgres.url, leaseMs: 600_000 });
  const entries = open(await definitionOf(store, Number(values.jobs)));
  const acquired = await store.acquire({ coordinatorId: 'bench', address: '' });
  if (acquired.kind !== 'acquired') throw new Error(`the shard could not be taken: ${acquired.kind}`);
  const events = await commitAll(store, acquired.ownership, entries);
  await store.release(acquired.ownership);
  await measure('journal', postgres.url, events);

  const again = await store.acquire({ coordinatorId: 'bench', address: '' });
  if (again.kind !== 'acquired') throw new Error(`the shard could not be taken: ${again.kind}`);
  let number = 0;
  for (let from = 0; from < entries.length; from += 500)
    await kept(store.checkpoint(again.ownership, { number: ++number, entries: entries.slice(from, from + 500), finish: null }));
  await kept(store.checkpoint(again.ownership, { number: ++number, entries: [], finish: { seq: again.ownership.lastSeq, ended: [] } }));
  await store.release(again.ownership);
  await measure('checkpoint', postgres.url, events);
  await store.close();
} finally {
  await t.run();
}

async function definitionOf(store: Store, count: number) {
  const jobs = Array.from({ length: count }, (_, at) => `    - { id: j${at}, type: nobody${at === 0 ? '' : `, needs: j${at - 1}`} }`);
  const yaml = `workflow:\n  name: recovery\n  inputs: { n: { type: integer } }\n  jobs:\n${jobs.join('\n')}\n`;
  const compiled = compile(yaml);
  if (compiled.kind === 'bad') throw new Error(compiled.problems[0]?.message);
  await store.putDefinition({ hash: compiled.graph.hash, name: 'recovery', yaml, registeredAt: 0 });
  return compiled.graph;
}

/** Workflows that have started, as the engine decides it. */
function open(graph: Awaited<ReturnType<typeof definitionOf>>): JournalEntry[] {
  const ulid = monotonicFactory();
  return Array.from({ length: workflows }, (_, n) => {
    const at = Date.now();
    const workflowId = ulid(at);
    const decision = decide(null, {
      kind: 'submit',
      at,
      workflowId,
      graph,
      inputs: jsonPayload({ n }),
      labels: { team: 'a' },
      idempotencyKey: '',
      requestHash: '',
      start: true,
    });
    if (decision.kind !== 'events') throw new Error(decision.kind);
    return { workflowId, firstEventSeq: 1, events: decision.events.filter((event): event is DurableEvent => isDurable(event)) };
  });
}

async function commitAll(store: Store, ownership: Ownership, entries: readonly JournalEntry[]): Promise<number> {
  let seq = 0;
  for (let from = 0; from < entries.length; from += 300) {
    const part = entries.slice(from, from + 300);
    const events = part.reduce((sum, entry) => sum + entry.events.length, 0);
    const outcome = await store.commit(ownership, { firstSeq: seq + 1, lastSeq: seq + events, entries: part });
    if (outcome.kind !== 'durable') throw new Error(`${outcome.kind}`);
    seq += events;
  }
  return seq;
}

async function kept(written: ReturnType<Store['checkpoint']>): Promise<void> {
  const { kind } = await written;
  if (kind !== 'kept') throw new Error(kind);
}

async function measure(from: string, url: string, events: number): Promise<void> {
  const ms: number[] = [];
  const cpu: number[] = [];
  let rss = 0;
  for (let round = 0; round < Number(values.rounds); round += 1) {
    const port = await freePort();
    const profile = values.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${values.profile}`];
    const since = performance.now();
    const child = spawn(
      process.execPath,
      ['--conditions=workflow-orchestrator', ...profile, new URL('../../coordinator/main.ts', import.meta.url).pathname],
      {
        env: { PATH: process.env.PATH, NODE_ENV: 'production', PORT: String(port), DATABASE_URL: url, LOG_LEVEL: 'info' },
        stdio: ['ignore', 'inherit', 'inherit'],
      },
    );
    await ready(child, port);
    ms.push(Math.round(performance.now() - since));
    cpu.push(cpuMs(child.pid!));
    rss = Math.max(rss, rssMib(child.pid!));
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGTERM');
    await exited;
  }
  ms.sort((a, b) => a - b);
  process.stdout.write(
    `${JSON.stringify({ from, workflows, events, rounds: ms.length, median_ms: ms[Math.floor(ms.length / 2)], all_ms: ms, cpu_ms: Math.min(...cpu), peak_rss_mib: rss })}\n`,
  );
}

async function ready(child: ChildProcess, port: number): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the coordinator ended with ${child.exitCode}`);
    const isReady = await fetch(`http://127.0.0.1:${port}/readyz`).then(
      ({ status }) => status === 200,
      () => false,
    );
    if (isReady) return;
    await sleep(10);
  }
}

/** Processor time of all its threads so far; a clock tick of /proc is 10 ms on every Linux that Node runs on. */
function cpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  return (fields[11]! + fields[12]!) * 10;
}

/** Resident memory at its highest so far. */
function rssMib(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Math.round(Number(/^VmHWM:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) / 1024);
}
