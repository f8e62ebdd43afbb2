/**
 * The workflows of a shard: open ones by id, ended ones as long as there is room, idempotency keys, and lists.
 *
 * Invariants
 * 1. `state` may be ahead of what is committed; `events` never is: it grows when its commit is durable, and only what is in it is shown to watchers.
 * 2. Lists are in the order of ids, which is about that of submission: one whose key had to be looked for comes later than its id says.
 * 3. Only ended workflows are ever forgotten, in the order of their ends, and their idempotency key with them; where there is an archive, in the order in which
 *    it has them, and only then. Not while somebody submits under their key.
 */
import type { DurableEvent, JobState, WorkflowState } from '@workflow-orchestrator/engine/machine';
import type { ListFilter } from '../store/store.ts';
import { Deque } from './deque.ts';
import { History } from './history.ts';
import type { ReadyJob } from './ready-queue.ts';

/** Someone who follows one workflow. */
export interface Watcher {
  /** The next event; `seq` is its number in the workflow. */
  event(seq: number, event: DurableEvent): void;
  /** A job whose live state changed at `at`: not a fact. */
  live(job: number, state: JobState, at: number): void;
}

/** One workflow. */
export interface WorkflowRecord {
  state: WorkflowState;
  /** Committed events. */
  readonly events: History;
  /** When its agenda entry is due; 0 when it has none. */
  wakeAt: number;
  /** Jobs that could be given to a worker now, each with its entry in the ready queue. Null: none. */
  queued: Map<number, ReadyJob> | null;
  /** Jobs that may be running on a worker of before the recovery. Null: none. */
  awaited: Set<number> | null;
  watchers: Set<Watcher> | null;
  /** Approximate bytes, counted when it ended. */
  bytes: number;
  /** How many of its events the checkpoint has; negative while that is not known. */
  checkpointed: number;
  /** Whether its end is where it can be read again: only then may it be forgotten here. */
  isArchived: boolean;
}

/** A part of a list. */
export interface ListPart {
  /** Newest first, at most `limit`. */
  readonly states: WorkflowState[];
  /** The id below which the list goes on; null at its end. */
  readonly next: string | null;
}

/** Workflows that one part of a list looks at: a filter that matches little must not hold up everybody else. */
export const LIST_SCAN = 10_000;

/** How much of ended workflows is kept. */
export interface Retention {
  readonly workflows: number;
  readonly bytes: number;
}

export class WorkflowTable {
  readonly #records = new Map<string, WorkflowRecord>();
  readonly #keys = new Map<string, string>();
  /** Ended workflows that may be forgotten, the first one first. */
  readonly #forgettable = new Deque<WorkflowRecord>();
  /** How many have ended and are here. */
  #ended = 0;
  readonly #retention: Retention;
  readonly #hasArchive: boolean;
  /** Keys that are being submitted under, each with how often. */
  readonly #keysInUse = new Map<string, number>();
  /** In the order of ids, ids and records side by side; one that was forgotten leaves its id, until there are as many of those as workflows. */
  #ids: string[] = [];
  #order: (WorkflowRecord | undefined)[] = [];
  #endedBytes = 0;
  #open = 0;
  #unarchived = 0;

  /** `hasArchive`: ended workflows stay until `archived`. */
  constructor(retention: Retention, hasArchive: boolean) {
    this.#retention = retention;
    this.#hasArchive = hasArchive;
  }

  /** Ended workflows that the archive has yet to take. */
  get unarchived(): number {
    return this.#unarchived;
  }

  /** Workflows that have not ended. */
  get open(): number {
    return this.#open;
  }

  get(id: string): WorkflowRecord | undefined {
    return this.#records.get(id);
  }

  /** The workflow that was submitted with this idempotency key. */
  byKey(key: string): WorkflowRecord | undefined {
    const id = this.#keys.get(key);
    return id === undefined ? undefined : this.#records.get(id);
  }

  values(): IterableIterator<WorkflowRecord> {
    return this.#records.values();
  }

  /** Takes a workflow in. `events`: its committed ones, which become the record's own; `checkpointed`: how many of them the checkpoint has. */
  add(state: WorkflowState, events = new History(), checkpointed = 0): WorkflowRecord {
    const record: WorkflowRecord = {
      state,
      events,
      wakeAt: 0,
      queued: null,
      awaited: null,
      watchers: null,
      bytes: 0,
      checkpointed,
      isArchived: false,
    };
    this.#records.set(state.id, record);
    const place = this.#place(state.id);
    this.#ids.splice(place, 0, state.id);
    this.#order.splice(place, 0, record);
    if (state.idempotencyKey !== '') this.#keys.set(state.idempotencyKey, state.id);
    this.#open += 1;
    return record;
  }

