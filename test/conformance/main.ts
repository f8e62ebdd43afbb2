/**
 * The conformance kit: plays the coordinator to any worker program and says which of the worker's duties (proto/PROTOCOL.md) it keeps.
 *
 *   npm run conformance -- [options] -- <command of the worker ...>
 *
 * Exit codes: 0 no duty failed and every session came to its end, 1 one failed, 2 the command line makes no sense or the program does not fit the contract.
 */
import { checkers, readDuties } from './duties.ts';
import { sayEntry } from './history.ts';
import { reportLines } from './report.ts';
import { playAll, type Session } from './run.ts';
import { connectionScripts } from './scripts/connection.ts';
import { randomScript } from './scripts/random.ts';
import type { Script } from './scripts/script.ts';
import { workScripts } from './scripts/work.ts';
import { judge } from './verdict.ts';

const USAGE = `usage: npm run conformance -- [options] -- <command of the worker ...>

  --sessions N   random sessions besides the scripts (default: 10)
  --seed N       the first of their seeds (default: 1); a session is repeated with its seed and --sessions 1
  --only a,b     these scripts only, and no random session unless --sessions is given
  --slow         scripts of 10 to 30 seconds too: no Welcome, late ack, long silence
  --jobs N       sessions at the same time (default: 4)
  --verbose      all frames of all sessions
  --list         the scripts, and what they are about
`;

const scripts: readonly Script[] = [...workScripts, ...connectionScripts];

interface Options {
  readonly command: readonly string[];
  readonly chosen: readonly Script[];
  readonly jobs: number;
  readonly verbose: boolean;
}

const options = readOptions(process.argv.slice(2));
const sessions = await playAll(options.chosen, options.command, options.jobs, tell);
const misfit = misfitOf(sessions);
if (misfit !== null) refuse(misfit);
const verdicts = judge(
  sessions.map(({ history }) => history),
  readDuties(),
  checkers,
);
process.stdout.write(`${reportLines(verdicts, sessions).join('\n')}\n`);
process.exitCode = verdicts.some(({ kind }) => kind === 'FAIL') || sessions.some(({ stuck }) => stuck !== null) ? 1 : 0;

function tell({ script, history, stuck }: Session): void {
  if (!options.verbose) return;
  process.stdout.write(`--- ${script.name}: ${stuck ?? 'came to its end'}\n${history.entries.map(sayEntry).join('\n')}\n\n`);
}

/** Why the program cannot be judged at all, or null. */
function misfitOf(all: readonly Session[]): string | null {
  const greeted = all.find(({ history }) => history.entries.some((entry) => entry.kind === 'in' && entry.frame?.body.case === 'hello'));
  if (greeted === undefined) return `the program never said Hello. It printed:\n${all[0]?.output ?? ''}`;
  const hello = greeted.history.entries.find((entry) => entry.kind === 'in' && entry.frame?.body.case === 'hello');
  const body = hello?.kind === 'in' ? hello.frame?.body : undefined;
  const offered = body?.case === 'hello' ? body.value.capabilities.map(({ type }) => type) : [];
  const missing = ['echo', 'fail', 'sleep', 'stubborn', 'input']
    .map((name) => `conformance.${name}`)
    .filter((type) => !offered.includes(type));
  return missing.length === 0 ? null : `the worker must offer ${missing.join(', ')}: see test/conformance/README.md`;
}

function readOptions(args: readonly string[]): Options {
  const separator = args.indexOf('--');
  const own = separator < 0 ? args : args.slice(0, separator);
  const command = separator < 0 ? [] : args.slice(separator + 1);
  const flags = new Set<string>();
  const values = new Map<string, string>();
  for (let i = 0; i < own.length; i += 1) {
    const name = own[i]!;
    if (['--slow', '--verbose', '--list', '--help'].includes(name)) flags.add(name);
    else if (['--sessions', '--seed', '--only', '--jobs'].includes(name)) values.set(name, own[++i] ?? '');
    else refuse(`unknown option '${name}'\n\n${USAGE}`);
  }
  if (flags.has('--help')) finish(USAGE);
  if (flags.has('--list'))
    finish(scripts.map(({ name, about, slow }) => `${name.padEnd(20)} ${about}${slow ? ' (--slow)' : ''}\n`).join(''));
  if (command.length === 0) refuse(`the command of the worker is missing\n\n${USAGE}`);
  const only = values.get('--only')?.split(',');
  const unknown = only?.find((name) => !scripts.some((script) => script.name === name));
  if (unknown !== undefined) refuse(`no script '${unknown}'; --list names them`);
  const count = whole(values, '--sessions', only === undefined ? 10 : 0, 0);
  const seed = whole(values, '--seed', 1, 0);
  const random = Array.from({ length: count }, (_, index) => randomScript(seed + index));
  const chosen = scripts.filter(({ name, slow }) => (only === undefined ? !slow || flags.has('--slow') : only.includes(name)));
  return { command, chosen: [...chosen, ...random], jobs: whole(values, '--jobs', 4, 1), verbose: flags.has('--verbose') };
}

function whole(values: ReadonlyMap<string, string>, name: string, otherwise: number, least: number): number {
  const text = values.get(name);
  if (text === undefined) return otherwise;
  if (!/^\d{1,9}$/.test(text) || Number(text) < least) refuse(`${name} needs a whole number from ${least}, not '${text}'`);
  return Number(text);
}

function finish(text: string): never {
  process.stdout.write(text);
  process.exit(0);
}

function refuse(message: string): never {
  process.stderr.write(`conformance: ${message}\n`);
  process.exit(2);
}
