/**
 * One process that `wf` started.
 *
 * Invariants
 * 1. It is in a process group of its own: Ctrl-C reaches `wf` alone, which then ends its children in the right order.
 * 2. It carries a tether (`tether.ts`): it does not outlive `wf`.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type ProgramName, programArguments } from './program.ts';

/** How a process ended: by itself with a code, or by a signal. */
export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What to start. */
export interface ChildOptions {
  readonly program: ProgramName;
  /** Arguments of the program. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Each line of stdout and stderr; null: the process writes to this terminal itself. */
  readonly onLine: ((line: string) => void) | null;
}

/** A running process. */
export class Child {
  readonly exited: Promise<ChildExit>;
  readonly #process: ChildProcess;

  constructor(options: ChildOptions) {
    const stdio: StdioOptions = options.onLine === null ? ['inherit', 'inherit', 'inherit', 'ipc'] : ['ignore', 'pipe', 'pipe', 'ipc'];
    this.#process = spawn(process.execPath, [...programArguments(options.program), ...options.args], {
      stdio,
      detached: true,
      windowsHide: true,
      env: { ...options.env },
    });
    const { onLine } = options;
    if (onLine !== null) {
      for (const stream of [this.#process.stdout, this.#process.stderr]) {
        if (stream) createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on('line', onLine);
      }
    }
    this.exited = new Promise((resolve) => {
      this.#process.once('error', () => resolve({ code: 1, signal: null }));
      this.#process.once('close', (code, signal) => resolve({ code, signal }));
    });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Messages that the program sends, such as where it listens. */
  onMessage(listener: (message: unknown) => void): void {
    this.#process.on('message', listener);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Asks it to end; after `graceMs`, or when `forced` is aborted, ends it the hard way. */
  async stop(graceMs: number, forced: AbortSignal): Promise<ChildExit> {
    const kill = () => this.signal('SIGKILL');
    const timer = setTimeout(kill, graceMs);
    forced.addEventListener('abort', kill);
    if (forced.aborted) kill();
    else this.signal('SIGTERM');
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
      forced.removeEventListener('abort', kill);
    }
  }
}

/** How an exit reads. */
export function exitText({ code, signal }: ChildExit): string {
  return signal === null ? `exit code ${code}` : `signal ${signal}`;
}
