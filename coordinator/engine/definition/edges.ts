/**
 * The edges of a file: references resolved, both spellings of an edge merged, impossible ones refused.
 *
 * Invariants
 * 1. `edges` holds each edge once, none to itself and none to a job that does not exist.
 * 2. A reference to no job is repaired with the likeliest job for the checks that follow, so that one misspelling is one problem.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { findCycles, type Targets } from './cycles.ts';
import type { Reading } from './fields.ts';
import type { Edge, EdgeKind } from './graph.ts';
import type { JobFile, JobReference } from './job-file.ts';
import type { ScalarNode } from './node.ts';
import { quote } from './problem.ts';

/** Cycles that are printed. */
const MAX_CYCLES = 20;
/** Jobs of a cycle that are printed; of a longer one, its beginning and its end. */
const MAX_CYCLE_LENGTH = 100;

/** The edges of a file. */
export interface Wiring {
  readonly edges: readonly Edge[];
  /** Different targets of each job. */
  readonly targets: Targets;
  /** Jobs with a `needs` that could not be resolved: their ancestors are not known. */
  readonly unknownSources: readonly number[];
  /** Jobs with an `on_success` or `on_failure` that could not be resolved: their descendants are not known. */
  readonly unknownTargets: readonly number[];
  /** Job id to index; the first one of doubles. */
  readonly indexOf: ReadonlyMap<string, number>;
  readonly finalisers: readonly boolean[];
  /** False when there are too many edges to go on. */
  readonly usable: boolean;
}

interface Wire extends Edge {
  readonly node: ScalarNode;
  /** The reference named no job; this is the likeliest one. */
  readonly guessed: boolean;
}

/** Resolves and checks all edges. */
export function wire(reading: Reading, jobs: readonly JobFile[]): Wiring {
  const indexOf = indexJobs(reading, jobs);
  const unknownSources: number[] = [];
  const unknownTargets: number[] = [];
  const wires = new Map<number, Wire>();
  const add = (kind: EdgeKind, owner: number, found: Found, reversed: boolean, reference: JobReference): void => {
    const { index: other, guessed } = found;
    const [source, target] = reversed ? [other, owner] : [owner, other];
    if (source === target) {
      if (guessed) return;
      const message = `the job ${quote(jobs[owner].id)} has an edge to itself`;
      reading.problems.add(reference.node, 'self-edge', message, 'name another job; to repeat a job, use retry');
      return;
    }
    const key = (source * jobs.length + target) * 2 + (kind === 'failure' ? 1 : 0);
    if (!wires.has(key)) wires.set(key, { source, target, kind, node: reference.node, guessed });
  };
  for (const job of jobs) {
    for (const [kind, references, reversed] of [
      ['success', job.onSuccess, false],
      ['failure', job.onFailure, false],
      ['success', job.needs, true],
    ] as const) {
      for (const reference of references) {
        const other = resolve(reading, indexOf, reference);
        if (other === null) (reversed ? unknownSources : unknownTargets).push(job.index);
        else add(kind, job.index, other, reversed, reference);
      }
    }
  }
  return check(reading, jobs, [...wires.values()], { indexOf, unknownSources, unknownTargets });
}

function indexJobs({ problems }: Reading, jobs: readonly JobFile[]): Map<string, number> {
  const indexOf = new Map<string, number>();
  const folded = new Map<string, string>();
  for (const { id, idNode, index } of jobs) {
    if (id === '' || idNode === null) continue;
    const other = folded.get(id.toLowerCase());
    if (other === undefined) folded.set(id.toLowerCase(), id);
    else {
      const message = other === id ? `the id ${quote(id)} is there twice` : `the ids ${quote(other)} and ${quote(id)} differ only in case`;
      problems.add(idNode, 'duplicate-id', message, 'ids are unique whatever the case: rename one');
    }
    if (!indexOf.has(id)) indexOf.set(id, index);
  }
  return indexOf;
}

interface Found {
  readonly index: number;
  readonly guessed: boolean;
}

/** The job that a reference names, or most likely means; null when nobody can tell. */
function resolve({ problems, suggestions }: Reading, indexOf: ReadonlyMap<string, number>, reference: JobReference): Found | null {
  const index = indexOf.get(reference.id);
  if (index !== undefined) return { index, guessed: false };
  const nearest = suggestions.nearest(reference.id, indexOf.keys());
  const hint = nearest === null ? knownJobs(indexOf) : `did you mean '${nearest}'?`;
  problems.add(reference.node, 'unknown-job', `no job ${quote(reference.id)}`, hint);
  return nearest === null ? null : { index: indexOf.get(nearest)!, guessed: true };
}

