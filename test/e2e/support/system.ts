/** Starts the real programs for a test: a coordinator on a free port, stock workers, workers of a user's own. All end with the test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WorkflowClient } from '@workflow-orchestrator/sdk';
import type { Test } from 'tap';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
const CONDITIONS = '--conditions=workflow-orchestrator';

/** A line of the ledger that test workers write. */
export interface LedgerLine {
  readonly what: 'start' | 'end';
  readonly worker: string;
  readonly workflow: string;
  readonly job: string;
  readonly attempt: number;
}

/** A program that runs. */
export interface Program {
  readonly child: ChildProcess;
  readonly output: () => string;
  /** Resolves with exit code or signal. */
  readonly exited: Promise<number | NodeJS.Signals | null>;
}

/** Starts one program of the project; it is killed when the test ends. */
export function startProgram(t: Test, script: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
  const { DATABASE_URL: _d, REDIS_URL: _r, DATA_DIR: _f, WORKFLOW_TOKEN: _t, PORT: _p, ...clean } = process.env;
  const child = spawn(process.execPath, [CONDITIONS, join(root, script), ...args], {
    cwd: root,
    env: { ...clean, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (text += String(chunk)));
  const exited = new Promise<number | NodeJS.Signals | null>((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  return { child, output: () => text, exited };
}

/** Waits until `found` gives something, and says what it waited for when it does not. */
export async function eventually<T>(
  what: string,
  found: () => T | undefined | false | null | Promise<T | undefined | false | null>,
  withinMs = 20_000,
): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const value = await found();
    if (value !== undefined && value !== false && value !== null) return value;
    if (Date.now() > deadline) throw new Error(`waited ${withinMs} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A coordinator that serves. */
export async function startCoordinator(t: Test, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}) {
  const program = startProgram(t, 'coordinator/main.ts', ['--port', '0', ...args], env);
  const { port } = await new Promise<{ port: number }>((resolve, reject) => {
    program.child.once('message', (message) => resolve(message as { port: number }));
    void program.exited.then((end) => reject(new Error(`the coordinator ended with ${end}: ${program.output()}`)));
  });
  const url = `http://127.0.0.1:${port}`;
  return { ...program, port, url, client: new WorkflowClient(url) };
}

/** A stock worker that is connected. */
export async function startStockWorker(t: Test, url: string, id: string, env: Readonly<Record<string, string>> = {}) {
  const program = startProgram(t, 'worker/main.ts', [], {
    COORDINATOR_URL: url,
    WORKER_ID: id,
    CONNECTIONS_FILE: join(root, 'examples/connections.yaml'),
    DATA_DIR: t.testdir(),
    ...env,
  });
  await connected(url, id);
  return program;
}

/** Workers of a user's own with one ledger. */
export function testWorkers(t: Test, folder: string) {
  const ledger = join(folder, 'ledger.jsonl');
  return {
    async start(url: string, id: string): Promise<Program> {
      const program = startProgram(t, 'test/e2e/support/test-worker.ts', [], { COORDINATOR_URL: url, WORKER_ID: id, LEDGER: ledger });
      await new Promise<void>((resolve, reject) => {
        program.child.once('message', () => resolve());
        void program.exited.then((end) => reject(new Error(`worker ${id} ended with ${end}: ${program.output()}`)));
      });
      return program;
    },
    lines(): LedgerLine[] {
      if (!existsSync(ledger)) return [];
      return readFileSync(ledger, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as LedgerLine);
    },
  };
}

async function connected(url: string, id: string): Promise<void> {
  const client = new WorkflowClient(url);
  await eventually(`worker ${id} connects`, async () => {
    for await (const worker of client.workers()) if (worker.id === id) return true;
    return false;
  });
}
