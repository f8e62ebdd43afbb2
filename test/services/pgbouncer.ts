/** A PgBouncer in transaction mode in front of a PostgreSQL of the tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onFreePort } from './port.ts';
import { firstOf, type Service, type Started, type TestScope } from './service.ts';

/** The `pgbouncer` of this machine, in front of the server of this URL: each transaction gets whichever of four connections is free. */
export function pgbouncer(t: TestScope, url: string): Promise<Service> {
  return firstOf(t, 'PgBouncer', [
    {
      name: 'pgbouncer of this machine',
      start: async () => (url === '' ? { why: 'there is no PostgreSQL behind it' } : onFreePort((port) => local(port, url))),
    },
  ]);
}

async function local(port: number, url: string): Promise<Started> {
  const { hostname, port: target, username, password } = new URL(url);
  const folder = await mkdtemp(join(tmpdir(), 'test-pgbouncer-'));
  const [settings, users] = [join(folder, 'pgbouncer.ini'), join(folder, 'users.txt')];
  await writeFile(users, `"${username}" "${password}"\n`);
  await writeFile(
    settings,
    `[databases]
* = host=${hostname} port=${target}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${users}
pool_mode = transaction
default_pool_size = 4
server_round_robin = 1
`,
  );
  await Promise.all([chmod(folder, 0o755), chmod(settings, 0o644), chmod(users, 0o644)]);
  const remove = () => rm(folder, { recursive: true, force: true });
  const child = await run(settings).catch(async (error) => {
    await remove();
    throw error;
  });
  const own = new URL(url);
  own.hostname = '127.0.0.1';
  own.port = String(port);
  return {
    url: own.href,
    stop: null,
    start: null,
    close: async () => {
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      child.kill('SIGTERM');
      await ended;
      await remove();
    },
  };
}

/** Settled when it listens. It refuses to run as root: then it becomes the user of PostgreSQL. */
function run(settings: string): Promise<ChildProcess> {
  const child = spawn('pgbouncer', [...(process.getuid?.() === 0 ? ['-u', 'postgres'] : []), settings], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => reject(new Error(error.code === 'ENOENT' ? 'is not installed' : error.message)));
    child.once('exit', (code) => reject(new Error(`ended at once (code ${code})`)));
    createInterface({ input: child.stderr! }).on('line', (line) => {
      if (line.includes('process up')) resolve(child);
    });
  });
}
