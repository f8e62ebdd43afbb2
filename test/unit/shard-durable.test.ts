/**
 * What a shard does with a store that outlives it: leases, checkpoints, the archive behind memory.
 */
import { stripLeases } from '@workflow-orchestrator/engine/machine';
import { limits } from '@workflow-orchestrator/proto/limits';
import t from 'tap';
import { Reader } from '../../coordinator/api/services/reader.ts';
import type { Renewal } from '../../coordinator/store/store.ts';
import { graphOf } from '../engine-support/graphs.ts';
import { differences } from '../engine-support/snapshots.ts';
import { failureOf } from '../shard-support/failure.ts';
import { HeldStore } from '../shard-support/held-store.ts';
import type { WorkerDouble } from '../shard-support/worker-double.ts';
import { ShardWorld } from '../shard-support/world.ts';

const one = graphOf('a');

/** The worker does everything that it was given. */
async function work(world: ShardWorld, worker: WorkerDouble): Promise<void> {
  for (let round = 0; round < 20 && (worker.unanswered.size > 0 || worker.running.size > 0); round++) {
    for (const token of [...worker.unanswered.keys()]) worker.accept(token);
    await world.settle();
    for (const token of [...worker.running.keys()]) worker.succeed(token);
    await world.settle();
    worker.grant();
    await world.settle();
  }
}

/** Time passes in small steps. */
async function pass(world: ShardWorld, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 50) await world.advance(Math.min(left, 50));
}

// --- the lease -----------------------------------------------------------------------------------------------------------

t.test('a lease is renewed for as long as the shard is open', async (t) => {
  const store = new HeldStore();
  store.leaseMs = limits.shardLeaseMs;
  const seqs: number[] = [];
  const renew = store.renew.bind(store);
  store.renew = (ownership, lastSeq) => {
    seqs.push(lastSeq);
    return renew(ownership, lastSeq);
  };
  const world = await ShardWorld.open({ store });
  await world.start(one);
  await pass(world, limits.shardRenewMs * 4);
  t.same(seqs, [3, 3, 3, 3], 'with the last event that is known to be committed');
  world.shard.stop();
  await pass(world, limits.shardRenewMs * 4);
  t.equal(seqs.length, 4);
});

t.test('while the lease is not known to hold nothing is told; commits go on, and everything is told when it is renewed', async (t) => {
  const store = new HeldStore();
  store.leaseMs = limits.shardLeaseMs;
  const world = await ShardWorld.open({ store });
  const renewed = store.renew.bind(store);
  store.renew = async (): Promise<Renewal> => ({ kind: 'unavailable', message: 'no connection' });
  const id = await world.start(one);
  await pass(world, limits.shardLeaseMs - limits.shardLeaseMarginMs - 50);
  t.equal(world.shard.stats().trouble, null);
  t.ok(await answer(world, world.read(id)), 'it still holds');
  await pass(world, 100);
  t.match(world.shard.stats().trouble, /lease/);
  const told: string[] = [];
  void world.read(id).then(() => told.push('read'));
  void world.submit(one).then(() => told.push('submit'));
  const worker = world.worker('w1');
  await world.settle();
  t.same([told, worker.assigned.length, worker.phase], [[], 0, 'attaching']);
  t.equal(store.eventsOf('wf-000002').length, 3, 'committed all the same');
  store.renew = renewed;
  await pass(world, limits.shardRenewMs);
  t.same([told.sort(), worker.phase], [['read', 'submit'], 'ready']);
  t.same(world.violations, []);
});

