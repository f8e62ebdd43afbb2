/**
 * The store in a file of this process's own: the journal in `journal.db` of the data folder, written by a thread. What it answers is DURABLE.
 *
 * Invariants
 * 1. The event loop never waits for the disk: here entries become bytes, and the threads do the rest.
 * 2. One process has the folder, so there is no lease; epochs tell apart what was asked before a thread died from what was asked after it.
 * 3. A commit is answered `aborted` only where the thread proved it, or was never asked; when it died or is late, `unknown`.
 */
import { randomUUID } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { JournalDamaged } from '@workflow-orchestrator/engine/machine';
import { limits } from '@workflow-orchestrator/proto/limits';
import { chainAfter, EntryReader } from '../journal.ts';
import {
  type Acquisition,
  type CheckpointSlice,
  type CommitOutcome,
  type JournalBatch,
  type Kept,
  type LoadedPart,
  type Ownership,
  type Reclaim,
  type Renewal,
  type Store,
  type StoredDefinition,
  StoreUnavailable,
  type TierHealth,
} from '../store.ts';
import { EmbeddedArchive, type Retention } from './archive.ts';
import { encoded } from './archive-row.ts';
import type { Head, JournalRow, ReaderCalls, ThreadMessage, WriterCalls } from './calls.ts';
import { type Folder, takeFolder } from './folder.ts';
import { type Answer, StoreThread } from './store-thread.ts';
import { type Area, HealthOfTier } from './tier-health.ts';

export { FolderInUse } from './folder.ts';

/** What is said to people. */
export interface EmbeddedLog {
  info(message: string): void;
  warn(message: string): void;
}

export interface EmbeddedOptions extends Partial<Retention> {
  readonly dataDir: string;
  readonly log: EmbeddedLog;
  /** Starts a thread; given by tests that end one. */
  readonly spawn?: (file: URL, workerData: unknown) => Worker;
}

