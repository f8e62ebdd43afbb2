/**
 * Redis alone when things break: two owners at once, answers that are lost, a server that is killed, frozen, emptied, full or no longer the master.
 * What was acknowledged is there exactly once; whoever lost the journal is told; nothing is ever thrown into the event loop.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import pino from 'pino';
import t, { type Test } from 'tap';
import { startCoordinator } from '../../coordinator/coordinator.ts';
import { readFailure } from '../../coordinator/shard/recovery.ts';
import { openRedisStore, type RedisStore, type RedisStoreOptions } from '../../coordinator/store/redis/store.ts';
import { type ArchivedWorkflow, type Ownership, StoreUnavailable } from '../../coordinator/store/store.ts';
import type { BreakableServer } from '../services/breakable.ts';
import { ownRedis } from '../services/redis-process.ts';
import { blueWorkflow, idOf } from '../store-contract/archived.ts';
import { another, batchOf, checkpointed, commitAll, loaded, someone, take } from '../store-contract/contract.ts';
import { definitionOf, plain } from '../store-contract/events.ts';
import { factsIn, runLoad, upTo } from '../store-contract/load.ts';
import { startProxy } from '../stream-support/tcp-proxy.ts';

const strays: unknown[] = [];
process.on('uncaughtException', (error) => strays.push(error));
process.on('unhandledRejection', (error) => strays.push(error));

const found = await ownRedis(t, 'always');
const skip = 'skip' in found ? found.skip : false;
const server = found as BreakableServer;

/** A store on an emptied server; closed with the test. */
async function open(t: Test, options: Partial<RedisStoreOptions> = {}): Promise<RedisStore> {
  const store = await openRedisStore({ url: server.url, prefix: 'wf', log: { info: () => {}, warn: () => {} }, leaseMs: 300, ...options });
  t.teardown(() => store.close());
  return store;
}

async function admin(t: Test): Promise<Redis> {
  const redis = new Redis(server.url);
  redis.on('error', () => {});
  t.teardown(() => redis.disconnect());
  await redis.flushall();
  return redis;
}

async function reclaimed(store: RedisStore, ownership: Ownership): Promise<Ownership> {
  for (;;) {
    const answer = await store.reclaim(ownership);
    if (answer.kind === 'reclaimed') return answer.ownership;
    if (answer.kind === 'lost') throw new Error(answer.message);
    await pause(20);
  }
}

t.test('two owners at once: of a commit and an acquisition that race, one comes first, and both know which', { skip }, async (t) => {
  await admin(t);
  const stores = [await open(t), await open(t)];
  const durable = [];
  let owner = await take(stores[0]);
  const outcomes = new Map<string, number>();
  for (let round = 1; round <= 200; round++) {
    const [mine, theirs] = [stores[(round + 1) % 2], stores[round % 2]];
    const seq = durable.length + 1;
    const batch = batchOf(seq, 1, `round-${round}`);
    // Which is sent first changes; so does which connection the server reads first.
    const early = round % 3 === 0 ? null : mine.commit(owner, batch);
    const acquiring = take(theirs);
    const [outcome, next] = await Promise.all([early ?? mine.commit(owner, batch), acquiring]);
    if (outcome.kind === 'durable') durable.push(batch);
    else if (outcome.kind !== 'fenced') t.fail(`round ${round}: ${outcome.kind}`);
    if (next.lastSeq !== durable.length) t.fail(`round ${round}: ${outcome.kind}, and the next owner found ${next.lastSeq}`);
    outcomes.set(outcome.kind, (outcomes.get(outcome.kind) ?? 0) + 1);
    owner = next;
  }
  t.same(plain(await loaded(stores[0])), plain(durable));
  t.ok(outcomes.get('durable')! > 0 && outcomes.get('fenced')! > 0, `both happened: ${[...outcomes].join(' ')}`);
});

/** The connection for reads comes back in its own time. */
async function allConnected(store: RedisStore): Promise<void> {
  while (store.health()[0].health !== 'OK') await pause(20);
}