t.test('while nothing can be told only so much is taken: answers would wait in memory without a bound', async (t) => {
  const store = new HeldStore();
  store.leaseMs = limits.shardLeaseMs;
  const world = await ShardWorld.open({ store, bounds: { inboxCommands: 10 } });
  const renewed = store.renew.bind(store);
  store.renew = async (): Promise<Renewal> => ({ kind: 'unavailable', message: 'no connection' });
  await pass(world, limits.shardLeaseMs);
  const calls: ReturnType<ShardWorld['submit']>[] = [];
  for (let i = 0; i < 8; i++) {
    calls.push(world.submit(one));
    await world.settle();
  }
  store.renew = renewed;
  await pass(world, limits.shardRenewMs);
  const kinds = (await Promise.all(calls)).map(({ kind }) => kind);
  t.same(kinds, [...kinds.slice(0, 4).map(() => 'accepted'), ...kinds.slice(4).map(() => 'overloaded')], 'three events each');
  t.match(await calls[7], { message: /wait for the lease \(limit inboxCommands\)/ });
  t.match(await answer(world, world.submit(one)), { kind: 'accepted' });
});

t.test('a lost lease stops the shard; a renewal in the name of before a reclaim does not', async (t) => {
  const store = new HeldStore();
  store.leaseMs = limits.shardLeaseMs;
  const world = await ShardWorld.open({ store });
  let answer: (renewal: Renewal) => void = () => {};
  store.renew = () => new Promise((resolve) => (answer = resolve));
  await pass(world, limits.shardRenewMs);
  store.closed = true;
  void world.submit(one);
  await world.settle();
  await store.loseReply();
  store.closed = false;
  await world.settle();
  answer({ kind: 'lost', message: 'the term is another' });
  await world.settle();
  t.equal(world.ports.stopped, null);

  // The reclaim took effect and its answer was lost: a renewal finds the shard taken, by nobody else.
  const reclaim = store.reclaim.bind(store);
  store.reclaim = async () => ({ kind: 'unavailable', message: 'the answer was lost' });
  store.closed = true;
  void world.submit(one);
  await world.settle();
  await store.loseReply();
  store.closed = false;
  await pass(world, limits.shardRenewMs);
  answer({ kind: 'lost', message: 'epoch 3 has taken it' });
  await world.settle();
  t.equal(world.ports.stopped, null, 'what became of the shard is for the reclaim to say');
  store.reclaim = reclaim;
  await pass(world, 1_100);
  answer({ kind: 'renewed' });
  await world.settle();
  t.equal(world.ports.stopped, null);
  await pass(world, limits.shardRenewMs);
  answer({ kind: 'lost', message: 'another coordinator has the shard' });
  await world.settle();
  t.equal(world.ports.stopped, 'lease: another coordinator has the shard');
});

// --- checkpoints ---------------------------------------------------------------------------------------------------------

/** A shard that makes a checkpoint each second, with a worker and a workflow that runs. `keep`: what its store does with a slice. */
async function withCheckpoints() {
  const store = new HeldStore();
  const world = await ShardWorld.open({ store, bounds: { checkpointMs: 1_000 } });
  const worker = world.worker('w1');
  await world.settle();
  await world.start(one);
  const keep = store.checkpoint.bind(store);
  return { store, world, worker, keep };
}

t.test('a checkpoint makes the journal short, and a recovery from it finds everything', async (t) => {
  const world = await ShardWorld.open({ bounds: { checkpointEvents: 30, checkpointSliceWorkflows: 3 } });
  const worker = world.worker('w1', { slots: 100 });
  await world.settle();
  const ids: string[] = [];
  for (let i = 0; i < 12; i++) ids.push(await world.start(graphOf('a.ok->b')));
  for (const token of [...worker.unanswered.keys()].slice(0, 6)) {
    worker.accept(token);
    worker.succeed(token);
  }
  await pass(world, 100);
  for (let i = 0; i < 10; i++) ids.push(await world.start(one));
  await pass(world, 200);
  const { journal } = world.store;
  t.ok(journal.checkpoints.size >= 12, `${journal.checkpoints.size} in the checkpoint`);
  t.ok((journal.batches[0]?.firstSeq ?? Number.POSITIVE_INFINITY) > 30, 'what is before it is gone');
  const before = ids.map((id) => stripLeases(world.state(id)));
  await world.recover();
  for (const [place, id] of ids.entries()) {
    t.same(differences(stripLeases({ ...world.state(id), recoveredAt: 0 }), before[place]), [], id);
    t.same(world.store.eventsOf(id).length, world.state(id).seq);
  }
});

