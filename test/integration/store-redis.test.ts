/** Redis alone as the store of a shard: the contract of stores, and what it forgets. */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import pino from 'pino';
import t, { type Test } from 'tap';
import { keysOf } from '../../coordinator/store/redis/keys.ts';
import { openRedisStore, type RedisStore } from '../../coordinator/store/redis/store.ts';
import type { Store } from '../../coordinator/store/store.ts';
import { openStore } from '../../coordinator/stores.ts';
import { redis } from '../services/services.ts';
import { blueWorkflow, idOf } from '../store-contract/archived.ts';
import { another, batchOf, checkpointed, commitAll, loaded, storeContract, take } from '../store-contract/contract.ts';
import { definitionOf } from '../store-contract/events.ts';

const quiet = { info: () => {}, warn: () => {} };

const server = await redis(t);

t.test('the contract', { skip: server.skip }, async (t) => {
  storeContract(t, 'redis', async () => {
    const prefix = `test-${randomUUID()}`;
    const stores: Store[] = [];
    return {
      isShared: true,
      open: async () => {
        const store = await openRedisStore({ url: server.url, log: quiet, leaseMs: 300, prefix });
        stores.push(store);
        return store;
      },
      forget: async (afterSeq) => {
        const admin = new Redis(server.url);
        const journal = `${prefix}:{0}:journal`;
        for (const [id] of await admin.xrange(journal, `(${afterSeq}`, '+')) await admin.xdel(journal, id);
        admin.disconnect();
      },
      dispose: async () => {
        await Promise.all(stores.map((store) => store.close()));
        const admin = new Redis(server.url);
        for await (const keys of admin.scanStream({ match: `${prefix}*`, count: 500 })) if (keys.length > 0) await admin.unlink(...keys);
        admin.disconnect();
      },
    };
  });
});

async function forgetful(t: Test): Promise<{ store: RedisStore; redis: Redis; prefix: string; keys: () => Promise<string[]> }> {
  const prefix = `test-${randomUUID()}`;
  const store = await openRedisStore({ url: server.url, log: quiet, retentionMs: 200, prefix });
  const redis = new Redis(server.url);
  t.teardown(async () => {
    redis.disconnect();
    await store.close();
  });
  await store.putDefinition(definitionOf('blue').stored);
  await take(store);
  const keys = async () => (await redis.keys(`${prefix}*`)).map((key) => key.slice(prefix.length + ':{0}:'.length)).sort();
  return { store, redis, prefix, keys };
}

const everything = {
  statuses: new Set<string>(),
  name: '',
  submittedAfter: 0,
  submittedBefore: Number.POSITIVE_INFINITY,
  labels: new Map<string, string>(),
  beforeId: '',
  limit: 1_000,
};

t.test(
  'what has ended goes when its retention has passed, with all that belongs to it; what is open stays',
  { skip: server.skip },
  async (t) => {
    const { store, keys } = await forgetful(t);
    const { archive } = store;
    await archive.write([...Array.from({ length: 600 }, (_, index) => blueWorkflow(index, 7)), blueWorkflow(900, 3)]);
    while ((await archive.get(idOf(599))) !== null) await pause(10);
    t.same(await archive.list(everything), []);
    t.same([...(await archive.byKeys(['key 599', 'key 900'])).keys()], ['key 900'], 'an open one keeps its idempotency key');
    t.same(await archive.openSeqs(), new Map([[idOf(900), 3]]));
    await archive.write([blueWorkflow(900, 7)]);
    await archive.write([blueWorkflow(901, 7)]);
    while ((await archive.get(idOf(901))) !== null) await pause(10);
    await archive.write([]);
    await archive.write([blueWorkflow(902, 2)]);
    t.same(await keys(), ['definitions', 'idempotency:"key 902"', 'open', 'registered', 'shard'], 'nothing of them is left');
  },
);

t.test('two installations on one server do not see each other', { skip: server.skip }, async (t) => {
  const log = pino({ level: 'silent' });
  const prefixes = [`test-${randomUUID()}`, `test-${randomUUID()}:b`];
  const open = (redisPrefix: string) =>
    openStore({ databaseUrl: null, redisUrl: server.url, redisPrefix, dataDir: null, retentionDays: 1 }, log);
  const [mine, theirs] = await Promise.all(prefixes.map(open));
  const redis = new Redis(server.url);
  t.teardown(async () => {
    redis.disconnect();
    await Promise.all([mine.close(), theirs.close()]);
  });
  const owner = await take(mine);
  await mine.putDefinition(definitionOf('blue').stored);
  t.same(await commitAll(mine, owner, [batchOf(1), batchOf(2)]), ['durable', 'durable']);
  const workflow = blueWorkflow(1, 7);
  t.same(await mine.archive!.write([workflow]), { kind: 'kept' });
  const entries = [{ workflowId: workflow.state.id, firstEventSeq: 1, events: workflow.events }];
  t.same(await mine.checkpoint(owner, { number: 1, entries, finish: null }), { kind: 'kept' });
  const other = await theirs.acquire(another);
  t.match(other, { kind: 'acquired', ownership: { epoch: 1, lastSeq: 0 } }, 'nobody has theirs');
  t.same([await loaded(theirs), await checkpointed(theirs)], [[], []]);
  t.same([await theirs.archive!.get(idOf(1)), await theirs.archive!.list(everything)], [null, []]);
  t.equal((await theirs.archive!.byKeys(['key 1'])).size, 0);
  t.equal((await theirs.definitionsByHash([definitionOf('blue').stored.hash])).size, 0);
  if (other.kind === 'acquired') t.same(await commitAll(theirs, other.ownership, [batchOf(1)]), ['durable']);
  t.same(await mine.renew(owner, 2), { kind: 'renewed' });
  t.same([(await loaded(mine)).length, (await checkpointed(mine)).length], [2, 1]);
  t.ok((await redis.keys(`${prefixes[0]}:{0}:*`)).length > 5);
});

