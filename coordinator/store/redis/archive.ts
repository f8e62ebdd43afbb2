/**
 * Workflows that have ended, in Redis, for as long as they are retained; and which are open.
 *
 * Invariants
 * 1. A workflow is replaced only by a later state of itself, and one that has ended never by one that has not: the script compares.
 * 2. What has ended goes by itself when its retention has passed, and with it its idempotency key; its places in the sorted sets are cleared by
 *    the writes after that. An idempotency key does not go while its workflow is open.
 * 3. The owner writes, and only where everything is there that it knows of: what rows rest on may be lost. See `Known`.
 * 4. No read brings more than a step: a list looks at ids in pages, and filters by small facts before it reads histories.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { type EntryReader, encodeEntries } from '../journal.ts';
import type { Known } from '../known.ts';
import { ReaderPool } from '../reader-pool.ts';
import type { Archive, ArchivedWorkflow, JournalEntry, Kept, KeyOwner, ListFilter } from '../store.ts';
import { StoreUnavailable } from '../store.ts';
import { type Argument, messageOf, type RedisConnection, readError, script } from './connection.ts';
import type { Keys } from './keys.ts';
import { pack, unpack } from './record.ts';

/**
 * KEYS: open, ended, expiry, shard, then for each workflow its own key and its idempotency key. ARGV: retention in ms, term of the owner, the last event
 * that it knows to be there, then for each workflow id, `state.seq`, whether it has ended, facts, record, whether it has an idempotency key, owner of that key.
 */
const WRITE = script(`
local shard = redis.call('HMGET', KEYS[4], 'term', 'last_seq')
if shard[1] ~= ARGV[2] or tonumber(shard[2]) < tonumber(ARGV[3]) then return 'fenced' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function own(key, id, value, isForgotten)
  local owner = redis.call('GET', key)
  -- Ids grow: a key that was free again belongs to the later workflow. The value is JSON; its first text is the id.
  if owner and (string.match(owner, '^%["(.-)",') or '') > id then return end
  if isForgotten then redis.call('SET', key, value, 'PX', ARGV[1]) else redis.call('SET', key, value) end
end
local at = 4
for key = 5, #KEYS, 2 do
  local id, seq, ended, facts, record, hasKey, owner = unpack(ARGV, at, at + 6)
  at = at + 7
  local kept = redis.call('HGET', KEYS[key], 'seq')
  if ended == '1' then
    if not kept or tonumber(kept) <= tonumber(seq) then
      redis.call('HSET', KEYS[key], 'seq', seq, 'facts', facts, 'record', record)
      redis.call('PEXPIRE', KEYS[key], ARGV[1])
      redis.call('ZADD', KEYS[2], 0, id)
      redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[1]), id)
      redis.call('HDEL', KEYS[1], id)
      if hasKey == '1' then own(KEYS[key + 1], id, owner, true) end
    end
  elseif not kept then
    local open = redis.call('HGET', KEYS[1], id)
    if not open or tonumber(open) <= tonumber(seq) then
      redis.call('HSET', KEYS[1], id, seq)
      if hasKey == '1' then own(KEYS[key + 1], id, owner, false) end
    end
  end
end
local gone = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now), 'LIMIT', 0, 500)
if #gone > 0 then
  redis.call('ZREM', KEYS[2], unpack(gone))
  redis.call('ZREM', KEYS[3], unpack(gone))
end
return 'kept'
`);

/** Workflows, and bytes, of one script: others wait for no longer than it takes. */
const WRITE_WORKFLOWS = 50;
const WRITE_BYTES = 256 * 1024;
/** Ids that a list looks at, and histories that it reads, at once. */
const SCAN_IDS = 200;
const READ_HISTORIES = 16;
const READ_KEYS = 500;

/** What a list filters by: status, name, submittedAt, labels. */
type Facts = readonly [status: string, name: string, submittedAt: number, labels: Readonly<Record<string, string>>];

export class RedisArchive implements Archive {
  readonly #redis: RedisConnection;
  readonly #keys: Keys;
  readonly #known: Known;
  readonly #retentionMs: number;
  readonly #readers: ReaderPool;

  constructor(redis: RedisConnection, keys: Keys, known: Known, retentionMs: number, makeReader: () => EntryReader) {
    this.#redis = redis;
    this.#keys = keys;
    this.#known = known;
    this.#retentionMs = retentionMs;
    this.#readers = new ReaderPool(makeReader);
  }

