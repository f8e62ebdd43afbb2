/**
 * Any work, any behaviour of workers, network, disk and coordinator, in any order: after every step nothing is stuck and nothing was told too early;
 * when the faults stop, everything ends, and the journal keeps the rules. `SHARD_RUNS=5000` runs that many instead of the default.
 */
import { stripLeases, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import fc from 'fast-check';
import t from 'tap';
import { checkEnding, checkJournal } from '../engine-support/journal-rules.ts';
import { differences } from '../engine-support/snapshots.ts';
import { audit } from '../shard-support/audit.ts';
import { anyDeed, anyWork, type Deed, heal, hire, perform } from '../shard-support/deeds.ts';
import { ShardWorld } from '../shard-support/world.ts';

const numRuns = Number(process.env.SHARD_RUNS ?? 120);

/** A workflow that has ended, in memory or at rest. */
async function found(world: ShardWorld, id: string): Promise<WorkflowState> {
  if (world.has(id)) return world.state(id);
  const archived = await world.shard.archived(id);
  if (archived === null) throw new Error(`${id} is forgotten`);
  return archived.state;
}

/** What must be true of a world in which everything has ended. */
async function checkEnd(world: ShardWorld): Promise<void> {
  const { openWorkflows, readyJobs, runningJobs, uncommittedEvents, inbox } = world.shard.stats();
  const left = { openWorkflows, readyJobs, runningJobs, uncommittedEvents, inbox };
  if (Object.values(left).some((count) => count !== 0)) throw new Error(`something is left: ${JSON.stringify(left)}`);
  const endedWell = new Set(world.workers.flatMap((worker) => [...worker.succeeded]));
  for (const id of world.ids) {
    const events = world.store.eventsOf(id);
    if (events.length === 0) continue;
    const state = await found(world, id);
    checkJournal(state.graph, events);
    checkEnding(state, events);
    for (const event of events) {
      if (event.kind === 'jobSucceeded' && !endedWell.has(event.attempt.token)) throw new Error(`${event.attempt.token} never ended well`);
    }
  }
}

async function play(graphs: Parameters<typeof perform>[1], deeds: readonly Deed[]): Promise<ShardWorld> {
  // Checkpoints all the time, and little kept in memory.
  const bounds = { checkpointEvents: 5, checkpointSliceWorkflows: 1, endedWorkflowsKept: 2 };
  const world = await ShardWorld.open({ hasArchive: true, bounds });
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
      await checkEnd(world);
      const ids = world.ids.filter((id) => world.store.eventsOf(id).length > 0);
      const before = await Promise.all(ids.map(async (id) => stripLeases(await found(world, id))));
      await world.recover(1_000);
      for (const state of before) {
        const changed = differences(stripLeases({ ...(await found(world, state.id)), recoveredAt: 0 }), state);
        if (changed.length > 0) throw new Error(`${state.id} after a recovery: ${changed.join('; ')}`);
      }
    },
  );
  await fc.assert(property, { numRuns });
  t.pass();
});
