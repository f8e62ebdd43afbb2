/**
 * Redis in front of a durable store: open and just ended workflows, a feed of changes, who is there. For speed alone: losing all of it loses no fact.
 *
 * Invariants
 * 1. No call rejects for what Redis does, and each ends within `liveViewCallMs`. What does not get through is skipped, never queued: one `show` is under way at a time.
 * 2. What is shown of a workflow is replaced only by a higher (epoch, seq), and an owner whose epoch is not the highest shows nothing: the script compares.
 * 3. Every value goes by itself.
 * 4. After some failures in a row it is not asked for a while, so that a Redis that is away or frozen costs nothing; it comes back by itself.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { encodeEntries } from '../journal.ts';
import type { ArchivedWorkflow, Kept, LiveView, Ownership, Presence, TierHealth } from '../store.ts';
import { Breaker } from './breaker.ts';
import { type Argument, messageOf, RedisConnection, type StoreLog, script } from './connection.ts';
import { HistoryPace } from './history-pace.ts';
import { type Keys, keysOf, SHARD } from './keys.ts';
import { type Encoded, pack, unpack } from './record.ts';

/**
 * KEYS: highest epoch, then a key for each workflow. ARGV: epoch, shard, its time to live in ms, channel, message for it (empty: none yet), then for each
 * workflow `state.seq`, status, summary, time to live in ms, record (empty: the one before stays).
 */
const SHOW = script(`
local epoch = tonumber(ARGV[1])
local highest = redis.call('GET', KEYS[1])
if highest and tonumber(highest) > epoch then return 'fenced' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
local at = 6
for key = 2, #KEYS do
  local seq, status, summary, ttl, record = unpack(ARGV, at, at + 4)
  at = at + 5
  local shown = redis.call('HMGET', KEYS[key], 'epoch', 'seq')
  local before = shown[1] and tonumber(shown[1])
  if not before or before < epoch or (before == epoch and tonumber(shown[2]) <= tonumber(seq)) then
    redis.call('HSET', KEYS[key], 'shard', ARGV[2], 'epoch', ARGV[1], 'seq', seq, 'status', status, 'summary', summary)
    if record ~= '' then
      redis.call('HSET', KEYS[key], 'record', record, 'record_seq', seq)
    elseif before ~= epoch then
      redis.call('HDEL', KEYS[key], 'record', 'record_seq')
    end
    redis.call('PEXPIRE', KEYS[key], ttl)
  end
end
if ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return 'kept'
`);

/** KEYS: presence, coordinators. ARGV: coordinator, what it says, time to live in ms. */
const ANNOUNCE = script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 'kept'
`);

/** Workflows, and bytes, of one script: others wait for no longer than it takes. */
const SHOW_WORKFLOWS = 100;
const SHOW_BYTES = 256 * 1024;
/** Reads under way, from which on the next ones go elsewhere. */
const READS = 200;

/** How a live view is opened. */
export interface LiveViewOptions {
  /** `redis://` or `rediss://`, with user, password and number of the database. */
  readonly url: string;
  readonly log: StoreLog;
  /** What the names of all keys begin with: several installations may share a server. */
  readonly prefix: string;
}

/** Opens the view; waits for the server a little, and goes on without it when it does not answer. Throws when the address is none. */
export async function openLiveView({ url, log, prefix }: LiveViewOptions): Promise<RedisLiveView> {
  const redis = new RedisConnection(url, 'wf-live-view', limits.liveViewCallMs, log);
  await redis.ready(limits.liveViewCallMs);
  return new RedisLiveView(redis, keysOf(prefix));
}

interface Chunk {
  readonly keys: string[];
  readonly args: Argument[];
  bytes: number;
}

