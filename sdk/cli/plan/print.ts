/**
 * A plan as text and as JSON.
 */
import type { Graph } from '@workflow-orchestrator/engine/definition';
import { statusText } from '../show/status.ts';
import { table } from '../show/table.ts';
import type { Terminal } from '../terminal.ts';
import type { Condition, JobCases, Verdict } from './cases.ts';
import type { PlannedEnd } from './scenario.ts';

/** Conditions that are printed for one job that runs, and for each reason to skip it. */
export const maxPrinted = 12;

/** One paragraph for each job. Skips are put together by their reason; who caused one stands at its line. */
export function casesText(graph: Graph, all: readonly JobCases[]): string[] {
  return all.flatMap(({ job, groups, complete }) => {
    const { id, condition } = graph.jobs[job];
    const byTitle = new Map<string, string[]>();
    for (const { verdict, when } of groups) {
      const title = verdict.kind === 'runs' ? 'runs' : `is skipped (${verdict.reason})`;
      const lines = byTitle.get(title) ?? [];
      for (const each of when) lines.push(conditionText(graph, each, complete) + causesText(graph, verdict));
      byTitle.set(title, lines);
    }
    const always = byTitle.size === 1 && groups.length === 1 && groups[0].when.length === 1 && groups[0].when[0].size === 0;
    const lines = [...byTitle].flatMap(([title, conditions]) => {
      if (always) return [`  ${title} always`];
      const rest = conditions.length > maxPrinted ? [`      and ${conditions.length - maxPrinted} more; --json lists all`] : [];
      return [`  ${title} when`, ...conditions.slice(0, maxPrinted).map((text) => `      ${text}`), ...rest];
    });
    const own = condition === null ? [] : [`  its own condition must hold too: ${condition.source}`];
    const note = complete ? [] : ['  (too many combinations: every ancestor SUCCEEDED except as listed)'];
    return [id, ...lines, ...own, ...note, ''];
  });
}

/** Who caused a skip, where the condition does not say it by itself. */
function causesText(graph: Graph, verdict: Verdict): string {
  if (verdict.kind === 'runs' || verdict.causes.length === 0) return '';
  return ` (because of ${verdict.causes.map((index) => graph.jobs[index].id).join(', ')})`;
}

function conditionText(graph: Graph, when: Condition, complete: boolean): string {
  if (when.size === 0) return complete ? 'whatever happens' : 'all SUCCEEDED';
  return [...when].map(([job, outcome]) => `${graph.jobs[job].id} ${outcome}`).join(', ');
}

/** The cases by job id, for programs. */
export function casesJson(graph: Graph, all: readonly JobCases[]): object {
  const jobs = all.map(({ job, groups, complete }) => [
    graph.jobs[job].id,
    {
      complete,
      cases: groups.map(({ verdict, when }) => ({
        ...(verdict.kind === 'runs'
          ? { runs: true, skipReason: null, causes: [] }
          : { runs: false, skipReason: verdict.reason, causes: verdict.causes.map((index) => graph.jobs[index].id) }),
        when: when.map((each) => Object.fromEntries([...each].map(([index, outcome]) => [graph.jobs[index].id, outcome]))),
      })),
    },
  ]);
  return { workflow: { name: graph.name, hash: graph.hash }, jobs: Object.fromEntries(jobs) };
}

/** The end of one scenario, for people. */
export function endText(canvas: Pick<Terminal, 'color'>, graph: Graph, end: PlannedEnd): string[] {
  const rows = end.jobs.map((job, index) => [
    graph.jobs[index].id,
    statusText(canvas, job.status),
    job.skipReason ?? '',
    job.causes.map((cause) => graph.jobs[cause].id).join(', '),
  ]);
  return [`${graph.name} ${statusText(canvas, end.status)}`, '', ...table(['JOB', 'STATUS', 'SKIPPED', 'BECAUSE OF'], rows)];
}

/** The end of one scenario, for programs. */
export function endJson(graph: Graph, end: PlannedEnd): object {
  const jobs = end.jobs.map((job, index) => [
    graph.jobs[index].id,
    { status: job.status, skipReason: job.skipReason, causes: job.causes.map((cause) => graph.jobs[cause].id) },
  ]);
  return { workflow: { status: end.status }, jobs: Object.fromEntries(jobs) };
}
