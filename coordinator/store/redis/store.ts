/**
 * Redis alone: the journal is a stream, appended by one script that checks ownership first. What it answers is REPLICATED_VOLATILE: it is as durable
 * as the server is set up to be, and a server without a file or a replica loses it all when it ends.
 *
 * Invariants
 * 1. A commit is one call of one script: epoch, term and number of the last event are checked, and the batch appended, or nothing happens.
 * 2. `aborted` is answered only to what the server said it did not run, or what was never sent. Everything else is `unknown`, and `reclaim` finds out.
 * 3. A journal that is gone (emptied server, keys thrown out, an old copy put back) fences its owner; it never starts anew under the same ownership.
 *    Another one starts anew on an emptied server, and finds damage where a part of the keys is there: see `loadParts`.
 * 4. What cannot be encoded rejects, in `commit` and in `checkpoint`, and nothing of it was sent: that is a broken invariant, and no state of the server.
 *    So it is encoded before the `try` that turns failures into answers.
 * 5. Commits and questions of ownership have a connection of their own: large reads and writes do not hold them up.
 */
import { randomUUID } from 'node:crypto';
import { limits } from '@workflow-orchestrator/proto/limits';
import { chainAfter, EntryReader, encodeEntries } from '../journal.ts';
import { Known } from '../known.ts';
import type {
  Acquisition,
  CheckpointSlice,
  CommitOutcome,
  JournalBatch,
  Kept,
  LoadedPart,
  Owner,
  Ownership,
  Reclaim,
  Renewal,
  Store,
  StoredDefinition,
  TierHealth,
} from '../store.ts';
import { RedisArchive } from './archive.ts';
import { type Argument, messageOf, RedisConnection, RedisFailure, type StoreLog } from './connection.ts';
import { Definitions } from './definitions.ts';
import { redisHealth, warnings } from './health.ts';
import { type Keys, keysOf } from './keys.ts';
import { loadParts } from './load.ts';
import { asBuffer, pack } from './record.ts';
import { ACQUIRE, CHECKPOINT, COMMIT, RECLAIM, RELEASE, RENEW } from './shard-scripts.ts';

/** How a store is opened. */
export interface RedisStoreOptions {
  /** `redis://` or `rediss://`, with user, password and number of the database. */
  readonly url: string;
  readonly log: StoreLog;
  /** How long an ownership lasts without `renew`. */
  readonly leaseMs?: number;
  /** How long what has ended is kept, and its idempotency key. */
  readonly retentionMs?: number;
  /** What the names of all keys begin with: several installations may share a server. */
  readonly prefix: string;
}

/** Opens the store; waits for the server a little, and goes on without it when it does not answer. Throws when the address is none. */
export async function openRedisStore(options: RedisStoreOptions): Promise<RedisStore> {
  const { url, log, leaseMs = limits.shardLeaseMs, retentionMs = limits.redisRetentionMs, prefix } = options;
  const hot = new RedisConnection(url, 'wf-commits', limits.redisCommandMs, log);
  const bulk = new RedisConnection(url, 'wf-reads', limits.redisStepMs, log);
  await Promise.all([hot.ready(limits.redisConnectMs), bulk.ready(limits.redisConnectMs)]);
  for (const warning of hot.facts === null ? [] : warnings(hot.facts)) log.warn(`Redis: ${warning}`);
  return new RedisStore(hot, bulk, keysOf(prefix), leaseMs, retentionMs);
}

export class RedisStore implements Store {
  readonly durability = 'REPLICATED_VOLATILE';
  readonly needsCheckpoints = true;
  readonly liveView = null;
  readonly leaseMs: number;
  readonly archive: RedisArchive;
  readonly #hot: RedisConnection;
  readonly #bulk: RedisConnection;
  readonly #keys: Keys;
  readonly #definitions: Definitions;
  readonly #known = new Known();
  /** Terms of reclaims that were not answered, by the term that they take over from. */
  readonly #asked = new Map<string, string>();
  /** The term that was acquired without a journal, though there had been events; empty when the last one was not. */
  #bereftTerm = '';
  /** The chain after the last batch that this store knows to be there. */
  #chain = 0;

