/**
 * Redis in front of a durable store: what is shown, in which order, and that nothing but speed is lost when it is absent, frozen, emptied or of yesterday.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { limits } from '@workflow-orchestrator/proto/limits';
import { Redis } from 'ioredis';
import t, { type Test } from 'tap';
import { openLiveView, type RedisLiveView } from '../../coordinator/store/redis/live-view.ts';
import type { ArchivedWorkflow, JournalEntry, Ownership } from '../../coordinator/store/store.ts';
import { TieredStore } from '../../coordinator/store/tiered/tiered.ts';
import type { BreakableServer } from '../services/breakable.ts';
import { ownRedis } from '../services/redis-process.ts';
import { ArchivedJournal, ArchivedMemoryStore, blueWorkflow, idOf } from '../store-contract/archived.ts';
import { storeContract } from '../store-contract/contract.ts';
import { definitionOf, plain } from '../store-contract/events.ts';
import { startProxy } from '../stream-support/tcp-proxy.ts';

const strays: unknown[] = [];
process.on('uncaughtException', (error) => strays.push(error));
process.on('unhandledRejection', (error) => strays.push(error));

const log = { info: () => {}, warn: () => {} };
const found = await ownRedis(t, 'save');
const skip = 'skip' in found ? found.skip : false;
const server = found as BreakableServer;
const [old, next]: Ownership[] = [1, 2].map((epoch) => ({ epoch, termId: randomUUID(), lastSeq: 0 }));

async function openView(t: Test, url = server.url, prefix = 'wf'): Promise<RedisLiveView> {
  const view = await openLiveView({ url, log, prefix });
  t.teardown(() => view.close());
  return view;
}

async function admin(t: Test): Promise<Redis> {
  const redis = new Redis(server.url);
  redis.on('error', () => {});
  t.teardown(() => redis.disconnect());
  await redis.flushall();
  return redis;
}

/** A tiered store over one in memory that has an archive; what is behind it. */
async function tiered(t: Test, view: RedisLiveView): Promise<{ store: TieredStore; journal: ArchivedJournal }> {
  const journal = new ArchivedJournal();
  const store = new TieredStore(new ArchivedMemoryStore(journal), view);
  t.teardown(() => store.close());
  await store.putDefinition(definitionOf('blue').stored);
  return { store, journal };
}

function plainEntry(entry: JournalEntry | null): unknown {
  return entry === null ? null : plain([{ firstSeq: 1, lastSeq: 1, entries: [entry] }]);
}

function entryOf({ state, events }: ArchivedWorkflow): JournalEntry {
  return { workflowId: state.id, firstEventSeq: 1, events };
}

t.test('the contract', { skip }, async (t) => {
  storeContract(t, 'tiered', async () => {
    const journal = new ArchivedJournal();
    const prefix = `test-${randomUUID()}`;
    const stores: TieredStore[] = [];
    return {
      isShared: true,
      open: async () => {
        const view = await openLiveView({ url: server.url, log, prefix });
        stores.push(new TieredStore(new ArchivedMemoryStore(journal), view));
        return stores.at(-1)!;
      },
      forget: async (afterSeq) => {
        journal.batches = journal.batches.filter(({ lastSeq }) => lastSeq <= afterSeq);
      },
      dispose: async () => void (await Promise.all(stores.map((store) => store.close()))),
    };
  });
});

t.test('what has ended is read from the view, also while the store behind does not answer', { skip }, async (t) => {
  const redis = await admin(t);
  const { store, journal } = await tiered(t, await openView(t));
  const all = [blueWorkflow(1, 7), blueWorkflow(2, 4)];
  t.same(await store.liveView.show(old, all), { kind: 'kept' });
  journal.answers = false;
  t.same(plainEntry(await store.archive!.get(idOf(1))), plainEntry(entryOf(all[0])));
  await t.rejects(store.archive!.get(idOf(2)), /away/, 'an open one is not for the archive to answer from the view');
  t.equal(journal.gets, 0);
  t.match(await redis.hgetall(`wf:{0}:live:${idOf(2)}`), { shard: '0', epoch: '1', seq: '4', status: 'RUNNING' });
  const ttls = await Promise.all([1, 2].map((number) => redis.pttl(`wf:{0}:live:${idOf(number)}`)));
  t.ok(ttls[0] > 0 && ttls[0] <= limits.liveViewEndedTtlMs, 'soon gone');
  t.ok(ttls[1] > limits.liveViewEndedTtlMs && ttls[1] <= limits.liveViewOpenTtlMs);
  for (const key of await redis.keys('*')) t.ok((await redis.pttl(key)) > 0, `${key} goes by itself`);
});

