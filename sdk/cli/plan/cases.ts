/**
 * For one job: under which outcomes of its ancestors it runs, and under which it is skipped and why. Asked of the engine, case by case.
 *
 * Invariants
 * 1. Only outcomes that can happen are told apart: a job that is skipped itself has none. The cases of a job exclude each other and cover everything.
 * 2. An ancestor whose outcome makes no difference in a case is not part of it.
 * 3. At most `maxRuns` scenarios are tried for a job. Where that is not enough, the answer says so, and holds the case that everything
 *    SUCCEEDED and each case in which one ancestor alone ends otherwise.
 */
import type { Graph } from '@workflow-orchestrator/engine/definition';
import type { PlannedOutcome } from './derive.ts';
import type { PlannedEnd, PlannedJob, Planner } from './scenario.ts';

/** Scenarios that are tried for one job. */
export const maxRuns = 2_000;
/** Ends of jobs that are worked out for a whole plan: bounds its time to seconds, whatever the graph. */
export const maxSteps = 3_000_000;

/** How many scenarios each of `planned` jobs may take in a graph of `jobs`. */
export function runsFor(jobs: number, planned: number): number {
  return Math.max(2, Math.min(maxRuns, Math.floor(maxSteps / jobs / Math.max(1, planned))));
}

/** Ancestors and how they end, by index; those that are not named make no difference. */
export type Condition = ReadonlyMap<number, PlannedOutcome>;

/** What becomes of the job. */
export type Verdict =
  | { readonly kind: 'runs' }
  | { readonly kind: 'skipped'; readonly reason: NonNullable<PlannedJob['skipReason']>; readonly causes: readonly number[] };

/** All conditions that lead to one verdict. */
export interface CaseGroup {
  readonly verdict: Verdict;
  readonly when: readonly Condition[];
}

/** Everything about one job. */
export interface JobCases {
  readonly job: number;
  readonly groups: readonly CaseGroup[];
  /** False: too many combinations; only single deviations are listed. */
  readonly complete: boolean;
}

/** A decision tree over outcomes: a leaf says what becomes of the job, a branch asks how one ancestor ended. */
type Tree =
  | { readonly kind: 'leaf'; readonly verdict: Verdict; readonly key: string }
  | {
      readonly kind: 'branch';
      readonly job: number;
      readonly children: readonly { readonly outcome: PlannedOutcome; readonly tree: Tree }[];
      readonly key: string;
    };

/** Works out the cases of one job. */
export function casesOf(planner: Planner, job: number, runs: number = maxRuns): JobCases {
  const { graph } = planner;
  const ancestors = ancestorsOf(graph, job);
  const explorer = new Explorer(planner, job, ancestors, runs);
  const tree = explorer.explore(new Map());
  if (tree === null) return { job, groups: group(singleDeviations(planner, job, ancestors, runs)), complete: false };
  const cases: { verdict: Verdict; when: Condition }[] = [];
  collect(tree, new Map(), cases);
  return { job, groups: group(cases), complete: true };
}

/** Every job whose end can matter for `job`, sources first. A finaliser waits for all that are none. */
export function ancestorsOf(graph: Graph, job: number): number[] {
  if (graph.jobs[job].finaliser) return graph.order.filter((index) => !graph.jobs[index].finaliser);
  const found = new Set<number>();
  const queue = [job];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    for (const edge of graph.jobs[next].inEdges) {
      if (found.has(edge.source)) continue;
      found.add(edge.source);
      queue.push(edge.source);
    }
  }
  return graph.order.filter((index) => found.has(index));
}

/** The outcomes that an ancestor can have when it is reached. */
function outcomesOf(graph: Graph, index: number): PlannedOutcome[] {
  return graph.jobs[index].condition === null ? ['SUCCEEDED', 'FAILED'] : ['SUCCEEDED', 'FAILED', 'IF_FALSE'];
}

/** Builds the decision tree depth first, over ancestors that are reached only. */
class Explorer {
  readonly #planner: Planner;
  readonly #job: number;
  readonly #ancestors: readonly number[];
  #runsLeft: number;

  constructor(planner: Planner, job: number, ancestors: readonly number[], runs: number) {
    this.#planner = planner;
    this.#job = job;
    this.#ancestors = ancestors;
    this.#runsLeft = runs;
  }

