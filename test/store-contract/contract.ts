/**
 * What every store must do, as cases over a factory: the invariants of `coordinator/store/store.ts`, whatever keeps the journal.
 */
import type { Test } from 'tap';
import type { JournalBatch, JournalEntry, LoadedPart, Ownership, Store } from '../../coordinator/store/store.ts';
import { archiveCases } from './archive-cases.ts';
import { definitionOf, eventsOfEachKind, plain } from './events.ts';
import { tenureCases } from './tenure-cases.ts';

/** One journal, empty at first, that stores can be opened on. */
export interface StoreHarness {
  /** Opens a store on it: the process before has ended, or (where `isShared`) has not. Its leases, if it has any, are short: about 300 ms. */
  open(): Promise<Store>;
  /** Whether two stores can be open on it at once, as those of two coordinators are. */
  readonly isShared: boolean;
  /** Takes away what there is of the journal after this event, and that alone: where it ended is still known. */
  forget(afterSeq: number): Promise<void>;
  /** Removes it, with all stores that are still open. */
  dispose(): Promise<void>;
}

const blue = definitionOf('blue');

/** A batch of `count` events of one workflow, the first with number `firstSeq` of the shard. */
export function batchOf(firstSeq: number, count = 1, workflowId = `wf-${firstSeq}`): JournalBatch {
  const events = Array.from(
    { length: count },
    (_, index) => ({ kind: 'cancelRequested', at: firstSeq + index, reason: `r${index}`, force: false }) as const,
  );
  return { firstSeq, lastSeq: firstSeq + count - 1, entries: [{ workflowId, firstEventSeq: 1, events }] };
}

async function parts(store: Store): Promise<LoadedPart[]> {
  const found: LoadedPart[] = [];
  for await (const part of store.load()) found.push(part);
  return found;
}

/** The batches that a recovery reads. */
export async function loaded(store: Store): Promise<JournalBatch[]> {
  return (await parts(store)).flatMap((part) => (part.kind === 'batch' ? [part.batch] : []));
}

/** The workflows of the checkpoint that a recovery reads, by id. */
export async function checkpointed(store: Store): Promise<JournalEntry[]> {
  const entries = (await parts(store)).flatMap((part) => (part.kind === 'checkpoint' ? [...part.entries] : []));
  return entries.sort((a, b) => (a.workflowId < b.workflowId ? -1 : 1));
}

/** Coordinators that want the shard. */
export const someone = { coordinatorId: 'c-1', address: 'http://localhost:8001' };
export const another = { coordinatorId: 'c-2', address: 'http://localhost:8002' };

/** Takes the shard, as soon as nobody else's lease holds. */
export async function take(store: Store, owner = someone): Promise<Ownership> {
  for (let tries = 0; tries < 200; tries++) {
    const acquisition = await store.acquire(owner);
    if (acquisition.kind === 'acquired') return acquisition.ownership;
    if (acquisition.kind === 'unavailable') throw new Error(acquisition.message);
    await pause(Math.min(acquisition.expiresInMs, 50) + 1);
  }
  throw new Error('the lease does not end');
}

/** Time passes. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Commits one after the other; the outcomes. */
export async function commitAll(store: Store, ownership: Ownership, batches: readonly JournalBatch[]): Promise<string[]> {
  const kinds: string[] = [];
  for (const batch of batches) kinds.push((await store.commit(ownership, batch)).kind);
  return kinds;
}

/** One case of the contract, on a journal of its own. */
export type Case = (title: string, run: (t: Test, harness: StoreHarness, store: Store) => Promise<unknown>) => void;

