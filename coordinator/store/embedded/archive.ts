/**
 * The archive of the embedded store, on the side that asks the threads.
 *
 * Invariant: what has ended is forgotten only when it is older than `limits.archivedMs`, or when there are as many as `limits.archivedWorkflows` that ended later.
 * So the threads are told up to which time, never how many: a time is as right when it is late, or comes twice.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import type { EntryReader } from '../journal.ts';
import { ReaderPool } from '../reader-pool.ts';
import type { Archive, ArchivedWorkflow, JournalEntry, Kept, KeyOwner, ListFilter } from '../store.ts';
import { archiveRow } from './archive-row.ts';
import type { ReaderCalls, WorkflowRow, WriterCalls } from './calls.ts';
import type { StoreThread } from './store-thread.ts';
import type { HealthOfTier } from './tier-health.ts';

/** How long what has ended is kept, and how much of it. */
export interface Retention {
  readonly archivedMs: number;
  /** At least one. Those that ended in the same millisecond as the oldest of them are kept too. */
  readonly archivedWorkflows: number;
}

/** Time for one sweep: what is left over waits for the next. */
const RETIRE_MS = 3_600_000;

/** What the archive stands on. */
export interface ArchivePorts {
  readonly writer: StoreThread<WriterCalls>;
  /** Asks the reader; throws as reads do. */
  readonly read: <K extends keyof ReaderCalls & string>(kind: K, request: ReaderCalls[K][0]) => Promise<ReaderCalls[K][1]>;
  readonly entryReader: () => EntryReader;
  readonly health: HealthOfTier;
  readonly clock: () => number;
}

export class EmbeddedArchive implements Archive {
  readonly #ports: ArchivePorts;
  readonly #retention: Retention;
  readonly #readers: ReaderPool;
  #isSweeping = false;

  constructor(ports: ArchivePorts, retention: Retention) {
    this.#ports = ports;
    this.#retention = retention;
    this.#readers = new ReaderPool(ports.entryReader);
  }

  async write(workflows: readonly ArchivedWorkflow[]): Promise<Kept> {
    const { writer, health, clock } = this.#ports;
    let message: string | null = null;
    try {
      const rows = workflows.map((workflow) => archiveRow(workflow, clock()));
      const answer = await writer.callAlone('archive', { rows }, limits.storeCallMs);
      if (answer.kind === 'failed') message = answer.failure.message;
    } catch (error) {
      message = String(error);
    }
    health.note('archive', message);
    return message === null ? { kind: 'kept' } : { kind: 'unavailable', message };
  }

  async get(workflowId: string): Promise<JournalEntry | null> {
    const row = await this.#ports.read('workflow', { id: workflowId });
    return row === null ? null : this.#entry(row);
  }

  async byKeys(keys: readonly string[]): Promise<ReadonlyMap<string, KeyOwner>> {
    if (keys.length === 0) return new Map();
    const found = await this.#ports.read('byKeys', { keys });
    return new Map(found.map(([key, workflowId, requestHash]) => [key, { workflowId, requestHash }]));
  }

  async list(filter: ListFilter): Promise<readonly JournalEntry[]> {
    const { statuses, labels, name, submittedAfter, submittedBefore, beforeId, limit } = filter;
    const query = { statuses: [...statuses], labels: [...labels], name, submittedAfter, submittedBefore, beforeId, limit };
    const entries: JournalEntry[] = [];
    for (const row of await this.#ports.read('list', query)) entries.push(await this.#entry(row));
    return entries;
  }

  async openSeqs(): Promise<ReadonlyMap<string, number>> {
    const found = new Map<string, number>();
    for (let afterId = ''; ; ) {
      const page = await this.#ports.read('openSeqs', { afterId });
      if (page.length === 0) return found;
      for (const [id, seq] of page) found.set(id, seq);
      afterId = page.at(-1)![0];
    }
  }

  /** Forgets what is kept no longer; how many. Nothing while an earlier sweep is under way. Rejects when the archive cannot be read. */
  async sweep(): Promise<number> {
    if (this.#isSweeping) return 0;
    this.#isSweeping = true;
    try {
      return await this.#forget();
    } finally {
      this.#isSweeping = false;
    }
  }

  async #forget(): Promise<number> {
    const { writer, health, clock, read } = this.#ports;
    const { archivedMs, archivedWorkflows } = this.#retention;
    const oldestKept = (await read('endedAt', { place: archivedWorkflows })) ?? 0;
    const answer = await writer.callAlone('retire', { endedBefore: Math.max(clock() - archivedMs, oldestKept) }, RETIRE_MS);
    health.note('upkeep', answer.kind === 'failed' ? answer.failure.message : null);
    return answer.kind === 'failed' ? 0 : answer.value;
  }

  async #entry({ workflowId, ...stored }: WorkflowRow): Promise<JournalEntry> {
    const [entry] = await this.#readers.reader().read(stored, `workflow ${workflowId}`);
    return entry;
  }
}
