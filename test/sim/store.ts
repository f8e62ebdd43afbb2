/**
 * The store of one coordinator process over the simulated database: what `coordinator/store/postgres/` is over a real one, statement by statement.
 *
 * Invariants (those of the seam, and)
 * 1. It has no clock and no chance but those of its process and its database.
 * 2. Whoever knows of an event, or a slice of a checkpoint, that the database has not, writes nothing: it went back in time. See `Known`.
 * 3. A slice of a checkpoint that was given up and takes effect late changes nothing when a later one is there.
 */
import { type DurableEvent, hasEnded } from '@workflow-orchestrator/engine/machine';
import { limits } from '@workflow-orchestrator/proto/limits';
import { Known } from '../../coordinator/store/known.ts';
import {
  type Acquisition,
  type Archive,
  type ArchivedWorkflow,
  type CheckpointSlice,
  type CommitOutcome,
  type JournalBatch,
  type JournalEntry,
  type Kept,
  type KeyOwner,
  type ListFilter,
  type LiveView,
  type LoadedPart,
  type Owner,
  type Ownership,
  type Reclaim,
  type Renewal,
  type Store,
  type StoredDefinition,
  StoreUnavailable,
  type TierHealth,
} from '../../coordinator/store/store.ts';
import type { ThroughBytes } from './bytes.ts';
import type { Database, Lock, Reply } from './database.ts';
import type { SimNode } from './node.ts';

/** What a store is made with. */
export interface SimStoreOptions {
  readonly database: Database;
  readonly node: SimNode;
  readonly leaseMs: number;
  readonly hasArchive: boolean;
  readonly liveView: LiveView | null;
  /** What is done to entries on their way into the database. */
  readonly written: ThroughBytes;
  readonly newTerm: () => string;
  /** A state worth reaching was reached. */
  readonly reached: (state: string) => void;
  /** Whether a process runs and has the shard, as far as it knows. */
  readonly isActive: (coordinatorId: string) => boolean;
  /** The lease was not known to hold, and now it is. */
  readonly onUnsureLease: () => void;
  /** The shard has this owner now. */
  readonly onOwned: (ownership: Ownership) => void;
}

type Asked<T> = Reply<T> | { readonly kind: 'silent'; readonly message: string };

/** Time for a reclaim to wait for what holds the row, before that is ended. */
const RECLAIM_LOCK_MS = 1_000;

export class SimStore implements Store {
  readonly durability = 'DURABLE';
  readonly leaseMs: number;
  /** Where there is no archive, what has ended is read from the journal alone. */
  readonly needsCheckpoints: boolean;
  readonly archive: Archive | null;
  readonly liveView: LiveView | null;
  /** A round of checkpoints has begun and is not finished. */
  isInRound = false;
  readonly #database: Database;
  readonly #node: SimNode;
  readonly #options: SimStoreOptions;
  readonly #from: string;
  readonly #after: SimNode['after'];
  /** Terms of reclaims that were not answered, by the term that they take over from. */
  readonly #asked = new Map<string, string>();
  readonly #known = new Known();
  #renewedAt = 0;
  #unknown: JournalBatch | null = null;
  /** Term and first event of the batch that was refused for good: it is refused as often as it is sent. */
  #refused = '';

  constructor(options: SimStoreOptions) {
    this.#options = options;
    this.#database = options.database;
    this.#node = options.node;
    this.#after = options.node.ofThisProcess();
    this.#from = options.node.process;
    this.leaseMs = options.leaseMs;
    this.needsCheckpoints = options.hasArchive;
    this.archive = options.hasArchive ? this.#archive() : null;
    this.liveView = options.liveView;
  }

