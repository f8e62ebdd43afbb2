/**
 * For one job: under which outcomes of its ancestors it runs, and under which it is skipped and why. Asked of the engine, case by case.
 *
 * Invariants
 * 1. Only outcomes that can happen are told apart: a job that is skipped itself has none. The cases of a job exclude each other and cover everything.
 * 2. An ancestor whose outcome makes no difference in a case is not part of it.
 * 3. Work is bounded: at most `maxScenarios` are looked at for a job, and `maxSteps` ends of jobs are worked out for a whole plan. Where that is
 *    not enough, the answer says so, and holds the case that everything SUCCEEDED and cases in which one ancestor alone ends otherwise.
 */
import type { Graph } from '@workflow-orchestrator/engine/definition';
import type { PlannedOutcome } from './derive.ts';
import type { PlannedEnd, PlannedJob, Planner } from './scenario.ts';

/** Scenarios that are looked at for one job. */
export const maxScenarios = 2_000;
/** Ends of jobs that are worked out for one plan: some seconds, whatever the graph. */
export const maxSteps = 500_000;

/** What one scenario costs. Each decision copies the list of jobs, which from some hundreds of jobs on is what takes the time. */
function stepsOf(graph: Graph): number {
  return graph.jobs.length * (1 + graph.jobs.length / 500);
}
/** Jobs that are looked at while the scenarios of one plan are compared. */
const maxLooks = 10_000_000;
/** Ancestors that are listed for a job with too many combinations. */
const maxDeviations = 200;

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

/** Works out cases for one graph. Scenarios are shared between its jobs: most differ in one outcome from "everything SUCCEEDED". */
export class CaseFinder {
  readonly #planner: Planner;
  readonly #ends = new Map<string, PlannedEnd>();
  #stepsLeft: number;
  #looksLeft = maxLooks;

  constructor(planner: Planner, steps: number = maxSteps) {
    this.#planner = planner;
    this.#stepsLeft = steps;
  }

  /** The cases of one job. */
  casesOf(job: number): JobCases {
    const { graph } = this.#planner;
    // Once this plan has looked at enough, not even all ancestors of a job are gathered.
    const ancestors = this.#looksLeft > 0 ? ancestorsOf(graph, job) : null;
    this.#looksLeft -= ancestors?.length ?? 0;
    const tree = ancestors === null ? null : this.#explore(job, ancestors, new Map(), { left: maxScenarios });
    if (tree === null) return { job, groups: group(this.#singleDeviations(job)), complete: false };
    const cases: { verdict: Verdict; when: Condition }[] = [];
    collect(tree, new Map(), cases);
    return { job, groups: group(cases), complete: true };
  }

  /** The tree below what is known, depth first, over ancestors that are reached only; null when there are too many scenarios. */
  #explore(job: number, ancestors: readonly number[], known: Map<number, PlannedOutcome>, budget: { left: number }): Tree | null {
    // A tree over n ancestors has at least n + 1 leaves where each can make a difference: no need to begin what cannot be finished.
    if (budget.left <= 0 || this.#looksLeft <= 0 || (known.size === 0 && ancestors.length >= budget.left)) return null;
    budget.left -= 1;
    this.#looksLeft -= ancestors.length;
    const end = this.#end(known);
    if (end === null) return null;
    const open = ancestors.find((index) => !known.has(index) && wasReached(end.jobs[index]));
    if (open === undefined) return leaf(verdictOf(end, job));
    const children: { outcome: PlannedOutcome; tree: Tree }[] = [];
    for (const outcome of outcomesOf(this.#planner.graph, open)) {
      known.set(open, outcome);
      const tree = this.#explore(job, ancestors, known, budget);
      known.delete(open);
      if (tree === null) return null;
      children.push({ outcome, tree });
    }
    return branch(open, children);
  }

  /** The end when `known` is so and everything else SUCCEEDED; null when this plan has done enough. */
  #end(known: Condition): PlannedEnd | null {
    const deviations = [...known].filter(([, outcome]) => outcome !== 'SUCCEEDED').sort(([left], [right]) => left - right);
    const key = deviations.map(([index, outcome]) => `${index}${outcome[0]}`).join(' ');
    const seen = this.#ends.get(key);
    if (seen !== undefined) return seen;
    const { graph } = this.#planner;
    // "Everything SUCCEEDED" is always worked out: it is the least that can be said.
    if (this.#stepsLeft <= 0 && deviations.length > 0) return null;
    this.#stepsLeft -= stepsOf(graph);
    const end = this.#planner.run((index) => known.get(index) ?? 'SUCCEEDED');
    this.#ends.set(key, end);
    return end;
  }

  /** Everything SUCCEEDED, and each ancestor alone otherwise; of many ancestors the nearest ones. */
  #singleDeviations(job: number): { verdict: Verdict; when: Condition }[] {
    const cases: { verdict: Verdict; when: Condition }[] = [];
    const add = (when: Condition) => {
      const end = this.#end(when);
      if (end !== null) cases.push({ verdict: verdictOf(end, job), when });
    };
    add(new Map());
    for (const ancestor of ancestorsOf(this.#planner.graph, job, maxDeviations)) {
      for (const outcome of outcomesOf(this.#planner.graph, ancestor).slice(1)) add(new Map([[ancestor, outcome]]));
    }
    return cases;
  }
}

/** Every job whose end can matter for `job`, sources first; with `most`, the nearest of them. A finaliser waits for all that are none. */
export function ancestorsOf(graph: Graph, job: number, most = Number.POSITIVE_INFINITY): number[] {
  if (graph.jobs[job].finaliser) return graph.order.filter((index) => !graph.jobs[index].finaliser).slice(-most);
  const found = new Set<number>();
  const queue = [job];
  for (let at = 0; at < queue.length && found.size < most; at += 1) {
    for (const edge of graph.jobs[queue[at]].inEdges) {
      if (found.has(edge.source)) continue;
      found.add(edge.source);
      queue.push(edge.source);
    }
  }
  return most === Number.POSITIVE_INFINITY ? graph.order.filter((index) => found.has(index)) : [...found].slice(0, most);
}

/** The outcomes that an ancestor can have when it is reached. */
function outcomesOf(graph: Graph, index: number): PlannedOutcome[] {
  return graph.jobs[index].condition === null ? ['SUCCEEDED', 'FAILED'] : ['SUCCEEDED', 'FAILED', 'IF_FALSE'];
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