t.test('an answer that is lost after the script ran: unknown, and reclaim knows', { skip }, async (t) => {
  const redis = await admin(t);
  const proxy = await startProxy(server.port);
  t.teardown(() => proxy.close());
  const store = await open(t, { url: `redis://127.0.0.1:${proxy.port}` });
  let owner = await take(store);
  for (let round = 1; round <= 20; round++) {
    proxy.mute();
    const commit = store.commit(owner, batchOf(round));
    while ((await redis.hget('wf:{0}:shard', 'last_seq')) !== String(round)) await pause(1);
    proxy.cut();
    t.match(await commit, { kind: 'unknown', message: /./ });
    t.match(await store.commit(owner, batchOf(round)), { kind: 'aborted', isTransient: true }, 'not sent without a connection');
    proxy.mend();
    if (round % 4 === 0) {
      // Its own answer is lost too: it is asked again, and is the same.
      const { epoch } = owner;
      while ((await store.renew(owner, 0)).kind === 'unavailable') await pause(5);
      proxy.mute();
      const unheard = store.reclaim(owner);
      while ((await redis.hget('wf:{0}:shard', 'epoch')) !== String(epoch + 1)) await pause(1);
      proxy.cut();
      t.match(await unheard, { kind: 'unavailable' });
      proxy.mend();
    }
    const next = await reclaimed(store, owner);
    t.equal(next.lastSeq, round);
    t.equal(next.epoch, owner.epoch + 1);
    t.same(await store.commit(owner, batchOf(round + 1, 1, 'late')), { kind: 'fenced' });
    owner = next;
  }
  await allConnected(store);
  t.same(plain(await loaded(store)), plain(upTo(20).map((seq) => batchOf(seq))));
});

t.test('a request that is lost before the script ran: unknown, and reclaim knows', { skip }, async (t) => {
  await admin(t);
  const proxy = await startProxy(server.port);
  t.teardown(() => proxy.close());
  const store = await open(t, { url: `redis://127.0.0.1:${proxy.port}` });
  const owner = await take(store);
  t.same(await commitAll(store, owner, [batchOf(1)]), ['durable']);
  proxy.freeze();
  t.match(await store.commit(owner, batchOf(2)), { kind: 'unknown', message: /did not answer/ });
  t.match(store.health(), [{ health: 'DOWN', detail: /did not answer.*since/ }]);
  proxy.cut();
  proxy.mend();
  const next = await reclaimed(store, owner);
  t.equal(next.lastSeq, 1);
  t.same(await commitAll(store, next, [batchOf(2)]), ['durable']);
  await allConnected(store);
});

t.test('killed and brought back under load: what was acknowledged is there once, in order', { skip }, async (t) => {
  await admin(t);
  const store = await open(t);
  let isOver = false;
  const running = runLoad(store, await take(store), () => isOver);
  for (let kill = 0; kill < 6; kill++) {
    await pause(300);
    await server.kill();
    await pause(20 * kill);
    await server.start();
  }
  await pause(300);
  isOver = true;
  const { acknowledged, troubles, lost } = await running;
  t.equal(lost, null);
  t.ok(troubles.length > 0, `${acknowledged.length} facts, trouble ${troubles.length} times`);
  t.same(acknowledged, upTo(acknowledged.length));
  t.same(await factsIn(store), acknowledged);
});

t.test('connections that are killed under load', { skip }, async (t) => {
  const redis = await admin(t);
  const store = await open(t);
  let isOver = false;
  const running = runLoad(store, await take(store), () => isOver);
  for (let kill = 0; kill < 30; kill++) {
    await pause(30);
    await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  }
  isOver = true;
  const { acknowledged, troubles, lost } = await running;
  t.equal(lost, null);
  t.ok(troubles.length > 0, `${acknowledged.length} facts, trouble ${troubles.length} times`);
  t.same(await factsIn(store), upTo(acknowledged.length));
});

