/**
 * Matching of ready jobs to credits: the job that ranks highest over all lanes that have a free worker, to the least loaded of those workers.
 *
 * Invariant: it ends. Each step takes one entry from a lane or leaves the lane alone for the rest of the round.
 */
import type { Lane, ReadyJob, ReadyQueue } from './ready-queue.ts';
import type { WorkerEntry, WorkerTable } from './workers.ts';

/** Tries to give `entry` to `worker`. False when the entry means nothing any more. */
export type Assign = (entry: ReadyJob, worker: WorkerEntry) => boolean;

/** One round of matching at `now`. `assign` must update the worker's room. */
export function match(queue: ReadyQueue, workers: WorkerTable, now: number, assign: Assign): void {
  let lanes = [...queue.lanes()].filter((lane) => lane.size > 0);
  while (lanes.length > 0) {
    const lane = highest(lanes, now);
    const worker = leastLoaded(workers.suitable(lane), lane, now);
    if (worker === null) {
      lanes = lanes.filter((other) => other !== lane);
      continue;
    }
    for (let entry = lane.take(now); entry !== undefined; entry = lane.take(now)) if (assign(entry, worker)) break;
    if (lane.size === 0) lanes = lanes.filter((other) => other !== lane);
  }
}

function highest(lanes: readonly Lane[], now: number): Lane {
  let best = lanes[0]!;
  if (lanes.length === 1) return best;
  let bestRank = best.rank(now) ?? -1;
  for (const lane of lanes) {
    const rank = lane.rank(now) ?? -1;
    if (rank > bestRank) {
      best = lane;
      bestRank = rank;
    }
  }
  return best;
}

function leastLoaded(candidates: readonly WorkerEntry[], lane: Lane, now: number): WorkerEntry | null {
  let best: WorkerEntry | null = null;
  let bestLoad = Number.POSITIVE_INFINITY;
  for (const worker of candidates) {
    if (!worker.hasRoom(lane.type, now)) continue;
    const load = worker.load();
    if (load < bestLoad) {
      best = worker;
      bestLoad = load;
    }
  }
  return best;
}