/** Runs all cases, each on a journal of its own. */
export function storeContract(t: Test, name: string, makeHarness: () => Promise<StoreHarness>): void {
  const on: Case = (title, run) => {
    t.test(`${name}: ${title}`, async (t) => {
      const harness = await makeHarness();
      try {
        const store = await harness.open();
        await store.putDefinition(blue.stored);
        await run(t, harness, store);
      } finally {
        await harness.dispose();
      }
    });
  };

  on('an empty journal', async (t, _, store) => {
    t.same(await loaded(store), []);
    t.equal((await take(store)).lastSeq, 0);
    t.ok(['VOLATILE', 'REPLICATED_VOLATILE', 'DURABLE'].includes(store.durability));
    t.ok(store.health().length > 0);
    for (const tier of store.health()) t.match(tier, { name: /./, health: /^OK$/, detail: /./ });
  });

  on('every acquisition has a higher epoch, and knows where the journal ends', async (t, harness, store) => {
    const first = await take(store);
    t.same(await commitAll(store, first, [batchOf(1, 3), batchOf(4)]), ['durable', 'durable']);
    const second = await take(store);
    t.ok(second.epoch > first.epoch);
    t.equal(second.lastSeq, 4);
    const together = await Promise.all([take(store), take(store)]);
    t.equal(new Set([first, second, ...together].map(({ epoch }) => epoch)).size, 4);
    await store.close();
    const third = await take(await harness.open());
    t.ok(third.epoch > Math.max(...together.map(({ epoch }) => epoch)), 'also in another process');
    t.equal(third.lastSeq, 4);
  });

  on('what was committed is loaded, exactly and in order', async (t, harness, store) => {
    const batches = [batchOf(1, 2), batchOf(3), batchOf(4, 5), batchOf(9)];
    await commitAll(store, await take(store), batches);
    t.same(plain(await loaded(store)), plain(batches));
    await store.close();
    t.same(plain(await loaded(await harness.open())), plain(batches), 'in another process');
  });

  on('every kind of event comes back field for field', async (t, harness, store) => {
    const events = eventsOfEachKind(blue.graph, 'wf');
    const entries = [
      { workflowId: 'wf', firstEventSeq: 1, events },
      { workflowId: 'other', firstEventSeq: 7, events: events.slice(1, 3) },
    ];
    const batch = { firstSeq: 1, lastSeq: events.length + 2, entries };
    t.same(await commitAll(store, await take(store), [batch]), ['durable']);
    await store.close();
    const [found] = await loaded(await harness.open());
    t.same(plain([found]), plain([batch]));
    const [submitted] = found.entries[0].events;
    t.equal(submitted.kind === 'submitted' && submitted.graph.jobs[1].id, 'b', 'a graph is one that can be run');
  });

  on('a batch that does not follow is refused and changes nothing', async (t, _, store) => {
    const ownership = await take(store);
    t.same(await commitAll(store, ownership, [batchOf(1, 3)]), ['durable']);
    const refused = [batchOf(5), batchOf(1, 3), batchOf(3), batchOf(2, 9)];
    for (const batch of refused) {
      const outcome = await store.commit(ownership, batch);
      t.ok(outcome.kind === 'aborted' || outcome.kind === 'fenced', `${batch.firstSeq}: ${outcome.kind}`);
    }
    t.same(plain(await loaded(store)), plain([batchOf(1, 3)]));
    t.same(await commitAll(store, await take(store), [batchOf(4)]), ['durable'], 'and the right one is taken');
  });

  on('an owner that was replaced is fenced, whatever it tries', async (t, _, store) => {
    const old = await take(store);
    await commitAll(store, old, [batchOf(1)]);
    const next = await take(store);
    t.same(await commitAll(store, old, [batchOf(2), batchOf(2), batchOf(9)]), ['fenced', 'fenced', 'fenced']);
    t.same(await commitAll(store, next, [batchOf(2, 2, 'next')]), ['durable']);
    t.same(await commitAll(store, old, [batchOf(4)]), ['fenced']);
    t.same(plain(await loaded(store)), plain([batchOf(1), batchOf(2, 2, 'next')]));
  });

  on('a commit as large as they get', async (t, harness, store) => {
    const events = Array.from(
      { length: 1_000 },
      (_, index) => ({ kind: 'jobReady', at: index, job: index, parameters: null, inputJobs: [] }) as const,
    );
    const output = { encoding: 'json', data: new Uint8Array(256 * 1024).fill(0x20) };
    const attempt = { number: 1, token: 't', workerId: 'w', startMs: 1 };
    const large = [{ kind: 'jobSucceeded', at: 1, job: 0, attempt, output } as const, { kind: 'started', at: 2 } as const];
    const batch = {
      firstSeq: 1,
      lastSeq: 1_004,
      entries: [
        { workflowId: 'many', firstEventSeq: 1, events },
        { workflowId: 'large', firstEventSeq: 1, events: large },
        { workflowId: 'large too', firstEventSeq: 1, events: large },
      ],
    };
    t.same(await commitAll(store, await take(store), [batch]), ['durable']);
    await store.close();
    t.same(plain(await loaded(await harness.open())), plain([batch]));
  });

  on('many batches', async (t, _, store) => {
    const batches = Array.from({ length: 450 }, (_, index) => batchOf(index + 1));
    await commitAll(store, await take(store), batches);
    t.same(plain(await loaded(store)), plain(batches));
  });

  on('definitions are kept once with their first text, in the order in which they were last registered', async (t, harness, store) => {
    const [red, green] = [definitionOf('red', 1_900_000_000_000).stored, definitionOf('green', 0).stored];
    const all = async (from: Store): Promise<unknown[]> => {
      const found: unknown[] = [];
      for await (const definition of from.definitions()) found.push(definition);
      return found;
    };
    t.same(await store.putDefinition(red), red);
    t.same(await store.putDefinition(green), green);
    t.same(
      await store.putDefinition({ ...blue.stored, yaml: 'another text', registeredAt: 5 }),
      blue.stored,
      'an earlier time changes nothing',
    );
    t.same(await all(store), [blue.stored, red], 'what is known from submits alone is not listed');
    const byHash = await store.definitionsByHash([green.hash, red.hash, 'no-such-hash']);
    t.same([...byHash].sort(), [[green.hash, green] as const, [red.hash, red] as const].sort(), 'and found by its hash');
    const later = { ...blue.stored, registeredAt: 2_000_000_000_000 };
    t.same(await store.putDefinition({ ...later, yaml: 'another text' }), later);
    t.same(await store.putDefinition({ ...later, registeredAt: 0 }), later, 'known from a submit: nothing new');
    t.same(await all(store), [red, later]);
    await store.close();
    t.same(await all(await harness.open()), [red, later]);
  });

  t.test(`${name}: two coordinators: the one that came later has the shard`, async (t) => {
    const harness = await makeHarness();
    try {
      if (!harness.isShared) return t.pass('only one process can have it');
      const [first, second] = [await harness.open(), await harness.open()];
      const old = await take(first);
      t.same(await commitAll(first, old, [batchOf(1)]), ['durable']);
      const next = await take(second, another);
      t.equal(next.lastSeq, 1);
      t.same(await commitAll(first, old, [batchOf(2, 1, 'late')]), ['fenced']);
      t.same(await commitAll(second, next, [batchOf(2, 1, 'new')]), ['durable']);
      t.same(plain(await loaded(first)), plain([batchOf(1), batchOf(2, 1, 'new')]));
    } finally {
      await harness.dispose();
    }
  });

  tenureCases(on);
  archiveCases(on);
}