t.test('a server that stands still: every call ends, and nothing is lost or doubled when it goes on', { skip }, async (t) => {
  await admin(t);
  const store = await open(t);
  // What is asked of a server that stands still may still be done when it goes on: so it is asked about another shard.
  const elsewhere = await open(t, { prefix: 'elsewhere' });
  let isOver = false;
  const running = runLoad(store, await take(store), () => isOver);
  await pause(200);
  for (let stop = 0; stop < 2; stop++) {
    server.suspend();
    const answers = await Promise.all([
      elsewhere.acquire(another),
      elsewhere.renew({ epoch: 1, termId: 'x', lastSeq: 0 }, 0),
      elsewhere.archive.openSeqs().catch((error: unknown) => error),
    ]);
    t.match(answers, [{ kind: 'unavailable' }, { kind: 'unavailable' }, StoreUnavailable]);
    server.resume();
    await pause(500);
  }
  isOver = true;
  const { acknowledged, troubles, lost } = await running;
  t.equal(lost, null);
  t.ok(troubles.length > 0);
  t.same(await factsIn(store), upTo(acknowledged.length));
});

t.test('a journal that is gone fences its owner', { skip }, async (t) => {
  const redis = await admin(t);
  const store = await open(t);
  const slice = { number: 1, entries: [], finish: { seq: 1, ended: [] } };
  for (const lose of [() => redis.flushall(), () => redis.del('wf:{0}:journal')]) {
    const owner = await take(store);
    const at = owner.lastSeq;
    t.same(await commitAll(store, owner, [batchOf(at + 1), batchOf(at + 2)]), ['durable', 'durable']);
    await lose();
    t.match(await store.renew(owner, at + 2), { kind: 'lost', message: /gone/ });
    t.same(await commitAll(store, owner, [batchOf(at + 3), batchOf(1)]), ['fenced', 'fenced']);
    t.match(await store.reclaim(owner), { kind: 'lost', message: /gone/ });
    t.same(await store.checkpoint(owner, slice), { kind: 'fenced' });
    if (lose.toString().includes('flushall')) t.match(await take(store), { lastSeq: 0 }, 'another ownership starts anew');
  }
});

/** What a coordinator makes of a shard that it cannot read: damage ends it, anything else it tries again. */
async function failure(store: RedisStore, owner: Ownership): Promise<unknown> {
  const error = await loaded(store).catch((error: unknown) => error);
  return await readFailure(store, owner, error);
}

t.test('a journal that is gone is damage to whoever finds it so', { skip }, async (t) => {
  const redis = await admin(t);
  const store = await open(t);
  const lost = {
    'the stream': () => redis.del('wf:{0}:journal'),
    'the stream, and nothing of it was needed': async () => {
      await store.checkpoint(await take(store), { number: 1, entries: batchOf(1).entries, finish: { seq: 2, ended: [] } });
      await redis.del('wf:{0}:journal');
    },
    'what says where it ends': () => redis.del('wf:{0}:shard'),
  };
  for (const [what, lose] of Object.entries(lost)) {
    await redis.flushall();
    const before = await take(store);
    t.same(await commitAll(store, before, [batchOf(1), batchOf(2)]), ['durable', 'durable']);
    await lose();
    t.match(await store.renew(before, 2), { kind: 'lost' });
    for (let tries = 0; tries < 2; tries++) {
      const owner = await take(store);
      t.match(await failure(store, owner), { name: 'Error', message: /is gone: .*put the keys .* back .*, or remove/ }, what);
      t.match((await commitAll(store, owner, [batchOf(owner.lastSeq + 1)]))[0], /fenced|aborted/, 'and nothing is written over it');
    }
  }
  await redis.flushall();
  const owner = await take(store);
  await commitAll(store, owner, [batchOf(1)]);
  const next = await take(store);
  await redis.del('wf:{0}:journal');
  t.match(await failure(store, next), { name: 'ShardStopped' }, 'under an owner that found it there, it may be another one who knows');
  t.match(await failure(store, await take(store)), { message: /is gone/ });
});

