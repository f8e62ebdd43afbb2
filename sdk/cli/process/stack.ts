/**
 * One coordinator and some workers as processes: started in order, kept running, ended in order.
 *
 * Invariants
 * 1. Workers start when the coordinator serves, and end before it does.
 * 2. A worker that crashes is started again, after a pause that doubles while it goes on crashing. One that ended by itself is not:
 *    exit code 0 means that it was drained, 2 that its settings are bad.
 * 3. A coordinator that crashes is started again on its port where its state survives it. Where state is in memory the stack ends: it is gone, and a new one would hide that.
 */
import { CommandError, exit } from '../exit.ts';
import { Child, type ChildExit, exitText } from './child.ts';
import { expectFree } from './port.ts';
import { programArguments } from './program.ts';

/** What to run. */
export interface StackOptions {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  readonly workers: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Settings for workers only. */
  readonly workerEnv: Readonly<Record<string, string>>;
  readonly onLine: (source: string, line: string) => void;
  /** A process was started, for the first time or again. */
  readonly onStarted: (name: string, pid: number) => void;
  /** What the stack itself has to say. */
  readonly onNote: (text: string) => void;
  /** Ends the stack gracefully. */
  readonly interrupted: AbortSignal;
  /** Ends it at once. */
  readonly forced: AbortSignal;
}

const startTimeoutMs = 30_000;
const workerGraceMs = 12_000;
const coordinatorGraceMs = 6_000;
const firstPauseMs = 500;
const longestPauseMs = 10_000;
/** A worker that ran for this long had no trouble starting. */
const stableMs = 30_000;

/** A running stack. */
export class Stack {
  readonly port: number;
  /** Resolves with the reason when the stack ended; null when it was told to. */
  readonly ended: Promise<string | null>;
  /** Whether state survives the coordinator. */
  readonly isDurable: boolean;
  readonly #options: StackOptions;
  #coordinator: Child;
  readonly #workers = new Map<string, Child>();
  readonly #end: (reason: string | null) => void;
  #stopping: Promise<void> | null = null;

  private constructor(options: StackOptions, coordinator: Child, { port, isDurable }: Serving) {
    this.#options = options;
    this.#coordinator = coordinator;
    this.port = port;
    this.isDurable = isDurable;
    let end: (reason: string | null) => void = () => {};
    this.ended = new Promise((resolve) => {
      end = resolve;
    });
    this.#end = end;
    void this.#keepCoordinator();
    options.interrupted.addEventListener('abort', () => void this.stop());
  }

  /** Starts it. Throws `CommandError` in one clear line when the port is taken or the coordinator does not start. */
  static async start(options: StackOptions): Promise<Stack> {
    // A program that is not there is told before anything runs.
    for (const program of ['coordinator', 'worker'] as const) programArguments(program);
    await expectFree(options.host, options.port);
    const { coordinator, serving } = await startCoordinator(options, options.port);
    const stack = new Stack(options, coordinator, serving);
    for (let number = 1; number <= options.workers; number += 1) void stack.#keepWorker(`dev-${number}`);
    return stack;
  }

  /** The coordinator's process, to be ended the hard way where that is to be shown. */
  get coordinatorPid(): number | undefined {
    return this.#coordinator.pid;
  }

  /** Ends workers, then the coordinator. */
  stop(): Promise<void> {
    return this.#stop(null);
  }

