/**
 * The test of the simulator: bugs planted one at a time, each caught by its checker at its known seed, or soon after it when a change of the code has moved
 * chance. That another checker sees something says nothing about this one.
 * A text that is not in the source any more fails here.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { type Mutant, mutants } from '../sim/mutants.ts';

// Longer than a file may take on its own; the runner has its own limit.
t.setTimeout(600_000);

const simulator = join(import.meta.dirname, '..', 'sim', 'main.ts');
const regressions = join(import.meta.dirname, '..', 'sim', 'regressions');
const plant = join(import.meta.dirname, '..', 'engine-support', 'plant.ts');

/** Seeds that are tried, from the known one on. */
const TRIES = 600;

/** Runs the simulator with the bug in place: what it prints, and its exit code. */
function simulate({ file, from, to }: Mutant, args: readonly string[]): Promise<{ readonly code: number | null; readonly text: string }> {
  const child = spawn(process.execPath, ['--conditions=workflow-orchestrator', `--import=${plant}`, simulator, ...args], {
    env: { ...process.env, PLANTED_BUG: JSON.stringify([file, from, to]) },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  return new Promise((resolve, reject) => child.on('error', reject).on('close', (code) => resolve({ code, text })));
}

t.jobs = 2;
for (const mutant of mutants) {
  const { name, seed, caughtBy, plans = [] } = mutant;
  if (seed !== null) {
    t.test(`seed ${seed} finds: ${name}`, async (t) => {
      const args = ['--child', '--first', '--by', caughtBy, '--from', String(seed), '--seeds', String(TRIES)];
      const { code, text } = await simulate(mutant, args);
      t.not(code, 99, 'the bug can be planted');
      t.equal(code, 0);
      const isFound = text.split('\n').some((line) => line.startsWith('{"failure"') && line.includes(`{"invariant":"${caughtBy}"`));
      t.ok(isFound, `${caughtBy} is broken`);
    });
  }
  for (const plan of plans) {
    t.test(`${plan} finds: ${name}`, async (t) => {
      const { code, text } = await simulate(mutant, ['--plan', join(regressions, `${plan}.json`)]);
      t.not(code, 99, 'the bug can be planted');
      t.equal(code, 1, 'something is broken');
      t.notMatch(text, /^crash: /m, 'and nothing threw');
    });
  }
}
