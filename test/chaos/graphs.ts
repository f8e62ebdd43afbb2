/**
 * The definitions that the kill test submits, drawn from its seed: graphs of 1 to 20 jobs, of which a tenth fails, once, always or for good, and some take long.
 *
 * Invariant: every one is a valid definition: what the compiler refuses is drawn again.
 */
import { compile } from '@workflow-orchestrator/engine/definition';
import type { Random } from '../engine-support/random.ts';

/** Parameters of a job, as the worker of this test takes them. */
export interface StepParameters {
  readonly ms: number;
  readonly fail: 'no' | 'once' | 'always' | 'permanently';
}

/** A definition. */
export interface ChaosGraph {
  readonly yaml: string;
  readonly hash: string;
  readonly jobs: number;
}

/** Draws some. */
export function graphsOf(random: Random, count: number): ChaosGraph[] {
  return Array.from({ length: count }, (_, index) => {
    for (;;) {
      const { yaml, jobs } = graphOf(random, index);
      const compiled = compile(yaml);
      if (compiled.kind === 'ok') return { yaml, jobs, hash: compiled.graph.hash };
    }
  });
}

function graphOf(random: Random, index: number): { readonly yaml: string; readonly jobs: number } {
  const size = random.chance(0.6) ? 1 + random.below(3) : random.chance(0.7) ? 4 + random.below(5) : 9 + random.below(12);
  const jobs = Array.from({ length: size }, (_, place) => jobOf(random, place));
  const handlers = jobs.filter(({ fail }) => fail !== 'no' && random.chance(0.4)).map(({ id }) => id);
  const lines = jobs.map(({ text, id }) =>
    handlers.includes(id)
      ? text.replace(' }', ` }, on_failure: ${random.chance(0.5) ? `{ run: [mend-${id}], recover: true }` : `mend-${id}`}`)
      : text,
  );
  for (const id of handlers) lines.push(`{ id: mend-${id}, type: step, parameters: { ms: 1, fail: no-fail } }`);
  if (random.chance(0.15)) lines.push('{ id: sweep, type: step, always_run: true, parameters: { ms: 2, fail: no-fail } }');
  const yaml = [
    'workflow:',
    `  name: chaos-${index}`,
    '  inputs: { n: { type: integer, default: 0 } }',
    '  outputs: { first: "${{ jobs.j0.output }}" }',
    '  jobs:',
    ...lines.map((line) => `    - ${line.replace('no-fail', '"no"')}`),
    '',
  ].join('\n');
  return { yaml, jobs: lines.length };
}

function jobOf(random: Random, place: number) {
  const id = `j${place}`;
  const fail = random.chance(0.1) ? random.pick(['once', 'once', 'always', 'permanently'] as const) : 'no';
  // One that is too slow for its timeout, by far: it is always the timeout that ends it.
  const isLate = random.chance(0.01);
  const ms = isLate
    ? 20_000
    : random.chance(0.04)
      ? 400 + random.below(1_600)
      : random.chance(0.2)
        ? 20 + random.below(150)
        : random.below(15);
  const fields = [`id: ${id}`, 'type: step', `parameters: { ms: ${ms}, fail: "${fail}" }`];
  const needs = place === 0 ? [] : [...new Set(Array.from({ length: 1 + random.below(2) }, () => `j${random.below(place)}`))];
  if (needs.length > 0 && random.chance(0.85)) fields.push(`needs: [${needs.join(', ')}]`);
  if (isLate) fields.push('timeout: 300ms');
  if (fail !== 'no' || random.chance(0.3)) fields.push('retry: { max_attempts: 3, initial_delay: 200ms, factor: 2 }');
  if (fail !== 'no' && random.chance(0.3)) fields.push('allow_failure: true');
  if (needs.length > 0 && random.chance(0.1)) fields.push(`join: ${random.pick(['any', 'all_done'])}`);
  return { id, fail, text: `{ ${fields.join(', ')} }` };
}