t.test('a checkpoint that is gone is damage, and nothing is written over it', { skip }, async (t) => {
  const redis = await admin(t);
  const store = await open(t);
  const owner = await take(store);
  await commitAll(store, owner, [batchOf(1), batchOf(2)]);
  const finish = { seq: 2, ended: [] };
  const entries = [...batchOf(1).entries, ...batchOf(2).entries];
  t.same(await store.checkpoint(owner, { number: 1, entries, finish }), { kind: 'kept' });
  t.same(await store.checkpoint(owner, { number: 2, entries: [], finish: { seq: 2, ended: ['wf-2'] } }), { kind: 'kept' });
  t.equal((await checkpointed(store)).length, 1);
  await redis.del('wf:{0}:checkpoint');
  t.same(await store.checkpoint(owner, { number: 3, entries, finish: null }), { kind: 'fenced' });
  t.equal(await redis.exists('wf:{0}:checkpoint'), 0);
  for (let tries = 0; tries < 2; tries++) {
    t.match(await failure(store, await take(store)), { message: /checkpoint is gone: 1 workflows .* 0 are/ });
  }
  await redis.flushall();
  const next = await take(store);
  await commitAll(store, next, [batchOf(1), batchOf(2)]);
  t.same(await store.checkpoint(next, { number: 1, entries, finish }), { kind: 'kept' });
  await redis.del('wf:{0}:shard', 'wf:{0}:journal');
  t.match(await failure(store, await take(store)), { message: /end of the journal is gone: wf:\{0\}:checkpoint is there/ });
});

t.test('a coordinator whose journal is gone ends and says so', { skip }, async (t) => {
  const redis = await admin(t);
  const store = await openRedisStore({ url: server.url, prefix: 'wf', log: { info: () => {}, warn: () => {} } });
  await store.putDefinition(definitionOf('blue').stored);
  const before = await take(store);
  const { state, events } = blueWorkflow(1, 4);
  const entries = [{ workflowId: state.id, firstEventSeq: 1, events }];
  t.same(await commitAll(store, before, [{ firstSeq: 1, lastSeq: 4, entries }]), ['durable']);
  await store.release(before);
  let stopped: string | null = null;
  const running = await startCoordinator({
    store,
    host: '127.0.0.1',
    port: 0,
    grpcPort: null,
    advertiseUrl: null,
    token: null,
    version: 'test',
    log: pino({ level: 'silent' }),
    onStopped: (reason) => {
      stopped = reason;
    },
  });
  t.equal(running.role(), 'ACTIVE');
  await redis.del('wf:{0}:journal');
  const until = performance.now() + 5_000;
  while (stopped === null && performance.now() < until) await pause(20);
  t.match(stopped, /the journal is gone: 4 events were committed/);
  await running.close(100);
});

t.test('an old copy of the journal fences its owner', { skip }, async (t) => {
  const redis = await admin(t);
  const store = await open(t);
  const owner = await take(store);
  t.same(await commitAll(store, owner, [batchOf(1)]), ['durable']);
  const copies = await Promise.all(['wf:{0}:shard', 'wf:{0}:journal'].map(async (key) => [key, await redis.dumpBuffer(key)] as const));
  t.same(await commitAll(store, owner, [batchOf(2)]), ['durable']);
  for (const [key, copy] of copies) await redis.restore(key, 0, copy!, 'REPLACE');
  t.match(await store.renew(owner, 2), { kind: 'lost', message: /went back in time/ });
  t.match(await store.commit(owner, batchOf(3)), { kind: 'aborted', isTransient: false, message: /the journal ends at 1/ });
  t.match(await store.reclaim(owner), { kind: 'reclaimed', ownership: { lastSeq: 1 } }, 'which says that an event is missing');
});

t.test('whoever knows of what an old copy has not writes nothing over it', { skip }, async (t) => {
  const redis = await admin(t);
  const store = await open(t);
  const owner = await take(store);
  t.same(await commitAll(store, owner, [batchOf(1), batchOf(2)]), ['durable', 'durable']);
  const { entries } = batchOf(1);
  const slice = (number: number) => store.checkpoint(owner, { number, entries, finish: null });
  t.same([await slice(1), await store.archive.write([blueWorkflow(1, 7)])], [{ kind: 'kept' }, { kind: 'kept' }]);
  await redis.hset('wf:{0}:shard', 'last_seq', '1');
  t.same([await slice(2), await store.archive.write([blueWorkflow(2, 7)])], [{ kind: 'fenced' }, { kind: 'fenced' }]);
  t.equal(await store.archive.get(idOf(2)), null);
  await redis.hset('wf:{0}:shard', 'last_seq', '2');
  t.same(await slice(3), { kind: 'kept' });
  await redis.hset('wf:{0}:shard', 'slice', '2');
  t.same(await slice(4), { kind: 'fenced' }, 'what this owner believes to be kept is not');
  const next = await reclaimed(store, owner);
  t.same(
    await store.checkpoint(next, { number: 5, entries, finish: null }),
    { kind: 'fenced' },
    'also when it takes the shard anew from itself',
  );
  t.same(
    await store.checkpoint(await take(store), { number: 1, entries, finish: null }),
    { kind: 'kept' },
    'whoever reads it anew goes on',
  );
});