t.test('workflows that ended leave the checkpoint; time alone begins a round; a round that fails is made again', async (t) => {
  const world = await ShardWorld.open({ bounds: { checkpointMs: 60_000 } });
  const worker = world.worker('w1', { slots: 10 });
  await world.settle();
  const id = await world.start(one);
  const other = await world.start(graphOf('x'), { start: false });
  const keep = world.store.checkpoint.bind(world.store);
  let failures = 2;
  world.store.checkpoint = async (ownership, slice) => (failures-- > 0 ? { kind: 'unavailable', message: 'away' } : keep(ownership, slice));
  await pass(world, 59_000);
  t.equal(world.store.journal.checkpoints.size, 0);
  await pass(world, 8_000);
  t.same([...world.store.journal.checkpoints.keys()], [id, other]);
  t.same(world.store.journal.batches, []);
  await work(world, worker);
  await pass(world, 60_000);
  t.same([...world.store.journal.checkpoints.keys()], [other]);
  await pass(world, 300_000);
  t.equal(world.store.journal.checkpoints.size, 1, 'nothing happened: nothing is written');
});

t.test('a slice whose answer is lost counts as kept: what is in it is dropped when it has ended', async (t) => {
  const { store, world, worker, keep } = await withCheckpoints();
  store.checkpoint = async (ownership, slice) => {
    await keep(ownership, slice);
    return { kind: 'unavailable', message: 'the answer was lost' };
  };
  await pass(world, 1_100);
  t.equal(store.journal.checkpoints.size, 1);
  store.checkpoint = keep;
  await work(world, worker);
  await pass(world, 5_000);
  t.equal(store.journal.checkpoints.size, 0);
  await world.recover(100);
  t.same(world.openStates(), []);
});

t.test('a slice that is answered after a reclaim is written again: it may be from before the store went back', async (t) => {
  const store = new HeldStore();
  const world = await ShardWorld.open({ store, bounds: { checkpointMs: 1_000 } });
  const id = await world.start(one);
  const keep = store.checkpoint.bind(store);
  let tellKept: () => void = () => {};
  store.checkpoint = () => new Promise((resolve) => (tellKept = () => resolve({ kind: 'kept' })));
  await pass(world, 1_100);
  store.closed = true;
  void world.submit(one);
  await world.settle();
  await store.loseReply();
  store.closed = false;
  await world.settle();
  const { length } = store.journal.batches;
  store.checkpoint = keep;
  tellKept();
  await world.settle();
  t.equal(store.journal.batches.length, length, 'the journal is not cut');
  await pass(world, 3_000);
  t.ok(store.journal.checkpoints.has(id));
  await world.recover();
  t.equal(world.state(id).seq, 3, 'and a recovery finds what was in it');
});

t.test('a slice that is fenced twice under one term: the store lacks what it had acknowledged, and the shard is given up', async (t) => {
  const { store, world, worker, keep } = await withCheckpoints();
  store.checkpoint = async () => ({ kind: 'fenced' });
  await pass(world, 1_100);
  t.equal(world.ports.stopped, null, 'once: it may have been under way while the shard was taken anew from oneself');
  store.checkpoint = keep;
  await pass(world, 2_100);
  t.equal(store.journal.checkpoints.size, 1);
  await work(world, worker);
  store.checkpoint = async () => ({ kind: 'fenced' });
  await pass(world, 1_100);
  t.equal(world.ports.stopped, null);
  await pass(world, 2_100);
  t.match(world.ports.stopped, /lacks what it had acknowledged/);
});

