/** Workflows as an archive and a live view are given them, and a store in memory that has an archive. */
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import { MemoryJournal, MemoryStore } from '../../coordinator/store/memory/memory.ts';
import {
  type Archive,
  type ArchivedWorkflow,
  type JournalEntry,
  type Kept,
  type KeyOwner,
  type ListFilter,
  type Store,
  StoreUnavailable,
} from '../../coordinator/store/store.ts';
import { fold } from '../engine-support/snapshots.ts';
import { definitionOf } from './events.ts';

const { graph } = definitionOf('blue');
const at = 1_800_000_000_000;

/** An id as `ulid` makes them, in the order of their number. */
export function idOf(number: number): string {
  return `01KB${String(number).padStart(22, '0')}`;
}

/** A workflow of the definition `blue` after `events` of its events, 7 at most: then it has ended well. `output`: size of its first job's, in bytes. */
export function blueWorkflow(number: number, events: number, output = 10): ArchivedWorkflow {
  const submittedAt = at + number;
  const attempt = { number: 1, token: '1.1.x', workerId: 'w1', startMs: submittedAt + 1 };
  const json = (bytes: number) => ({ encoding: 'json', data: new Uint8Array(bytes).fill(0x31) });
  const submitted = { kind: 'submitted', at: submittedAt, workflowId: idOf(number), graph, inputs: json(1), labels: {} } as const;
  const all: DurableEvent[] = [
    { ...submitted, idempotencyKey: `key ${number}`, requestHash: 'h' },
    { kind: 'started', at: submittedAt },
    { kind: 'jobReady', at: submittedAt, job: 0, parameters: null, inputJobs: [] },
    { kind: 'jobSucceeded', at: submittedAt + 2, job: 0, attempt, output: json(output) },
    { kind: 'jobReady', at: submittedAt + 2, job: 1, parameters: null, inputJobs: [0] },
    { kind: 'jobSucceeded', at: submittedAt + 3, job: 1, attempt, output: json(1) },
    { kind: 'ended', at: submittedAt + 3, status: 'SUCCEEDED', outputs: json(2), error: null, errorJob: null },
  ];
  const taken = all.slice(0, events);
  return { state: fold(taken), events: taken };
}

/** What a memory store with an archive writes to. */
export class ArchivedJournal extends MemoryJournal {
  readonly workflows = new Map<string, ArchivedWorkflow>();
  /** How often a workflow was read. */
  gets = 0;
  /** Whether its archive and its definitions answer. */
  answers = true;
}

/** A store in memory that has an archive: what a database is to those in front of it. */
export class ArchivedMemoryStore extends MemoryStore implements Store {
  override readonly archive: Archive;
  readonly #kept: ArchivedJournal;

  constructor(journal: ArchivedJournal) {
    super(journal);
    this.#kept = journal;
    this.archive = new MemoryArchive(journal);
  }

  override definitionsByHash(hashes: readonly string[]) {
    if (!this.#kept.answers) return Promise.reject(new StoreUnavailable('away'));
    return super.definitionsByHash(hashes);
  }
}

class MemoryArchive implements Archive {
  readonly #journal: ArchivedJournal;

  constructor(journal: ArchivedJournal) {
    this.#journal = journal;
  }

  async write(workflows: readonly ArchivedWorkflow[]): Promise<Kept> {
    for (const workflow of workflows) {
      const before = this.#journal.workflows.get(workflow.state.id);
      if (before === undefined || before.state.seq <= workflow.state.seq) this.#journal.workflows.set(workflow.state.id, workflow);
    }
    return { kind: 'kept' };
  }

  async get(workflowId: string): Promise<JournalEntry | null> {
    if (!this.#journal.answers) throw new StoreUnavailable('away');
    this.#journal.gets += 1;
    const found = this.#journal.workflows.get(workflowId);
    return found === undefined || found.state.endedAt === 0 ? null : entryOf(found);
  }

  async byKeys(keys: readonly string[]): Promise<ReadonlyMap<string, KeyOwner>> {
    const found = [...this.#journal.workflows.values()].filter(
      ({ state }) => state.idempotencyKey !== '' && keys.includes(state.idempotencyKey),
    );
    return new Map(found.map(({ state: { id, idempotencyKey, requestHash } }) => [idempotencyKey, { workflowId: id, requestHash }]));
  }

  async list(filter: ListFilter): Promise<readonly JournalEntry[]> {
    const matching = [...this.#journal.workflows.values()].filter(({ state }) => {
      if (state.endedAt === 0 || (filter.beforeId !== '' && state.id >= filter.beforeId)) return false;
      if (filter.statuses.size > 0 && !filter.statuses.has(state.status)) return false;
      if (filter.name !== '' && filter.name !== state.graph.name) return false;
      if (state.submittedAt < filter.submittedAfter || state.submittedAt >= filter.submittedBefore) return false;
      return [...filter.labels].every(([key, value]) => state.labels[key] === value);
    });
    return matching
      .sort((a, b) => (a.state.id < b.state.id ? 1 : -1))
      .slice(0, filter.limit)
      .map(entryOf);
  }

  async openSeqs(): Promise<ReadonlyMap<string, number>> {
    const open = [...this.#journal.workflows.values()].filter(({ state }) => state.endedAt === 0);
    return new Map(open.map(({ state }) => [state.id, state.seq]));
  }
}

function entryOf({ state, events }: ArchivedWorkflow): JournalEntry {
  return { workflowId: state.id, firstEventSeq: 1, events };
}
