/**
 * Matching of ready jobs to credits: the job that ranks highest over all lanes that have a free worker, to the least loaded of those workers.
 *
 * Invariant: it ends. Each step takes an entry from a lane or leaves the lane alone for the rest of the round.
 */
import type { Lane, ReadyJob, ReadyQueue } from './ready-queue.ts';
import type { WorkerEntry, WorkerTable } from './workers.ts';

/** Tries to give `entry` to `worker`. False when the entry means nothing any more. */
export type Assign = (entry: ReadyJob, worker: WorkerEntry) => boolean;

/** A lane that may have a job and a worker for it. */
interface OpenLane {
  readonly lane: Lane;
  rank: number;
}

/** One round of matching at `now`. `assign` must update the worker's room. */
export function match(queue: ReadyQueue, workers: WorkerTable, now: number, assign: Assign): void {
  const open: OpenLane[] = [];
  for (const lane of queue.lanes()) {
    const rank = lane.rank(now);
    if (rank !== null && leastLoaded(workers.suitable(lane), lane, now) !== null) open.push({ lane, rank });
  }
  while (open.length > 0) {
    const place = highest(open);
    const { lane } = open[place]!;
    const worker = leastLoaded(workers.suitable(lane), lane, now);
    if (worker !== null) for (let entry = lane.take(now); entry !== undefined; entry = lane.take(now)) if (assign(entry, worker)) break;
    const rank = worker === null ? null : lane.rank(now);
    if (rank !== null) open[place]!.rank = rank;
    else {
      open[place] = open.at(-1)!;
      open.pop();
    }
  }
}

function highest(open: readonly OpenLane[]): number {
  let best = 0;
  for (let place = 1; place < open.length; place++) if (open[place]!.rank > open[best]!.rank) best = place;
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
