/**
 * Any work, any behaviour of workers, network, disk and coordinator, in any order: after every step nothing is stuck and nothing was told too early;
 * when the faults stop, everything ends, and the journal keeps the rules. `SHARD_RUNS=5000` runs that many instead of the default.
 */
import { stripLeases } from '@workflow-orchestrator/engine/machine';
import fc from 'fast-check';
import t from 'tap';
import { checkEnding, checkJournal } from '../engine-support/journal-rules.ts';
import { differences } from '../engine-support/snapshots.ts';
import { audit } from '../shard-support/audit.ts';
import { anyDeed, anyWork, type Deed, heal, hire, perform } from '../shard-support/deeds.ts';
import { ShardWorld } from '../shard-support/world.ts';

const numRuns = Number(process.env.SHARD_RUNS ?? 120);

/** What must be true of a world in which everything has ended. */
function checkEnd(world: ShardWorld): void {
  const { openWorkflows, readyJobs, runningJobs, uncommittedEvents, inbox } = world.shard.stats();
  const left = { openWorkflows, readyJobs, runningJobs, uncommittedEvents, inbox };
  if (Object.values(left).some((count) => count !== 0)) throw new Error(`something is left: ${JSON.stringify(left)}`);
  const endedWell = new Set(world.workers.flatMap((worker) => [...worker.succeeded]));
  for (const id of world.ids) {
    if (!world.has(id)) continue;
    const events = world.store.eventsOf(id);
    const state = world.state(id);
    checkJournal(state.graph, events);
    checkEnding(state, events);
    for (const event of events) {
      if (event.kind === 'jobSucceeded' && !endedWell.has(event.attempt.token)) throw new Error(`${event.attempt.token} never ended well`);
    }
  }
}

async function play(graphs: Parameters<typeof perform>[1], deeds: readonly Deed[]): Promise<ShardWorld> {
  const world = await ShardWorld.open();
  hire(world);
  await world.settle();
  for (const deed of deeds) {
    await perform(world, graphs, deed);
    audit(world);
  }
  await heal(world, () => audit(world));
  return world;
}

t.test('whatever happens, nothing is stuck, nothing is told too early, and everything ends', async (t) => {
  const property = fc.asyncProperty(
    fc.array(anyWork, { minLength: 1, maxLength: 3 }),
    fc.array(anyDeed, { maxLength: 120, size: 'max' }),
    async (graphs, deeds) => {
      const world = await play(graphs, deeds);
      checkEnd(world);
      const before = world.ids.filter((id) => world.has(id)).map((id) => stripLeases(world.state(id)));
      await world.recover(1_000);
      for (const state of before) {
        const found = differences(stripLeases(world.state(state.id)), state);
        if (found.length > 0) throw new Error(`${state.id} after a recovery: ${found.join('; ')}`);
      }
    },
  );
  await fc.assert(property, { numRuns });
  t.pass();
});
