#!/usr/bin/env node
/**
 * `npm run sim --`: replay a seed, run a campaign, look for the seeds of planted bugs.
 *
 *   --seed N              replay one seed with a readable trace; `--shrink` makes it smaller first
 *   --plan FILE           replay a plan (JSON), as `--shrink` prints it
 *   --minutes M           a campaign: seeds from `--from` on (1), on `--jobs` processes (1)
 *   --seeds N             a campaign of so many seeds
 *   --mutant NAME         with any of these: with that bug planted
 *   --mutants             for each planted bug the first seed that catches it, as the table of README.md
 *   --first               a child of a campaign stops at the first failure; with `--by I3` at the first in which that invariant is broken
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { campaign, type Failure, type Tally } from './campaign.ts';
import { judge } from './judging.ts';
import { type Mutant, mutants } from './mutants.ts';
import { type Plan, planFrom, planOf } from './plan.ts';
import { shrink } from './shrink.ts';
import { missing } from './states.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    plan: { type: 'string' },
    shrink: { type: 'boolean', default: false },
    minutes: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string', default: '1' },
    step: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '1' },
    mutant: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    child: { type: 'boolean', default: false },
    first: { type: 'boolean', default: false },
    by: { type: 'string' },
  },
});

const print = (text: string): void => void process.stdout.write(`${text}\n`);
// Whoever reads has seen enough: `| head`.
process.stdout.on('error', () => process.exit());

/** A whole number among the options. Ends the program when it is none. */
function numberOf(name: string, text: string): number {
  const number = Number(text);
  if (!Number.isFinite(number) || number < 0) {
    process.stderr.write(`--${name} takes a number, not '${text}'\n`);
    process.exit(2);
  }
  return number;
}

function mutantOf(name: string): Mutant {
  const found = mutants.find((mutant) => mutant.name === name);
  if (found !== undefined) return found;
  process.stderr.write(`there is no mutant '${name}'; there are:\n${mutants.map((mutant) => `  ${mutant.name}\n`).join('')}`);
  process.exit(2);
}

/** This program again, as a process of its own, with a bug planted or not. */
function again(args: readonly string[], mutant: Mutant | null, stdout: 'inherit' | 'pipe') {
  const plant = mutant === null ? [] : [`--import=${join(import.meta.dirname, '..', 'engine-support', 'plant.ts')}`];
  const bug = mutant === null ? {} : { PLANTED_BUG: JSON.stringify([mutant.file, mutant.from, mutant.to]) };
  return spawn(process.execPath, ['--conditions=workflow-orchestrator', ...plant, import.meta.filename, ...args], {
    env: { ...process.env, ...bug },
    stdio: ['ignore', stdout, 'inherit'],
  });
}

async function replay(given: Plan): Promise<void> {
  let plan = given;
  if (values.shrink) {
    const { violations } = await judge(plan);
    if (violations.length === 0) return print('nothing is wrong with it');
    plan = await shrink(plan, violations[0].invariant);
    print(JSON.stringify(plan));
  }
  const { violations, result } = await judge(plan, print);
  for (const { invariant, message } of violations) print(`${invariant}: ${message}`);
  const seen =
    result === null
      ? 'it threw'
      : `${result.workflows} workflows, ${result.steps} events, ${Math.round(result.virtualMs)} ms, trace ${result.hash()}`;
  print(`${seen}, ${violations.length} violations`);
  if (violations.length > 0) process.exitCode = 1;
}

/** How often a campaign says how far it is. */
const PROGRESS_MS = 60_000;

/** The line with which a child ends. */
interface Report extends Omit<Tally, 'states'> {
  readonly states: readonly (readonly [string, number])[];
}

/** Whether a failure is the one that is looked for. */
function isCaught(failure: Failure | undefined): boolean {
  const { by } = values;
  return failure !== undefined && (by === undefined || failure.violations.some(({ invariant }) => invariant === by));
}

async function child(): Promise<void> {
  const endsAt = values.minutes === undefined ? Number.POSITIVE_INFINITY : performance.now() + numberOf('minutes', values.minutes) * 60_000;
  const most = values.seeds === undefined ? Number.POSITIVE_INFINITY : numberOf('seeds', values.seeds);
  let tellsAt = performance.now() + PROGRESS_MS;
  const tally = await campaign({
    from: numberOf('from', values.from),
    step: numberOf('step', values.step),
    goesOn: ({ seeds, failures }) => {
      const now = performance.now();
      if (now >= tellsAt) {
        tellsAt = now + PROGRESS_MS;
        print(JSON.stringify({ progress: seeds }));
      }
      return seeds < most && now < endsAt && !(values.first && isCaught(failures.at(-1)));
    },
    onFailure: (failure) => print(JSON.stringify({ failure })),
  });
  print(JSON.stringify({ report: { ...tally, states: [...tally.states] } }));
}

