/**
 * An independent reading of the workflow language: what must become of every job and of the workflow, given how each job that runs ends.
 *
 * Written from the language page alone (sections 2 and 3, cited as [2.1] ... [3]) and from nothing of the engine, so that the two can be held
 * against each other. It is slow and literal on purpose: look at every open job again and again until no rule says anything new.
 * It knows no time, no attempts, no cancel: one run, each job that may run is run once, and ends as told. `progress` answers in the middle of a
 * run, where some jobs that run have not ended; `evaluate` answers at its end.
 *
 * Where the page leaves room, this is the reading taken:
 *  A. A job that FAILED with `allow_failure` takes its success edges *and* its failure edges: [2.3] names it in both.
 *  B. [2.4] "the union of the causes" is over the broken edges, and of each all its recorded causes, also one that had another way to this target.
 *  C. [2.4] "a job with failure edges only" is a part of the default join. `join: all_done` on such a job still waits for all and then runs.
 *  D. [2.4] `any` "none can be taken any more": every in-edge is resolved and none is taken. The reason of the skip is chosen as for `all`.
 *  E. [2.4] `all_done` runs whatever the edges resolved to, also when all its sources were skipped.
 *  F. [2.5] `if` narrows roots, `always_run` jobs and finalisers too; an error in it is a failure of that job like any other:
 *     failure edges are taken, `allow_failure` and `recover` apply.
 *  G. [2.6] `always_run` wins over `join` and over the kinds of its in-edges.
 *  H. [3] "every job it ran SUCCEEDED": of the targets of the failed job's failure edges at least one ran, and each that ran SUCCEEDED.
 *     Targets that were skipped do not count; when all were skipped nothing was recovered. A target that FAILED spoils it, even with `allow_failure`.
 *  I. A finaliser has no out-edges: its targets would be jobs that it waits for. The validator refuses such a file; so does `evaluate`.
 *
 * The order of events: `any` and "failure edges only" run at the *first* taken edge. That decides when they run, not whether: each runs if and
 * only if some edge is taken in the end. Skips are decided only when all edges are resolved, so causes do not depend on the order either.
 */

export type EdgeKind = 'success' | 'failure';
export type Join = 'all' | 'any' | 'all_done';
/** What `if` gives when it is evaluated; `none`: there is no `if`. */
export type ConditionResult = 'none' | 'true' | 'false' | 'error';

export interface AbstractJob {
  readonly id: string;
  readonly join: Join;
  readonly alwaysRun: boolean;
  readonly allowFailure: boolean;
  readonly recover: boolean;
  readonly condition: ConditionResult;
}

/** An edge between two jobs, by their places. */
export interface AbstractEdge {
  readonly source: number;
  readonly target: number;
  readonly kind: EdgeKind;
}

/** Acyclic; jobs in the order of the file, which need not be an order of the graph. */
export interface AbstractGraph {
  readonly jobs: readonly AbstractJob[];
  readonly edges: readonly AbstractEdge[];
}

/** How a job ends if it runs. */
export type Outcome = 'SUCCEEDED' | 'FAILED';

export type SkipReason = 'CONDITION_FALSE' | 'BRANCH_NOT_TAKEN' | 'UPSTREAM_FAILED' | 'UPSTREAM_SKIPPED';

/** How a job ended. `ran`: it was given to a worker (an error in `if` fails a job that never ran). `causes` ascending. */
export type Ending =
  | { readonly status: Outcome; readonly ran: boolean }
  | { readonly status: 'SKIPPED'; readonly ran: false; readonly reason: SkipReason; readonly causes: readonly number[] };

/** How everything ended. `blamed`: the failed jobs that make the workflow FAILED; it names the first of them that failed. */
export interface Verdict {
  readonly jobs: readonly Ending[];
  readonly workflow: Outcome;
  readonly blamed: readonly number[];
}

/** Where a job stands in the middle of a run: not decided, with a worker, or ended. */
export type Standing = 'waiting' | 'running' | Ending;

