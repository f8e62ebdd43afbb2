/**
 * Both real ends of the worker stream under a network, workers and handlers that do their worst: whatever happens, every job ends once,
 * no result is lost, no assignment goes beyond the credit, and both ends come to rest. A failing run is its seed.
 */
import { ResultAck_Verdict } from '@workflow-orchestrator/proto';
import fc from 'fast-check';
import t from 'tap';
import { type Faults, noFaults, StreamWorld } from '../stream-support/stream-world.ts';

const numRuns = Number(process.env.STREAM_RUNS ?? 150);
const rate = (most: number) => fc.oneof(fc.constant(0), fc.double({ min: 0, max: most, noNaN: true }));
const faults: fc.Arbitrary<Faults> = fc.record({
  lose: rate(0.05),
  double: rate(0.2),
  cut: rate(0.05),
  slowLink: rate(0.5),
  refuse: rate(0.5),
  crash: rate(0.05),
  cancel: rate(0.1),
  goAway: rate(0.1),
  drain: rate(0.05),
  greed: rate(0.2),
  amnesia: rate(0.2),
});

/** What must hold after a run, as complaints. */
function faultsOf(world: StreamWorld): string[] {
  const found = [...world.violations, ...world.shard.violations];
  for (const job of world.shard.jobs) {
    const executions = world.executions.get(job.id) ?? 0;
    if (job.doneBy === null) found.push(`${job.id} never ended`);
    else if (!world.produced.has(job.doneBy) && job.outcome !== 'cancelled')
      found.push(`${job.id} ended by ${job.doneBy}, which no handler produced`);
    if (executions > 1 + job.takenBack)
      found.push(`${job.id} ran ${executions} times, though its lease was taken back ${job.takenBack} times`);
    const outcome = job.doneBy === null ? null : world.produced.get(job.doneBy);
    if (outcome === 'ok' && job.outcome !== 'output') found.push(`${job.id} gave its output, and ${job.outcome} was recorded`);
  }
  for (const [token, verdicts] of world.shard.verdicts) {
    const accepted = verdicts.filter((verdict) => verdict === ResultAck_Verdict.ACCEPTED).length;
    const isCounted = world.shard.jobs.some((job) => job.doneBy === token);
    if (accepted !== (isCounted ? 1 : 0)) found.push(`${token} was accepted ${accepted} times`);
    const rest = verdicts.slice(1);
    if (isCounted && rest.some((verdict) => verdict !== ResultAck_Verdict.DUPLICATE)) found.push(`${token} was accepted and later ${rest}`);
  }
  return found;
}

t.test('whatever goes wrong, every job ends once and both ends come to rest', async (t) => {
  let runs = 0;
  let steps = 0;
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 3 }), faults, (seed, jobs, workers, faultRates) => {
      const world = new StreamWorld(seed, jobs, workers, faultRates);
      const isDone = world.run(60_000);
      const found = faultsOf(world);
      if (!isDone) found.push('it never came to rest');
      else if (!world.drain()) found.push('it never ended');
      found.push(...world.violations);
      runs += 1;
      steps += world.timeline.steps;
      if (found.length > 0) throw new Error(found.join('\n'));
    }),
    { numRuns },
  );
  t.comment(`${runs} runs, ${steps} events`);
  t.equal(runs, numRuns);
});

t.test('without faults every job runs exactly once', async (t) => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 4 }), (seed, jobs, workers) => {
      const world = new StreamWorld(seed, jobs, workers, noFaults);
      if (!world.run(0)) throw new Error('it never came to rest');
      const found = faultsOf(world);
      for (const job of world.shard.jobs)
        if (world.executions.get(job.id) !== 1) found.push(`${job.id} ran ${world.executions.get(job.id)} times`);
      if (!world.drain()) found.push('it never ended');
      if (found.length > 0) throw new Error(found.join('\n'));
    }),
    { numRuns: 30 },
  );
  t.pass('30 runs');
});

t.test('the same seed gives the same run', async (t) => {
  const rates = { lose: 0.02, double: 0.1, cut: 0.02, slowLink: 0.2, refuse: 0.2, crash: 0.02, cancel: 0.05, goAway: 0.05 };
  const all: Faults = { ...rates, drain: 0.02, greed: 0.1, amnesia: 0.1 };
  const [one, two] = [7, 7].map((seed) => {
    const world = new StreamWorld(seed, 40, 3, all);
    world.run(60_000);
    return [world.timeline.now, world.timeline.steps, world.shard.jobs];
  });
  t.same(one, two);
});
