/**
 * Runs one test file in a process of its own and says how it ended.
 *
 * 1. The process leads a group; whatever it leaves behind is ended with it, so no file can disturb the next.
 * 2. A file that writes no TAP for longer than its limit is killed: tap's own limit cannot stop a busy loop.
 * 3. A crash, a kill, a bail-out, an exit code without a failed test, and a file that tests nothing each are one failed test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import type { Config } from './config.ts';
import { TallyReader, type Test } from './tally.ts';

/** How one file ended. `output` is what it wrote besides TAP, `stderr` the end of its standard error. */
export interface FileReport {
  readonly file: string;
  readonly tests: readonly Test[];
  readonly output: readonly string[];
  readonly stderr: string;
  readonly tookMs: number;
}

/** A file on its way. `stop` ends it and all its children; `done` still settles, with the reason as a failure. */
export interface RunningFile {
  readonly done: Promise<FileReport>;
  stop(reason: string): void;
}

/** What tap may need at most, after its own limit, to say which test it was. */
const GRACE_MS = 5_000;
/** How long a pipe that some grandchild holds open may keep a finished file waiting. */
const DRAIN_MS = 1_000;
const STDERR_KEPT = 16 * 1024;

/** Starts `file`. Never rejects: whatever happens is in the report. */
export function runFile(file: string, config: Config): RunningFile {
  const started = performance.now();
  const child = spawn(process.execPath, [...config.nodeArgs, file], {
    cwd: config.root,
    detached: true,
    env: { ...process.env, TAP_TIMEOUT: String(config.fileTimeoutMs / 1000) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const tap = new TallyReader();
  let stderr = '';
  let stopped: string | null = null;
  const stop = (reason: string): void => {
    stopped ??= reason;
    killGroup(child);
  };
  const silentMs = config.fileTimeoutMs + Math.min(GRACE_MS, config.fileTimeoutMs);
  const silence = setTimeout(() => stop(`killed: silent for ${silentMs / 1000} s`), silentMs);
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    silence.refresh();
    tap.write(text);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_KEPT);
  });
  const done = ended(child).then((end): FileReport => {
    clearTimeout(silence);
    const { tests, output, bailout } = tap.result();
    const fault = stopped ?? faultOf(end, bailout, tests);
    const all =
      fault === null ? tests : [...tests, { path: [], outcome: 'failed' as const, reason: '', failures: [{ title: fault, diag: {} }] }];
    return { file, tests: all, output, stderr, tookMs: performance.now() - started };
  });
  return { done, stop };
}

type End = { readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly error: Error | null };

/** Settles when the process has ended and its output has been read; ends the rest of its group. */
function ended(child: ChildProcess): Promise<End> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, error }));
    child.once('exit', (code, signal) => {
      const drain = setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
      }, DRAIN_MS);
      child.once('close', () => {
        clearTimeout(drain);
        killGroup(child);
        resolve({ code, signal, error: null });
      });
    });
  });
}

/** What is wrong with the file as a whole, or null. */
function faultOf(end: End, bailout: string | null, tests: readonly Test[]): string | null {
  if (end.error !== null) return `could not start: ${end.error.message}`;
  if (bailout !== null) return `bailed out: ${bailout}`;
  if (end.signal !== null) return `ended by ${end.signal}`;
  if (end.code !== 0 && !tests.some((test) => test.outcome === 'failed')) return `ended with exit code ${end.code}`;
  if (tests.length === 0) return 'tests nothing';
  return null;
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // ESRCH: nobody is left in the group.
  }
}