  constructor(hot: RedisConnection, bulk: RedisConnection, keys: Keys, leaseMs: number, retentionMs: number) {
    this.#hot = hot;
    this.#bulk = bulk;
    this.#keys = keys;
    this.leaseMs = leaseMs;
    this.#definitions = new Definitions(bulk, keys);
    this.archive = new RedisArchive(bulk, keys, this.#known, retentionMs, () => this.#reader());
  }

  async acquire({ coordinatorId, address }: Owner): Promise<Acquisition> {
    const termId = randomUUID();
    try {
      const answer = (await this.#hot.run(ACQUIRE, this.#shardKeys(), [coordinatorId, address, termId, this.leaseMs])) as string[];
      if (answer[0] === 'held') {
        return { kind: 'held', by: { coordinatorId: answer[1], address: answer[2] }, expiresInMs: Number(answer[3]) };
      }
      const ownership = this.#taken(termId, answer);
      this.#known.acquired(ownership, Number(answer[4]));
      this.#bereftTerm = ownership.lastSeq > 0 && Number(answer[5]) === 0 ? termId : '';
      return { kind: 'acquired', ownership };
    } catch (error) {
      return { kind: 'unavailable', message: messageOf(error) };
    }
  }

  async renew(ownership: Ownership, lastSeq: number): Promise<Renewal> {
    try {
      const hadJournal = ownership.termId === this.#bereftTerm ? 0 : 1;
      const [word, message] = await this.#fenced(RENEW, ownership, [lastSeq, this.leaseMs, hadJournal]);
      return word === 'renewed' ? { kind: 'renewed' } : { kind: 'lost', message };
    } catch (error) {
      return { kind: 'unavailable', message: messageOf(error) };
    }
  }

  async release(ownership: Ownership): Promise<void> {
    try {
      await this.#fenced(RELEASE, ownership, []);
    } catch {
      // It ends by itself.
    }
  }

  async commit(ownership: Ownership, batch: JournalBatch): Promise<CommitOutcome> {
    const { firstSeq, lastSeq, entries } = batch;
    // Rejects, on purpose: invariant 4.
    const { codec, crc, body } = encodeEntries(entries, false);
    const chain = chainAfter(this.#chain, body);
    try {
      const [word, at] = await this.#fenced(COMMIT, ownership, [firstSeq - 1, firstSeq, lastSeq, codec, crc, chain, asBuffer(body)]);
      if (word === 'fenced') return { kind: 'fenced' };
      if (word === 'gap') {
        return { kind: 'aborted', isTransient: false, message: `batch starts at ${firstSeq}, the journal ends at ${at}` };
      }
      // As in `Known`: the answer of a term that does not count any more says nothing of the journal of the one that does.
      if (ownership.termId === this.#known.termId) this.#chain = chain;
      this.#known.committed(ownership.termId, lastSeq);
      return { kind: 'durable' };
    } catch (error) {
      return outcomeOf(error);
    }
  }

  async reclaim(ownership: Ownership): Promise<Reclaim> {
    const termId = this.#asked.get(ownership.termId) ?? randomUUID();
    this.#asked.set(ownership.termId, termId);
    try {
      const answer = await this.#fenced(RECLAIM, ownership, [termId, this.leaseMs]);
      this.#asked.delete(ownership.termId);
      if (answer[0] === 'fenced') return { kind: 'lost', message: answer[1] };
      const reclaimed = this.#taken(termId, answer);
      this.#known.reclaimed(ownership.termId, reclaimed);
      return { kind: 'reclaimed', ownership: reclaimed };
    } catch (error) {
      return { kind: 'unavailable', message: messageOf(error) };
    }
  }

  load(): AsyncIterable<LoadedPart> {
    return loadParts(this.#bulk, this.#keys, this.#reader());
  }

  async checkpoint(ownership: Ownership, { number, entries, finish }: CheckpointSlice): Promise<Kept> {
    const { seq, slice } = this.#known;
    const args: Argument[] = [this.#known.sliceOf(number), slice, Math.max(seq, finish?.seq ?? 0), entries.length];
    // Rejects, on purpose: invariant 4.
    for (const entry of entries) args.push(entry.workflowId, pack(encodeEntries([entry], false)));
    // Well-formed, as UTF-8 makes what they were written under.
    if (finish !== null) args.push(finish.seq, finish.seq + 1, JSON.stringify(finish.ended.map((id) => id.toWellFormed())));
    try {
      const [word] = await this.#bulk.run(CHECKPOINT, this.#shardKeys(), [ownership.epoch, ownership.termId, ...args]).then(words);
      if (word !== 'kept') return { kind: 'fenced' };
      this.#known.kept(ownership.termId, number);
      return { kind: 'kept' };
    } catch (error) {
      return { kind: 'unavailable', message: messageOf(error) };
    }
  }

  putDefinition(definition: StoredDefinition): Promise<StoredDefinition> {
    return this.#definitions.put(definition);
  }

  definitions(): AsyncIterable<StoredDefinition> {
    return this.#definitions.all();
  }

  definitionsByHash(hashes: readonly string[]): Promise<ReadonlyMap<string, StoredDefinition>> {
    return this.#definitions.byHash(hashes);
  }

  health(): readonly TierHealth[] {
    return [redisHealth('redis', this.#hot.trouble ?? this.#bulk.trouble, this.#hot.facts)];
  }

  async close(): Promise<void> {
    await Promise.all([this.#hot.close(), this.#bulk.close()]);
  }

  #reader(): EntryReader {
    return new EntryReader({ definitions: (hashes) => this.definitionsByHash(hashes), payloads: null });
  }

  #shardKeys(): string[] {
    return [this.#keys.shard, this.#keys.journal, this.#keys.checkpoint];
  }

  #fenced(script: Parameters<RedisConnection['run']>[0], { epoch, termId }: Ownership, args: readonly Argument[]): Promise<string[]> {
    return this.#hot.run(script, this.#shardKeys(), [epoch, termId, ...args]).then(words);
  }

  #taken(termId: string, [, epoch, lastSeq, chain]: readonly string[]): Ownership {
    this.#chain = Number(chain);
    return { epoch: Number(epoch), termId, lastSeq: Number(lastSeq) };
  }
}

function words(answer: unknown): string[] {
  return answer as string[];
}

function outcomeOf(error: unknown): CommitOutcome {
  const message = messageOf(error);
  if (!(error instanceof RedisFailure) || error.kind === 'unknown') return { kind: 'unknown', message };
  return { kind: 'aborted', isTransient: error.kind !== 'rejected', message };
}