/** Opens the store of a data folder, which is made where it is missing. Rejects with one clear line when the folder or the file in it cannot be used. */
export async function openEmbeddedStore(options: EmbeddedOptions): Promise<EmbeddedStore> {
  const folder = takeFolder(options.dataDir);
  const store = new EmbeddedStore(folder, options);
  try {
    await store.start();
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

const LOST = 'another owner has the shard';

export class EmbeddedStore implements Store {
  readonly durability = 'DURABLE';
  readonly leaseMs = null;
  readonly needsCheckpoints = true;
  readonly liveView = null;
  readonly archive: EmbeddedArchive;
  readonly #folder: Folder;
  readonly #log: EmbeddedLog;
  readonly #health: HealthOfTier;
  readonly #writer: StoreThread<WriterCalls>;
  readonly #reader: StoreThread<ReaderCalls>;
  /** By a term, the one that a `reclaim` of it without an answer may have put in its place. */
  readonly #proposed = new Map<string, string>();
  #sweeps: NodeJS.Timeout | null = null;
  #isWritingBack = false;
  #isClosed = false;

  constructor(folder: Folder, { log, spawn = spawnThread, ...retention }: EmbeddedOptions) {
    this.#folder = folder;
    this.#log = log;
    this.#health = new HealthOfTier(folder.path, Date.now);
    const thread = (file: string) => () => spawn(new URL(file, import.meta.url), { path: folder.path });
    this.#writer = new StoreThread(thread('./writer.ts'), this.#events('commits'));
    this.#reader = new StoreThread(thread('./reader.ts'), this.#events('reads'));
    const ports = {
      writer: this.#writer,
      read: <K extends keyof ReaderCalls & string>(kind: K, request: ReaderCalls[K][0]) => this.#read(kind, request),
      entryReader: () => this.#entryReader(),
      health: this.#health,
      clock: Date.now,
    };
    this.archive = new EmbeddedArchive(ports, { archivedMs: limits.archivedMs, archivedWorkflows: limits.archivedWorkflows, ...retention });
  }

  /** Starts the threads. Rejects when the file cannot be used. */
  async start(): Promise<void> {
    await Promise.all([this.#writer.start(), this.#reader.start()]);
    this.#sweeps = setInterval(() => {
      this.archive.sweep().catch((error) => this.#health.note('upkeep', String(error)));
    }, limits.archiveSweepMs);
    this.#sweeps.unref();
  }

  async acquire(): Promise<Acquisition> {
    const termId = randomUUID();
    const answer = this.#noted('commits', await this.#writer.call('acquire', { termId }, limits.storeCallMs));
    if (answer.kind === 'failed') return { kind: 'unavailable', message: answer.failure.message };
    return { kind: 'acquired', ownership: { termId, ...answer.value } };
  }

  async renew({ epoch, termId }: Ownership, lastSeq: number): Promise<Renewal> {
    const answer = await this.#writer.call('look', { epoch, termId }, limits.storeCallMs);
    if (answer.kind === 'failed') return { kind: 'unavailable', message: answer.failure.message };
    if (!answer.value.isHeld) return { kind: 'lost', message: LOST };
    if (answer.value.lastSeq >= lastSeq) return { kind: 'renewed' };
    return { kind: 'lost', message: `the journal ends at ${answer.value.lastSeq}, and it did at ${lastSeq}` };
  }

  async release({ epoch, termId }: Ownership): Promise<void> {
    await this.#writer.call('release', { epoch, termId }, limits.storeCallMs);
  }

  async commit({ epoch, termId }: Ownership, { firstSeq, lastSeq, entries }: JournalBatch): Promise<CommitOutcome> {
    // What cannot be written as bytes is nobody's outage: it rejects.
    const record = encoded(entries);
    const request = { epoch, termId, firstSeq, lastSeq, record };
    const { buffer } = record.body;
    const given = buffer instanceof ArrayBuffer && buffer.byteLength === record.body.byteLength ? [buffer] : [];
    const answer = this.#noted('commits', await this.#writer.call('commit', request, limits.commitDeadlineMs, given));
    if (answer.kind === 'answer') {
      return answer.value.kind === 'mismatch' ? { kind: 'aborted', isTransient: false, message: answer.value.message } : answer.value;
    }
    const { message, isCertain, isTransient } = answer.failure;
    return isCertain ? { kind: 'aborted', isTransient, message } : { kind: 'unknown', message };
  }

  async reclaim({ epoch, termId }: Ownership): Promise<Reclaim> {
    const nextTermId = this.#proposed.get(termId) ?? randomUUID();
    this.#proposed.set(termId, nextTermId);
    const answer = this.#noted('commits', await this.#writer.call('reclaim', { epoch, termId, nextTermId }, limits.storeCallMs));
    if (answer.kind === 'failed') return { kind: 'unavailable', message: answer.failure.message };
    this.#proposed.delete(termId);
    if (!answer.value.isHeld) return { kind: 'lost', message: LOST };
    return { kind: 'reclaimed', ownership: { epoch: epoch + 1, termId: nextTermId, lastSeq: answer.value.lastSeq } };
  }

  async *load(): AsyncIterable<LoadedPart> {
    const reader = this.#entryReader();
    const head = await this.#read('head', null);
    yield { kind: 'place', seq: head.checkpointSeq };
    for (let afterId = ''; ; ) {
      const { rows, isLast, lastId } = await this.#read('checkpoint', { afterId });
      if (isLast) break;
      afterId = lastId;
      const entries = [];
      for (const { workflowId, ...stored } of rows) entries.push(...(await reader.read(stored, `checkpoint of workflow ${workflowId}`)));
      if (entries.length > 0) yield { kind: 'checkpoint', entries };
    }
    for await (const { firstSeq, lastSeq, chain: _, ...stored } of this.#journal(head)) {
      yield { kind: 'batch', batch: await reader.readBatch(stored, firstSeq, lastSeq) };
    }
  }

  async checkpoint({ epoch, termId }: Ownership, { number, entries, finish }: CheckpointSlice): Promise<Kept> {
    const rows = entries.map((entry) => ({ workflowId: entry.workflowId, ...encoded([entry]) }));
    const ends = finish === null ? null : { seq: finish.seq, ended: JSON.stringify(finish.ended) };
    const request = { epoch, termId, number, rows, finish: ends };
    const answer = this.#noted('checkpoint', await this.#writer.callAlone('checkpoint', request, limits.storeCallMs));
    if (answer.kind === 'failed') return { kind: 'unavailable', message: answer.failure.message };
    return { kind: answer.value ? 'kept' : 'fenced' };
  }

  async putDefinition(definition: StoredDefinition): Promise<StoredDefinition> {
    return told(await this.#writer.call('putDefinition', definition, limits.storeCallMs));
  }

  async *definitions(): AsyncIterable<StoredDefinition> {
    yield* await this.#read('definitions', null);
  }

  async definitionsByHash(hashes: readonly string[]): Promise<ReadonlyMap<string, StoredDefinition>> {
    const found = await this.#read('definitionsByHash', { hashes });
    return new Map(found.map((definition) => [definition.hash, definition]));
  }

  health(): readonly TierHealth[] {
    return this.#health.get();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#sweeps !== null) clearInterval(this.#sweeps);
    await this.#reader.close();
    await this.#writer.close();
    this.#folder.release();
  }

  /** The batches after the last checkpoint: none missing, none foreign. The next page is asked for while one is read. */
  async *#journal({ lastSeq, chain, checkpointSeq }: Head): AsyncIterable<JournalRow> {
    let next = this.#read('journal', { afterSeq: checkpointSeq, untilSeq: lastSeq });
    let before: { readonly lastSeq: number; readonly chain: number | null } = { lastSeq: checkpointSeq, chain: null };
    for (;;) {
      const rows = await next;
      if (rows.length === 0) break;
      next = this.#read('journal', { afterSeq: rows.at(-1)!.lastSeq, untilSeq: lastSeq });
      // It is awaited in the next turn, if there is one.
      next.catch(() => {});
      for (const row of rows) {
        const what = `${this.#folder.path}: journal ${row.firstSeq}-${row.lastSeq}`;
        if (row.firstSeq !== before.lastSeq + 1)
          throw new JournalDamaged(`${what}: what comes before it, after ${before.lastSeq}, is missing`);
        if (before.chain !== null && chainAfter(before.chain, row.body) !== row.chain)
          throw new JournalDamaged(`${what}: it does not belong to what comes before it`);
        if (row.lastSeq === lastSeq && row.chain !== chain) throw new JournalDamaged(`${what}: it is not what was committed last`);
        before = row;
        yield row;
      }
    }
    if (before.lastSeq !== lastSeq)
      throw new JournalDamaged(`${this.#folder.path}: the journal ends at ${before.lastSeq}; it did at ${lastSeq}`);
  }

  #entryReader(): EntryReader {
    return new EntryReader({
      definitions: (hashes) => this.definitionsByHash(hashes),
      payloads: async (hashes) => new Map(await this.#read('payloads', { hashes })),
    });
  }

  async #read<K extends keyof ReaderCalls & string>(kind: K, request: ReaderCalls[K][0]): Promise<ReaderCalls[K][1]> {
    return told(this.#noted('reads', await this.#reader.call(kind, request, limits.storeCallMs)));
  }

  #noted<T>(area: Area, answer: Answer<T>): Answer<T> {
    this.#health.note(area, answer.kind === 'failed' ? answer.failure.message : null);
    return answer;
  }

  #events(area: Area): ConstructorParameters<typeof StoreThread>[1] {
    return {
      message: (message) => this.#heard(message),
      died: (why) => {
        this.#health.note(area, `the thread died: ${why}`);
        this.#log.warn(`a thread of the store has died and is started again: ${why}`);
      },
      back: () => this.#health.note(area, null),
    };
  }

  #heard(message: ThreadMessage): void {
    if (message.kind === 'upkeep') this.#health.note('upkeep', message.failure?.message ?? null);
    if (message.kind === 'logGrew' && !this.#isWritingBack) void this.#writeBack();
  }

  async #writeBack(): Promise<void> {
    this.#isWritingBack = true;
    const answer = this.#noted('upkeep', await this.#reader.call('writeBack', null, limits.storeCallMs));
    this.#isWritingBack = false;
    if (answer.kind === 'answer') this.#noted('upkeep', await this.#writer.call('writtenBack', null, limits.storeCallMs));
  }
}

function spawnThread(file: URL, workerData: unknown): Worker {
  return new Worker(file, { workerData });
}

/** What was answered; throws what reads throw. */
function told<T>(answer: Answer<T>): T {
  if (answer.kind === 'answer') return answer.value;
  const { message, isTransient } = answer.failure;
  throw isTransient ? new StoreUnavailable(message) : new Error(message);
}
