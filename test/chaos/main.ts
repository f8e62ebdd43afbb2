/**
 * `npm run test:chaos`: real processes under load, with everything killed, frozen and cut off that can be, and checkers over what is left.
 *
 * Exit code: 0 when nothing is wrong (with --canary: when lost acknowledgements were found), 1 otherwise, 2 for a bad command line, 130 after Ctrl-C.
 */
import { parseArgs } from 'node:util';
import type { Violation } from '../checkers/checkers.ts';
import { asked } from './findings.ts';
import { planOf } from './plan.ts';
import { runPlan } from './run.ts';

const usage = `npm run test:chaos -- [--minutes 1] [--seed 1] [--rate 200] [--keep] [--canary]

  --minutes  for how long things go wrong; healing comes after it
  --seed     draws the graphs and the faults: the same seed, the same plan
  --rate     submissions a second
  --keep     keep history, journal and logs also when all is well
  --canary   PostgreSQL acknowledges what is not on its disk: the run must find lost acknowledgements`;

/** Violations that are shown of each kind. */
const SHOWN = 8;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    rate: { type: 'string', default: '200' },
    keep: { type: 'boolean', default: false },
    canary: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(`${usage}\n`);
  process.exit(0);
}
const plan = planOf({
  seed: numberOf('seed', 0, 2 ** 31),
  faultyMs: numberOf('minutes', 0.05, 600) * 60_000,
  rate: numberOf('rate', 1, 10_000),
  isCanary: values.canary,
});
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopping.abort(new Error(signal)));
// Also when this process itself is at fault, nothing that it started may be left.
process.on('uncaughtException', (error) => stopping.abort(error));
const say = (line: string): void => void process.stdout.write(`${line}\n`);

try {
  const report = await runPlan(plan, values.keep, say, stopping.signal);
  const width = Math.max(...Object.keys(report.counts).map((name) => name.length), ...[...report.faults.keys()].map((kind) => kind.length));
  for (const [name, count] of Object.entries(report.counts)) say(`${name.padEnd(width)} ${String(count).padStart(9)}`);
  for (const [kind, count] of [...report.faults].sort()) say(`${kind.padEnd(width)} ${String(count).padStart(9)}`);
  if (report.errors.size > 0) say(`answers that were errors: ${[...report.errors].map(([code, count]) => `${code} ${count}`).join(', ')}`);
  show(report.violations);
  if (report.folder !== null) say(`kept in ${report.folder}`);
  const losses = report.violations.filter(({ invariant }) => invariant === 'I1' || invariant === 'I2').length;
  if (values.canary) say(losses > 0 ? `canary: ${losses} lost acknowledgements were found` : 'canary: no lost acknowledgement was found');
  process.exit((values.canary ? losses > 0 : report.violations.length === 0) ? 0 : 1);
} catch (error) {
  const reason = stopping.signal.aborted ? (stopping.signal.reason as Error) : (error as Error);
  if (!reason.message.startsWith('SIG')) {
    process.stderr.write(`${reason.stack}\n`);
    process.exit(1);
  }
  say(`stopped by ${reason.message}`);
  process.exit(130);
}

function show(violations: readonly Violation[]): void {
  const kinds = [...new Set([...asked, ...violations.map(({ invariant }) => invariant)])];
  say(kinds.map((kind) => `${kind}: ${violations.filter(({ invariant }) => invariant === kind).length}`).join('  '));
  for (const kind of kinds) {
    const found = violations.filter(({ invariant }) => invariant === kind);
    for (const { message } of found.slice(0, SHOWN)) say(`  ${kind} ${message.slice(0, 600)}`);
    if (found.length > SHOWN) say(`  ${kind} and ${found.length - SHOWN} more`);
  }
}

function numberOf(name: 'minutes' | 'seed' | 'rate', least: number, most: number): number {
  const value = Number(values[name]);
  if (value >= least && value <= most) return value;
  process.stderr.write(`--${name} ${values[name]}: a number from ${least} to ${most}\n\n${usage}\n`);
  process.exit(2);
}
