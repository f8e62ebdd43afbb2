/**
 * Graphs as one line of text, the notation of the language page's worked examples: `a.ok->b, a.fail->c, x(if false).ok->d, z(always_run)`.
 * Words in brackets stand at any mention of the job. Jobs are numbered by first mention. `print` and `parse` are inverse up to that numbering.
 */
import type { AbstractEdge, AbstractGraph, AbstractJob, ConditionResult, Join } from './evaluator.ts';

/** A job as most are. */
export function plainJob(id: string): AbstractJob {
  return { id, join: 'all', alwaysRun: false, allowFailure: false, recover: false, condition: 'none' };
}

/** Reads a line; throws on what it does not understand. */
export function parse(text: string): AbstractGraph {
  const jobs: AbstractJob[] = [];
  const edges: AbstractEdge[] = [];
  const mention = (word: string): number => {
    const match = /^([A-Za-z0-9_-]+)(?:\(([^)]*)\))?$/.exec(word.trim());
    if (match === null) throw new Error(`not a job: '${word}' in '${text}'`);
    let index = jobs.findIndex((job) => job.id === match[1]);
    if (index < 0) index = jobs.push(plainJob(match[1])) - 1;
    for (const flag of (match[2] ?? '').split(/[,;]/)) if (flag.trim() !== '') jobs[index] = withFlag(jobs[index], flag.trim());
    return index;
  };
  for (const part of splitOutsideBrackets(text)) {
    const edge = /^(.*)\.(ok|fail)->(.*)$/.exec(part.trim());
    if (edge === null) mention(part);
    else edges.push({ source: mention(edge[1]), target: mention(edge[3]), kind: edge[2] === 'ok' ? 'success' : 'failure' });
  }
  return { jobs, edges };
}

/** Writes a graph so that a person can read it and `parse` can read it back. */
export function print(graph: AbstractGraph): string {
  const jobs = graph.jobs.map((job) => {
    const flags = flagsOf(job);
    return flags.length > 0 ? `${job.id}(${flags.join('; ')})` : job.id;
  });
  const edges = graph.edges.map((edge) => {
    return `${graph.jobs[edge.source].id}.${edge.kind === 'success' ? 'ok' : 'fail'}->${graph.jobs[edge.target].id}`;
  });
  return [...jobs, ...edges].join(', ');
}

function flagsOf(job: AbstractJob): string[] {
  const flags: string[] = [];
  if (job.condition !== 'none') flags.push(`if ${job.condition}`);
  if (job.join !== 'all') flags.push(job.join);
  if (job.alwaysRun) flags.push('always_run');
  if (job.allowFailure) flags.push('allow_failure');
  if (job.recover) flags.push('recover');
  return flags;
}

function withFlag(job: AbstractJob, flag: string): AbstractJob {
  switch (flag) {
    case 'if true':
    case 'if false':
    case 'if error':
      return { ...job, condition: flag.slice(3) as ConditionResult };
    case 'any':
    case 'all_done':
      return { ...job, join: flag satisfies Join };
    case 'always_run':
      return { ...job, alwaysRun: true };
    case 'allow_failure':
      return { ...job, allowFailure: true };
    case 'recover':
      return { ...job, recover: true };
    default:
      throw new Error(`no flag '${flag}'`);
  }
}

function splitOutsideBrackets(text: string): string[] {
  return text.split(/,(?![^(]*\))/).filter((part) => part.trim() !== '');
}