t.test('no version goes back, whatever order they come in', { skip }, async (t) => {
  const redis = await admin(t);
  const view = await openView(t);
  const version = async () => await redis.hmget(`wf:{0}:live:${idOf(1)}`, 'epoch', 'seq');
  await view.show(old, [blueWorkflow(1, 4)]);
  await view.show(old, [blueWorkflow(1, 2)]);
  t.same(await version(), ['1', '4']);
  await view.show(next, [blueWorkflow(1, 7)]);
  t.same(await version(), ['2', '7']);
  t.same(await view.show(old, [blueWorkflow(1, 7), blueWorkflow(2, 7)]), { kind: 'fenced' }, 'whoever was replaced shows nothing');
  t.match(view.health(), { health: 'DEGRADED', detail: /later owner/ });
  t.same(await version(), ['2', '7']);
  t.equal(await redis.exists(`wf:{0}:live:${idOf(2)}`), 0);
  t.not(await view.get(idOf(1)), null);
  await view.show(next, [blueWorkflow(3, 1)]);
  t.match(view.health(), { health: 'OK' });
});

t.test('two coordinators at once: the versions that are seen only grow', { skip }, async (t) => {
  const redis = await admin(t);
  const views = [await openView(t), await openView(t)];
  const seen: [number, number][] = [];
  let isOver = false;
  const watching = (async () => {
    while (!isOver) {
      const [epoch, seq] = (await redis.hmget(`wf:{0}:live:${idOf(1)}`, 'epoch', 'seq')).map(Number);
      if (epoch > 0) seen.push([epoch, seq]);
    }
  })();
  const showing = views.map(async (view, index) => {
    for (let round = 0; round < 100; round++) {
      const epoch = 1 + 2 * Math.floor(round / 10) + index;
      await view.show({ ...old, epoch }, [blueWorkflow(1, 1 + (round % 7))]);
    }
  });
  await Promise.all(showing);
  isOver = true;
  await watching;
  const back = seen.filter(
    ([epoch, seq], at) => at > 0 && (epoch < seen[at - 1][0] || (epoch === seen[at - 1][0] && seq < seen[at - 1][1])),
  );
  t.same(back, []);
  t.ok(new Set(seen.map(([epoch]) => epoch)).size > 1);
});

t.test('the feed says what changed, one message a call', { skip }, async (t) => {
  const redis = await admin(t);
  const messages: unknown[] = [];
  await redis.subscribe('wf:changes');
  redis.on('message', (_, text: string) => messages.push(JSON.parse(text)));
  const view = await openView(t);
  await view.show(next, [blueWorkflow(1, 7), blueWorkflow(2, 2)]);
  await view.show(old, [blueWorkflow(3, 2)]);
  await view.show(
    next,
    Array.from({ length: 350 }, (_, index) => blueWorkflow(index + 10, 1)),
  );
  while (messages.length < 2) await pause(5);
  t.same(messages[0], {
    shard: 0,
    epoch: 2,
    workflows: [
      { id: idOf(1), status: 'SUCCEEDED', seq: 7 },
      { id: idOf(2), status: 'RUNNING', seq: 2 },
    ],
  });
  t.equal((messages[1] as { workflows: unknown[] }).workflows.length, 350);
});

