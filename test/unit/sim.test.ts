/**
 * The whole system in simulated time, under everything that can go wrong: `SIM_SEEDS=100000` runs that many seeds instead of the default.
 * A seed that fails is replayed by `npm run sim -- --seed N`; `--shrink` makes it short.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { campaign } from '../sim/campaign.ts';
import { judge } from '../sim/judging.ts';
import { planFrom, planOf } from '../sim/plan.ts';
import { run } from '../sim/run.ts';
import { missing } from '../sim/states.ts';

// Longer than a file may take on its own; the runner has its own limit.
t.setTimeout(600_000);

const seeds = Number(process.env.SIM_SEEDS ?? 2_000);
const folder = join(import.meta.dirname, '..', 'sim', 'regressions');

for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
  t.test(`never again: ${file.replace('.json', '').replaceAll('-', ' ')}`, async (t) => {
    const plan = planFrom(readFileSync(join(folder, file), 'utf8'));
    t.same((await judge(plan)).violations, []);
  });
}

t.test(`${seeds} seeds`, async (t) => {
  const tally = await campaign({ from: 1, step: 1, goesOn: (so) => so.seeds < seeds && so.failures.length < 3 });
  t.same(tally.failures, []);
  t.same(missing(tally.states, tally.seeds), [], 'every state worth reaching was reached');
});

t.test('the same seed is the same run, another one another', async (t) => {
  const [one, again, other] = [await run(planOf(7)), await run(planOf(7)), await run(planOf(8))];
  t.equal(one.hash(), again.hash());
  t.not(one.hash(), other.hash());
});
