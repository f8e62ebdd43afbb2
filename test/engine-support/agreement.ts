/**
 * Holds the engine against the reference evaluator, step by step: after every result each job stands where the reference says,
 * and at the end the workflow does. A disagreement is reported with the smallest graph that still shows it.
 */
import type { JobState, WorkflowState } from '@workflow-orchestrator/engine/machine';
import type { AbstractGraph, AbstractJob, Outcome, Standing } from '../reference/evaluator.ts';
import { evaluate, isFinaliser, progress } from '../reference/evaluator.ts';
import { plainJob, print } from '../reference/notation.ts';
import { buildGraph } from './graphs.ts';
import { type Random, seeded } from './random.ts';
import { Run } from './run.ts';

/** A graph, how each of its jobs ends if it runs, and the seed of the order in which they run. */
export interface Case {
  readonly graph: AbstractGraph;
  readonly outcomes: readonly Outcome[];
  readonly seed: number;
}

/** Builds a case's graph and starts it. */
function begin(graph: AbstractGraph): Run {
  const run = new Run(buildGraph(graph));
  run.submit(true);
  return run;
}

/** Runs one case in the engine and compares every step. Null: they agree. Otherwise what is not as it should be. */
export function disagreement({ graph, outcomes, seed }: Case, start: (graph: AbstractGraph) => Run = begin): string | null {
  const random = seeded(seed);
  const known: (Outcome | null)[] = graph.jobs.map(() => null);
  try {
    const run = start(graph);
    for (;;) {
      const wrong = standingsDiffer(graph, run.state, progress(graph, known));
      if (wrong !== null) return wrong;
      if (run.state.endedAt !== 0) return endDiffers(graph, run, outcomes);
      const ready = run.ready();
      if (ready.length === 0) return 'stuck: nothing to run and not ended';
      const job = random.pick(ready);
      run.now += 10;
      run.attempt(job, outcomes[job]);
      known[job] = outcomes[job];
    }
  } catch (error) {
    return `threw: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Whether each job of a state stands where the reference says; null or the first that does not. */
export function standingsDiffer(graph: AbstractGraph, state: WorkflowState, expected: readonly Standing[]): string | null {
  for (const [index, job] of state.jobs.entries()) {
    const actual = standingText(job.phase, job);
    const wanted = expected[index];
    const expectedText = typeof wanted === 'string' ? wanted : standingText(wanted.status, wanted);
    if (actual !== expectedText) return `${graph.jobs[index].id} is ${actual}; the page says ${expectedText}`;
  }
  return null;
}

function standingText(status: JobState['phase'], job: JobState | Standing): string {
  switch (status) {
    case 'PENDING':
      return 'waiting';
    case 'READY':
      return 'running';
    case 'SKIPPED': {
      const reason = 'skipReason' in (job as object) ? (job as JobState).skipReason : (job as { reason: string }).reason;
      const { causes } = job as JobState;
      return causes.length > 0 ? `SKIPPED ${reason} because of ${causes.join(', ')}` : `SKIPPED ${reason}`;
    }
    default:
      return status;
  }
}

/** The end of the workflow: its status, the job that it names, and that each job that ran was opened once. */
function endDiffers(graph: AbstractGraph, run: Run, outcomes: readonly Outcome[]): string | null {
  const verdict = evaluate(graph, outcomes);
  const { state, events } = run;
  if (state.status !== verdict.workflow) return `the workflow is ${state.status}; the page says ${verdict.workflow}`;
  const firstFailed = events.find((event) => event.kind === 'jobFailed' && verdict.blamed.includes(event.job));
  const blamed = firstFailed?.kind === 'jobFailed' ? firstFailed.job : null;
  if (state.errorJob !== blamed) return `the workflow names job ${state.errorJob}; the first that failed it is ${blamed}`;
  for (const [index, ending] of verdict.jobs.entries()) {
    const opened = events.filter((event) => event.kind === 'jobReady' && event.job === index).length;
    if (opened !== (ending.ran ? 1 : 0)) return `${graph.jobs[index].id} was opened ${opened} times`;
  }
  return null;
}

/** The smallest case that still disagrees, found by taking away jobs, edges, flags and failures as long as it does. */
export function shrink(failing: Case): Case {
  let smallest = failing;
  for (let changed = true; changed; ) {
    changed = false;
    for (const smaller of smallerCases(smallest)) {
      if (isValid(smaller.graph) && disagreement(smaller) !== null) {
        smallest = smaller;
        changed = true;
        break;
      }
    }
  }
  return smallest;
}

function* smallerCases({ graph, outcomes, seed }: Case): Generator<Case> {
  const { jobs, edges } = graph;
  for (const [index] of jobs.entries()) {
    const moved = (place: number): number => (place > index ? place - 1 : place);
    const kept = edges.filter((edge) => edge.source !== index && edge.target !== index);
    const renumbered = kept.map((edge) => ({ ...edge, source: moved(edge.source), target: moved(edge.target) }));
    const without = { jobs: jobs.filter((_, at) => at !== index), edges: renumbered };
    yield { graph: without, outcomes: outcomes.filter((_, at) => at !== index), seed };
  }
  for (const gone of edges) yield { graph: { jobs, edges: edges.filter((edge) => edge !== gone) }, outcomes, seed };
  for (const [index, job] of jobs.entries()) {
    const with_ = (simpler: AbstractJob): Case => ({ graph: { jobs: jobs.with(index, simpler), edges }, outcomes, seed });
    const plain = plainJob(job.id);
    for (const flag of ['condition', 'join', 'alwaysRun', 'allowFailure', 'recover'] as const) {
      if (job[flag] !== plain[flag]) yield with_({ ...job, [flag]: plain[flag] });
    }
    if (outcomes[index] === 'FAILED') yield { graph, outcomes: outcomes.with(index, 'SUCCEEDED'), seed };
  }
}

/** Whether the validator would take the graph: it has jobs, and a finaliser has no out-edges. */
export function isValid(graph: AbstractGraph): boolean {
  return graph.jobs.length > 0 && graph.edges.every((edge) => !isFinaliser(graph, edge.source));
}

/** A failing case for a person: the smallest form, what is wrong with it, and the seed. */
export function report(failing: Case): string {
  const small = shrink(failing);
  const failed = small.graph.jobs.filter((_, index) => small.outcomes[index] === 'FAILED').map((job) => job.id);
  return `${print(small.graph)} | fails: ${failed.join(', ') || 'none'} | ${disagreement(small)} (order seed ${small.seed})`;
}

/** Any valid graph of `size` jobs, with all that the language has; jobs in a file order that need not be an order of the graph. */
export function randomGraph(random: Random, size: number): AbstractGraph {
  const density = random.pick([0.25, 0.45, 0.7]);
  const special = random.pick([0, 0.12, 0.3]);
  const place = shuffled(random, size);
  const jobs = place.map((_, index): AbstractJob => {
    return {
      id: `j${index}`,
      join: random.chance(special) ? random.pick(['any', 'all_done'] as const) : 'all',
      alwaysRun: random.chance(special / 2),
      allowFailure: random.chance(special),
      recover: random.chance(special),
      condition: random.chance(special) ? random.pick(['true', 'false', 'false', 'error'] as const) : 'none',
    };
  });
  const edges = place.flatMap((_, source) => {
    return place.slice(source + 1).flatMap((_, offset) => {
      const between = { source: place[source], target: place[source + 1 + offset] };
      if (!random.chance(density)) return [];
      const kinds = random.pick([['success'], ['success'], ['failure'], ['success', 'failure']] as const);
      return kinds.map((kind) => ({ ...between, kind }));
    });
  });
  // A finaliser with out-edges would wait for its own targets: the validator refuses it.
  const graph = { jobs, edges };
  return {
    jobs: jobs.map((job, at) => (edges.some((edge) => edge.source === at) && isFinaliser(graph, at) ? { ...job, alwaysRun: false } : job)),
    edges,
  };
}

function shuffled(random: Random, size: number): number[] {
  const places = Array.from({ length: size }, (_, index) => index);
  for (let at = size - 1; at > 0; at--) {
    const other = random.below(at + 1);
    [places[at], places[other]] = [places[other], places[at]];
  }
  return places;
}

/** Outcomes of which about a third fail. */
export function randomOutcomes(random: Random, size: number): Outcome[] {
  return Array.from({ length: size }, () => (random.chance(0.35) ? 'FAILED' : 'SUCCEEDED'));
}

/** Every graph of `size` plain jobs whose edges go from earlier to later jobs: none, success, failure or both for each pair. */
export function* plainGraphs(size: number): Generator<AbstractGraph> {
  const pairs = Array.from({ length: size }, (_, target) => Array.from({ length: target }, (_, source) => ({ source, target }))).flat();
  const jobs = Array.from({ length: size }, (_, index) => plainJob('abcdefgh'[index]));
  for (let code = 0; code < 4 ** pairs.length; code++) {
    const edges = pairs.flatMap((pair, at) => {
      const choice = Math.floor(code / 4 ** at) % 4;
      const success = { ...pair, kind: 'success' as const };
      const failure = { ...pair, kind: 'failure' as const };
      return [[], [success], [failure], [success, failure]][choice];
    });
    yield { jobs, edges };
  }
}

/** Every way in which `size` jobs can end. */
export function* allOutcomes(size: number): Generator<Outcome[]> {
  for (let code = 0; code < 2 ** size; code++) {
    yield Array.from({ length: size }, (_, index) => ((code >> index) % 2 === 1 ? 'FAILED' : 'SUCCEEDED'));
  }
}