t.test('who is there is said, and goes by itself', { skip }, async (t) => {
  const redis = await admin(t);
  const view = await openView(t);
  const presence = (coordinatorId: string) => ({
    coordinator: { coordinatorId, address: 'http://localhost:1', role: 'ACTIVE' as const },
    workers: [{ workerId: 'w1', slots: 4, busy: 1 }],
  });
  t.same(await view.announce(presence('c-1')), { kind: 'kept' });
  t.same(await view.announce(presence('c-2')), { kind: 'kept' });
  const said = async () => (await redis.mget('wf:{0}:presence:c-1', 'wf:{0}:presence:c-2')).map((text) => JSON.parse(text ?? 'null'));
  t.same(await said(), [presence('c-1'), presence('c-2')]);
  const [first, until, second] = await redis.zrange('wf:{0}:coordinators', '0', '-1', 'WITHSCORES');
  t.same([first, second], ['c-1', 'c-2'], 'by when they are believed no more');
  const leftMs = Number(until) - Number((await redis.time())[0]) * 1_000;
  t.ok(leftMs > 0 && leftMs <= limits.presenceTtlMs + 1_000, `${leftMs} ms`);
  t.ok((await redis.pttl('wf:{0}:presence:c-1')) <= limits.presenceTtlMs);
  await redis.pexpire('wf:{0}:presence:c-1', 1);
  while ((await redis.exists('wf:{0}:presence:c-1')) > 0) await pause(2);
  t.same(await said(), [null, presence('c-2')]);
  await redis.zadd('wf:{0}:coordinators', 1, 'c-1');
  t.same(await view.announce(presence('c-2')), { kind: 'kept' });
  t.same(await redis.zrange('wf:{0}:coordinators', '0', '-1'), ['c-2'], 'who is gone is no longer listed');
});

t.test('two installations on one server do not see each other', { skip }, async (t) => {
  const redis = await admin(t);
  const [mine, theirs] = [await openView(t, server.url, 'team-a'), await openView(t, server.url, 'team-b')];
  const messages: string[] = [];
  await redis.subscribe('team-b:changes');
  redis.on('message', (channel) => messages.push(channel));
  t.same(await mine.show(next, [blueWorkflow(1, 7)]), { kind: 'kept' });
  t.same(await mine.announce({ coordinator: { coordinatorId: 'c-1', address: '', role: 'ACTIVE' }, workers: [] }), { kind: 'kept' });
  t.equal(await theirs.get(idOf(1)), null);
  t.same(await theirs.show(old, [blueWorkflow(2, 7)]), { kind: 'kept' }, 'the epoch of another installation fences nobody');
  while (messages.length === 0) await pause(5);
  t.not(await mine.get(idOf(1)), null);
  t.equal(await mine.get(idOf(2)), null);
  await redis.unsubscribe();
  for (const key of await redis.keys('*')) t.match(key, /^team-[ab]:\{0\}:/);
  t.equal((await redis.keys('team-b:*presence*')).length, 0);
  t.equal(messages.length, 1);
});

t.test('large histories are not shown, and of an open one not each time', { skip }, async (t) => {
  const redis = await admin(t);
  const { store, journal } = await tiered(t, await openView(t));
  const large = blueWorkflow(1, 7, limits.liveViewWorkflowBytes);
  await store.archive!.write([large]);
  await store.liveView.show(old, [large, blueWorkflow(2, 4, 200_000)]);
  t.equal(await redis.hget(`wf:{0}:live:${idOf(1)}`, 'seq'), '7');
  t.equal(await redis.hexists(`wf:{0}:live:${idOf(1)}`, 'record'), 0);
  t.same(plainEntry(await store.archive!.get(idOf(1))), plainEntry(entryOf(large)), 'it is read from the archive');
  t.equal(journal.gets, 1);
  await store.liveView.show(old, [blueWorkflow(2, 5, 200_000)]);
  t.same(await redis.hmget(`wf:{0}:live:${idOf(2)}`, 'seq', 'record_seq'), ['5', '4']);
  await store.liveView.show(old, [blueWorkflow(2, 7, 200_000)]);
  t.same(await redis.hmget(`wf:{0}:live:${idOf(2)}`, 'seq', 'record_seq'), ['7', '7'], 'its end is');
});

/** Shows and reads workflows until it is told to stop; each read must be as good as one of the archive alone. */
async function useIt(t: Test, store: TieredStore, isOver: () => boolean): Promise<{ shown: Map<string, number>; longestMs: number }> {
  const shown = new Map<string, number>();
  let longestMs = 0;
  for (let number = 1; !isOver(); number++) {
    for (const events of [2, 7]) {
      const workflow = blueWorkflow(number, events);
      await store.archive!.write([workflow]);
      const { kind } = await store.liveView.show(old, [workflow]);
      shown.set(kind, (shown.get(kind) ?? 0) + 1);
    }
    const asked = performance.now();
    const [entry, none] = await Promise.all([store.archive!.get(idOf(number)), store.archive!.get(idOf(number + 1))]);
    longestMs = Math.max(longestMs, performance.now() - asked);
    if (entry?.events.length !== 7 || none !== null) t.fail(`workflow ${number}: ${entry?.events.length}`);
    await pause(2);
  }
  return { shown, longestMs };
}

