/**
 * Which job can be reached from which: ancestors for the check of expressions, reachability by outcome for the state machine.
 *
 * Invariants
 * 1. Memory is bounded: sets of jobs are bits, made when they are asked for, and the oldest are dropped beyond `CACHED_BYTES`.
 */

import { components, type Targets } from './cycles.ts';
import type { Edge, EdgeKind, GraphJob } from './graph.ts';

/** Bytes of sets that one graph keeps. */
const CACHED_BYTES = 4 * 1024 * 1024;

/** `Graph.reachable`: first along edges of kind `outcome`, then along edges of either kind. */
export function reachability(jobs: readonly GraphJob[]): (source: number, outcome: EdgeKind, target: number) => boolean {
  const words = (jobs.length + 31) >>> 5;
  const most = Math.max(16, Math.floor(CACHED_BYTES / (words * 4)));
  const cache = new Map<number, Uint32Array>();
  return (source, outcome, target) => {
    if (source === target || jobs[source] === undefined || jobs[target] === undefined) return false;
    const key = source * 2 + (outcome === 'failure' ? 1 : 0);
    let set = cache.get(key);
    if (set === undefined) {
      set = reachedFrom(jobs, source, outcome, words);
      if (cache.size >= most) cache.delete(cache.keys().next().value!);
      cache.set(key, set);
    }
    return (set[target >>> 5] & (1 << (target & 31))) !== 0;
  };
}

function reachedFrom(jobs: readonly GraphJob[], source: number, outcome: EdgeKind, words: number): Uint32Array {
  const set = new Uint32Array(words);
  const open: number[] = [];
  const visit = (edge: Edge): void => {
    const bit = 1 << (edge.target & 31);
    if ((set[edge.target >>> 5] & bit) !== 0) return;
    set[edge.target >>> 5] |= bit;
    open.push(edge.target);
  };
  for (const edge of jobs[source].outEdges) if (edge.kind === outcome) visit(edge);
  for (let at = open.pop(); at !== undefined; at = open.pop()) for (const edge of jobs[at].outEdges) visit(edge);
  return set;
}

/** All vertices that can be reached from `sources`, themselves included. */
export function closure(targets: Targets, sources: Iterable<number>): Set<number> {
  const reached = new Set<number>(sources);
  const open = [...reached];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    for (const target of targets[at]) {
      if (reached.has(target)) continue;
      reached.add(target);
      open.push(target);
    }
  }
  return reached;
}

/**
 * Whether `ancestor` has a path to `descendant`, for the given pairs: one pass over the graph in topological order with one bit for each
 * different ancestor. Holds also on graphs with cycles.
 */
export function pathsExist(targets: Targets, pairs: readonly { readonly ancestor: number; readonly descendant: number }[]): boolean[] {
  const column = new Map<number, number>();
  for (const { ancestor } of pairs) if (!column.has(ancestor)) column.set(ancestor, column.size);
  const words = (column.size + 31) >>> 5;
  if (words === 0) return [];
  const component = components(targets);
  // Descending component numbers are a topological order: edges lead to lower ones.
  const members: number[][] = [];
  for (const [vertex, group] of component.entries()) {
    members[group] ??= [];
    members[group].push(vertex);
  }
  const sets = members.map(() => new Uint32Array(words));
  for (let group = members.length - 1; group >= 0; group--) {
    const set = sets[group];
    const cyclic = members[group].length > 1;
    if (cyclic) for (const vertex of members[group]) addColumn(set, column.get(vertex));
    for (const vertex of members[group]) {
      for (const target of targets[vertex]) {
        const onto = sets[component[target]];
        if (onto !== set) for (let word = 0; word < words; word++) onto[word] |= set[word];
        if (onto !== set) addColumn(onto, column.get(vertex));
      }
    }
  }
  return pairs.map(({ ancestor, descendant }) => {
    const bit = column.get(ancestor)!;
    return (sets[component[descendant]][bit >>> 5] & (1 << (bit & 31))) !== 0;
  });
}

function addColumn(set: Uint32Array, bit: number | undefined): void {
  if (bit !== undefined) set[bit >>> 5] |= 1 << (bit & 31);
}