  /** The tree below what is known; null when there are too many scenarios. Depth is bounded by the scenarios that are left. */
  explore(known: Map<number, PlannedOutcome>): Tree | null {
    // A tree over n ancestors has at least n + 1 leaves: no need to begin one that cannot be finished.
    if (this.#runsLeft <= 0 || (known.size === 0 && this.#ancestors.length >= this.#runsLeft)) return null;
    this.#runsLeft -= 1;
    const end = this.#planner.run((index) => known.get(index) ?? 'SUCCEEDED');
    const open = this.#ancestors.find((index) => !known.has(index) && wasReached(end.jobs[index]));
    if (open === undefined) return leaf(verdictOf(end, this.#job));
    const children: { outcome: PlannedOutcome; tree: Tree }[] = [];
    for (const outcome of outcomesOf(this.#planner.graph, open)) {
      known.set(open, outcome);
      const tree = this.explore(known);
      known.delete(open);
      if (tree === null) return null;
      children.push({ outcome, tree });
    }
    return branch(open, children);
  }
}

/** Whether the job's own outcome came into play: it ran, or its condition was asked. */
function wasReached(job: PlannedJob): boolean {
  return job.status !== 'SKIPPED' || job.skipReason === 'CONDITION_FALSE';
}

function leaf(verdict: Verdict): Tree {
  return { kind: 'leaf', verdict, key: verdictKey(verdict) };
}

/** A branch; where every outcome leads to the same, that. */
function branch(job: number, children: readonly { readonly outcome: PlannedOutcome; readonly tree: Tree }[]): Tree {
  const [first] = children;
  if (children.every((child) => child.tree.key === first.tree.key)) return first.tree;
  return { kind: 'branch', job, children, key: `${job}(${children.map((child) => `${child.outcome}:${child.tree.key}`).join(',')})` };
}

function collect(tree: Tree, path: Map<number, PlannedOutcome>, into: { verdict: Verdict; when: Condition }[]): void {
  if (tree.kind === 'leaf') {
    into.push({ verdict: tree.verdict, when: new Map(path) });
    return;
  }
  for (const { outcome, tree: child } of tree.children) {
    path.set(tree.job, outcome);
    collect(child, path, into);
    path.delete(tree.job);
  }
}

/** Everything SUCCEEDED, and each ancestor alone otherwise; of many ancestors the first ones. */
function singleDeviations(
  planner: Planner,
  job: number,
  ancestors: readonly number[],
  runs: number,
): { verdict: Verdict; when: Condition }[] {
  const cases = [
    {
      verdict: verdictOf(
        planner.run(() => 'SUCCEEDED'),
        job,
      ),
      when: new Map<number, PlannedOutcome>() as Condition,
    },
  ];
  for (const ancestor of ancestors) {
    for (const outcome of outcomesOf(planner.graph, ancestor).slice(1)) {
      if (cases.length >= Math.min(runs, 200)) return cases;
      const end = planner.run((index) => (index === ancestor ? outcome : 'SUCCEEDED'));
      if (wasReached(end.jobs[ancestor])) cases.push({ verdict: verdictOf(end, job), when: new Map([[ancestor, outcome]]) });
    }
  }
  return cases;
}

function verdictOf(end: PlannedEnd, index: number): Verdict {
  const job = end.jobs[index];
  // A condition that is false is the job's own doing; here it counts as if it held.
  if (job.skipReason === null || job.skipReason === 'CONDITION_FALSE') return { kind: 'runs' };
  return { kind: 'skipped', reason: job.skipReason, causes: job.causes };
}

function verdictKey(verdict: Verdict): string {
  return verdict.kind === 'runs' ? 'runs' : `${verdict.reason} ${verdict.causes.join(' ')}`;
}

/** Cases by verdict, "runs" first, then in the order in which they were found. */
function group(cases: readonly { readonly verdict: Verdict; readonly when: Condition }[]): CaseGroup[] {
  const groups = new Map<string, { verdict: Verdict; when: Condition[] }>();
  for (const { verdict, when } of cases) {
    const key = verdictKey(verdict);
    const known = groups.get(key);
    if (known === undefined) groups.set(key, { verdict, when: [when] });
    else known.when.push(when);
  }
  const all = [...groups.values()];
  return [...all.filter(({ verdict }) => verdict.kind === 'runs'), ...all.filter(({ verdict }) => verdict.kind !== 'runs')];
}
