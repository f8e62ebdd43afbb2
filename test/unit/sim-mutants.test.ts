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
const plant = join(import.meta.dirname, '..', 'engine-support', 'plant.ts');

/** Seeds that are tried, from the known one on. */
const TRIES = 600;

/** Runs from the known seed on with the bug in place, up to the first seed in which its checker finds it: what it prints, and its exit code. */
function replay({ file, from, to, seed, caughtBy }: Mutant): Promise<{ readonly code: number | null; readonly text: string }> {
  const args = [
    '--conditions=workflow-orchestrator',
    `--import=${plant}`,
    simulator,
    '--child',
    '--first',
    '--by',
    caughtBy,
    '--from',
    String(seed),
    '--seeds',
    String(TRIES),
  ];
  const child = spawn(process.execPath, args, {
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
  t.test(`seed ${mutant.seed} finds: ${mutant.name}`, async (t) => {
    const { code, text } = await replay(mutant);
    t.not(code, 99, 'the bug can be planted');
    t.equal(code, 0);
    const found = text.split('\n').some((line) => line.startsWith('{"failure"') && line.includes(`{"invariant":"${mutant.caughtBy}"`));
    t.ok(found, `${mutant.caughtBy} is broken`);
  });
}
