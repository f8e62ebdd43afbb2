/**
 * What is measured, as processes of its own: a coordinator, the server of its store, a worker. Everything is private, on this machine and
 * ends with the measurement.
 *
 * Invariant: the environment of the shell that started the benchmark changes nothing but where stores are (TEST_DATABASE_URL, TEST_REDIS_URL).
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { Service } from '../services/service.ts';
import { postgres, redis } from '../services/services.ts';
import { childrenOf, type Watched } from './usage.ts';

/** Where the coordinator keeps its journal. */
export const stores = ['memory', 'embedded', 'postgres', 'redis', 'postgres+redis'] as const;
export type StoreName = (typeof stores)[number];

/** Undoes what was started, last first. */
export class Teardown {
  readonly #steps: (() => Promise<void>)[] = [];

  teardown(step: () => Promise<void>): void {
    this.#steps.push(step);
  }

  async run(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) await step();
  }
}

/** How programs are started: `profileDir` gets a CPU profile of each, null for none. */
export interface ProgramOptions {
  readonly t: Teardown;
  readonly profileDir: string | null;
}

/** The store's part of the coordinator's environment, and the processes of its servers. */
export interface StartedStore {
  readonly env: Readonly<Record<string, string>>;
  readonly processes: Readonly<Record<string, Watched>>;
}

/** Starts what a store needs. */
export async function startStore(name: StoreName, t: Teardown): Promise<StartedStore> {
  const env: Record<string, string> = {};
  const processes: Record<string, Watched> = {};
  if (name === 'embedded') {
    const folder = await mkdtemp(join(tmpdir(), 'bench-'));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    env.DATA_DIR = folder;
  }
  if (name.includes('postgres')) env.DATABASE_URL = await server('postgres', () => postgres(t), processes);
  if (name.includes('redis')) {
    env.REDIS_URL = await server('redis', () => redis(t), processes);
    // Alone it is what keeps the journal; beside PostgreSQL it holds nothing that cannot be derived.
    if (name === 'redis') await syncEveryWrite(env.REDIS_URL);
  }
  return { env, processes };
}

/** Starts a server. Its process is the one that this process had not before: a server of somebody else's has none here and is not metered. */
async function server(name: string, start: () => Promise<Service>, processes: Record<string, Watched>): Promise<string> {
  const before = new Set(childrenOf(process.pid));
  const service = await start();
  if (service.skip !== false) throw new Error(service.skip);
  for (const pid of childrenOf(process.pid)) if (!before.has(pid)) processes[name] = { pid, tree: true };
  return service.url;
}

async function syncEveryWrite(url: string): Promise<void> {
  const client = new Redis(url);
  await client.config('SET', 'appendfsync', 'always');
  await client.config('SET', 'appendonly', 'yes');
  client.disconnect();
}

/** A coordinator that serves. */
export async function startCoordinator(env: Readonly<Record<string, string>>, options: ProgramOptions) {
  const child = startProgram('../../coordinator/main.ts', 'coordinator', { ...env, PORT: '0', LOG_LEVEL: 'warn' }, options);
  const { port } = await message<{ port: number }>(child, 'listening', 'coordinator');
  return { pid: child.pid!, url: `http://127.0.0.1:${port}`, profile: () => toggleProfile(child, 'coordinator') };
}

/** A worker that is connected. `onMessage` is told what it says (`job-worker.ts`). */
export async function startWorker(url: string, slots: number, onMessage: (message: unknown) => void, options: ProgramOptions) {
  const child = startProgram('./job-worker.ts', 'worker', { COORDINATOR_URL: url, WORKER_SLOTS: String(slots) }, options);
  await message(child, 'ready', 'worker');
  child.on('message', onMessage);
  return {
    pid: child.pid!,
    profile: () => toggleProfile(child, 'worker'),
    /** Handlers called so far. */
    async executed(): Promise<number> {
      const answer = message<{ executed: number }>(child, 'executed', 'worker');
      child.send('executed?');
      return (await answer).executed;
    },
  };
}

/** Begins or ends the profile of a program (`profile.ts`); resolves when it has. */
async function toggleProfile(child: ChildProcess, name: string): Promise<void> {
  const done = message(child, 'profile', name);
  child.kill('SIGUSR2');
  await done;
}

function startProgram(file: string, name: string, env: Readonly<Record<string, string>>, { t, profileDir }: ProgramOptions): ChildProcess {
  const profile = profileDir === null ? {} : { PROFILE: join(profileDir, `${name}.cpuprofile`) };
  const preload = profileDir === null ? [] : ['--import', new URL('./profile.ts', import.meta.url).href];
  const child = fork(new URL(file, import.meta.url), {
    execArgv: ['--conditions=workflow-orchestrator', ...preload],
    env: { PATH: process.env.PATH, NODE_ENV: 'production', ...profile, ...env },
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  t.teardown(async () => {
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), 20_000);
    await exited;
    clearTimeout(late);
  });
  return child;
}

/** The next message of a kind; rejects when the process ends before. */
function message<T>(child: ChildProcess, kind: string, name: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const onMessage = (said: unknown) => {
      if ((said as { kind?: unknown }).kind !== kind) return;
      child.off('message', onMessage);
      child.off('exit', onExit);
      resolve(said as T);
    };
    const onExit = (code: number | null, signal: string | null) => reject(new Error(`the ${name} ended (${code ?? signal})`));
    child.on('message', onMessage);
    child.once('exit', onExit);
  });
}
