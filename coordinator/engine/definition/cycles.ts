/**
 * Cycles of a directed graph: where they are (strongly connected components) and which they are.
 *
 * Invariants
 * 1. No recursion over the graph: a chain of 10 000 jobs must not overflow the stack.
 * 2. Every cycle is found once, beginning at its lowest vertex, until `most` are found or the effort is used up.
 */

/** Targets of each vertex, without doubles and without edges to itself. */
export type Targets = readonly (readonly number[])[];

/** Steps that the search for cycles may take. */
const EFFORT = 2_000_000;

/**
 * Component of each vertex (Tarjan). Components are numbered so that every edge leads to a component with the same or a lower number.
 * Only vertices from `from` on count.
 */
export function components(targets: Targets, from = 0): Int32Array {
  const count = targets.length;
  const component = new Int32Array(count).fill(-1);
  const seen = new Int32Array(count).fill(-1);
  const low = new Int32Array(count);
  const next = new Int32Array(count);
  const open: number[] = [];
  const path: number[] = [];
  let clock = 0;
  let made = 0;
  for (let root = from; root < count; root++) {
    if (seen[root] >= 0) continue;
    path.push(root);
    while (path.length > 0) {
      const vertex = path[path.length - 1];
      if (seen[vertex] < 0) {
        seen[vertex] = low[vertex] = clock++;
        open.push(vertex);
      }
      const target = targets[vertex][next[vertex]];
      if (target !== undefined) {
        next[vertex]++;
        if (target < from) continue;
        if (seen[target] < 0) path.push(target);
        else if (component[target] < 0) low[vertex] = Math.min(low[vertex], seen[target]);
        continue;
      }
      path.pop();
      const parent = path[path.length - 1];
      if (parent !== undefined) low[parent] = Math.min(low[parent], low[vertex]);
      if (low[vertex] !== seen[vertex]) continue;
      for (let member = open.pop()!; ; member = open.pop()!) {
        component[member] = made;
        if (member === vertex) break;
      }
      made++;
    }
  }
  return component;
}

/** Up to `most` elementary cycles (Johnson), each as its vertices in order. */
export function findCycles(targets: Targets, most: number): number[][] {
  const cycles: number[][] = [];
  const effort = { left: EFFORT };
  for (let from = 0; from < targets.length && cycles.length < most && effort.left > 0; ) {
    const component = components(targets, from);
    const start = lowestOnCycle(targets, component, from);
    if (start < 0) break;
    cyclesThrough(start, targets, component, most, cycles, effort);
    from = start + 1;
  }
  return cycles;
}

/** The lowest vertex that shares its component with another one; -1 when there is none. */
function lowestOnCycle(targets: Targets, component: Int32Array, from: number): number {
  const size = new Int32Array(targets.length);
  for (let vertex = from; vertex < targets.length; vertex++) size[component[vertex]]++;
  for (let vertex = from; vertex < targets.length; vertex++) if (size[component[vertex]] > 1) return vertex;
  return -1;
}

/** All cycles through `start` within its component, by search with blocking: a vertex that led nowhere is not tried again until that may change. */
function cyclesThrough(
  start: number,
  targets: Targets,
  component: Int32Array,
  most: number,
  cycles: number[][],
  effort: { left: number },
): void {
  const blocked = new Set<number>([start]);
  const waiting = new Map<number, Set<number>>();
  const path = [start];
  const next = [0];
  const closed = [false];
  while (path.length > 0 && cycles.length < most && effort.left-- > 0) {
    const top = path.length - 1;
    const vertex = path[top];
    const target = targets[vertex][next[top]];
    if (target !== undefined) {
      next[top]++;
      if (component[target] !== component[start] || target < start) continue;
      if (target === start) {
        cycles.push([...path]);
        closed[top] = true;
      } else if (!blocked.has(target)) {
        path.push(target);
        next.push(0);
        closed.push(false);
        blocked.add(target);
      }
      continue;
    }
    if (closed[top]) unblock(vertex, blocked, waiting);
    else
      for (const target of targets[vertex]) {
        if (component[target] !== component[start] || target < start) continue;
        const set = waiting.get(target) ?? new Set();
        waiting.set(target, set.add(vertex));
      }
    path.pop();
    next.pop();
    if (closed.pop() && top > 0) closed[top - 1] = true;
  }
}

function unblock(vertex: number, blocked: Set<number>, waiting: Map<number, Set<number>>): void {
  const open = [vertex];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (!blocked.delete(at)) continue;
    for (const other of waiting.get(at) ?? []) open.push(other);
    waiting.delete(at);
  }
}
