/**
 * What to run and how: `.taprc`, which `npx tap` obeys too, and the command line.
 */
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { isAbsolute, join, relative, resolve } from 'node:path';
import { parse } from 'yaml';

/** Where `.taprc` lies and file names count from: the folder of the project unless `--root` says otherwise. */
const PROJECT = resolve(import.meta.dirname, '../..');

/** A run. Times are milliseconds. */
export interface Config {
  readonly root: string;
  /** Relative to `root`, in the order in which they start. */
  readonly files: readonly string[];
  /** Arguments of Node before the name of the file. */
  readonly nodeArgs: readonly string[];
  readonly jobs: number;
  /** How long one file may take by tap's own clock, and be silent by ours. */
  readonly fileTimeoutMs: number;
  /** How long all of it may take. */
  readonly runTimeoutMs: number;
  /** Show what passing files print as well. */
  readonly verbose: boolean;
}

/** A command line that makes no sense; the message is for people. */
export class UsageError extends Error {}

/** How people call it; printed with every UsageError and for `--help`. */
export const USAGE = `usage: npm test -- [options] [file or folder ...]

  --jobs N           files at the same time (default: jobs in .taprc)
  --timeout-s N      seconds for one file (default: timeout in .taprc)
  --run-timeout-s N  seconds for the whole run (default: 780)
  --verbose          show what passing files print, too
  --root FOLDER      the folder with .taprc (default: the project)`;

const DEFAULT_RUN_TIMEOUT_S = 780;

/** Reads the command line and `.taprc`. Throws UsageError for what it does not understand. */
export function readConfig(args: readonly string[]): Config {
  const numbers = new Map<string, number>();
  const names: string[] = [];
  let root = PROJECT;
  let verbose = false;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    if (arg === '--verbose') verbose = true;
    else if (arg === '--root') root = resolve(args[++i] ?? '.');
    else if (arg === '--jobs' || arg === '--timeout-s' || arg === '--run-timeout-s') numbers.set(arg, positive(arg, args[++i]));
    else if (arg.startsWith('-')) throw new UsageError(`unknown option '${arg}'`);
    else names.push(arg);
  }
  const tap = parse(readFileSync(join(root, '.taprc'), 'utf8')) as Record<string, unknown>;
  return {
    root,
    files: filesOf(root, names, list(tap.include)),
    nodeArgs: list(tap['node-arg']),
    jobs: numbers.get('--jobs') ?? Number(tap.jobs ?? 2),
    fileTimeoutMs: (numbers.get('--timeout-s') ?? Number(tap.timeout ?? 30)) * 1000,
    runTimeoutMs: (numbers.get('--run-timeout-s') ?? DEFAULT_RUN_TIMEOUT_S) * 1000,
    verbose,
  };
}

/** The folders of tests, the slow ones first, so that the last file to finish is a short one. A suite may be empty. */
const SUITES = ['e2e', 'integration', 'unit'];

/** The test files meant by `names`: files as they are, folders with all that `include` finds below them, nothing meaning everything. */
function filesOf(root: string, names: readonly string[], include: readonly string[]): string[] {
  const all = include.flatMap((pattern) => globSync(pattern, { cwd: root })).sort(byFolder);
  if (names.length === 0) return all;
  return names.flatMap((name) => {
    const path = relative(root, isAbsolute(name) ? name : resolve(root, name));
    if (SUITES.includes(path.replace(/^test\//, ''))) return all.filter((file) => file.startsWith(`${path}/`));
    if (!existsSync(join(root, path))) throw new UsageError(`no file or folder '${name}'`);
    return statSync(join(root, path)).isDirectory() ? all.filter((file) => file.startsWith(`${path}/`)) : [path];
  });
}

function byFolder(a: string, b: string): number {
  const rank = (file: string): number => SUITES.indexOf(file.split('/')[1] ?? '');
  return rank(a) - rank(b) || a.localeCompare(b, 'en');
}

function positive(option: string, text: string | undefined): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new UsageError(`${option} needs a number above 0, not '${text ?? ''}'`);
  return value;
}

function list(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
