/** What the faults of a plan do to whom. */
import type { SimClient } from './client.ts';
import type { SimCoordinator } from './coordinator.ts';
import type { Database } from './database.ts';
import type { SimLiveView } from './live-view.ts';
import type { SimNode } from './node.ts';
import type { Fault } from './plan.ts';
import type { Surroundings } from './surroundings.ts';
import type { SimWorker } from './worker.ts';

/** Everybody of a run. */
export interface Cast {
  readonly coordinators: readonly SimCoordinator[];
  readonly workers: readonly SimWorker[];
  readonly clients: readonly SimClient[];
  readonly database: Database;
  readonly liveView: SimLiveView | null;
}

/** Lets a fault happen. */
export function happen(world: Surroundings, cast: Cast, { kind, ms, pick }: Fault): void {
  if (world.isHealing) return;
  const { coordinators, workers, database } = cast;
  const coordinator = coordinators[pick % coordinators.length];
  const active = coordinators.find(({ isActive }) => isActive) ?? coordinator;
  const worker = workers[pick % workers.length];
  const { clock } = world;
  world.tell(`${kind} (${ms} ms)`);
  world.reached(`fault: ${kind}`);
  switch (kind) {
    case 'coordinator crashes':
      crash(world, coordinator, ms);
      break;
    case 'active coordinator crashes':
      crash(world, active, ms);
      break;
    case 'coordinator stands still':
      standStill(world, coordinator.node, ms);
      break;
    case 'active coordinator stands still':
      standStill(world, active.node, ms);
      break;
    case 'coordinator is ended':
      coordinator.end(() => clock.after(200, () => revive(coordinator)));
      break;
    case 'worker crashes':
      crash(world, worker, ms);
      break;
    case 'worker stands still':
      standStill(world, worker.node, ms);
      break;
    case 'worker drains':
      worker.drain();
      break;
    case 'database restarts':
      database.restart(ms);
      break;
    case 'database reads only':
      database.isReadOnly = true;
      clock.after(ms, () => {
        database.isReadOnly = false;
      });
      break;
    case 'database goes back':
      database.failOver();
      break;
    case 'partition':
    case 'one-way partition': {
      const others = [...workers, ...cast.clients];
      const other = others[pick % others.length].node.name;
      world.block(coordinator.node.name, other, ms);
      if (kind === 'partition') world.block(other, coordinator.node.name, ms);
      break;
    }
    case 'slow loop': {
      const { node } = pick % 2 === 0 ? coordinator : worker;
      node.lagMs = 50 + (pick % 400);
      clock.after(ms, () => {
        node.lagMs = 0;
      });
      break;
    }
    case 'live view away': {
      const { liveView } = cast;
      if (liveView === null) break;
      liveView.isAway = true;
      liveView.shown.clear();
      clock.after(ms, () => {
        liveView.isAway = false;
      });
      break;
    }
    default:
      kind satisfies never;
  }
}

/** The faults stop: whatever is down or stands still goes on. */
export function heal(world: Surroundings, { coordinators, workers, database, liveView }: Cast): void {
  world.isHealing = true;
  database.isReadOnly = false;
  database.isUp = true;
  if (liveView !== null) liveView.isAway = false;
  for (const one of [...coordinators, ...workers]) {
    one.node.lagMs = 0;
    one.node.resume();
    revive(one);
  }
}

function crash(world: Surroundings, one: SimCoordinator | SimWorker, ms: number): void {
  one.crash();
  world.clock.after(ms, () => revive(one));
}

function revive(one: SimCoordinator | SimWorker): void {
  if (!one.node.isUp) one.start();
}

function standStill(world: Surroundings, node: SimNode, ms: number): void {
  if (!node.isUp || node.isPaused) return;
  if (ms > 3_000) world.reached('a process stood still for longer than its lease');
  const { incarnation } = node;
  node.pause();
  world.clock.after(ms, () => {
    if (node.incarnation === incarnation) node.resume();
  });
}
