/**
 * Jobs that wait for a worker, in the order in which they should get one.
 *
 * Jobs that the same workers can take (same type, same required labels) share a lane. In a lane: the higher priority first, where waiting
 * raises it by one level per `AGING_MS`, so that nothing starves; on one level the workflows take turns, so that a wide one does not hold up the rest.
 *
 * Invariants
 * 1. An entry is a hint: whoever takes one checks that the job still waits. Nothing is looked for in the middle.
 * 2. Taking and adding cost the same however many jobs wait.
 * 3. A lane has at most twice as many entries as mean something, and a few; and there are at most twice as many lanes as have such entries, and a few:
 *    neither jobs that were cancelled while they waited nor labels that are used once are kept for ever.
 */
import type { GraphJob } from '@workflow-orchestrator/engine/definition';
import { Deque } from './deque.ts';

/** Waiting this long counts as one level of priority. */
export const AGING_MS = 10_000;
const LEVELS = 10;
/** Entries of a lane up to which nobody looks for dead ones, and lanes. */
const FEW = 1_024;
const FEW_LANES = 64;

/** One job that waits. */
export interface ReadyJob {
  readonly workflowId: string;
  readonly job: number;
  /** When it began to wait, milliseconds since 1970. */
  readonly since: number;
}

/** Jobs of one workflow on one level, first come first served. */
interface Turn {
  readonly workflowId: string;
  readonly jobs: Deque<ReadyJob>;
}

class Level {
  readonly #turns = new Deque<Turn>();
  readonly #byWorkflow = new Map<string, Turn>();

  /** Since when the next job has waited; undefined when the level is empty. */
  headSince(): number | undefined {
    return this.#turns.peek()?.jobs.peek()?.since;
  }

  add(entry: ReadyJob): void {
    let turn = this.#byWorkflow.get(entry.workflowId);
    if (turn === undefined) {
      turn = { workflowId: entry.workflowId, jobs: new Deque() };
      this.#byWorkflow.set(entry.workflowId, turn);
      this.#turns.push(turn);
    }
    turn.jobs.push(entry);
  }

  take(): ReadyJob | undefined {
    const turn = this.#turns.shift();
    if (turn === undefined) return undefined;
    const entry = turn.jobs.shift();
    if (turn.jobs.size > 0) this.#turns.push(turn);
    else this.#byWorkflow.delete(turn.workflowId);
    return entry;
  }
}

/** Jobs that the same workers can take. */
export class Lane {
  readonly type: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly #waits: (entry: ReadyJob) => boolean;
  readonly #levels: (Level | undefined)[] = new Array<Level | undefined>(LEVELS).fill(undefined);
  #size = 0;
  #sweepAt = FEW;

  constructor(type: string, labels: ReadonlyMap<string, string>, waits: (entry: ReadyJob) => boolean) {
    this.type = type;
    this.labels = labels;
    this.#waits = waits;
  }

  /** Entries, of which some may mean nothing any more. */
  get size(): number {
    return this.#size;
  }

  add(entry: ReadyJob, priority: number): void {
    if (this.#size >= this.#sweepAt) this.sweep();
    this.#levels[priority] ??= new Level();
    this.#levels[priority].add(entry);
    this.#size += 1;
  }

  /** The effective priority of the next job at `now`; null when none waits. */
  rank(now: number): number | null {
    return this.#best(now)?.rank ?? null;
  }

  take(now: number): ReadyJob | undefined {
    const best = this.#best(now);
    if (best === null) return undefined;
    this.#size -= 1;
    return best.level.take();
  }

  #best(now: number): { readonly level: Level; readonly rank: number } | null {
    let best: { level: Level; rank: number } | null = null;
    for (let priority = LEVELS - 1; priority >= 0; priority--) {
      const level = this.#levels[priority];
      const since = level?.headSince();
      if (level === undefined || since === undefined) continue;
      const rank = priority + Math.max(0, now - since) / AGING_MS;
      if (best === null || rank > best.rank) best = { level, rank };
    }
    return best;
  }

  /** Drops what means nothing; whoever was before stays before. */
  sweep(): void {
    let size = 0;
    for (const [priority, level] of this.#levels.entries()) {
      if (level === undefined) continue;
      const kept = new Level();
      for (let entry = level.take(); entry !== undefined; entry = level.take()) {
        if (!this.#waits(entry)) continue;
        kept.add(entry);
        size += 1;
      }
      this.#levels[priority] = kept;
    }
    this.#size = size;
    this.#sweepAt = Math.max(FEW, 2 * size);
  }
}

/** All lanes. */
export class ReadyQueue {
  readonly #waits: (entry: ReadyJob) => boolean;
  readonly #lanes = new Map<string, Lane>();
  readonly #keyOf = new WeakMap<GraphJob, string>();
  #sweepAt = FEW_LANES;

  /** `waits` tells whether an entry still means something. */
  constructor(waits: (entry: ReadyJob) => boolean) {
    this.#waits = waits;
  }

  lanes(): IterableIterator<Lane> {
    return this.#lanes.values();
  }

  add(job: GraphJob, entry: ReadyJob): void {
    this.laneOf(job).add(entry, job.priority);
  }

  /** The lane of a job. */
  laneOf(job: GraphJob): Lane {
    let key = this.#keyOf.get(job);
    if (key === undefined) {
      const labels = [...job.requiredLabels].sort(([a], [b]) => (a < b ? -1 : 1));
      key = JSON.stringify([job.type, labels]);
      this.#keyOf.set(job, key);
    }
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      if (this.#lanes.size >= this.#sweepAt) this.#sweep();
      lane = new Lane(job.type, job.requiredLabels, this.#waits);
      this.#lanes.set(key, lane);
    }
    return lane;
  }

  #sweep(): void {
    for (const [key, lane] of this.#lanes) {
      lane.sweep();
      if (lane.size === 0) this.#lanes.delete(key);
    }
    this.#sweepAt = Math.max(FEW_LANES, 2 * this.#lanes.size);
  }
}
