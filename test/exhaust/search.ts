/**
 * Breadth-first over everything that can happen in a small scope. Each world is made by doing its path anew, so the production code needs no copying;
 * worlds with the same key are looked at once.
 */
import { hash } from 'node:crypto';
import { type Scope, World } from './world.ts';

/** What a search has seen. */
export interface Findings {
  readonly states: number;
  readonly steps: number;
  readonly depth: number;
  readonly seconds: number;
  /** The shortest path to a violation; null when there is none. */
  readonly violation: { readonly path: readonly string[]; readonly messages: readonly string[] } | null;
}

/** Looks at every world of the scope, or at `most` of them. */
export async function search(scope: Scope, most = Number.POSITIVE_INFINITY): Promise<Findings> {
  const startedAt = performance.now();
  const seen = new Set<string>();
  let frontier = [{ path: [] as readonly string[], choices: new World(scope).choices() }];
  let steps = 0;
  let depth = 0;
  const findings = (violation: Findings['violation']): Findings => ({
    states: seen.size,
    steps,
    depth,
    seconds: (performance.now() - startedAt) / 1_000,
    violation,
  });
  while (frontier.length > 0 && seen.size < most) {
    const next: typeof frontier = [];
    for (const { path, choices } of frontier) {
      for (const choice of choices) {
        const longer = [...path, choice];
        const world = await replay(scope, longer);
        steps += 1;
        if (world.violations.length > 0) return findings({ path: longer, messages: world.violations });
        const key = hash('sha1', world.key(), 'base64');
        if (seen.has(key)) continue;
        seen.add(key);
        next.push({ path: longer, choices: world.choices() });
      }
    }
    if (next.length > 0) depth += 1;
    frontier = next;
  }
  return findings(null);
}

/** The world at the end of a path. */
export async function replay(scope: Scope, path: readonly string[]): Promise<World> {
  const world = new World(scope);
  for (const choice of path) await world.step(choice);
  return world;
}