type Resolution = 'taken' | 'neutral' | 'broken';

/** Runs the rules to the end. Throws when the graph is one that the validator refuses, or when the rules get stuck. */
export function evaluate(graph: AbstractGraph, outcomes: readonly Outcome[]): Verdict {
  const jobs = progress(graph, outcomes).map((standing, index) => {
    if (typeof standing === 'string') throw new Error(`stuck: job ${graph.jobs[index].id} never ends`);
    return standing;
  });
  const blamed = jobs.flatMap((_, index) => (isBlamed(graph, jobs, index) ? [index] : []));
  return { jobs, workflow: blamed.length > 0 ? 'FAILED' : 'SUCCEEDED', blamed };
}

/** Runs the rules until nothing changes; an outcome that is null is not known yet: that job, if it runs, still does. */
export function progress(graph: AbstractGraph, outcomes: readonly (Outcome | null)[]): Standing[] {
  const standings: Standing[] = graph.jobs.map(() => 'waiting');
  for (const [index] of graph.jobs.entries()) {
    if (isFinaliser(graph, index) && graph.edges.some((edge) => edge.source === index)) throw new Error(`finaliser ${index} has out-edges`);
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (const [index] of graph.jobs.entries()) {
      if (standings[index] !== 'waiting') continue;
      const decision = decideJoin(graph, standings, index);
      if (decision === 'wait') continue;
      standings[index] = decision === 'run' ? runJob(graph, outcomes, index) : decision;
      changed = true;
    }
  }
  return standings;
}

/** [2.6] `always_run` without in-edges. */
export function isFinaliser(graph: AbstractGraph, index: number): boolean {
  return graph.jobs[index].alwaysRun && inEdges(graph, index).length === 0;
}

/** [2.1] [2.4] [2.6]: whether the job runs, waits, or is skipped and how. */
function decideJoin(graph: AbstractGraph, standings: readonly Standing[], index: number): 'run' | 'wait' | Ending {
  const job = graph.jobs[index];
  const edges = inEdges(graph, index);

  // [2.6] "it runs when every job that is not a finaliser has ended"
  if (isFinaliser(graph, index)) {
    return graph.jobs.every((_, other) => isFinaliser(graph, other) || hasEnded(standings[other])) ? 'run' : 'wait';
  }
  // [2.6] "runs when all its sources have ended, however they ended"
  if (job.alwaysRun) return edges.every((edge) => hasEnded(standings[edge.source])) ? 'run' : 'wait';
  // [2.1] "a job with no in-edge is a root and runs when the workflow starts"
  if (edges.length === 0) return 'run';

  const resolutions = edges.map((edge) => resolve(graph, standings, edge));
  const allResolved = resolutions.every((resolution) => resolution !== null);
  const someTaken = resolutions.includes('taken');
  const someBroken = resolutions.includes('broken');
  const failureEdgesOnly = edges.every((edge) => edge.kind === 'failure');

  // [2.4] "`join: all_done`: run when all are resolved"
  if (job.join === 'all_done') return allResolved ? 'run' : 'wait';
  // [2.4] "`join: any`: run at the first taken edge"; "a job with failure edges only: run once, at the first taken edge"
  if ((job.join === 'any' || failureEdgesOnly) && someTaken) return 'run';
  // [2.4] "nothing is decided before all are resolved"
  if (!allResolved) return 'wait';
  // [2.4] "run if at least one is taken and none is broken"
  if (someTaken && !someBroken) return 'run';
  // [2.4] "otherwise skip: UPSTREAM_FAILED with the union of the causes if one is broken"
  if (someBroken) {
    const causes = new Set(edges.filter((_, at) => resolutions[at] === 'broken').flatMap((edge) => lostTo(standings, edge.source)));
    return { status: 'SKIPPED', ran: false, reason: 'UPSTREAM_FAILED', causes: [...causes].sort((a, b) => a - b) };
  }
  // [2.4] "else BRANCH_NOT_TAKEN if it has failure edges only, else UPSTREAM_SKIPPED"
  return { status: 'SKIPPED', ran: false, reason: failureEdgesOnly ? 'BRANCH_NOT_TAKEN' : 'UPSTREAM_SKIPPED', causes: [] };
}

