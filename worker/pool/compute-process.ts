/**
 * One process of the pool, seen from the worker.
 *
 * Invariants
 * 1. `ended` is always settled in the end, with the reason; a computation under way then gets that reason as its outcome.
 * 2. While nothing is computed the process does not keep the worker alive.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { ComputeResult } from '../compute/task.ts';
import type { ComputeMessage, ComputeRequest } from './message.ts';

/** Why a process, and with it its computation, ended. */
export type ProcessEnd = { readonly kind: 'timeout' } | { readonly kind: 'memory' } | { readonly kind: 'crashed'; readonly reason: string };

/** A process that computes one thing at a time. */
export class ComputeProcess {
  /** Settled when the process can compute; never, when it ends before. */
  readonly ready: Promise<void>;
  /** Settled when the process has ended. */
  readonly ended: Promise<ProcessEnd>;
  /** Whether it ever could compute. */
  wasReady = false;
  /** False from the moment on that it has ended or was told to. */
  isAlive = true;
  readonly #child: ChildProcess;
  #killedFor: ProcessEnd | null = null;
  #finish: ((outcome: ComputeResult | ProcessEnd) => void) | null = null;
  #idle: NodeJS.Timeout | null = null;
  #stderr = '';

  constructor(memoryMib: number) {
    const flags = [...programFlags, `--max-old-space-size=${memoryMib}`];
    this.#child = fork(programFile, [], {
      ...(hasShell ? { execPath: shell, execArgv: ['-c', withoutCoreFile, process.execPath, ...flags] } : { execArgv: flags }),
      env: {},
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const starting = setTimeout(() => this.#end({ kind: 'crashed', reason: 'it did not start in time' }), limits.computeStartMs);
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4_096);
    });
    this.ready = new Promise((resolve) => {
      this.#child.on('message', (message: ComputeMessage) => {
        if (message.kind === 'ready') {
          clearTimeout(starting);
          this.wasReady = true;
          resolve();
        } else {
          this.#finish?.(message.result);
        }
      });
    });
    this.ended = new Promise((resolve) => {
      this.#child.once('error', (error) => this.#end({ kind: 'crashed', reason: error.message }));
      // `close` comes after the last of stderr, and also when the process could not be started.
      this.#child.once('close', (code, signal) => {
        clearTimeout(starting);
        if (this.#idle !== null) clearTimeout(this.#idle);
        this.isAlive = false;
        const end = this.#killedFor ?? this.#judge(code, signal);
        resolve(end);
        this.#finish?.(end);
      });
    });
  }

  /** Computes; the process must be alive. When the time is over or the signal is aborted, it is killed. */
  async compute(request: ComputeRequest, timeMs: number, signal: AbortSignal): Promise<ComputeResult | ProcessEnd> {
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#hold();
    const stop = () => this.#end({ kind: 'crashed', reason: 'it was cancelled' });
    const timer = setTimeout(() => this.#end({ kind: 'timeout' }), timeMs);
    signal.addEventListener('abort', stop, { once: true });
    try {
      return await new Promise((resolve) => {
        this.#finish = resolve;
        // A send that fails is the end of the process, which is told of by itself.
        this.#child.send(request, () => {});
        if (signal.aborted) stop();
      });
    } finally {
      this.#finish = null;
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
  }

  /** Has nothing to do: lets the worker end. After `idleMs` without a computation `expired` is called. */
  rest(idleMs: number, expired: () => void): void {
    this.#child.unref();
    this.#child.channel?.unref();
    (this.#child.stderr as unknown as { unref?: () => void } | null)?.unref?.();
    this.#idle = setTimeout(expired, idleMs);
    this.#idle.unref();
  }

  /** Kills the process; settled when it has ended. */
  async kill(): Promise<void> {
    this.#hold();
    this.#end({ kind: 'crashed', reason: 'it was stopped' });
    await this.ended;
  }

  #hold(): void {
    this.#child.ref();
    this.#child.channel?.ref();
  }

  #end(reason: ProcessEnd): void {
    this.isAlive = false;
    this.#killedFor ??= reason;
    this.#child.kill('SIGKILL');
  }

  /** V8 aborts when the heap is full; the system's out-of-memory killer kills. */
  #judge(code: number | null, signal: NodeJS.Signals | null): ProcessEnd {
    if (
      signal === 'SIGABRT' ||
      signal === 'SIGTRAP' ||
      signal === 'SIGKILL' ||
      code === 134 ||
      /heap out of memory|Allocation failed/i.test(this.#stderr)
    )
      return { kind: 'memory' };
    const lastWords = this.#stderr.split('\n').find((line) => /Error/.test(line)) ?? '';
    return {
      kind: 'crashed',
      reason: `it ended by itself (${signal ?? `code ${code}`})${lastWords === '' ? '' : `: ${lastWords.trim()}`}`,
    };
  }
}

const programFile = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './process.ts' : './process.js', import.meta.url));
/** A process that runs out of memory aborts: each time a core file of its whole memory would be left, where the system is set up for that. */
const shell = '/bin/sh';
const hasShell = existsSync(shell);
const withoutCoreFile = 'ulimit -c 0; exec "$0" "$@"';

/** Flags of Node under which processes run. */
export const programFlags: readonly string[] = permissionFlags();

/** Flags that forbid everything but reading the program itself; none where Node has no permission model. */
function permissionFlags(): string[] {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 22 || (major === 22 && minor < 13)) return [];
  // Libraries are in `node_modules` beside or above the program.
  const readable = [join(dirname(programFile), '..')];
  for (let folder = readable[0]; ; folder = dirname(folder)) {
    readable.push(join(folder, 'node_modules'));
    if (folder === dirname(folder)) break;
  }
  return ['--permission', '--allow-worker', '--no-warnings', ...readable.map((folder) => `--allow-fs-read=${folder}`)];
}
