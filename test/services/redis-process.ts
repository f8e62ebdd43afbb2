/**
 * A `redis-server` of a test's own that can be killed, frozen and brought back at the same port with what it had written.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onFreePort } from './port.ts';
import type { TestScope } from './service.ts';

/** What is written to disk: when the server is stopped (`save`), or each command as well, with or without waiting for the disk. */
export type Persistence = 'save' | 'everysec' | 'always';

/** A server that runs. */
export interface RedisProcess {
  readonly url: string;
  readonly port: number;
  /** SIGTERM: saves and ends. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again, after `stop` or `kill`. */
  start(): Promise<void>;
  /** SIGSTOP: connections stand, nothing is answered, until `resume`. */
  suspend(): void;
  resume(): void;
  /** Ends it and removes its files. */
  close(): Promise<void>;
}

/** Starts one; rejects with why that cannot be done here. */
export function startRedis(persistence: Persistence): Promise<RedisProcess> {
  return onFreePort((port) => startOn(port, persistence));
}

/** One that ends with the test, or, said loudly, why there is none. */
export async function ownRedis(t: TestScope, persistence: Persistence): Promise<RedisProcess | { readonly skip: string }> {
  try {
    const server = await startRedis(persistence);
    t.teardown(server.close);
    return server;
  } catch (error) {
    const skip = `no redis-server to break - ${error instanceof Error ? error.message : String(error)}`;
    process.stderr.write(`\n*** SKIPPED: ${skip}\n\n`);
    return { skip };
  }
}

async function startOn(port: number, persistence: Persistence): Promise<RedisProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'test-redis-'));
  let child = await run(port, folder, persistence).catch(async (error) => {
    await rm(folder, { recursive: true, force: true });
    throw error;
  });
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    stop: () => end(child, 'SIGTERM'),
    kill: () => end(child, 'SIGKILL'),
    start: async () => {
      child = await run(port, folder, persistence);
    },
    suspend: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    close: async () => {
      child.kill('SIGCONT');
      await end(child, 'SIGTERM');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Settled when it takes connections. */
function run(port: number, folder: string, persistence: Persistence): Promise<ChildProcess> {
  const disk = persistence === 'save' ? ['--save', '3600 1', '--appendonly', 'no'] : ['--save', '', '--appendonly', 'yes'];
  const sync = persistence === 'save' ? [] : ['--appendfsync', persistence];
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--daemonize', 'no', ...disk, ...sync];
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => reject(new Error(error.code === 'ENOENT' ? 'is not installed' : error.message)));
    child.once('exit', (code) => reject(new Error(`ended at once (code ${code})`)));
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (line.includes('Ready to accept connections')) resolve(child);
    });
  });
}

async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  child.kill(signal);
  await ended;
  clearTimeout(timer);
}
