/**
 * A plan as text and as JSON.
 */
import type { Graph } from '@workflow-orchestrator/engine/definition';
import { statusText } from '../show/status.ts';
import { table } from '../show/table.ts';
import type { Terminal } from '../terminal.ts';
import type { Condition, JobCases, Verdict } from './cases.ts';
import type { PlannedEnd } from './scenario.ts';

/** Conditions that are printed for one verdict of one job. */
export const maxPrinted = 12;

/** One paragraph for each job. */
export function casesText(graph: Graph, all: readonly JobCases[]): string[] {
  return all.flatMap(({ job, groups, complete }) => {
    const { id, condition } = graph.jobs[job];
    const lines = groups.flatMap(({ verdict, when }) => {
      const shown = when.slice(0, maxPrinted).map((each) => `      ${conditionText(graph, each, complete)}`);
      const rest = when.length > maxPrinted ? [`      and ${when.length - maxPrinted} more`] : [];
      const always = groups.length === 1 && when.length === 1 && when[0].size === 0;
      const title = `  ${verdictText(graph, verdict)}`;
      return always ? [`${title} always`] : [`${title} when`, ...shown, ...rest];
    });
    const own = condition === null ? [] : [`  its own condition must hold too: ${condition.source}`];
    const note = complete ? [] : ['  (too many combinations: every ancestor SUCCEEDED except as listed)'];
    return [id, ...lines, ...own, ...note, ''];
  });
}

function verdictText(graph: Graph, verdict: Verdict): string {
  if (verdict.kind === 'runs') return 'runs';
  const causes = verdict.causes.length === 0 ? '' : ` because of ${verdict.causes.map((index) => graph.jobs[index].id).join(', ')}`;
  return `is skipped (${verdict.reason}${causes})`;
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