export class RedisLiveView implements LiveView {
  readonly #redis: RedisConnection;
  readonly #keys: Keys;
  readonly #breaker = new Breaker({
    failures: limits.liveViewFailures,
    pauseMinMs: limits.liveViewPauseMinMs,
    pauseMaxMs: limits.liveViewPauseMaxMs,
    now: () => performance.now(),
    random: Math.random,
  });
  readonly #pace = new HistoryPace(() => performance.now());
  #isShowing = false;
  /** What was shown last was refused: a later owner shows. */
  #isFenced = false;
  #reads = 0;

  constructor(redis: RedisConnection, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  async show(ownership: Ownership, workflows: readonly ArchivedWorkflow[]): Promise<Kept> {
    if (workflows.length === 0) return { kind: 'kept' };
    if (this.#isShowing) return { kind: 'unavailable', message: 'what was shown last is still under way' };
    this.#isShowing = true;
    try {
      return await this.#ask(async () => {
        const chunks = this.#chunks(workflows);
        const message = changesOf(ownership, workflows);
        const answers = await Promise.all(
          chunks.map(({ keys, args }, index) => {
            const told = index === chunks.length - 1 ? message : '';
            const head = [ownership.epoch, SHARD, limits.liveViewEndedTtlMs, this.#keys.changes, told];
            return this.#redis.run(SHOW, [this.#keys.liveEpoch, ...keys], [...head, ...args]);
          }),
        );
        this.#isFenced = answers.includes('fenced');
        return this.#isFenced ? ({ kind: 'fenced' } as const) : ({ kind: 'kept' } as const);
      });
    } finally {
      this.#isShowing = false;
    }
  }

  async announce(presence: Presence): Promise<Kept> {
    const { coordinatorId } = presence.coordinator;
    return await this.#ask(async () => {
      const keys = [this.#keys.presence(coordinatorId), this.#keys.coordinators];
      await this.#redis.run(ANNOUNCE, keys, [coordinatorId, JSON.stringify(presence), limits.presenceTtlMs]);
      return { kind: 'kept' } as const;
    });
  }

  /** The history of a workflow that has ended, when it is shown whole; null otherwise, and when there is no answer within `liveViewReadMs`. Rejects when it is damaged. */
  async get(workflowId: string): Promise<Encoded | null> {
    if (this.#reads >= READS) return null;
    this.#reads += 1;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, limits.liveViewReadMs, null);
    });
    const asked = this.#read(workflowId).finally(() => {
      this.#reads -= 1;
    });
    try {
      return await Promise.race([asked, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  health(): TierHealth {
    const name = 'redis (live view)';
    const trouble = this.#breaker.trouble;
    if (trouble === null && this.#isFenced) {
      const detail =
        'it shows a later owner of the shard, of this database or of another that used the same Redis: nothing of this one is shown';
      return { name, health: 'DEGRADED', detail };
    }
    if (trouble === null) return { name, health: 'OK', detail: 'connected' };
    const detail = `${trouble.message}, since ${new Date(trouble.since).toISOString()}; reads are slower, nothing is lost`;
    return { name, health: this.#breaker.isOpen ? 'DOWN' : 'DEGRADED', detail };
  }

  close(): Promise<void> {
    return this.#redis.close();
  }

  async #read(workflowId: string): Promise<Encoded | null> {
    let found: Buffer | null = null;
    await this.#ask(async () => {
      const key = this.#keys.live(workflowId);
      const fields = await this.#redis.callBuffer('HMGET', key, 'status', 'seq', 'record_seq');
      const [status, seq, recordSeq] = (fields as (Buffer | null)[]).map((field) => field?.toString() ?? '');
      const isWhole = (status === 'SUCCEEDED' || status === 'FAILED' || status === 'CANCELLED') && seq === recordSeq;
      if (isWhole) found = (await this.#redis.callBuffer('HGET', key, 'record')) as Buffer | null;
      return { kind: 'kept' } as const;
    });
    return found === null ? null : unpack(found, `what is shown of ${workflowId}`);
  }

  /** Makes a call unless the breaker is open, and tells it how that went. */
  async #ask(call: () => Promise<Kept>): Promise<Kept> {
    if (!this.#breaker.mayCall()) {
      return { kind: 'unavailable', message: `Redis is not asked for a while: ${this.#breaker.trouble?.message ?? ''}` };
    }
    try {
      const kept = await call();
      this.#breaker.succeeded();
      return kept;
    } catch (error) {
      const message = messageOf(error);
      this.#breaker.failed(message, Date.now());
      return { kind: 'unavailable', message };
    }
  }

  #chunks(workflows: readonly ArchivedWorkflow[]): Chunk[] {
    const chunks: Chunk[] = [];
    for (const workflow of workflows) {
      const { state } = workflow;
      const record = this.#recordOf(workflow);
      let chunk = chunks.at(-1);
      if (chunk === undefined || chunk.keys.length >= SHOW_WORKFLOWS || chunk.bytes >= SHOW_BYTES) {
        chunk = { keys: [], args: [], bytes: 0 };
        chunks.push(chunk);
      }
      const ttlMs = state.endedAt > 0 ? limits.liveViewEndedTtlMs : limits.liveViewOpenTtlMs;
      chunk.keys.push(this.#keys.live(state.id));
      chunk.args.push(state.seq, state.status, summaryOf(workflow), ttlMs, record);
      chunk.bytes += record.length;
    }
    return chunks;
  }

  #recordOf({ state, events }: ArchivedWorkflow): Buffer | '' {
    const hasEnded = state.endedAt > 0;
    if (!this.#pace.mayShow(state.id, events.length, hasEnded)) return '';
    const record = pack(encodeEntries([{ workflowId: state.id, firstEventSeq: 1, events }], false));
    return this.#pace.spend(state.id, record.length, hasEnded) ? record : '';
  }
}

function summaryOf({ state }: ArchivedWorkflow): string {
  const { id, status, submittedAt, startedAt, endedAt, openJobs, jobs, graph } = state;
  return JSON.stringify({ id, name: graph.name, status, submittedAt, startedAt, endedAt, jobs: jobs.length, openJobs });
}

/** A message of the feed. Who reads it must not go back: a workflow of a lower (epoch, seq) than one that was seen says nothing. */
function changesOf({ epoch }: Ownership, workflows: readonly ArchivedWorkflow[]): string {
  return JSON.stringify({ shard: SHARD, epoch, workflows: workflows.map(({ state: { id, status, seq } }) => ({ id, status, seq })) });
}
