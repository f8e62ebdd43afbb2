/**
 * A `redis-server` to break. It is stopped by SIGTERM: then it saves and ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type BreakableServer, endProcess, ownServer } from './breakable.ts';
import { onFreePort } from './port.ts';
import type { TestScope } from './service.ts';

/** What is written to disk: when the server is stopped (`save`), or each command as well, with or without waiting for the disk. */
export type Persistence = 'save' | 'everysec' | 'always';

/** Starts one; rejects with why that cannot be done here. */
export function startRedis(persistence: Persistence): Promise<BreakableServer> {
  return onFreePort((port) => startOn(port, persistence));
}

/** One that ends with the test, or, said loudly, why there is none. */
export function ownRedis(t: TestScope, persistence: Persistence): Promise<BreakableServer | { readonly skip: string }> {
  return ownServer(t, 'redis-server', () => startRedis(persistence));
}

async function startOn(port: number, persistence: Persistence): Promise<BreakableServer> {
  const folder = await mkdtemp(join(tmpdir(), 'test-redis-'));
  let child = await run(port, folder, persistence).catch(async (error) => {
    await rm(folder, { recursive: true, force: true });
    throw error;
  });
  const end = (signal: 'SIGTERM' | 'SIGKILL') =>
    endProcess(
      child,
      () => child.kill(signal),
      () => child.kill('SIGKILL'),
    );
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    start: async () => {
      child = await run(port, folder, persistence);
    },
    suspend: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    close: async () => {
      child.kill('SIGCONT');
      await end('SIGTERM');
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