t.test('a checkpoint does not run ahead of what was told: while the lease is not sure, the journal stays', async (t) => {
  const store = new HeldStore();
  store.leaseMs = limits.shardLeaseMs;
  const world = await ShardWorld.open({ store, bounds: { checkpointMs: 2_500 } });
  const worker = world.worker('w1');
  await world.settle();
  const id = await world.start(one);
  store.renew = async (): Promise<Renewal> => ({ kind: 'unavailable', message: 'no connection' });
  for (const token of [...worker.unanswered.keys()]) worker.accept(token);
  await pass(world, limits.shardLeaseMs - limits.shardLeaseMarginMs + 50);
  for (const token of [...worker.running.keys()]) worker.succeed(token);
  await pass(world, 2_500);
  t.equal(store.eventsOf(id).at(-1)?.kind, 'ended', 'committed, and told to nobody');
  t.equal(store.journal.checkpoints.size, 1, 'a round was made meanwhile');
  await world.recover(100);
  t.same(world.openStates(), [], 'whoever reads on finds the end');
});

t.test('a journal that is not whole is refused', async (t) => {
  const damage: ((store: HeldStore) => void)[] = [
    ({ journal }) => journal.batches.splice(1, 1),
    ({ journal }) => journal.batches.pop(),
    ({ journal }) => journal.batches.shift(),
    ({ journal }) => journal.batches.splice(0),
  ];
  for (const [place, damaged] of damage.entries()) {
    const world = await ShardWorld.open();
    for (let i = 0; i < 3; i++) await world.start(one, { start: false });
    for (const id of world.ids) await world.steer(id, { kind: 'start' });
    damaged(world.store);
    await t.rejects(world.recover(), { message: /the journal is damaged/ }, `damage ${place}`);
  }
  const world = await ShardWorld.open({ bounds: { checkpointMs: 1_000 } });
  const id = await world.start(one, { start: false });
  await pass(world, 1_100);
  t.same([world.store.journal.checkpoints.size, world.store.journal.batches], [1, []]);
  await world.recover();
  await world.steer(id, { kind: 'start' });
  world.store.journal.batches = [];
  await t.rejects(
    world.recover(),
    { message: /the journal is damaged: it ends at event 1, and 3 were committed/ },
    'all after a checkpoint',
  );
});

// --- the archive ---------------------------------------------------------------------------------------------------------

/** Every workflow; the limit is the caller's. */
const filter = {
  statuses: new Set<string>(),
  name: '',
  submittedAfter: 0,
  submittedBefore: Number.POSITIVE_INFINITY,
  labels: new Map(),
  beforeId: '',
};

async function forgetful(kept = 1) {
  const world = await ShardWorld.open({ hasArchive: true, bounds: { endedWorkflowsKept: kept, unarchivedWorkflows: 3 } });
  const worker = world.worker('w1', { slots: 10 });
  await world.settle();
  return { world, worker, reader: new Reader(world.shard) };
}

async function answer<T>(world: ShardWorld, call: Promise<T>): Promise<T> {
  call.catch(() => {});
  for (let i = 0; i < 10; i++) await world.settle();
  return await call;
}

