/** The store in PostgreSQL through PgBouncer in transaction mode: every transaction may have another connection. */
import t from 'tap';
import { pgbouncer, postgres } from '../services/services.ts';
import { batchOf, storeContract, take } from '../store-contract/contract.ts';
import { drive, journalNames } from '../store-support/commit-driver.ts';
import { changed, connect, dropSpares, postgresHarness } from '../store-support/databases.ts';

const server = await postgres(t);
const pooler = await pgbouncer(t, server.url);
const port = pooler.skip === false ? Number(new URL(pooler.url).port) : 0;
t.teardown(async () => {
  if (server.skip === false) await dropSpares(server.url);
});

if (pooler.skip !== false) t.test('the store in PostgreSQL through PgBouncer', { skip: pooler.skip }, async () => {});
else {
  t.test('commits go on without prepared statements, and all of them are there', async (t) => {
    const said: string[] = [];
    const harness = await postgresHarness(server.url, { leaseMs: 3_000, log: (_, message) => said.push(message) }, port);
    const other = connect(changed(harness.url, { port }));
    try {
      const store = await harness.open();
      let isOver = false;
      const driven = drive(store, 'c-1', () => isOver);
      // Others keep the pooler's connections moving.
      const isTold = (): boolean => said.some((line) => line.includes('without prepared statements'));
      while (!isTold() || driven.acknowledged.size < 50)
        await Promise.all([other.unsafe('select 1'), other.unsafe('select 2'), other.unsafe('select 3')]);
      isOver = true;
      await driven.done;
      t.same([...(await journalNames(store))], [...driven.acknowledged]);
      t.equal(driven.answers.unknown, undefined, JSON.stringify(driven.answers));
      t.equal(said.filter((line) => line.includes('without prepared statements')).length, 1, said.join());
    } finally {
      await other.end({ timeout: 1 });
      await harness.dispose();
    }
  });

  t.test('a commit that hangs behind the pooler is ended by reclaim', async (t) => {
    const harness = await postgresHarness(server.url, {}, port);
    const sql = connect(harness.url);
    try {
      const store = await harness.open();
      const ownership = await take(store);
      t.same(await store.commit(ownership, batchOf(1)), { kind: 'durable' });
      let reclaim = 'unavailable';
      await sql.begin(async (own) => {
        await own`select 1 from shard for update`;
        t.match(await store.commit(ownership, batchOf(2)), { kind: 'unknown' });
        reclaim = (await store.reclaim(ownership)).kind;
      });
      t.equal(reclaim, 'unavailable');
      let last = await store.reclaim(ownership);
      while (last.kind === 'unavailable') last = await store.reclaim(ownership);
      t.match(last, { kind: 'reclaimed' });
      if (last.kind !== 'reclaimed') return;
      t.equal((await journalNames(store)).size, last.ownership.lastSeq);
    } finally {
      await sql.end({ timeout: 1 });
      await harness.dispose();
    }
  });

  storeContract(t, 'postgres through PgBouncer', () => postgresHarness(server.url, {}, port));
}