t.test('an idempotency key that is free again belongs to the later workflow', { skip: server.skip }, async (t) => {
  const { store } = await forgetful(t);
  const { archive } = store;
  const withKey = (number: number) => {
    const { state, events } = blueWorkflow(number, 7);
    return { state: { ...state, idempotencyKey: 'order' }, events };
  };
  await archive.write([withKey(2)]);
  await archive.write([withKey(1)]);
  t.match((await archive.byKeys(['order'])).get('order'), { workflowId: idOf(2) });
  await archive.write([withKey(3)]);
  t.match((await archive.byKeys(['order'])).get('order'), { workflowId: idOf(3) });
});

t.test('a round that drops 200 000 workflows is one script that holds nobody up for long', { skip: server.skip }, async (t) => {
  const { store, redis, prefix } = await forgetful(t);
  const ownership = await take(store);
  await commitAll(store, ownership, [batchOf(1)]);
  const { checkpoint, shard } = keysOf(prefix);
  const ids = Array.from({ length: 200_000 }, (_, index) => idOf(index));
  for (let at = 0; at < ids.length; at += 10_000) {
    await redis.hset(checkpoint, Object.fromEntries(ids.slice(at, at + 10_000).map((id) => [id, 'a record'])));
  }
  await redis.hset(shard, 'records', ids.length);
  const odd = ['"', '\\', "it's", '\u0000', '\ud800', '[]', '\r\n', '漢字', '🙂', 'ü"\\u00fc'];
  const entries = odd.map((workflowId) => ({ workflowId, firstEventSeq: 1, events: [{ kind: 'started', at: 1 } as const] }));
  t.same(await store.checkpoint(ownership, { number: 1, entries, finish: { seq: 1, ended: [] } }), { kind: 'kept' });
  t.equal(await redis.hlen(checkpoint), ids.length + 10);
  await redis.call('SLOWLOG', 'RESET');
  const finish = { seq: 1, ended: [...ids.slice(1), ...odd] };
  t.same(await store.checkpoint(ownership, { number: 2, entries: [], finish }), { kind: 'kept' });
  t.same([await redis.hlen(checkpoint), await redis.hexists(checkpoint, ids[0])], [1, 1]);
  const slow = (await redis.slowlog('GET', 10)) as [number, number, number, string[]][];
  const longestMs = Math.max(0, ...slow.map(([, , us]) => us / 1_000));
  t.ok(longestMs < 2_000, `${longestMs} ms`);
});

t.test('what cannot be encoded rejects, and leaves nothing behind', { skip: server.skip }, async (t) => {
  const { store } = await forgetful(t);
  const owner = await take(store);
  const none = { encoding: 'json', data: null as unknown as Uint8Array };
  const entries = [
    ...batchOf(1).entries,
    { workflowId: 'wf', firstEventSeq: 1, events: [{ kind: 'jobCheckpointed', at: 1, job: 0, checkpoint: none } as const] },
  ];
  await t.rejects(store.commit(owner, { firstSeq: 1, lastSeq: 2, entries }), TypeError);
  await t.rejects(store.checkpoint(owner, { number: 1, entries, finish: { seq: 0, ended: [] } }), TypeError);
  t.same([await loaded(store), await checkpointed(store)], [[], []]);
  t.same(await commitAll(store, owner, [batchOf(1), batchOf(2)]), ['durable', 'durable']);
  t.same(await store.checkpoint(owner, { number: 2, entries: batchOf(1).entries, finish: { seq: 1, ended: [] } }), { kind: 'kept' });
  t.same([(await loaded(store)).length, (await checkpointed(store)).length], [1, 1], 'and what can be is taken after it');
});

t.test('text that is no text breaks nothing', { skip: server.skip }, async (t) => {
  const { store } = await forgetful(t);
  const odd = ['\u0000', '\ud800', '\udc00x', '"', '{', '\r\n', '漢字'];
  const workflows = odd.map((key, index) => {
    const { state, events } = blueWorkflow(index, 7);
    return { state: { ...state, idempotencyKey: key, labels: { [key]: key }, requestHash: key }, events };
  });
  for (let times = 0; times < 2; times++) t.same(await store.archive.write(workflows), { kind: 'kept' });
  const found = await store.archive.byKeys(odd);
  t.same(
    odd.map((key) => found.get(key)),
    odd.map((key, index) => ({ workflowId: idOf(index), requestHash: key })),
  );
  for (const [index, key] of odd.entries()) {
    const [entry, ...more] = await store.archive.list({ ...everything, labels: new Map([[key, key]]) });
    t.same([entry.workflowId, more.length], [idOf(index), 0]);
  }
});