t.test('a damaged journal is not read as if it were whole', { skip }, async (t) => {
  const redis = await admin(t);
  const store = await open(t);
  const owner = await take(store);
  await commitAll(
    store,
    owner,
    upTo(4).map((seq) => batchOf(seq)),
  );
  await redis.xdel('wf:{0}:journal', '2-0');
  await t.rejects(loaded(store), /gap: after event 1 comes 3/);
  await redis.xtrim('wf:{0}:journal', 'MAXLEN', 1);
  await t.rejects(loaded(store), /gap: after event 0 comes 4/);
});

t.test('a checkpoint of large histories is read in small steps, one of small ones in few', { skip }, async (t) => {
  const redis = await admin(t);
  const store = await open(t);
  const owner = await take(store);
  await store.putDefinition(definitionOf('blue').stored);
  await commitAll(store, owner, [batchOf(1)]);
  let number = 0;
  const keep = async (workflows: readonly ArchivedWorkflow[]) => {
    const entries = workflows.map(({ state, events }) => ({ workflowId: state.id, firstEventSeq: 1, events }));
    number += 1;
    t.same(await store.checkpoint(owner, { number, entries, finish: { seq: 1, ended: [] } }), { kind: 'kept' });
  };
  // A server cuts off whoever is answered more than this at once; those in one bucket come together whatever is asked for.
  await redis.config('SET', 'client-output-buffer-limit', 'normal 20mb 0 0');
  for (let large = 0; large < 20; large++) await keep([blueWorkflow(large, 4, 3_000_000)]);
  t.equal((await checkpointed(store)).length, 20);
  await keep(Array.from({ length: 5_000 }, (_, index) => blueWorkflow(1_000 + index, 4)));
  t.equal((await checkpointed(store)).length, 5_020, 'large ones among small ones');
  await redis.hset('wf:{0}:shard', 'records', '0');
  await redis.del('wf:{0}:checkpoint');
  await keep(Array.from({ length: 5_000 }, (_, index) => blueWorkflow(1_000 + index, 4)));
  await redis.config('RESETSTAT');
  t.equal((await checkpointed(store)).length, 5_000);
  const steps = Number(/cmdstat_hscan:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1]);
  t.ok(steps > 5 && steps < 100, `${steps} steps`);
  await redis.config('SET', 'client-output-buffer-limit', 'normal 0 0 0');
});

t.test('a server that takes no writes for now: the same batch may be tried again', { skip }, async (t) => {
  const redis = await admin(t);
  const store = await open(t);
  const owner = await take(store);
  await redis.config('SET', 'maxmemory', '1');
  t.match(await store.commit(owner, batchOf(1)), { kind: 'aborted', isTransient: true, message: /OOM/ });
  t.match(await store.checkpoint(owner, { number: 1, entries: batchOf(1).entries, finish: null }), { kind: 'unavailable', message: /OOM/ });
  await redis.config('SET', 'maxmemory', '0');
  t.same(await commitAll(store, owner, [batchOf(1)]), ['durable']);
  await redis.config('SET', 'min-replicas-to-write', '1');
  t.match(await store.commit(owner, batchOf(2)), { kind: 'aborted', isTransient: true, message: /NOREPLICAS/ });
  await redis.config('SET', 'min-replicas-to-write', '0');
  t.same(await commitAll(store, owner, [batchOf(2)]), ['durable']);
  await redis.call('REPLICAOF', '127.0.0.1', '1');
  t.match(await store.commit(owner, batchOf(3)), { kind: 'aborted', isTransient: true, message: /READONLY|MASTERDOWN/ });
  await redis.call('REPLICAOF', 'NO', 'ONE');
  const running = runLoad(store, owner, () => true);
  t.equal((await running).lost, null);
  let outcome = await store.commit(owner, batchOf(3));
  while (outcome.kind === 'aborted' && outcome.isTransient) {
    await pause(20);
    outcome = await store.commit(owner, batchOf(3));
  }
  t.same(outcome, { kind: 'durable' }, 'by itself');
});

