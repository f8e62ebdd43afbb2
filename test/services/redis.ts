/** A real Redis for tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { inContainer } from './container.ts';
import { onFreePort } from './port.ts';
import { firstOf, type Service, type Started, type TestScope } from './service.ts';

/**
 * Redis: the one that `TEST_REDIS_URL` names, else a container, else a `redis-server` of this machine on a free port.
 * Keys in a server that is not the test's own (`isOwn`) must have a prefix of the test's own.
 */
export function redis(t: TestScope): Promise<Service> {
  return firstOf(t, 'Redis', [
    { name: 'TEST_REDIS_URL', start: async () => named(process.env.TEST_REDIS_URL) },
    {
      name: 'a container',
      start: () =>
        inContainer(
          'redis:7-alpine',
          6379,
          {},
          { pattern: /Ready to accept connections/, times: 1 },
          (host, port) => `redis://${host}:${port}`,
        ),
    },
    { name: 'redis-server of this machine', start: () => onFreePort(local) },
  ]);
}

function named(url: string | undefined): Started | { readonly why: string } {
  if (url === undefined || url === '') return { why: 'is not set' };
  return { url, close: async () => {}, stop: null, start: null };
}

/** A process of our own. Data is in memory, and on disk only when it is stopped. */
async function local(port: number): Promise<Started> {
  const folder = await mkdtemp(join(tmpdir(), 'test-redis-'));
  let child = await run(port, folder).catch(async (error) => {
    await rm(folder, { recursive: true, force: true });
    throw error;
  });
  const stop = () => end(child);
  return {
    url: `redis://127.0.0.1:${port}`,
    stop,
    start: async () => {
      child = await run(port, folder);
    },
    close: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Settled when it takes connections. */
function run(port: number, folder: string): Promise<ChildProcess> {
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '3600 1',
    '--appendonly',
    'no',
    '--daemonize',
    'no',
  ];
  const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => reject(new Error(error.code === 'ENOENT' ? 'is not installed' : error.message)));
    child.once('exit', (code) => reject(new Error(`ended at once (code ${code})`)));
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (line.includes('Ready to accept connections')) resolve(child);
    });
  });
}

/** SIGTERM saves and ends. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  child.kill('SIGTERM');
  await ended;
  clearTimeout(timer);
}