t.test('absent: reads fall through, health says so, and it comes back by itself', { skip }, async (t) => {
  await server.stop();
  const { store } = await tiered(t, await openView(t));
  let isOver = false;
  const using = useIt(t, store, () => isOver);
  const view = () => store.health().find(({ name }) => name.startsWith('redis'))!;
  while (!view().detail.includes('ECONNREFUSED')) await pause(10);
  t.equal(view().health, 'DEGRADED', 'never down for the whole');
  t.match(view().detail, /since .*nothing is lost/);
  await server.start();
  while (view().health !== 'OK') await pause(20);
  isOver = true;
  const { shown } = await using;
  t.ok(shown.get('kept')! > 0 && shown.get('unavailable')! > 0);
});

t.test('frozen: a few calls wait for it, then none', { skip }, async (t) => {
  await admin(t);
  const { store } = await tiered(t, await openView(t));
  let isOver = false;
  const using = useIt(t, store, () => isOver);
  await pause(100);
  server.suspend();
  const view = () => store.health().find(({ name }) => name.startsWith('redis'))!;
  while (view().health === 'OK') await pause(10);
  const start = performance.now();
  let skipped = 0;
  while (performance.now() - start < 1_500) {
    const { kind } = await store.liveView.show(old, [blueWorkflow(1, 7)]);
    if (kind === 'unavailable') skipped += 1;
    await pause(1);
  }
  t.ok(skipped > 20, `${skipped} calls ended at once`);
  server.resume();
  while (view().health !== 'OK') await pause(20);
  isOver = true;
  const { shown } = await using;
  t.ok(shown.get('kept')! > 0);
});

t.test('emptied every 50 ms, and cut off at times', { skip }, async (t) => {
  const redis = await admin(t);
  const proxy = await startProxy(server.port);
  t.teardown(() => proxy.close());
  const { store } = await tiered(t, await openView(t, `redis://127.0.0.1:${proxy.port}`));
  let isOver = false;
  const using = useIt(t, store, () => isOver);
  for (let round = 0; round < 40; round++) {
    await pause(50);
    await redis.flushall();
    if (round % 10 === 9) {
      proxy.cut();
      proxy.mend();
    }
  }
  isOver = true;
  const { shown } = await using;
  t.ok(shown.get('kept')! > 10);
});

t.test('restored from an old copy, or damaged: a read gives what is true', { skip }, async (t) => {
  const redis = await admin(t);
  const { store, journal } = await tiered(t, await openView(t));
  const workflow = blueWorkflow(1, 7);
  await store.liveView.show(old, [blueWorkflow(1, 4)]);
  const keys = await redis.keys('*');
  const copies = await Promise.all(keys.map(async (key) => [key, await redis.dumpBuffer(key)] as const));
  await store.archive!.write([workflow]);
  await store.liveView.show(next, [workflow]);
  for (const [key, copy] of copies) await redis.restore(key, 60_000, copy!, 'REPLACE');
  t.same(plainEntry(await store.archive!.get(idOf(1))), plainEntry(entryOf(workflow)));
  t.equal(journal.gets, 1);
  await store.liveView.show(next, [workflow]);
  t.equal(await redis.hget(`wf:{0}:live:${idOf(1)}`, 'seq'), '7', 'and it is shown anew');
  for (const damage of ['x', '12345678x', Buffer.alloc(20)]) {
    await redis.hset(`wf:{0}:live:${idOf(1)}`, 'record', damage);
    t.same(plainEntry(await store.archive!.get(idOf(1))), plainEntry(entryOf(workflow)));
  }
  await redis.set(`wf:{0}:live:${idOf(1)}`, 'no hash');
  t.same(plainEntry(await store.archive!.get(idOf(1))), plainEntry(entryOf(workflow)));
});

t.test('one call is under way at a time: the next is skipped', { skip }, async (t) => {
  await admin(t);
  const view = await openView(t);
  const both = await Promise.all([view.show(old, [blueWorkflow(1, 7)]), view.show(old, [blueWorkflow(2, 7)])]);
  t.match(both, [{ kind: 'kept' }, { kind: 'unavailable', message: /under way/ }]);
  t.same(await view.show(old, []), { kind: 'kept' });
});

t.test('nothing was thrown into the event loop', async (t) => {
  t.same(strays, []);
});
