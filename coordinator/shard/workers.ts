/**
 * The workers as the shard sees them: what they can take, how much room they have, which leases they hold.
 *
 * Invariants
 * 1. Free is `available - unsent`: room that the session reported, less what was decided but not yet handed to it. Never negative when assigning.
 * 2. A lease is listed under exactly one worker from the moment it is decided until it ends.
 */
import type { AttachedWorker, WorkerOutbox } from '../gateway/port.ts';
import type { Lane } from './ready-queue.ts';

/** Where a lease belongs. */
export interface LeasePlace {
  readonly workflowId: string;
  readonly job: number;
  readonly type: string;
  /** Whether its worker may know of it: the assignment was handed to its connection, or it came back with the attempt. */
  isSent: boolean;
  /** Heartbeats in a row that did not name it although the worker had accepted it. */
  missedBeats: number;
}

/** Room on one connection. A new one for each, so that late hand-overs of an old connection cannot miscount. */
export interface Room {
  /** Assignments that the session may still send. */
  available: number;
  /** Assignments that were decided and not yet handed to the session. */
  unsent: number;
  /** Whether work may be sent at all. */
  open: boolean;
}

/** How long a worker is not offered a type that it has just refused, in milliseconds. */
export const REFUSAL_PAUSE_MS = 1_000;

/** One worker. */
export class WorkerEntry {
  readonly id: string;
  session: AttachedWorker;
  /** Null while its socket is gone. */
  outbox: WorkerOutbox | null;
  room: Room = { available: 0, unsent: 0, open: false };
  readonly leases = new Map<string, LeasePlace>();
  readonly #runningOfType = new Map<string, number>();
  readonly #refusedUntil = new Map<string, number>();

  constructor(session: AttachedWorker, outbox: WorkerOutbox) {
    this.id = session.workerId;
    this.session = session;
    this.outbox = outbox;
  }

  /** Whether it could ever take jobs of this lane. */
  suits(lane: Lane): boolean {
    if (!this.session.capabilities.has(lane.type)) return false;
    for (const [key, value] of lane.labels) if (this.session.labels.get(key) !== value) return false;
    return true;
  }

  /** Whether it can take one more job of `type` at `now`. */
  hasRoom(type: string, now: number): boolean {
    if (!this.room.open || this.outbox === null || this.room.available <= this.room.unsent) return false;
    const cap = this.session.capabilities.get(type) ?? 0;
    if (cap > 0 && (this.#runningOfType.get(type) ?? 0) >= cap) return false;
    return (this.#refusedUntil.get(type) ?? 0) <= now;
  }

  /** Share of its slots in use: the lower, the sooner it is given work. */
  load(): number {
    return this.leases.size / Math.max(1, this.session.slots);
  }

  addLease(token: string, place: LeasePlace): void {
    this.leases.set(token, place);
    this.#runningOfType.set(place.type, (this.#runningOfType.get(place.type) ?? 0) + 1);
  }

  removeLease(token: string): void {
    const place = this.leases.get(token);
    if (place === undefined) return;
    this.leases.delete(token);
    const left = (this.#runningOfType.get(place.type) ?? 1) - 1;
    if (left > 0) this.#runningOfType.set(place.type, left);
    else this.#runningOfType.delete(place.type);
  }

  /** It refused a job of `type`: others first, for a moment. Returns until when. */
  refuse(type: string, now: number): number {
    const until = now + REFUSAL_PAUSE_MS;
    this.#refusedUntil.set(type, until);
    return until;
  }
}

/** All workers. */
export class WorkerTable {
  readonly #workers = new Map<string, WorkerEntry>();
  #suitable = new WeakMap<Lane, WorkerEntry[]>();

  get(workerId: string): WorkerEntry | undefined {
    return this.#workers.get(workerId);
  }

  values(): IterableIterator<WorkerEntry> {
    return this.#workers.values();
  }

  put(worker: WorkerEntry): void {
    this.#workers.set(worker.id, worker);
    this.changed();
  }

  delete(workerId: string): void {
    this.#workers.delete(workerId);
    this.changed();
  }

  /** Labels or capabilities of some worker changed. */
  changed(): void {
    this.#suitable = new WeakMap();
  }

  /** Workers that could ever take jobs of this lane. */
  suitable(lane: Lane): readonly WorkerEntry[] {
    let found = this.#suitable.get(lane);
    if (found === undefined) {
      found = [...this.#workers.values()].filter((worker) => worker.suits(lane));
      this.#suitable.set(lane, found);
    }
    return found;
  }
}