/** [2.5] `if` after the join, then the run itself. */
function runJob(graph: AbstractGraph, outcomes: readonly (Outcome | null)[], index: number): Standing {
  switch (graph.jobs[index].condition) {
    case 'false':
      return { status: 'SKIPPED', ran: false, reason: 'CONDITION_FALSE', causes: [] };
    case 'error':
      return { status: 'FAILED', ran: false };
    case 'true':
    case 'none': {
      const status = outcomes[index];
      return status === null ? 'running' : { status, ran: true };
    }
  }
}

/** [2.3] How an edge resolved; null: its source has not ended. */
function resolve(graph: AbstractGraph, standings: readonly Standing[], edge: AbstractEdge): Resolution | null {
  const source = standings[edge.source];
  if (!hasEnded(source)) return null;
  if (isTaken(graph, standings, edge)) return 'taken';
  // "a failure edge that was not taken"
  if (edge.kind === 'failure') return 'neutral';
  // "a success edge whose source was skipped for CONDITION_FALSE, BRANCH_NOT_TAKEN or UPSTREAM_SKIPPED"
  if (source.status === 'SKIPPED' && source.reason !== 'UPSTREAM_FAILED') return 'neutral';
  // "a success edge lost because job X failed, when this target is also reachable from X ...; with several causes, this must hold for each"
  if (lostTo(standings, edge.source).every((x) => reachableAlongOutcome(graph, standings, x, edge.target))) return 'neutral';
  // "every other success edge that was not taken"
  return 'broken';
}

/** [2.3] "taken: a success edge whose source SUCCEEDED (or FAILED with `allow_failure`); a failure edge whose source FAILED". */
function isTaken(graph: AbstractGraph, standings: readonly Standing[], edge: AbstractEdge): boolean {
  const source = standings[edge.source];
  const status = hasEnded(source) ? source.status : null;
  if (edge.kind === 'failure') return status === 'FAILED';
  return status === 'SUCCEEDED' || (status === 'FAILED' && graph.jobs[edge.source].allowFailure);
}

/** [2.3] "X the source, or the recorded cause of the source's skip". */
function lostTo(standings: readonly Standing[], source: number): readonly number[] {
  const standing = standings[source];
  return hasEnded(standing) && standing.status === 'SKIPPED' ? standing.causes : [source];
}

/** [2.3] "through the edges of X that its outcome took, and from there on along edges of either kind". */
function reachableAlongOutcome(graph: AbstractGraph, standings: readonly Standing[], x: number, target: number): boolean {
  return graph.edges.some((edge) => edge.source === x && isTaken(graph, standings, edge) && reachable(graph, edge.target, target));
}

function reachable(graph: AbstractGraph, from: number, target: number): boolean {
  return from === target || graph.edges.some((edge) => edge.source === from && reachable(graph, edge.target, target));
}

/** [3] "some job FAILED without `allow_failure`. Exception: `recover: true` and every job it ran SUCCEEDED". */
function isBlamed(graph: AbstractGraph, endings: readonly Ending[], index: number): boolean {
  const job = graph.jobs[index];
  if (endings[index].status !== 'FAILED' || job.allowFailure) return false;
  if (!job.recover) return true;
  const handlers = graph.edges.filter((edge) => edge.source === index && edge.kind === 'failure').map((edge) => endings[edge.target]);
  const thatRan = handlers.filter((ending) => ending.status !== 'SKIPPED');
  return thatRan.length === 0 || thatRan.some((ending) => ending.status !== 'SUCCEEDED');
}

function hasEnded(standing: Standing): standing is Ending {
  return typeof standing !== 'string';
}

function inEdges(graph: AbstractGraph, index: number): readonly AbstractEdge[] {
  return graph.edges.filter((edge) => edge.target === index);
}