/** `known jobs: a, b, c`, the first few. */
export function knownJobs(indexOf: ReadonlyMap<string, number>): string {
  const ids = [...indexOf.keys()].slice(0, 11);
  if (ids.length === 0) return '';
  return `known jobs: ${ids.slice(0, 10).join(', ')}${ids.length > 10 ? ', ...' : ''}`;
}

function check(
  reading: Reading,
  jobs: readonly JobFile[],
  wires: readonly Wire[],
  names: Pick<Wiring, 'indexOf' | 'unknownSources' | 'unknownTargets'>,
): Wiring {
  const { problems } = reading;
  const inCount = new Int32Array(jobs.length);
  let usable = true;
  for (const [count, { target, node }] of wires.entries()) {
    if (count === limits.edges) {
      problems.add(node, 'limit', `${wires.length} edges are more than edges (${limits.edges})`, 'split the workflow');
      usable = false;
    }
    if (++inCount[target] !== limits.inEdges + 1) continue;
    const message = `the job ${quote(jobs[target].id)} has more than inEdges (${limits.inEdges}) edges that come in`;
    problems.add(node, 'limit', message, 'collect them in steps');
  }
  const targets = targetsOf(jobs.length, wires);
  // A job whose own needs are unknown may well have sources: it is no finaliser.
  const unsure = new Set(names.unknownSources);
  const finalisers = jobs.map((job) => job.alwaysRun && inCount[job.index] === 0 && !unsure.has(job.index));
  if (usable) {
    // A guess serves the check of ancestors; it must not be blamed for anything.
    const sure = wires.filter(({ guessed }) => !guessed);
    checkCycles(reading, jobs, sure);
    if (names.unknownTargets.length === 0) checkFinalisers(reading, jobs, sure, finalisers);
  }
  const edges = wires.map(({ source, target, kind }) => ({ source, target, kind }));
  return { edges, targets, finalisers, usable, ...names };
}

function targetsOf(count: number, edges: readonly Edge[]): Targets {
  const sets = Array.from({ length: count }, () => new Set<number>());
  for (const { source, target } of edges) sets[source].add(target);
  return sets.map((set) => [...set]);
}

/** Every cycle, at the reference that closes it. */
function checkCycles({ problems }: Reading, jobs: readonly JobFile[], wires: readonly Wire[]): void {
  const cycles = findCycles(targetsOf(jobs.length, wires), MAX_CYCLES);
  if (cycles.length === 0) return;
  const nodes = new Map(wires.map((edge) => [edge.source * jobs.length + edge.target, edge.node]));
  for (const cycle of cycles) {
    const names = [...cycle, cycle[0]].map((index) => jobs[index].id || `jobs[${index}]`);
    const node = nodes.get(cycle[cycle.length - 1] * jobs.length + cycle[0])!;
    const cut = names.length - MAX_CYCLE_LENGTH;
    const shown = cut <= 0 ? names : [...names.slice(0, MAX_CYCLE_LENGTH - 10), `(${cut} more)`, ...names.slice(-10)];
    problems.add(node, 'cycle', `a cycle: ${shown.join(' -> ')}`, 'remove one of these edges');
  }
}

/** A finaliser runs when every other job has ended: a job that waits for it would be waited for by it. */
function checkFinalisers({ problems }: Reading, jobs: readonly JobFile[], wires: readonly Wire[], finalisers: readonly boolean[]): void {
  for (const { source, target, node } of wires) {
    if (!finalisers[source]) continue;
    const [first, second] = [quote(jobs[source].id), quote(jobs[target].id)];
    const why = `${first} is always_run without a source, so it runs when every other job has ended`;
    if (jobs[target].alwaysRun) {
      const message = `the always_run jobs ${first} and ${second} wait for each other: ${why}`;
      problems.add(node, 'always-run-deadlock', message, 'remove the edge, or give the first one a source');
    } else {
      problems.add(node, 'never-runs', `${second} can never run: ${why}`, `give ${first} a source, or remove always_run or the edge`);
    }
  }
}