/** Who hears how a campaign goes. */
interface Listener {
  readonly failed: (failure: Failure) => void;
  /** Each of the children has said how far it is, `seeds` together. */
  readonly progressed: (seeds: number) => void;
}

/** Runs children over the seeds; what they have seen together. */
async function overAll(jobs: number, args: readonly string[], mutant: Mutant | null, listener: Listener): Promise<Tally> {
  const sum: Tally = { seeds: 0, steps: 0, virtualMs: 0, workflows: 0, failures: [], states: new Map() };
  const from = numberOf('from', values.from);
  const progress = new Map<number, number>();
  const one = async (index: number): Promise<void> => {
    const process = again(['--child', '--from', String(from + index), '--step', String(jobs), ...args], mutant, 'pipe');
    const ended = new Promise<number | string | null>((resolve) => process.on('exit', (code, signal) => resolve(code ?? signal)));
    for await (const line of createInterface({ input: process.stdout! })) {
      const { failure, progress: seeds, report } = JSON.parse(line) as { failure?: Failure; progress?: number; report?: Report };
      if (failure !== undefined) {
        sum.failures.push(failure);
        listener.failed(failure);
      }
      if (seeds !== undefined) {
        progress.set(index, seeds);
        if (index === jobs - 1) listener.progressed([...progress.values()].reduce((a, b) => a + b, 0));
      }
      if (report === undefined) continue;
      sum.seeds += report.seeds;
      sum.steps += report.steps;
      sum.virtualMs += report.virtualMs;
      sum.workflows += report.workflows;
      for (const [state, count] of report.states) sum.states.set(state, (sum.states.get(state) ?? 0) + count);
    }
    const code = await ended;
    if (code === 99) throw new Error('the text of the mutant is not in its file any more');
    if (code !== 0) throw new Error(`a process of the campaign ended with ${code}`);
  };
  await Promise.all(Array.from({ length: jobs }, (_, index) => one(index)));
  return sum;
}

async function runCampaign(mutant: Mutant | null): Promise<void> {
  const jobs = numberOf('jobs', values.jobs);
  const startedAt = performance.now();
  const perJob = values.seeds === undefined ? [] : ['--seeds', String(Math.ceil(numberOf('seeds', values.seeds) / jobs))];
  const args = [...(values.minutes === undefined ? [] : ['--minutes', values.minutes]), ...perJob];
  const minutesPassed = (): number => (performance.now() - startedAt) / 60_000;
  let failed = 0;
  const tally = await overAll(jobs, args, mutant, {
    failed: ({ seed, violations: [first, ...more] }) => {
      failed += 1;
      print(`seed ${seed}: ${first.invariant}: ${first.message}${more.length > 0 ? ` (and ${more.length} more)` : ''}`);
    },
    progressed: (seeds) => print(`${Math.round(minutesPassed())} min: ${seeds} seeds, ${failed} failed`),
  });
  const minutes = minutesPassed();
  for (const [state, count] of [...tally.states].sort((a, b) => b[1] - a[1])) print(`${String(count).padStart(9)}  ${state}`);
  const unmet = missing(tally.states, tally.seeds);
  for (const state of unmet) print(`never reached: ${state}`);
  print(
    `${tally.seeds} seeds (${Math.round(tally.seeds / minutes)} a minute), ${tally.workflows} workflows, ${tally.steps} events, ` +
      `${Math.round(tally.virtualMs / 3_600_000)} hours of virtual time, ${tally.failures.length} failed, ${unmet.length} states never reached`,
  );
  if (tally.failures.length > 0 || unmet.length > 0) process.exitCode = 1;
}

/** The first seed for each bug. */
async function hunt(): Promise<void> {
  print('| mutant | caught by | seed | violation |\n| --- | --- | --- | --- |');
  for (const mutant of values.mutant === undefined ? mutants : [mutantOf(values.mutant)]) {
    const { failures, seeds } = await overAll(1, ['--first', '--seeds', values.seeds ?? '20000'], mutant, {
      failed: () => {},
      progressed: () => {},
    });
    const [failure] = failures;
    if (failure === undefined) print(`| ${mutant.name} | nothing | - | not caught in ${seeds} seeds |`);
    else
      print(
        `| ${mutant.name} | ${failure.violations[0].invariant} | ${failure.seed} | ${failure.violations[0].message.split('\n')[0].slice(0, 120)} |`,
      );
  }
}

if (values.child) await child();
else if (values.mutants) await hunt();
else if (values.seed !== undefined || values.plan !== undefined) {
  if (values.mutant !== undefined && process.env.PLANTED_BUG === undefined) {
    again(process.argv.slice(2), mutantOf(values.mutant), 'inherit').on('exit', (code) => {
      process.exitCode = code ?? 1;
    });
  } else if (values.plan !== undefined) await replay(planFrom(readFileSync(values.plan, 'utf8')));
  else await replay(planOf(numberOf('seed', values.seed ?? '')));
} else await runCampaign(values.mutant === undefined ? null : mutantOf(values.mutant));