t.test('a long script of somebody else: refused or unknown, never lost', { skip }, async (t) => {
  const redis = await admin(t);
  await redis.config('SET', 'busy-reply-threshold', '50');
  const store = await open(t);
  const owner = await take(store);
  const busy = redis.call('EVAL', 'while true do end', '0').catch(() => {});
  const other = new Redis(server.url);
  other.on('error', () => {});
  t.teardown(() => other.disconnect());
  await pause(100);
  t.match(await store.commit(owner, batchOf(1)), { kind: /aborted|unknown/ });
  const killer = new Redis(server.url, { enableReadyCheck: false });
  t.teardown(() => killer.disconnect());
  await killer.call('SCRIPT', 'KILL');
  await busy;
  const next = await reclaimed(store, owner);
  t.same(await commitAll(store, next, [batchOf(next.lastSeq + 1)]), ['durable']);
});

t.test('a wrong answer to the fence is final', { skip }, async (t) => {
  const redis = await admin(t);
  const store = await open(t);
  const owner = await take(store);
  await redis.del('wf:{0}:journal');
  await redis.set('wf:{0}:journal', 'no stream');
  t.match(await store.commit(owner, batchOf(1)), { kind: 'aborted', isTransient: false, message: /WRONGTYPE/ });
});

t.test('user, password and number of the database are in the address', { skip }, async (t) => {
  const redis = await admin(t);
  await redis.call('ACL', 'SETUSER', 'wf', 'on', '>s3cr:t', '~*', '&*', '+@all');
  const store = await open(t, { url: `redis://wf:${encodeURIComponent('s3cr:t')}@127.0.0.1:${server.port}/3` });
  t.same(await commitAll(store, await take(store), [batchOf(1)]), ['durable']);
  t.match(store.health(), [{ health: 'OK', detail: /append-only file/ }]);
  await redis.select(3);
  t.equal(await redis.xlen('wf:{0}:journal'), 1);
  const wrong = await open(t, { url: `redis://wf:wrong@127.0.0.1:${server.port}/3` });
  t.match(await wrong.acquire(another), { kind: 'unavailable', message: /WRONGPASS/ });
  t.match(wrong.health(), [{ health: 'DOWN', detail: /WRONGPASS/ }]);
  await t.rejects(wrong.definitionsByHash(['x']), StoreUnavailable);
  await t.rejects(openRedisStore({ url: 'localhost:6379', prefix: 'wf', log: { info: () => {}, warn: () => {} } }), /redis:\/\//);
});

t.test('what a server does not protect from is said', { skip }, async (t) => {
  const redis = await admin(t);
  await redis.config('SET', 'appendonly', 'no');
  await redis.config('SET', 'maxmemory', '1gb');
  await redis.config('SET', 'maxmemory-policy', 'allkeys-lru');
  const warned: string[] = [];
  const store = await open(t, { log: { info: () => {}, warn: (message) => warned.push(message) } });
  t.match(warned, [/lost with this server/, /noeviction/]);
  t.match(store.health(), [{ health: 'OK', detail: /lost with this server.*noeviction/ }]);
  await redis.config('SET', 'maxmemory', '0');
  await redis.config('SET', 'maxmemory-policy', 'noeviction');
  await redis.config('SET', 'appendonly', 'yes');
});

t.test('the owner of a store that was opened while the server was away gets it later', { skip }, async (t) => {
  await server.stop();
  const store = await open(t);
  t.match(await store.acquire(someone), { kind: 'unavailable', message: /ECONNREFUSED/ });
  await t.rejects(loaded(store), StoreUnavailable);
  await server.start();
  let acquisition = await store.acquire(someone);
  while (acquisition.kind === 'unavailable') {
    await pause(20);
    acquisition = await store.acquire(someone);
  }
  t.equal(acquisition.kind, 'acquired');
});

t.test('nothing was thrown into the event loop', async (t) => {
  t.same(strays, []);
});
