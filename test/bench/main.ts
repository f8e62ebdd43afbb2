/**
 * `npm run bench`: measures workloads on stores, in rounds, each measurement in fresh processes (`measure.ts`), and prints a table of medians.
 * In a round all stores of a workload stand next to each other in time, so that a slow spell of the machine touches all of them.
 */
import { execFile } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Measurement } from './measure.ts';
import { stores } from './programs.ts';
import { type Line, tables } from './report.ts';
import { workloads } from './workloads.ts';

/** A measurement that takes longer has failed. */
const measurementMs = 300_000;

const help = `npm run bench -- [options]
  --workload a,b   ${Object.keys(workloads).join(', ')}; all when absent
  --store a,b      ${stores.join(', ')}; memory when absent
  --rounds 3       how often each is measured
  --n 20000        workflows of a measurement; what the workload is meant for when absent
  --warmup 300     jobs that run before and do not count
  --out file       JSON lines, appended
  --peers file     JSON lines of other engines, measured with the same workloads, shown beside
  --profile folder a CPU profile of each process, below it
  --set name=value batch, batches, lanes, inflight, steps, width, rate, seconds, slots of measure.ts; may be repeated
`;

const { values } = parseArgs({
  options: {
    workload: { type: 'string', default: Object.keys(workloads).join() },
    store: { type: 'string', default: 'memory' },
    rounds: { type: 'string', default: '3' },
    n: { type: 'string', default: '0' },
    warmup: { type: 'string', default: '300' },
    out: { type: 'string' },
    peers: { type: 'string' },
    profile: { type: 'string' },
    set: { type: 'string', multiple: true, default: [] },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit();
}
const named = <T extends string>(given: string, known: readonly T[]): T[] =>
  given.split(',').map((name) => {
    if (!known.includes(name as T)) throw new Error(`${name} is none of ${known.join(', ')}`);
    return name as T;
  });
const whole = (name: string, given: string | undefined): number => {
  if (given === undefined || !/^\d+$/.test(given)) throw new Error(`${name} must be a whole number, not ${given}`);
  return Number(given);
};
const settings = Object.fromEntries(
  values.set.map((pair) => {
    const [name, value] = pair.split('=') as [string, string | undefined];
    named(name, ['batch', 'batches', 'lanes', 'inflight', 'steps', 'width', 'rate', 'seconds', 'slots']);
    return [name, whole(name, value)];
  }),
);

const lines: Line[] = [];
let failures = 0;
for (let round = 1; round <= whole('--rounds', values.rounds); round++) {
  for (const workload of named(values.workload, Object.keys(workloads))) {
    for (const store of named(values.store, stores)) {
      const n = whole('--n', values.n);
      const profileDir = values.profile === undefined ? null : resolve(values.profile, `${workload}-${store}-${round}`);
      const line = await measured({ ...settings, workload, store, n, warmup: whole('--warmup', values.warmup), profileDir });
      if (line === null) continue;
      lines.push(line);
      if (values.out !== undefined) appendFileSync(values.out, `${JSON.stringify({ ...line, round })}\n`);
    }
  }
}
const peers = values.peers === undefined ? [] : readLines(values.peers);
process.stdout.write(tables([...lines, ...peers]));
process.exitCode = failures > 0 ? 1 : 0;

/** One measurement; null, and told, when it failed. */
async function measured(measurement: Partial<Measurement>): Promise<Line | null> {
  const { workload, store, profileDir } = measurement;
  if (profileDir != null) mkdirSync(profileDir, { recursive: true });
  const script = join(import.meta.dirname, 'measure.ts');
  const args = ['--conditions=workflow-orchestrator', script, JSON.stringify(measurement)];
  const { error, stdout, stderr } = await new Promise<{ error: Error | null; stdout: string; stderr: string }>((done) => {
    execFile(process.execPath, args, { timeout: measurementMs }, (error, stdout, stderr) => done({ error, stdout, stderr }));
  });
  if (error !== null) {
    failures += 1;
    process.stderr.write(`${workload} on ${store} FAILED: ${stderr || error.message}\n`);
    return null;
  }
  const line = JSON.parse(stdout.trim().split('\n').at(-1)!) as Line;
  const figure = line.jobs_per_s ?? line.steps_per_s ?? line.median_ms ?? line.p50_ms;
  process.stderr.write(`${workload} on ${store}: ${figure} (${line.elapsed_s} s)\n`);
  return line;
}

function readLines(file: string): Line[] {
  const all = readFileSync(file, 'utf8').trim().split('\n');
  return all.map((line) => JSON.parse(line) as Line & { failed?: string }).filter(({ failed }) => failed === undefined);
}
