/**
 * The worker under test: a program, started anew for each session. Its output is kept for the report.
 *
 * Invariant: it ends with the session, whatever it does (`end`).
 */
import { type ChildProcess, spawn } from 'node:child_process';

/** How a program ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Output that is kept, in characters: the last of it. */
const keptOutput = 4_000;

/** One running program. */
export class WorkerProcess {
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  #output = '';
  #exit: Exit | null = null;

  /** Starts `command` with `settings` added to the environment. It gets a process group of its own. */
  constructor(command: readonly string[], settings: Readonly<Record<string, string>>) {
    const { WORKFLOW_TOKEN: _t, COORDINATOR_URL: _u, ...environment } = process.env;
    this.#child = spawn(command[0]!, command.slice(1), {
      env: { ...environment, ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const keep = (chunk: unknown) => {
      this.#output = `${this.#output}${chunk}`.slice(-keptOutput);
    };
    this.#child.stdout?.on('data', keep);
    this.#child.stderr?.on('data', keep);
    this.exited = new Promise((resolve) => {
      const over = (exit: Exit) => {
        this.#exit ??= exit;
        resolve(this.#exit);
      };
      this.#child.once('error', (error) => {
        keep(`${error.message}\n`);
        over({ code: 127, signal: null });
      });
      this.#child.once('exit', (code, signal) => over({ code, signal }));
    });
  }

  /** How it ended; null while it runs. */
  get exit(): Exit | null {
    return this.#exit;
  }

  /** The last of what it printed. */
  get output(): string {
    return this.#output;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#exit === null) this.#child.kill(signal);
  }

  /** Ends it and what it started. */
  async end(): Promise<void> {
    const { pid } = this.#child;
    if (pid !== undefined) {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // The group is gone.
      }
    }
    await this.exited;
  }
}