  #stop(reason: string | null): Promise<void> {
    this.#stopping ??= (async () => {
      const { forced } = this.#options;
      await Promise.all([...this.#workers.values()].map((worker) => worker.stop(workerGraceMs, forced)));
      await this.#coordinator.stop(coordinatorGraceMs, forced);
      this.#end(reason);
    })();
    return this.#stopping;
  }

  /** Runs the coordinator for as long as the stack runs. */
  async #keepCoordinator(): Promise<void> {
    let pauseMs = firstPauseMs;
    for (;;) {
      const since = performance.now();
      const end = await this.#coordinator.exited;
      if (this.#stopping !== null) return;
      const reason = `the coordinator ended with ${exitText(end)}`;
      if (!this.isDurable) return void this.#stop(reason);
      if (performance.now() - since >= stableMs) pauseMs = firstPauseMs;
      this.#options.onNote(`${reason}; starting it again in ${pauseMs} ms, where it was`);
      await pause(pauseMs, this.#options.interrupted);
      pauseMs = Math.min(pauseMs * 2, longestPauseMs);
      if (this.#stopping !== null) return;
      try {
        const { coordinator } = await startCoordinator(this.#options, this.port);
        this.#coordinator = coordinator;
        // It was told to stop while it started.
        if (this.#stopping !== null) await coordinator.stop(coordinatorGraceMs, this.#options.forced);
      } catch (error) {
        return void this.#stop(`${reason} and did not start again: ${(error as Error).message}`);
      }
    }
  }

  /** Runs one worker for as long as the stack runs. */
  async #keepWorker(name: string): Promise<void> {
    const { env, workerEnv, onLine, onNote, onStarted, host } = this.#options;
    const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host;
    let pauseMs = firstPauseMs;
    while (this.#stopping === null) {
      const since = performance.now();
      const worker = new Child({
        program: 'worker',
        args: [],
        env: { ...env, ...workerEnv, COORDINATOR_URL: `http://${reachable}:${this.port}`, WORKER_ID: name },
        onLine: (line) => onLine(name, line),
      });
      this.#workers.set(name, worker);
      onStarted(name, worker.pid ?? 0);
      const end: ChildExit = await worker.exited;
      this.#workers.delete(name);
      if (this.#stopping !== null) return;
      if (end.code === 0) return onNote(`${name} has ended and is not started again`);
      if (end.code === exit.usage) return void this.#stop(`${name} does not start with these settings`);
      if (performance.now() - since >= stableMs) pauseMs = firstPauseMs;
      onNote(`${name} ended with ${exitText(end)}; starting it again in ${pauseMs} ms`);
      await pause(pauseMs, this.#options.interrupted);
      pauseMs = Math.min(pauseMs * 2, longestPauseMs);
    }
  }
}

/** What a coordinator says when it listens. */
interface Serving {
  readonly port: number;
  readonly isDurable: boolean;
}

/** Starts a coordinator; resolves when it listens. Throws `CommandError` when it does not. */
async function startCoordinator(options: StackOptions, wanted: number): Promise<{ coordinator: Child; serving: Serving }> {
  const last: string[] = [];
  const coordinator = new Child({
    program: 'coordinator',
    args: [],
    env: { ...options.env, HOST: options.host, PORT: String(wanted) },
    onLine: (line) => {
      last.push(line);
      if (last.length > 5) last.shift();
      options.onLine('coordinator', line);
    },
  });
  options.onStarted('coordinator', coordinator.pid ?? 0);
  return { coordinator, serving: await listening(coordinator, options, last) };
}

/** Resolves when the coordinator listens. */
async function listening(coordinator: Child, options: StackOptions, last: readonly string[]): Promise<Serving> {
  const serves = new Promise<Serving>((resolve) => {
    coordinator.onMessage((message) => {
      if (typeof message !== 'object' || message === null || !('kind' in message) || message.kind !== 'listening') return;
      if (!('port' in message) || typeof message.port !== 'number') return;
      resolve({ port: message.port, isDurable: 'durability' in message && message.durability !== 'VOLATILE' });
    });
  });
  const interrupted = new Promise<'interrupted'>((done) => options.interrupted.addEventListener('abort', () => done('interrupted')));
  const timeout = new AbortController();
  const late = pause(startTimeoutMs, timeout.signal).then(() => 'late' as const);
  const first = await Promise.race([serves, coordinator.exited, interrupted, late]);
  timeout.abort();
  if (typeof first === 'object' && 'port' in first) return first;
  if (first === 'interrupted' || first === 'late') {
    await coordinator.stop(coordinatorGraceMs, options.forced);
    throw first === 'late'
      ? new CommandError(`the coordinator did not start within ${startTimeoutMs / 1000} s`, exit.unavailable)
      : new CommandError('interrupted before the coordinator served', exit.interrupted);
  }
  const [reason = exitText(first), ...more] = last.map((line) => line.replace(/^coordinator: /, ''));
  throw new CommandError(`the coordinator did not start: ${reason}`, first.code === exit.usage ? exit.usage : exit.unavailable, more);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