  async write(workflows: readonly ArchivedWorkflow[]): Promise<Kept> {
    const { open, ended, expiry, shard } = this.#keys;
    const { termId, seq } = this.#known;
    let keys: string[] = [];
    let args: Argument[] = [];
    let bytes = 0;
    const send = async (): Promise<boolean> => {
      const answer = await this.#redis.run(WRITE, [open, ended, expiry, shard, ...keys], [this.#retentionMs, termId, seq, ...args]);
      [keys, args, bytes] = [[], [], 0];
      return answer === 'kept';
    };
    try {
      for (const workflow of workflows) {
        const { state } = workflow;
        const record = state.endedAt > 0 ? recordOf(workflow) : '';
        const facts = JSON.stringify([state.status, state.graph.name, state.submittedAt, state.labels] satisfies Facts);
        const key = state.idempotencyKey;
        keys.push(this.#keys.workflow(state.id), this.#keys.idempotency(key));
        args.push(state.id, state.seq, state.endedAt > 0 ? 1 : 0, facts, record);
        args.push(key === '' ? 0 : 1, JSON.stringify([state.id, state.requestHash]));
        bytes += record.length;
        if ((keys.length >= 2 * WRITE_WORKFLOWS || bytes >= WRITE_BYTES) && !(await send())) return { kind: 'fenced' };
      }
      if (keys.length > 0 && !(await send())) return { kind: 'fenced' };
      return { kind: 'kept' };
    } catch (error) {
      return { kind: 'unavailable', message: messageOf(error) };
    }
  }

  async get(workflowId: string): Promise<JournalEntry | null> {
    return (await this.#histories([workflowId]))[0] ?? null;
  }

  async byKeys(keys: readonly string[]): Promise<ReadonlyMap<string, KeyOwner>> {
    const asked = keys.filter((key) => key !== '');
    const found = new Map<string, KeyOwner>();
    for (let at = 0; at < asked.length; at += READ_KEYS) {
      const some = asked.slice(at, at + READ_KEYS);
      const owners = await read(this.#redis.call('MGET', ...some.map((key) => this.#keys.idempotency(key))));
      for (const [index, owner] of (owners as (string | null)[]).entries()) {
        if (owner === null) continue;
        const [workflowId, requestHash] = JSON.parse(owner) as [string, string];
        found.set(some[index], { workflowId, requestHash });
      }
    }
    return found;
  }

  async list(filter: ListFilter): Promise<readonly JournalEntry[]> {
    const deadline = performance.now() + limits.storeCallMs;
    const found: JournalEntry[] = [];
    let before = filter.beforeId;
    while (found.length < filter.limit) {
      if (performance.now() > deadline)
        throw new StoreUnavailable(`the list was not found within ${limits.storeCallMs} ms: filter for less`);
      const ids = await this.#idsBefore(before);
      const matching = await this.#matching(ids, filter);
      for (let at = 0; at < matching.length && found.length < filter.limit; ) {
        const some = matching.slice(at, at + Math.min(READ_HISTORIES, filter.limit - found.length));
        at += some.length;
        // One may go between the two reads.
        for (const entry of await this.#histories(some)) if (entry !== null) found.push(entry);
      }
      if (ids.length < SCAN_IDS) break;
      before = ids.at(-1)!;
    }
    return found;
  }

  async openSeqs(): Promise<ReadonlyMap<string, number>> {
    const found = new Map<string, number>();
    let cursor = '0';
    do {
      const answer = await read(this.#redis.call('HSCAN', this.#keys.open, cursor, 'COUNT', 1_000));
      const [next, flat] = answer as [string, string[]];
      for (let at = 0; at < flat.length; at += 2) found.set(flat[at], Number(flat[at + 1]));
      cursor = next;
    } while (cursor !== '0');
    return found;
  }

  #idsBefore(before: string): Promise<string[]> {
    const top = before === '' ? '+' : `(${before}`;
    return read(this.#redis.call('ZREVRANGEBYLEX', this.#keys.ended, top, '-', 'LIMIT', 0, SCAN_IDS)) as Promise<string[]>;
  }

  async #matching(ids: readonly string[], filter: ListFilter): Promise<string[]> {
    if (ids.length === 0) return [];
    const commands = ids.map((id) => ['HGET', this.#keys.workflow(id), 'facts'] as const);
    const facts = (await read(this.#redis.callAll(commands, 'text'))) as (string | null)[];
    return ids.filter((_, index) => facts[index] !== null && matches(JSON.parse(facts[index]) as Facts, filter));
  }

  async #histories(ids: readonly string[]): Promise<(JournalEntry | null)[]> {
    const commands = ids.map((id) => ['HGET', this.#keys.workflow(id), 'record'] as const);
    const records = (await read(this.#redis.callAll(commands, 'bytes'))) as (Buffer | null)[];
    const entries: (JournalEntry | null)[] = [];
    for (const [index, record] of records.entries()) {
      const what = `workflow ${ids[index]}`;
      entries.push(record === null ? null : ((await this.#readers.reader().read(unpack(record, what), what))[0] ?? null));
    }
    return entries;
  }
}

function recordOf({ state, events }: ArchivedWorkflow): Buffer {
  return pack(encodeEntries([{ workflowId: state.id, firstEventSeq: 1, events }], false));
}

function matches([status, name, submittedAt, labels]: Facts, filter: ListFilter): boolean {
  if (filter.statuses.size > 0 && !filter.statuses.has(status)) return false;
  if (filter.name !== '' && filter.name !== name) return false;
  if (submittedAt < filter.submittedAfter || submittedAt >= filter.submittedBefore) return false;
  for (const [key, value] of filter.labels) if (!Object.hasOwn(labels, key) || labels[key] !== value) return false;
  return true;
}

function read<T>(answer: Promise<T>): Promise<T> {
  return answer.catch((error: unknown) => {
    throw readError(error);
  });
}
