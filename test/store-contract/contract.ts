/**
 * What every store must do, as cases over a factory: the invariants of `coordinator/store/store.ts`, whatever keeps the journal.
 */
import type { Test } from 'tap';
import type { JournalBatch, Ownership, Store } from '../../coordinator/store/store.ts';
import { definitionOf, eventsOfEachKind, plain } from './events.ts';

/** One journal, empty at first, that stores can be opened on. */
export interface StoreHarness {
  /** Opens a store on it: the process before has ended, or (where `isShared`) has not. */
  open(): Promise<Store>;
  /** Whether two stores can be open on it at once, as those of two coordinators are. */
  readonly isShared: boolean;
  /** Removes it, with all stores that are still open. */
  dispose(): Promise<void>;
}

const blue = definitionOf('blue');

/** A batch of `count` events of one workflow, the first with number `firstSeq` of the shard. */
function batchOf(firstSeq: number, count = 1, workflowId = `wf-${firstSeq}`): JournalBatch {
  const events = Array.from(
    { length: count },
    (_, index) => ({ kind: 'cancelRequested', at: firstSeq + index, reason: `r${index}`, force: false }) as const,
  );
  return { firstSeq, lastSeq: firstSeq + count - 1, entries: [{ workflowId, firstEventSeq: 1, events }] };
}

async function loaded(store: Store, afterSeq = 0): Promise<JournalBatch[]> {
  const batches: JournalBatch[] = [];
  for await (const batch of store.load(afterSeq)) batches.push(batch);
  return batches;
}

async function commitAll(store: Store, ownership: Ownership, batches: readonly JournalBatch[]): Promise<string[]> {
  const kinds: string[] = [];
  for (const batch of batches) kinds.push((await store.commit(ownership, batch)).kind);
  return kinds;
}

/** Runs all cases, each on a journal of its own. */
export function storeContract(t: Test, name: string, makeHarness: () => Promise<StoreHarness>): void {
  const on = (title: string, run: (t: Test, harness: StoreHarness, store: Store) => Promise<void>): void => {
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
    t.equal((await store.acquire()).lastSeq, 0);
    t.ok(['VOLATILE', 'REPLICATED_VOLATILE', 'DURABLE'].includes(store.durability));
    t.ok(store.health().length > 0);
    for (const tier of store.health()) t.match(tier, { name: /./, health: /^OK$/, detail: /./ });
  });

  on('every acquisition has a higher epoch, and knows where the journal ends', async (t, harness, store) => {
    const first = await store.acquire();
    t.same(await commitAll(store, first, [batchOf(1, 3), batchOf(4)]), ['durable', 'durable']);
    const second = await store.acquire();
    t.ok(second.epoch > first.epoch);
    t.equal(second.lastSeq, 4);
    const together = await Promise.all([store.acquire(), store.acquire()]);
    t.equal(new Set([first, second, ...together].map(({ epoch }) => epoch)).size, 4);
    await store.close();
    const third = await (await harness.open()).acquire();
    t.ok(third.epoch > Math.max(...together.map(({ epoch }) => epoch)), 'also in another process');
    t.equal(third.lastSeq, 4);
  });

  on('what was committed is loaded, exactly and in order, from any place on', async (t, harness, store) => {
    const batches = [batchOf(1, 2), batchOf(3), batchOf(4, 5), batchOf(9)];
    await commitAll(store, await store.acquire(), batches);
    t.same(plain(await loaded(store)), plain(batches));
    t.same(plain(await loaded(store, 2)), plain(batches.slice(1)));
    t.same(plain(await loaded(store, 8)), plain(batches.slice(3)));
    t.same(await loaded(store, 9), []);
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
    t.same(await commitAll(store, await store.acquire(), [batch]), ['durable']);
    await store.close();
    const [found] = await loaded(await harness.open());
    t.same(plain([found]), plain([batch]));
    const [submitted] = found.entries[0].events;
    t.equal(submitted.kind === 'submitted' && submitted.graph.jobs[1].id, 'b', 'a graph is one that can be run');
  });

  on('a batch that does not follow is refused and changes nothing', async (t, _, store) => {
    const ownership = await store.acquire();
    t.same(await commitAll(store, ownership, [batchOf(1, 3)]), ['durable']);
    const refused = [batchOf(5), batchOf(1, 3), batchOf(3), batchOf(2, 9)];
    for (const batch of refused) {
      const outcome = await store.commit(ownership, batch);
      t.ok(outcome.kind === 'aborted' || outcome.kind === 'fenced', `${batch.firstSeq}: ${outcome.kind}`);
    }
    t.same(plain(await loaded(store)), plain([batchOf(1, 3)]));
    t.same(await commitAll(store, await store.acquire(), [batchOf(4)]), ['durable'], 'and the right one is taken');
  });

  on('an owner that was replaced is fenced, whatever it tries', async (t, _, store) => {
    const old = await store.acquire();
    await commitAll(store, old, [batchOf(1)]);
    const next = await store.acquire();
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
    t.same(await commitAll(store, await store.acquire(), [batch]), ['durable']);
    await store.close();
    t.same(plain(await loaded(await harness.open())), plain([batch]));
  });

  on('many batches', async (t, _, store) => {
    const batches = Array.from({ length: 450 }, (_, index) => batchOf(index + 1));
    await commitAll(store, await store.acquire(), batches);
    t.same(plain(await loaded(store)), plain(batches));
    t.same(plain(await loaded(store, 443)), plain(batches.slice(443)));
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
    t.same(await all(store), [green, blue.stored, red]);
    const later = { ...blue.stored, registeredAt: 2_000_000_000_000 };
    t.same(await store.putDefinition({ ...later, yaml: 'another text' }), later);
    t.same(await store.putDefinition({ ...later, registeredAt: 0 }), later, 'known from a submit: nothing new');
    t.same(await all(store), [green, red, later]);
    await store.close();
    t.same(await all(await harness.open()), [green, red, later]);
  });

  t.test(`${name}: two coordinators: the one that came later has the shard`, async (t) => {
    const harness = await makeHarness();
    try {
      if (!harness.isShared) return t.pass('only one process can have it');
      const [first, second] = [await harness.open(), await harness.open()];
      const old = await first.acquire();
      t.same(await commitAll(first, old, [batchOf(1)]), ['durable']);
      const next = await second.acquire();
      t.equal(next.lastSeq, 1);
      t.same(await commitAll(first, old, [batchOf(2, 1, 'late')]), ['fenced']);
      t.same(await commitAll(second, next, [batchOf(2, 1, 'new')]), ['durable']);
      t.same(plain(await loaded(first)), plain([batchOf(1), batchOf(2, 1, 'new')]));
    } finally {
      await harness.dispose();
    }
  });
}