  async acquire(owner: Owner): Promise<Acquisition> {
    const database = this.#database;
    const termId = this.#options.newTerm();
    const reply = await this.#ask(
      'acquire',
      [database.shardLock, database.checkpointLock],
      limits.storeCallMs,
      (): Acquisition & { readonly slice: number } => {
        const { shard } = database;
        const now = database.now();
        if (shard.leaseUntil > now && shard.owner.coordinatorId !== owner.coordinatorId)
          return {
            kind: 'held',
            by: shard.owner,
            expiresInMs: Math.min(Math.max(1, Math.ceil(shard.leaseUntil - now)), this.leaseMs),
            slice: database.slice,
          };
        if (database.isBusyFor(this.#from, 'commit')) this.#options.reached('a takeover while a statement of the old owner hangs');
        if (shard.owner.coordinatorId !== '' && shard.owner.coordinatorId !== owner.coordinatorId) {
          this.#options.reached('a takeover');
          if (this.#options.isActive(shard.owner.coordinatorId)) this.#options.reached('a takeover from an owner that still runs');
        }
        shard.owner = owner;
        return { kind: 'acquired', ownership: this.#take(termId), slice: database.slice };
      },
    );
    if (reply.kind !== 'done') return { kind: 'unavailable', message: reply.message };
    if (reply.value.kind === 'acquired') {
      this.#known.acquired(reply.value.ownership, reply.value.slice);
      this.#renewedAt = this.#node.clock.now;
    }
    return reply.value;
  }

  async renew({ epoch, termId }: Ownership, lastSeq: number): Promise<Renewal> {
    const { shardLock } = this.#database;
    const sentAt = this.#node.clock.now;
    const reply = await this.#ask('renew', [shardLock], limits.storeCallMs, (): Renewal => {
      const { shard } = this.#database;
      if (shard.epoch !== epoch || shard.termId !== termId) return { kind: 'lost', message: `epoch ${shard.epoch} has the shard` };
      if (shard.lastSeq < lastSeq) return { kind: 'lost', message: `the journal ends at ${shard.lastSeq}, before ${lastSeq}` };
      if (shard.leaseUntil < this.#database.now()) this.#options.reached('a lease that expired was renewed without a takeover');
      shard.leaseUntil = this.#database.now() + this.leaseMs;
      return { kind: 'renewed' };
    });
    if (reply.kind !== 'done') return { kind: 'unavailable', message: reply.message };
    if (reply.value.kind === 'renewed') {
      if (this.#node.clock.now > this.#renewedAt + this.leaseMs - limits.shardLeaseMarginMs) this.#options.onUnsureLease();
      this.#renewedAt = sentAt;
    }
    return reply.value;
  }

  async release({ epoch, termId }: Ownership): Promise<void> {
    await this.#ask('release', [this.#database.shardLock], limits.storeCallMs, () => {
      const { shard } = this.#database;
      if (shard.epoch === epoch && shard.termId === termId) shard.leaseUntil = Number.NEGATIVE_INFINITY;
    });
  }

  async commit({ epoch, termId }: Ownership, batch: JournalBatch): Promise<CommitOutcome> {
    const { shardLock } = this.#database;
    const statement = { isGivenUp: false };
    const written = this.#options.written(batch.entries);
    const reply = await this.#ask(
      'commit',
      [shardLock],
      limits.commitDeadlineMs,
      (): CommitOutcome => {
        const { shard } = this.#database;
        if (this.#refused === `${termId} ${batch.firstSeq}`) return { kind: 'aborted', isTransient: false, message: 'refused again' };
        const isOwner = shard.epoch === epoch && shard.termId === termId;
        if (!isOwner || shard.lastSeq !== batch.firstSeq - 1) {
          if (statement.isGivenUp) this.#options.reached('a statement of before was fenced');
          return { kind: 'fenced' };
        }
        if (statement.isGivenUp) this.#options.reached('a statement took effect after it was given up');
        shard.lastSeq = batch.lastSeq;
        const committed = { ...batch, epoch, term: termId };
        this.#database.batches.push({ ...committed, entries: written });
        this.#database.audit.push(committed);
        this.#database.onCommit(committed);
        return { kind: 'durable' };
      },
      statement,
    );
    switch (reply.kind) {
      case 'done':
        if (reply.value.kind === 'durable') this.#known.committed(termId, batch.lastSeq);
        return reply.value;
      case 'refused':
        if (reply.isForGood) this.#refused = `${termId} ${batch.firstSeq}`;
        this.#options.reached(reply.isForGood ? 'a commit that was refused for good' : 'a commit that was aborted and tried again');
        return { kind: 'aborted', isTransient: !reply.isForGood, message: reply.message };
      default:
        this.#unknown = batch;
        return { kind: 'unknown', message: reply.message };
    }
  }

  async reclaim({ epoch, termId }: Ownership): Promise<Reclaim> {
    const database = this.#database;
    const fresh = this.#asked.get(termId) ?? this.#options.newTerm();
    this.#asked.set(termId, fresh);
    const stopWaiting = this.#after(RECLAIM_LOCK_MS, () => {
      for (const name of ['commit', 'renew', 'checkpoint']) database.terminate(this.#from, name);
    });
    const reply = await this.#ask('reclaim', [database.shardLock, database.checkpointLock], 2_000, (): Reclaim => {
      const { shard } = database;
      const isMine = shard.epoch === epoch && shard.termId === termId;
      // One whose answer was lost: it was done, and is done again with the same outcome.
      const isDone = shard.epoch === epoch + 1 && shard.termId === fresh;
      if (!isMine && !isDone) return { kind: 'lost', message: `epoch ${shard.epoch} has the shard` };
      return { kind: 'reclaimed', ownership: this.#take(fresh, epoch) };
    });
    stopWaiting();
    if (reply.kind !== 'done') return { kind: 'unavailable', message: reply.message };
    this.#asked.delete(termId);
    if (reply.value.kind === 'reclaimed') {
      const { lastSeq } = reply.value.ownership;
      this.#known.reclaimed(termId, reply.value.ownership);
      this.#renewedAt = this.#node.clock.now;
      if (this.#unknown !== null)
        this.#options.reached(
          lastSeq === this.#unknown.lastSeq ? 'an unknown commit had committed' : 'an unknown commit had not committed',
        );
    }
    this.#unknown = null;
    return reply.value;
  }

  async *load(): AsyncIterable<LoadedPart> {
    const database = this.#database;
    const read = async <T>(run: () => T): Promise<T> => {
      const reply = await this.#ask('load', [], limits.storeCallMs, run, null, false);
      if (reply.kind !== 'done') throw new StoreUnavailable(reply.message);
      return reply.value;
    };
    // Two statements, with time between in which others may take over and move what is read.
    const checkpoint = await read(() => ({ seq: database.checkpointSeq, entries: [...database.checkpoints.values()] }));
    yield { kind: 'place', seq: checkpoint.seq };
    const { entries } = checkpoint;
    if (entries.length > 0) yield { kind: 'checkpoint', entries };
    const batches = await read(() => database.batches.filter(({ lastSeq }) => lastSeq > checkpoint.seq));
    if (entries.length > 0 && batches.length > 0) this.#options.reached('a recovery from checkpoint and tail');
    let seq = checkpoint.seq;
    for (const { firstSeq, lastSeq, entries: committed } of batches) {
      if (firstSeq !== seq + 1) throw new Error(`journal ${firstSeq}-${lastSeq}: the events after ${seq} are missing`);
      seq = lastSeq;
      yield { kind: 'batch', batch: { firstSeq, lastSeq, entries: committed } };
    }
  }

  async checkpoint({ epoch, termId }: Ownership, { number, entries, finish }: CheckpointSlice): Promise<Kept> {
    const database = this.#database;
    const { seq: knownSeq, slice: keptSlice } = this.#known;
    const seq = Math.max(knownSeq, finish?.seq ?? 0);
    const slice = this.#known.sliceOf(number);
    this.isInRound = true;
    const written = this.#options.written(entries);
    const reply = await this.#ask('checkpoint', [database.checkpointLock], limits.storeCallMs, (): Kept => {
      const { shard } = database;
      if (shard.epoch !== epoch || shard.termId !== termId) return { kind: 'fenced' };
      if (slice < database.slice || database.slice < keptSlice || shard.lastSeq < seq) return { kind: 'fenced' };
      database.slice = slice;
      for (const entry of written) database.checkpoints.set(entry.workflowId, entry);
      if (finish !== null) {
        for (const id of finish.ended) database.checkpoints.delete(id);
        database.checkpointSeq = Math.max(database.checkpointSeq, finish.seq);
        database.batches = database.batches.filter(({ lastSeq }) => lastSeq > database.checkpointSeq);
      }
      return { kind: 'kept' };
    });
    if (reply.kind !== 'done') return { kind: 'unavailable', message: reply.message };
    if (reply.value.kind === 'kept') this.#known.kept(termId, number);
    if (finish !== null && reply.value.kind === 'kept') {
      this.isInRound = false;
      this.#options.reached('a round of checkpoints was finished');
    }
    return reply.value;
  }

  async putDefinition(definition: StoredDefinition): Promise<StoredDefinition> {
    const { definitions } = this.#database;
    const reply = await this.#ask('definition', [], limits.storeCallMs, () => {
      const first = definitions.get(definition.hash) ?? definition;
      const kept = { ...first, registeredAt: Math.max(first.registeredAt, definition.registeredAt) };
      definitions.set(kept.hash, kept);
      return kept;
    });
    if (reply.kind !== 'done') throw new StoreUnavailable(reply.message);
    return reply.value;
  }

  async *definitions(): AsyncIterable<StoredDefinition> {
    const reply = await this.#ask('definitions', [], limits.storeCallMs, () => [...this.#database.definitions.values()], null, false);
    if (reply.kind !== 'done') throw new StoreUnavailable(reply.message);
    yield* reply.value.filter(({ registeredAt }) => registeredAt > 0).sort((a, b) => a.registeredAt - b.registeredAt);
  }

  async definitionsByHash(hashes: readonly string[]): Promise<ReadonlyMap<string, StoredDefinition>> {
    const { definitions } = this.#database;
    const find = () => new Map(hashes.flatMap((hash) => (definitions.has(hash) ? [[hash, definitions.get(hash)!] as const] : [])));
    const reply = await this.#ask('definitions', [], limits.storeCallMs, find, null, false);
    if (reply.kind !== 'done') throw new StoreUnavailable(reply.message);
    return reply.value;
  }

  health(): readonly TierHealth[] {
    return [{ name: 'simulated', health: this.#database.isUp ? 'OK' : 'DOWN', detail: 'a database that is simulated' }];
  }

  async close(): Promise<void> {}

  /** The row is this process's under a new epoch, or again under the one that an unanswered reclaim had taken. */
  #take(termId: string, before = this.#database.shard.epoch): Ownership {
    const { shard } = this.#database;
    const isNew = shard.epoch !== before + 1 || shard.termId !== termId;
    shard.epoch = before + 1;
    shard.termId = termId;
    shard.leaseUntil = this.#database.now() + this.leaseMs;
    const ownership = { epoch: shard.epoch, termId, lastSeq: shard.lastSeq };
    if (isNew) this.#options.onOwned(ownership);
    return ownership;
  }

  #throughBytes({ state, events }: ArchivedWorkflow): readonly DurableEvent[] {
    const [entry] = this.#options.written([{ workflowId: state.id, firstEventSeq: 1, events }]);
    return entry.events;
  }

  #archive(): Archive {
    const database = this.#database;
    const read = async <T>(run: () => T): Promise<T> => {
      const reply = await this.#ask('archive', [], limits.storeCallMs, run, null, false);
      if (reply.kind !== 'done') throw new StoreUnavailable(reply.message);
      return reply.value;
    };
    return {
      write: async (workflows) => {
        const { termId, seq } = this.#known;
        const written = workflows.map((workflow) => ({ ...workflow, events: this.#throughBytes(workflow) }));
        const reply = await this.#ask('project', [], limits.storeCallMs, () => {
          if (database.shard.termId !== termId || database.shard.lastSeq < seq) return false;
          for (const workflow of written) putAtRest(database, workflow);
          return true;
        });
        if (reply.kind === 'done') return reply.value ? { kind: 'kept' } : { kind: 'fenced' };
        return { kind: 'unavailable', message: reply.message };
      },
      get: (id) => read(() => entryAtRest(database, id)),
      byKeys: (keys) =>
        read(() => {
          const found = new Map<string, KeyOwner>();
          for (const key of keys) if (database.keys.has(key)) found.set(key, database.keys.get(key)!);
          if (found.size > 0) this.#options.reached('a key was found in the archive after memory had forgotten it');
          return found;
        }),
      list: (filter) => read(() => listAtRest(database, filter)),
      openSeqs: () =>
        read(() => new Map([...database.archive].flatMap(([id, { seq, hasEnded }]) => (hasEnded ? [] : [[id, seq] as const])))),
    };
  }

  /** Sends a statement and waits for its answer, at most `deadlineMs`. `watched` is told when nobody waits any more. */
  #ask<T>(
    name: string,
    locks: readonly Lock[],
    deadlineMs: number,
    run: () => T,
    watched: { isGivenUp: boolean } | null = null,
    isWrite = true,
  ): Promise<Asked<T>> {
    return new Promise((resolve) => {
      const giveUp = (): void => {
        statement.isGivenUp = true;
        if (watched !== null) watched.isGivenUp = true;
      };
      const stop = this.#after(deadlineMs, () => {
        giveUp();
        resolve({ kind: 'silent', message: `no answer within ${deadlineMs} ms` });
      });
      const answer = (reply: Reply<T>): void => {
        if (reply.kind === 'broken') giveUp();
        this.#after(0, () => {
          stop();
          resolve(reply);
        });
      };
      const statement = this.#database.send({ name, from: this.#from, locks, isWrite, run, answer });
    });
  }
}

