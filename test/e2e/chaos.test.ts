/** A short kill test, of a seed in which many kinds of faults happen; `npm run test:chaos` runs longer ones. */
import t from 'tap';
import { planOf } from '../chaos/plan.ts';
import { runPlan } from '../chaos/run.ts';
import { missing } from '../chaos/system.ts';

const skip = missing();
if (skip !== false) process.stderr.write(`\n*** SKIPPED: ${skip}\n\n`);
t.setTimeout(118_000);

t.test('whatever is killed, frozen and cut off: what was acknowledged is there, and everything ends', { skip }, async (t) => {
  const plan = planOf({ seed: 196, faultyMs: 18_000, rate: 40, isCanary: false });
  const stopping = new AbortController();
  t.teardown(() => stopping.abort());
  const { violations, counts, folder } = await runPlan(plan, false, () => {}, stopping.signal);
  t.same(violations, [], `kept in ${folder}`);
  for (const what of ['submits acknowledged', 'executions', 'results acknowledged', 'faults'])
    t.ok(counts[what]! > 0, `${what}: ${counts[what]}`);
});
