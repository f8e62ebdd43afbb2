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

/** Lets a fault happen. That it did is a state reached only where it changed something. */
export function happen(world: Surroundings, cast: Cast, fault: Fault): void {
  if (world.isHealing) return;
  world.tell(`${fault.kind} (${fault.ms} ms)`);
  if (strike(world, cast, fault)) world.reached(`fault: ${fault.kind}`);
}

/** Whether a fault took effect: what is down cannot crash. */
function strike(world: Surroundings, cast: Cast, { kind, ms, pick }: Fault): boolean {
  const { coordinators, workers, database } = cast;
  // Parts of the pick that know nothing of each other: every pair occurs.
  const coordinator = coordinators[pick % coordinators.length];
  const rest = Math.floor(pick / coordinators.length);
  const active = coordinators.find(({ isActive }) => isActive) ?? coordinator;
  const worker = workers[rest % workers.length];
  const { clock } = world;
  switch (kind) {
    case 'coordinator crashes':
      return crash(world, coordinator, ms);
    case 'active coordinator crashes':
      return crash(world, active, ms);
    case 'coordinator stands still':
      return standStill(world, coordinator.node, ms);
    case 'active coordinator stands still':
      return standStill(world, active.node, ms);
    case 'coordinator is ended':
      return coordinator.end(() => clock.after(200, () => revive(coordinator)));
    case 'worker crashes':
      return crash(world, worker, ms);
    case 'worker stands still':
      return standStill(world, worker.node, ms);
    case 'worker drains': {
      const isThere = worker.node.isUp && !worker.node.isPaused;
      worker.drain();
      return isThere;
    }
    case 'database restarts':
      return database.restart(ms);
    case 'database reads only':
      return readOnly(world, database, ms);
    case 'database goes back':
      return database.failOver();
    case 'coordinator without database':
      return database.separate(coordinator.node.name, ms);
    case 'partition':
    case 'one-way partition':
      return separate(world, cast, coordinator.node, { kind, ms, pick: rest });
    case 'slow loop':
      return slowDown(
        world,
        rest % 2 === 0 ? coordinator.node : workers[Math.floor(rest / 2) % workers.length].node,
        ms,
        50 + (pick % 400),
      );
    case 'live view away':
      return takeAway(world, cast.liveView, ms);
    default:
      return kind satisfies never;
  }
}

function readOnly(world: Surroundings, database: Database, ms: number): boolean {
  if (database.isReadOnly) return false;
  database.isReadOnly = true;
  world.clock.after(ms, () => {
    database.isReadOnly = false;
  });
  return true;
}

/** Nothing gets from a coordinator to somebody else, or back, or both. */
function separate(world: Surroundings, { workers, clients }: Cast, { name }: SimNode, { kind, ms, pick }: Omit<Fault, 'at'>): boolean {
  const others = [...workers, ...clients];
  const other = others[pick % others.length].node.name;
  const isBothWays = kind === 'partition';
  const isOutward = Math.floor(pick / others.length) % 2 === 0;
  if (isBothWays || isOutward) world.block(name, other, ms);
  if (isBothWays || !isOutward) world.block(other, name, ms);
  return true;
}

function slowDown(world: Surroundings, node: SimNode, ms: number, lagMs: number): boolean {
  if (!node.isUp) return false;
  node.lagMs = lagMs;
  world.clock.after(ms, () => {
    node.lagMs = 0;
  });
  return true;
}

function takeAway(world: Surroundings, liveView: SimLiveView | null, ms: number): boolean {
  if (liveView === null || liveView.isAway) return false;
  liveView.isAway = true;
  liveView.shown.clear();
  world.clock.after(ms, () => {
    liveView.isAway = false;
  });
  return true;
}

/** The faults stop: whatever is down or stands still goes on. */
export function heal(world: Surroundings, { coordinators, workers, database, liveView }: Cast): void {
  world.isHealing = true;
  database.isReadOnly = false;
  database.isUp = true;
  database.rejoin();
  if (liveView !== null) liveView.isAway = false;
  for (const one of [...coordinators, ...workers]) {
    one.node.lagMs = 0;
    one.node.resume();
    revive(one);
  }
}

function crash(world: Surroundings, one: SimCoordinator | SimWorker, ms: number): boolean {
  if (!one.node.isUp) return false;
  one.crash();
  world.clock.after(ms, () => revive(one));
  return true;
}

function revive(one: SimCoordinator | SimWorker): void {
  if (!one.node.isUp) one.start();
}

function standStill(world: Surroundings, node: SimNode, ms: number): boolean {
  if (!node.isUp || node.isPaused) return false;
  if (ms > 3_000) world.reached('a process stood still for longer than its lease');
  const { incarnation } = node;
  node.pause();
  world.clock.after(ms, () => {
    if (node.incarnation === incarnation) node.resume();
  });
  return true;
}