t.test('what has ended is forgotten only when the archive has it, and is found there', async (t) => {
  const { world, worker, reader } = await forgetful();
  world.archive.isAway = true;
  const ids = [await world.start(one), await world.start(one), await world.start(one, { labels: { team: 'blue' } })];
  await work(world, worker);
  await pass(world, 2_000);
  t.ok(ids.every((id) => world.has(id)));
  t.equal(world.shard.stats().unarchived, 3);
  const refused = await answer(world, world.submit(one));
  t.match(refused, { kind: 'overloaded', message: /3 ended workflows wait to be archived \(limit unarchivedWorkflows\)/ });
  world.archive.isAway = false;
  await pass(world, 2_000);
  const [gone, ...more] = ids.filter((id) => !world.has(id));
  t.equal(more.length, 1, 'the last one that was archived is kept');
  t.equal(world.shard.stats().unarchived, 0);
  const found = await answer(world, reader.find(gone));
  t.match(found.state, { id: gone, status: 'SUCCEEDED' });
  t.equal(found.events.length, found.state.seq);
  const signal = new AbortController().signal;
  const list = async (over: object) =>
    (await answer(world, reader.list({ ...filter, limit: 10, ...over }, signal))).states.map(({ id }) => id);
  const open = await world.start(one);
  t.same(await list({}), [open, ...ids.toReversed()], 'open ones, remembered ones and archived ones, each once');
  t.same(await list({ limit: 2 }), [open, ids[2]]);
  t.same(await list({ beforeId: ids[1] }), [ids[0]]);
  t.same(await list({ statuses: new Set(['RUNNING']) }), [open]);
  t.same(await list({ statuses: new Set(['SUCCEEDED']), labels: new Map([['team', 'blue']]) }), [ids[2]]);
  world.archive.isAway = true;
  t.match(await failureOf(answer(world, reader.find(gone))), { code: 'Unavailable' });
  t.match(await failureOf(answer(world, reader.find('nobody'))), { code: 'Unavailable' }, 'who knows');
  t.ok(await answer(world, reader.find(open)), 'what is in memory needs no archive');
});

t.test('a long list of what is at rest is read a few at a time, and no further than the page', async (t) => {
  const { world, worker, reader } = await forgetful(0);
  const ids: string[] = [];
  for (let i = 0; i < 50; i++) {
    ids.unshift(await world.start(one));
    await work(world, worker);
    await pass(world, 300);
  }
  const asked: number[] = [];
  const list = world.archive.list.bind(world.archive);
  world.archive.list = (filter) => {
    asked.push(filter.limit);
    return list(filter);
  };
  const { signal } = new AbortController();
  const page = async (limit: number) => (await answer(world, reader.list({ ...filter, limit }, signal))).states.map(({ id }) => id);
  t.same(await page(45), ids.slice(0, 45));
  t.same(asked.splice(0), [20, 20, 5]);
  t.same(await page(100), ids);
  t.same(asked.splice(0), [20, 20, 20]);
  const open: string[] = [];
  for (let i = 0; i < 30; i++) open.unshift(await world.start(one, { start: false }));
  t.same(await page(30), open);
  t.same(asked.splice(0), [20], 'memory has filled the page with later ones');
  const abort = new AbortController();
  abort.abort();
  await t.rejects(reader.list({ ...filter, limit: 45 }, abort.signal), { message: /the caller is gone/ });
});

t.test('a list does not end early for what came to rest while it was read', async (t) => {
  const { world, worker, reader } = await forgetful(2);
  const ids: string[] = [];
  const run = async (): Promise<void> => {
    ids.unshift(await world.start(one));
    await work(world, worker);
    await pass(world, 300);
  };
  for (let i = 0; i < 6; i++) await run();
  const before = [...ids];
  const list = world.archive.list.bind(world.archive);
  world.archive.list = async (filter) => {
    world.archive.list = list;
    // Between the look at memory and the answer of the archive, which has them as well by then.
    for (let i = 0; i < 2; i++) await run();
    return list(filter);
  };
  let isOver = false;
  const listed = reader.list({ ...filter, limit: 3 }, new AbortController().signal).finally(() => {
    isOver = true;
  });
  while (!isOver) await world.settle();
  const { states } = await listed;
  t.same(
    states.map(({ id }) => id),
    before.slice(0, 3),
  );
});

