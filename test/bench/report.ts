/**
 * Tables of medians from JSON lines: one table a workload, one row a variant. Lines of other engines' drivers have the same names.
 */
import type { Usage } from './usage.ts';

/** One measurement. */
export interface Line {
  readonly label: string;
  readonly workload: string;
  readonly submit?: string;
  readonly n: number;
  readonly jobs_per_s?: number;
  readonly steps_per_s?: number;
  readonly median_ms?: number;
  readonly p50_ms?: number;
  readonly p99_ms?: number;
  readonly elapsed_s: number;
  readonly jobs_executed: number;
  /** By process; `engine` is all that is neither worker nor driver. */
  readonly usage: Readonly<Record<string, Usage>>;
}

interface Column {
  readonly name: string;
  readonly of: (line: Line) => number | undefined;
}

/** Processor time of a process for one job, in microseconds: what a slow disk does not change. */
const cpu = (name: string): Column => ({
  name: `${name} us/job`,
  of: ({ usage, jobs_executed }) => (usage[name] === undefined ? undefined : (usage[name].cpu_s * 1e6) / jobs_executed),
});
const peak = (name: string): Column => ({ name: `${name} MiB`, of: ({ usage }) => usage[name]?.peak_mib });

const figures: readonly Column[] = [
  { name: 'workflows/s', of: (line) => line.jobs_per_s },
  { name: 'steps/s', of: (line) => line.steps_per_s },
  { name: 'median ms', of: (line) => line.median_ms },
  { name: 'p50 ms', of: (line) => (line.median_ms === undefined ? line.p50_ms : undefined) },
  { name: 'p99 ms', of: (line) => line.p99_ms },
];
const all: Column = {
  name: 'CPU us/job',
  of: ({ usage: { driver, worker, engine }, jobs_executed }) => ((driver!.cpu_s + worker!.cpu_s + engine!.cpu_s) * 1e6) / jobs_executed,
};
const processes = ['driver', 'worker', 'engine', 'coordinator', 'postgres', 'redis'];
const columns = [...figures, all, ...processes.map(cpu), ...processes.map(peak)];

/** Markdown, a heading and a table for each workload. */
export function tables(lines: readonly Line[]): string {
  const parts: string[] = [];
  for (const [workload, group] of grouped(lines, headingOf)) {
    const shown = columns.filter(({ of }) => group.some((line) => of(line) !== undefined));
    const rows = [['variant', 'n', 'runs', ...shown.map(({ name }) => name)]];
    rows.push(rows[0]!.map(() => '---'));
    for (const [label, same] of grouped(group, (line) => line.label)) {
      rows.push([label, String(same[0]!.n), String(same.length), ...shown.map(({ of }) => medianOf(same.map(of)))]);
    }
    parts.push(`\n### ${workload}\n\n${rows.map((row) => `| ${row.join(' | ')} |`).join('\n')}\n`);
  }
  return parts.join('');
}

/** How one job was submitted tells two workloads apart; in the others it is a variant. */
function headingOf({ workload, submit }: Line): string {
  return workload === 'single' ? `${workload}, submitted ${submit === 'one' ? 'one by one' : 'in batches'}` : workload;
}

function grouped(lines: readonly Line[], keyOf: (line: Line) => string): Map<string, Line[]> {
  return Map.groupBy(lines, keyOf);
}

function medianOf(values: readonly (number | undefined)[]): string {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  if (sorted.length === 0) return '-';
  const middle = (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
  return middle >= 100 ? Math.round(middle).toLocaleString('en') : middle.toFixed(middle >= 10 ? 1 : 2);
}
