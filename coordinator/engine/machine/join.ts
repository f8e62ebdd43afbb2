/**
 * Edges and joins: when a job may be decided, and whether it runs. A transcription of section 2 of the workflow language.
 *
 * Invariants
 * 1. Nothing is decided before every in-edge is resolved, except "run at the first taken edge" (join `any`, and jobs with failure edges only):
 *    so causes do not depend on the order of events.
 * 2. A decision depends only on how sources ended, never on when.
 */
import type { Edge, GraphJob } from '../definition/graph.ts';
import { hasEnded, type SkipReason, type WorkflowState } from './state.ts';

/** What a job's in-edges say. `from`: the jobs it came from. `failedSource`: the job whose failure edge opened it. */
export type JoinVerdict =
  | { readonly kind: 'wait' }
  | { readonly kind: 'run'; readonly from: readonly number[]; readonly failedSource: number | null }
  | { readonly kind: 'skip'; readonly reason: SkipReason; readonly causes: readonly number[] };

type Resolution = 'unresolved' | 'taken' | 'neutral' | 'broken';

const WAIT: JoinVerdict = { kind: 'wait' };

/** Judges one job that is PENDING. */
export function judge(state: WorkflowState, job: GraphJob): JoinVerdict {
  if (job.finaliser) return state.openRegularJobs === 0 ? { kind: 'run', from: [], failedSource: null } : WAIT;
  if (job.inEdges.length === 0) return { kind: 'run', from: [], failedSource: null };

  const failureEdgesOnly = job.inEdges.every((edge) => edge.kind === 'failure');
  const runAtFirst = !job.alwaysRun && (job.join === 'any' || (failureEdgesOnly && job.join === 'all'));
  let broken = false;
  let taken = false;
  let unresolved = false;
  for (const edge of job.inEdges) {
    const resolution = resolve(state, edge);
    if (resolution === 'unresolved') {
      if (!runAtFirst) return WAIT;
      unresolved = true;
    } else if (resolution === 'taken') {
      taken = true;
      if (runAtFirst) break;
    } else if (resolution === 'broken') broken = true;
  }

  if (job.alwaysRun) return run(state, job, sources(job));
  if (runAtFirst ? taken : job.join === 'all_done' || (taken && !broken)) return run(state, job, takenSources(state, job));
  if (unresolved) return WAIT;
  if (broken) return { kind: 'skip', reason: 'UPSTREAM_FAILED', causes: brokenCauses(state, job) };
  return { kind: 'skip', reason: failureEdgesOnly ? 'BRANCH_NOT_TAKEN' : 'UPSTREAM_SKIPPED', causes: [] };
}

function run(state: WorkflowState, job: GraphJob, from: readonly number[]): JoinVerdict {
  const opened = job.inEdges.filter((edge) => edge.kind === 'failure' && resolve(state, edge) === 'taken').map((edge) => edge.source);
  return { kind: 'run', from, failedSource: opened.length === 0 ? null : Math.min(...opened) };
}

function resolve(state: WorkflowState, edge: Edge): Resolution {
  const source = state.jobs[edge.source]!;
  if (!hasEnded(source.phase)) return 'unresolved';
  if (edge.kind === 'failure') return source.phase === 'FAILED' ? 'taken' : 'neutral';
  if (source.phase === 'SUCCEEDED') return 'taken';
  if (source.phase === 'FAILED' && state.graph.jobs[edge.source]!.allowFailure) return 'taken';
  if (source.phase === 'SKIPPED' && source.skipReason !== 'UPSTREAM_FAILED') return 'neutral';
  const causes = lostBecauseOf(state, edge.source);
  // "Either branch, then go on": the failure that closed this way also led here along another.
  const merges = causes.length > 0 && causes.every((cause) => state.graph.reachable(cause, 'failure', edge.target));
  return merges ? 'neutral' : 'broken';
}

/** The failed jobs because of which a success edge of `source` is lost; none when it was cancelled. */
function lostBecauseOf(state: WorkflowState, source: number): readonly number[] {
  const job = state.jobs[source]!;
  return job.phase === 'FAILED' ? [source] : job.causes;
}

function brokenCauses(state: WorkflowState, job: GraphJob): readonly number[] {
  const causes = new Set<number>();
  for (const edge of job.inEdges) {
    if (resolve(state, edge) === 'broken') for (const cause of lostBecauseOf(state, edge.source)) causes.add(cause);
  }
  return [...causes].sort((a, b) => a - b);
}

function sources(job: GraphJob): readonly number[] {
  return [...new Set(job.inEdges.map((edge) => edge.source))];
}

function takenSources(state: WorkflowState, job: GraphJob): readonly number[] {
  return [...new Set(job.inEdges.filter((edge) => resolve(state, edge) === 'taken').map((edge) => edge.source))];
}