t.test('a key holds when memory has forgotten its workflow, also for those who come at once', async (t) => {
  const { world, worker } = await forgetful(0);
  const key = { idempotencyKey: 'order 1', requestHash: 'h1' };
  const first = await world.start(one, key);
  await work(world, worker);
  await pass(world, 1_000);
  t.notOk(world.has(first));
  t.match(await answer(world, world.submit(one, key)), { kind: 'accepted', existed: true, state: { id: first, status: 'SUCCEEDED' } });
  t.match(await answer(world, world.submit(one, { ...key, requestHash: 'h2' })), { kind: 'key-reused', workflowId: first });
  world.archive.isAway = true;
  await t.rejects(answer(world, world.submit(one, key)), { name: 'StoreUnavailable' });
  world.archive.isAway = false;
  const many = await answer(world, Promise.all(Array.from({ length: 5 }, () => world.submit(one, { ...key, idempotencyKey: 'order 2' }))));
  t.same(
    many.map((reply) => reply.kind === 'accepted' && reply.existed),
    [false, true, true, true, true],
  );
  await world.recover();
  t.match(await answer(world, world.submit(one, key)), { existed: true, state: { id: first } }, 'also after a recovery');
});

t.test('a workflow is not forgotten between the question for its key and the decision that follows it', async (t) => {
  const { world, worker } = await forgetful(0);
  const key = { idempotencyKey: 'order 1', requestHash: 'h1' };
  let letGo = (): void => {};
  const write = world.archive.write.bind(world.archive);
  world.archive.write = async (workflows) => {
    await new Promise<void>((resolve) => {
      letGo = resolve;
    });
    return write(workflows);
  };
  const first = await world.start(one, key);
  await work(world, worker);
  await pass(world, 1_000);
  t.ok(world.has(first), 'its archiving is under way');
  const again = world.submit(one, key);
  // Memory knows the key, so the archive was not asked; the turn that decides has not come yet. The archive has everything now.
  for (let i = 0; i < 8; i++) await null;
  letGo();
  for (let i = 0; i < 8; i++) await null;
  t.match(await answer(world, again), { kind: 'accepted', existed: true, state: { id: first } });
  await pass(world, 1_000);
  t.notOk(world.has(first), 'and afterwards it is');
});

t.test('a recovery gives the archive what it missed, and no more', async (t) => {
  const { world, worker } = await forgetful(10);
  const open = await world.start(graphOf('a.ok->b'));
  const ended = await world.start(one);
  await pass(world, 1_000);
  world.archive.isAway = true;
  await work(world, worker);
  await pass(world, 500);
  world.archive.isAway = false;
  world.archive.written.length = 0;
  await world.recover();
  await pass(world, 1_000);
  t.same(world.archive.written.sort(), [open, ended].sort(), 'both ended');
  const still = await world.start(one, { start: false });
  await pass(world, 1_000);
  world.archive.written.length = 0;
  await world.recover();
  await pass(world, 1_000);
  t.notOk(world.archive.written.includes(still), 'it has that one as it is');
});

t.test('a workflow that cannot be archived holds up no other', async (t) => {
  const { world, worker } = await forgetful(0);
  const write = world.archive.write.bind(world.archive);
  const stuck = 'wf-000002';
  let isTooLarge = true;
  let failures = 0;
  world.archive.write = async (workflows) => {
    if (!isTooLarge || !workflows.some(({ state }) => state.id === stuck)) return write(workflows);
    failures += 1;
    return { kind: 'unavailable', message: 'it does not get through in time' };
  };
  const ids: string[] = [];
  for (let i = 0; i < 12; i++) {
    ids.push(await world.start(one));
    await work(world, worker);
    await pass(world, i < 3 ? 0 : 2_000);
  }
  t.same(
    ids.filter((id) => world.has(id)),
    [stuck],
    'all others are archived, and forgotten',
  );
  t.ok(failures > 2, 'it is tried again all the time');
  isTooLarge = false;
  await pass(world, 2_000);
  t.notOk(world.has(stuck));
});

t.test('of many changes the last one is archived', async (t) => {
  const { world, worker } = await forgetful(10);
  for (let i = 0; i < 5; i++) await world.start(one);
  await work(world, worker);
  await pass(world, limits.projectionMs);
  t.equal(world.archive.written.length, 5);
});