function putAtRest(database: Database, { state, events }: ArchivedWorkflow): void {
  const kept = database.archive.get(state.id);
  if (kept !== undefined && kept.seq > state.seq) return;
  database.archive.set(state.id, { seq: state.seq, hasEnded: hasEnded(state.status), events });
  if (state.idempotencyKey !== '') database.keys.set(state.idempotencyKey, { workflowId: state.id, requestHash: state.requestHash });
}

function entryAtRest(database: Database, workflowId: string): JournalEntry | null {
  const row = database.archive.get(workflowId);
  return row?.hasEnded === true ? { workflowId, firstEventSeq: 1, events: row.events } : null;
}

function listAtRest(database: Database, filter: ListFilter): JournalEntry[] {
  const ids = [...database.archive.keys()].sort().reverse();
  const found: JournalEntry[] = [];
  for (const id of ids) {
    const entry = entryAtRest(database, id);
    if (entry !== null && matches(entry, filter)) found.push(entry);
    if (found.length === filter.limit) break;
  }
  return found;
}

function matches({ workflowId, events }: JournalEntry, filter: ListFilter): boolean {
  const [first] = events;
  const last = events.at(-1);
  if (first.kind !== 'submitted' || last?.kind !== 'ended') return false;
  if (filter.beforeId !== '' && workflowId >= filter.beforeId) return false;
  if (filter.statuses.size > 0 && !filter.statuses.has(last.status)) return false;
  if (filter.name !== '' && filter.name !== first.graph.name) return false;
  if (first.at < filter.submittedAfter || first.at >= filter.submittedBefore) return false;
  for (const [label, value] of filter.labels) if (first.labels[label] !== value) return false;
  return true;
}
