/** Who owns a shard, what becomes of commits of which nobody knows, and checkpoints: cases of the contract of stores. */
import { JournalDamaged } from '@workflow-orchestrator/engine/machine';
import { readFailure, readShard } from '../../coordinator/shard/recovery.ts';
import { ShardStopped } from '../../coordinator/shard/requests.ts';
import type { CheckpointSlice, JournalEntry, Ownership, Store } from '../../coordinator/store/store.ts';
import { blueWorkflow } from './archived.ts';
import { another, batchOf, type Case, checkpointed, commitAll, loaded, pause, someone, take } from './contract.ts';
import { plain } from './events.ts';

function entryOf(workflowId: string, count: number): JournalEntry {
  return {
    workflowId,
    firstEventSeq: 1,
    events: Array.from({ length: count }, (_, index) => ({ kind: 'paused', at: index }) as const),
  };
}

async function kept(store: Store, ownership: Ownership, slice: Partial<CheckpointSlice>): Promise<string> {
  return (await store.checkpoint(ownership, { number: 1, entries: [], finish: null, ...slice })).kind;
}

function plainEntries(entries: readonly JournalEntry[]): unknown {
  return plain([{ firstSeq: 1, lastSeq: 1, entries }]);
}

/** Adds the cases. */
export function tenureCases(on: Case): void {
  on('a lease keeps others away for as long as it is renewed, and they are told who has it', async (t, harness, store) => {
    if (store.leaseMs === null || !harness.isShared) return t.pass('nobody else can have it');
    const other = await harness.open();
    const ownership = await take(store);
    const until = performance.now() + 2 * store.leaseMs;
    while (performance.now() < until) {
      const held = await other.acquire(another);
      t.match(held, { kind: 'held', by: someone });
      t.ok(held.kind === 'held' && held.expiresInMs > 0 && held.expiresInMs <= store.leaseMs);
      t.same(await store.renew(ownership, 0), { kind: 'renewed' });
      await pause(store.leaseMs / 5);
    }
    const next = await take(other, another);
    t.ok(next.epoch > ownership.epoch);
    t.match(await store.renew(ownership, 0), { kind: 'lost', message: /./ });
    t.same(await other.renew(next, 0), { kind: 'renewed' });
  });

  on('a lease that ended and that nobody took is renewed; one that was released is free at once', async (t, harness, store) => {
    if (store.leaseMs === null || !harness.isShared) return t.pass('nobody else can have it');
    const ownership = await take(store);
    await pause(store.leaseMs * 1.5);
    t.same(await store.renew(ownership, 0), { kind: 'renewed' });
    t.same(await commitAll(store, ownership, [batchOf(1)]), ['durable']);
    await store.release(ownership);
    const other = await harness.open();
    t.match(await other.acquire(another), { kind: 'acquired', ownership: { lastSeq: 1 } });
    t.same(await commitAll(store, ownership, [batchOf(2)]), ['fenced']);
    await store.release(ownership);
    t.match(await store.acquire(someone), { kind: 'held', by: another }, 'whoever was replaced releases nothing');
  });

  on('a lease is not renewed when the journal is shorter than its owner knows it', async (t, _, store) => {
    if (store.leaseMs === null) return t.pass('there is no lease');
    const ownership = await take(store);
    await commitAll(store, ownership, [batchOf(1, 3)]);
    t.same(await store.renew(ownership, 3), { kind: 'renewed' });
    t.match(await store.renew(ownership, 4), { kind: 'lost', message: /./ });
  });

  on('reclaim says what became of the commit before it, and nothing of before takes effect after it', async (t, harness, store) => {
    const first = await take(store);
    await commitAll(store, first, [batchOf(1, 2)]);
    const reclaim = await store.reclaim(first);
    t.match(reclaim, { kind: 'reclaimed', ownership: { lastSeq: 2 } });
    if (reclaim.kind !== 'reclaimed') return;
    t.ok(reclaim.ownership.epoch > first.epoch);
    t.not(reclaim.ownership.termId, first.termId);
    t.same(await commitAll(store, first, [batchOf(3)]), ['fenced'], 'a statement that was under way');
    t.same(await kept(store, first, { entries: [entryOf('wf', 1)] }), 'fenced');
    t.same(await commitAll(store, reclaim.ownership, [batchOf(3, 1, 'again')]), ['durable']);
    t.match(await store.reclaim(first), { kind: 'lost', message: /./ });
    t.same(plain(await loaded(store)), plain([batchOf(1, 2), batchOf(3, 1, 'again')]));
    await take(store, another);
    t.match(await store.reclaim(reclaim.ownership), { kind: 'lost', message: /./ }, 'another owner');
    await harness.dispose();
  });

  on('a term is told apart from another one of the same epoch', async (t, _, store) => {
    const ownership = await take(store);
    const foreign = { ...ownership, termId: '00000000-0000-4000-8000-000000000000' };
    t.same(await commitAll(store, foreign, [batchOf(1)]), ['fenced']);
    t.match(await store.reclaim(foreign), { kind: 'lost' });
    t.same(await commitAll(store, ownership, [batchOf(1)]), ['durable']);
  });

  on('every acquisition, and every reclaim, has a term of its own, also in one process', async (t, harness, store) => {
    const owned = [await take(store), await take(store)];
    for (let times = 0; times < 2; times++) {
      const reclaim = await store.reclaim(owned.at(-1)!);
      if (reclaim.kind !== 'reclaimed') return t.fail(reclaim.message);
      owned.push(reclaim.ownership);
    }
    owned.push(await take(store));
    await store.close();
    const other = await harness.open();
    const last = await take(other);
    const terms = owned.map(({ termId }) => termId);
    t.equal(new Set([...terms, last.termId]).size, owned.length + 1);
    // As where a database that went back in time has given an epoch twice: the term alone tells them apart.
    for (const termId of terms) t.same(await commitAll(other, { ...last, termId }, [batchOf(1)]), ['fenced']);
    t.same(await commitAll(other, last, [batchOf(1)]), ['durable']);
  });

  on('a checkpoint stands for the batches before it, once it is finished', async (t, harness, store) => {
    if (!store.needsCheckpoints) return t.pass('it keeps none');
    const ownership = await take(store);
    const batches = [batchOf(1, 2, 'a'), batchOf(3, 1, 'b'), batchOf(4, 1, 'c'), batchOf(5, 2, 'd')];
    await commitAll(store, ownership, batches);
    t.equal(await kept(store, ownership, { entries: [entryOf('a', 2), entryOf('b', 1)] }), 'kept');
    t.same(plain(await loaded(store)), plain(batches), 'it is not finished');
    t.equal(await kept(store, ownership, { entries: [entryOf('c', 1)], finish: { seq: 4, ended: [] } }), 'kept');
    t.same(plainEntries(await checkpointed(store)), plainEntries([entryOf('a', 2), entryOf('b', 1), entryOf('c', 1)]));
    t.same(plain(await loaded(store)), plain(batches.slice(3)));
    t.equal(await kept(store, ownership, { entries: [entryOf('a', 5)], finish: { seq: 6, ended: ['b', 'not there'] } }), 'kept');
    await store.close();
    const other = await harness.open();
    t.same(plainEntries(await checkpointed(other)), plainEntries([entryOf('a', 5), entryOf('c', 1)]), 'in another process');
    t.same(await loaded(other), []);
    t.equal((await take(other)).lastSeq, 6);
  });

  on('a checkpoint stands for nothing that is not committed, and its place does not go back', async (t, _, store) => {
    if (!store.needsCheckpoints) return t.pass('it keeps none');
    const ownership = await take(store);
    const batches = [batchOf(1, 1, 'a'), batchOf(2, 1, 'b'), batchOf(3, 1, 'c')];
    await commitAll(store, ownership, batches);
    t.equal(await kept(store, ownership, { finish: { seq: 4, ended: [] } }), 'fenced');
    t.same(plain(await loaded(store)), plain(batches));
    t.equal(await kept(store, ownership, { number: 2, finish: { seq: 2, ended: [] } }), 'kept');
    t.equal(await kept(store, ownership, { number: 3, finish: { seq: 1, ended: [] } }), 'kept');
    t.same(plain(await loaded(store)), plain(batches.slice(2)));
  });

  for (const [checkpointSeq, left] of [
    [0, 7],
    [0, 4],
    [0, 0],
    [4, 7],
    [4, 4],
    [7, 0],
  ] as const) {
    const title = `a journal of 7 events of which ${left} are left, with a checkpoint of ${checkpointSeq}`;
    on(`${title}: whole or refused`, async (t, harness, store) => {
      const owner = await take(store);
      const [first, second] = [blueWorkflow(1, 4), blueWorkflow(2, 3)].map(({ state, events }) => {
        return { workflowId: state.id, firstEventSeq: 1, events };
      });
      const batches = [
        { firstSeq: 1, lastSeq: 4, entries: [first] },
        { firstSeq: 5, lastSeq: 7, entries: [second] },
      ];
      await commitAll(store, owner, batches);
      const entries = batches.filter(({ lastSeq }) => lastSeq <= checkpointSeq).flatMap((batch) => batch.entries);
      if (checkpointSeq > 0) t.equal(await kept(store, owner, { entries, finish: { seq: checkpointSeq, ended: [] } }), 'kept');
      await harness.forget(left);
      const next = await take(store);
      const reading = readShard(store, next);
      if (Math.max(checkpointSeq, left) === 7) {
        const { workflows } = await reading;
        return t.same(
          workflows.map(({ state }) => [state.id, state.seq]),
          [
            [first.workflowId, 4],
            [second.workflowId, 3],
          ],
        );
      }
      const failure = await reading.catch((error: unknown) => error);
      t.type(failure, JournalDamaged);
      t.equal(await readFailure(store, next, failure), failure, 'for whoever has the shard it is damage');
      await take(store);
      t.type(await readFailure(store, next, failure), ShardStopped, 'and for whoever has lost it, what the other one wrote');
    });
  }

  on('a large checkpoint', async (t, _, store) => {
    if (!store.needsCheckpoints) return t.pass('it keeps none');
    const ownership = await take(store);
    await commitAll(store, ownership, [batchOf(1)]);
    const entries = Array.from({ length: 3_000 }, (_, index) => entryOf(`wf-${String(index).padStart(6, '0')}`, 2));
    for (let at = 0; at < entries.length; at += 500) await kept(store, ownership, { entries: entries.slice(at, at + 500) });
    t.equal(await kept(store, ownership, { finish: { seq: 1, ended: [] } }), 'kept');
    t.same(plainEntries(await checkpointed(store)), plainEntries(entries));
    const ended = entries.slice(0, 2_000).map(({ workflowId }) => workflowId);
    t.equal(await kept(store, ownership, { finish: { seq: 1, ended } }), 'kept');
    t.equal((await checkpointed(store)).length, 1_000);
  });

  on('a slice that comes after a later one changes nothing', async (t, _, store) => {
    if (!store.needsCheckpoints) return t.pass('it keeps none');
    const ownership = await take(store);
    await commitAll(store, ownership, [batchOf(1, 1, 'a'), batchOf(2, 1, 'b')]);
    t.equal(await kept(store, ownership, { number: 1, entries: [entryOf('a', 1), entryOf('b', 1)] }), 'kept');
    t.equal(await kept(store, ownership, { number: 2, entries: [entryOf('a', 5)] }), 'kept');
    t.equal(await kept(store, ownership, { number: 1, entries: [entryOf('a', 1)] }), 'fenced');
    t.equal(await kept(store, ownership, { number: 2, finish: { seq: 2, ended: ['b'] } }), 'kept');
    t.equal(await kept(store, ownership, { number: 1, entries: [entryOf('b', 1)] }), 'fenced', 'what has ended stays so');
    t.equal(await kept(store, ownership, { number: 1, finish: { seq: 2, ended: ['a'] } }), 'fenced');
    t.same(plainEntries(await checkpointed(store)), plainEntries([entryOf('a', 5)]));
    const next = await take(store);
    t.equal(
      await kept(store, next, { number: 1, entries: [entryOf('a', 6)], finish: { seq: 2, ended: [] } }),
      'kept',
      'the next owner begins anew',
    );
    t.same(plainEntries(await checkpointed(store)), plainEntries([entryOf('a', 6)]));
  });

  on('whoever was replaced writes no checkpoint', async (t, _, store) => {
    if (!store.needsCheckpoints) return t.pass('it keeps none');
    const old = await take(store);
    await commitAll(store, old, [batchOf(1)]);
    await kept(store, old, { entries: [entryOf('a', 1)], finish: { seq: 1, ended: [] } });
    await take(store);
    t.equal(await kept(store, old, { entries: [entryOf('a', 9), entryOf('z', 1)] }), 'fenced');
    t.equal(await kept(store, old, { finish: { seq: 9, ended: ['a'] } }), 'fenced');
    t.same(plainEntries(await checkpointed(store)), plainEntries([entryOf('a', 1)]));
  });
}