  /** The workflow has ended and that is committed: from now on it may be forgotten. */
  ended(record: WorkflowRecord): void {
    this.#open -= 1;
    record.queued = null;
    record.awaited = null;
    record.bytes = approximateBytes(record.state);
    this.#endedBytes += record.bytes;
    this.#ended += 1;
    if (this.#hasArchive) this.#unarchived += 1;
    else this.#mayGo(record);
  }

  /** The archive has the workflow's end. */
  archived(record: WorkflowRecord): void {
    if (record.isArchived) return;
    this.#unarchived -= 1;
    this.#mayGo(record);
  }

  /** Somebody submits under these keys: what memory has of them now it still has when that is decided. */
  useKeys(keys: readonly string[]): void {
    for (const key of keys) this.#keysInUse.set(key, (this.#keysInUse.get(key) ?? 0) + 1);
  }

  /** It is decided. */
  releaseKeys(keys: readonly string[]): void {
    for (const key of keys) {
      const count = (this.#keysInUse.get(key) ?? 0) - 1;
      if (count > 0) this.#keysInUse.set(key, count);
      else this.#keysInUse.delete(key);
    }
    this.#forget();
  }

  #mayGo(record: WorkflowRecord): void {
    record.isArchived = true;
    this.#forgettable.push(record);
    this.#forget();
  }

  #forget(): void {
    while (this.#ended > this.#retention.workflows || this.#endedBytes > this.#retention.bytes) {
      const oldest = this.#forgettable.peek();
      if (oldest === undefined || this.#keysInUse.has(oldest.state.idempotencyKey)) return;
      this.#forgettable.shift();
      this.#ended -= 1;
      this.#endedBytes -= oldest.bytes;
      this.#records.delete(oldest.state.id);
      if (this.#keys.get(oldest.state.idempotencyKey) === oldest.state.id) this.#keys.delete(oldest.state.idempotencyKey);
      this.#order[this.#place(oldest.state.id)] = undefined;
    }
    if (this.#ids.length <= 2 * this.#records.size + 1_000) return;
    this.#order = this.#order.filter((kept) => kept !== undefined);
    this.#ids = this.#order.map((kept) => kept!.state.id);
  }

  /** The part of a list that is found among the next `LIST_SCAN` workflows. */
  list(filter: ListFilter): ListPart {
    const states: WorkflowState[] = [];
    const first = (filter.beforeId === '' ? this.#ids.length : this.#place(filter.beforeId)) - 1;
    const last = Math.max(0, first - LIST_SCAN + 1);
    for (let place = first; place >= last; place--) {
      const state = this.#order[place]?.state;
      if (state === undefined || !matches(state, filter)) continue;
      states.push(state);
      if (states.length === filter.limit) return { states, next: place === 0 ? null : state.id };
    }
    return { states, next: last === 0 ? null : this.#ids[last]! };
  }

  /** The place of the oldest id that is not below `id`. */
  #place(id: string): number {
    let low = 0;
    let high = this.#ids.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ids[middle]! < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function matches(state: WorkflowState, filter: ListFilter): boolean {
  if (filter.statuses.size > 0 && !filter.statuses.has(state.status)) return false;
  if (filter.name !== '' && filter.name !== state.graph.name) return false;
  if (state.submittedAt < filter.submittedAfter || state.submittedAt >= filter.submittedBefore) return false;
  for (const [key, value] of filter.labels) if (state.labels[key] !== value) return false;
  return true;
}

/** What an ended workflow takes in memory with its history; measured, besides its payloads. */
const WORKFLOW_BYTES = 1_400;
const JOB_BYTES = 1_100;
const ATTEMPT_BYTES = 300;

function approximateBytes(state: WorkflowState): number {
  let bytes = WORKFLOW_BYTES + state.inputs.data.length + (state.outputs?.data.length ?? 0);
  for (const job of state.jobs) {
    bytes += JOB_BYTES + (job.output?.data.length ?? 0) + (job.parameters?.data.length ?? 0) + (job.checkpoint?.data.length ?? 0);
    for (const { error } of job.attempts) {
      bytes += ATTEMPT_BYTES;
      if (error !== null) bytes += error.message.length + error.stack.length + (error.details?.data.length ?? 0);
    }
  }
  return bytes;
}
