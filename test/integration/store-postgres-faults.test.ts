/** The store in PostgreSQL when something goes wrong: owners that race, statements that come late, replies that are lost, backends that die, disks that take nothing. */
import fc from 'fast-check';
import t from 'tap';
import { parseAddress } from '../../coordinator/store/postgres/address.ts';
import { Database } from '../../coordinator/store/postgres/database.ts';
import { Health } from '../../coordinator/store/postgres/health.ts';
import { Link } from '../../coordinator/store/postgres/link.ts';
import { statement } from '../../coordinator/store/postgres/statement.ts';
import type { Ownership, Reclaim, Store } from '../../coordinator/store/store.ts';
import { postgres } from '../services/services.ts';
import { blueWorkflow, idOf } from '../store-contract/archived.ts';
import { another, batchOf, commitAll, loaded, pause, someone, take } from '../store-contract/contract.ts';
import { plain } from '../store-contract/events.ts';
import { drive, journalNames } from '../store-support/commit-driver.ts';
import { changed, connect, dropSpares, execute, postgresHarness, type Sql } from '../store-support/databases.ts';
import { startProxy } from '../stream-support/tcp-proxy.ts';

const server = await postgres(t);
const options = { skip: server.skip };
t.teardown(async () => {
  if (server.skip === false) await dropSpares(server.url);
});

type Scope = { teardown(end: () => Promise<void>): void };

/** A journal with a store on it, and a connection beside it. */
async function opened(t: Scope, options: Parameters<typeof postgresHarness>[1] = {}) {
  const harness = await postgresHarness(server.url, options);
  const sql = connect(harness.url);
  t.teardown(async () => {
    await sql.end({ timeout: 1 });
    await harness.dispose();
  });
  return { harness, sql, store: await harness.open() };
}

/** A store behind a proxy, with nothing else under way. */
async function proxied(t: Scope) {
  const harness = await postgresHarness(server.url);
  const proxy = await startProxy(parseAddress(server.url).hosts[0]!.port);
  const { openPostgresStore } = await import('../../coordinator/store/postgres/postgres.ts');
  const store = await openPostgresStore({ url: changed(harness.url, { port: proxy.port }), leaseMs: 300 });
  await store.upkeep.clean();
  t.teardown(async () => {
    await store.close();
    await proxy.close();
    await harness.dispose();
  });
  return { harness, proxy, store };
}

/** Holds the row of the shard until it is let go. */
async function holdRow(sql: Sql): Promise<() => Promise<void>> {
  let letGo = (): void => {};
  const free = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  let held = (): void => {};
  const isHeld = new Promise<void>((resolve) => {
    held = resolve;
  });
  const holding = sql.begin(async (own) => {
    await own`select 1 from shard for update`;
    held();
    await free;
  });
  await isHeld;
  return async () => {
    letGo();
    await holding;
  };
}

/** Settled when so many statements wait for a lock. */
async function waiting(sql: Sql, count: number): Promise<void> {
  for (;;) {
    const [row] =
      await sql`select count(*)::integer as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    if (row!.n >= count) return;
    await pause(5);
  }
}

async function reclaimed(store: Store, ownership: Ownership): Promise<Ownership> {
  for (;;) {
    const answer: Reclaim = await store.reclaim(ownership);
    if (answer.kind === 'reclaimed') return answer.ownership;
    if (answer.kind === 'lost') throw new Error(answer.message);
    await pause(20);
  }
}

t.test('two owners that commit at once: one of them does, and the journal is theirs in turn', options, async (t) => {
  const { harness, store: first } = await opened(t);
  const second = await harness.open();
  let last = 0;
  let wins = 0;
  for (let round = 0; round < 200; round++) {
    // Both believe to own it: the second took it while the first was about to commit.
    const old = await take(first, someone);
    const [late, taken] = await Promise.all([first.commit(old, batchOf(last + 1, 1, `old ${round}`)), second.acquire(someone)]);
    if (taken.kind !== 'acquired') throw new Error(taken.kind);
    const wasFirst = late.kind === 'durable';
    if (!wasFirst && late.kind !== 'fenced') t.fail(`the old one is answered ${late.kind}`);
    if (taken.ownership.lastSeq !== last + (wasFirst ? 1 : 0)) t.fail('the new one does not know where the journal ends');
    last = taken.ownership.lastSeq;
    wins += wasFirst ? 1 : 0;
    const outcomes = await Promise.all([
      first.commit(old, batchOf(last + 1, 1, `late ${round}`)),
      second.commit(taken.ownership, batchOf(last + 1, 1, `new ${round}`)),
    ]);
    if (outcomes[0].kind !== 'fenced' || outcomes[1].kind !== 'durable') t.fail(`${round}: ${outcomes[0].kind}, ${outcomes[1].kind}`);
    last += 1;
  }
  const names = await journalNames(second);
  t.equal(names.size, 200 + wins);
  t.notOk([...names.values()].some((name) => name.startsWith('late')));
});

t.test('a commit that hangs is of unknown outcome, and reclaim ends it', options, async (t) => {
  const { sql, store } = await opened(t);
  const ownership = await take(store);
  t.same(await commitAll(store, ownership, [batchOf(1)]), ['durable']);
  const letGo = await holdRow(sql);
  t.match(await store.commit(ownership, batchOf(2, 1, 'late')), { kind: 'unknown', message: /no answer within 2000 ms/ });
  await waiting(sql, 1);
  t.match(await store.reclaim(ownership), { kind: 'unavailable', message: /lock/ }, 'somebody else has the row');
  const [row] =
    await sql`select count(*)::integer as n from pg_stat_activity where application_name like 'workflow-%/commit' and wait_event_type = 'Lock'`;
  t.equal(row!.n, 0, 'and our own statement is gone');
  t.match(store.health(), [{ health: 'DOWN' }]);
  await letGo();
  const next = await reclaimed(store, ownership);
  t.equal(next.lastSeq, 1);
  t.same(await commitAll(store, next, [batchOf(2, 1, 'again')]), ['durable']);
  t.same(plain(await loaded(store)), plain([batchOf(1), batchOf(2, 1, 'again')]));
  t.match(store.health(), [{ health: 'OK' }], 'and well again');
});

t.test('a commit that comes late is in before a reclaim, or never', options, async (t) => {
  const { sql, store } = await opened(t);
  let ownership = await take(store);
  const kinds = new Set<boolean>();
  for (let round = 0; round < 4; round++) {
    const before = ownership.lastSeq;
    const letGo = await holdRow(sql);
    t.match(await store.commit(ownership, batchOf(before + 1, 1, `late ${round}`)), { kind: 'unknown' });
    const answer = reclaimed(store, ownership);
    await waiting(sql, 2);
    await letGo();
    ownership = await answer;
    kinds.add(ownership.lastSeq === before + 1);
    const found = (await loaded(store)).at(-1)?.lastSeq ?? 0;
    t.equal(found, ownership.lastSeq);
    await pause(20);
    t.equal((await loaded(store)).at(-1)?.lastSeq ?? 0, found, 'nothing comes after it');
  }
  t.ok(kinds.has(true), 'the one that waited first was first');
});

t.test(
  'another coordinator takes the shard while a statement of the old owner hangs: it is in before the takeover, or never',
  options,
  async (t) => {
    const { harness, sql, store } = await opened(t);
    const other = await harness.open();
    for (let round = 0; round < 4; round++) {
      const old = await take(store, someone);
      const letGo = await holdRow(sql);
      // `pause` lets the lease run out: whoever comes may take the shard.
      await pause(320);
      const isLate = round % 2 === 1;
      let acquiring = isLate ? other.acquire(another) : null;
      if (isLate) await waiting(sql, 1);
      const late = store.commit(old, batchOf(old.lastSeq + 1, 1, `late ${round}`));
      await waiting(sql, isLate ? 2 : 1);
      acquiring ??= other.acquire(another);
      await waiting(sql, 2);
      await letGo();
      const [taken, outcome] = [await acquiring, await late];
      if (taken.kind !== 'acquired') throw new Error(taken.kind);
      t.equal(taken.ownership.lastSeq, outcome.kind === 'durable' ? old.lastSeq + 1 : old.lastSeq, outcome.kind);
      t.equal(outcome.kind, isLate ? 'fenced' : 'durable');
      t.same(await commitAll(other, taken.ownership, [batchOf(taken.ownership.lastSeq + 1)]), ['durable']);
      t.match(await store.reclaim(old), { kind: 'lost', message: /c-2 has taken it/ });
      await other.release(taken.ownership);
    }
  },
);

for (const what of ['reply', 'request'] as const) {
  t.test(`a commit whose ${what} is lost: reclaim says whether it is there`, options, async (t) => {
    const { proxy, store } = await proxied(t);
    let ownership = await take(store);
    let last = 0;
    for (let round = 0; round < 50; round++) {
      if ((await store.commit(ownership, batchOf(last + 1))).kind !== 'durable') t.fail('an undisturbed commit');
      last += 1;
      const lost = proxy.loseNext(what);
      const outcome = await store.commit(ownership, batchOf(last + 1, 2));
      await lost;
      if (outcome.kind !== 'unknown') t.fail(`${round}: ${outcome.kind}`);
      ownership = await reclaimed(store, ownership);
      const expected = what === 'reply' ? last + 2 : last;
      // The server may take a moment to see what it was sent before the connection broke; the reclaim waits for it.
      if (ownership.lastSeq !== expected) t.fail(`${round}: the journal ends at ${ownership.lastSeq}, not at ${expected}`);
      last = ownership.lastSeq;
    }
    t.equal((await loaded(store)).at(-1)?.lastSeq, last);
  });
}

t.test('the answer to a reclaim is lost: the next one gives it, once', options, async (t) => {
  const { proxy, store } = await proxied(t);
  let ownership = await take(store);
  for (let round = 0; round < 10; round++) {
    const lost = proxy.loseNext('reply', 'update shard set epoch');
    t.match(await store.reclaim(ownership), { kind: 'unavailable', message: /./ });
    await lost;
    const next = await reclaimed(store, ownership);
    t.equal(next.epoch, ownership.epoch + 1, 'it had been done');
    t.match(await store.reclaim(ownership), { kind: 'lost' }, 'an answer that was given is not given twice');
    ownership = next;
  }
  t.same(await commitAll(store, ownership, [batchOf(1)]), ['durable']);
});

t.test(
  'a frozen connection: commits, leases, reads and reclaims end within their deadlines, and all is well when it moves again',
  options,
  async (t) => {
    const { proxy, store } = await proxied(t);
    const ownership = await take(store);
    t.same(await commitAll(store, ownership, [batchOf(1)]), ['durable']);
    proxy.freeze();
    const [commit, renewal] = await Promise.all([store.commit(ownership, batchOf(2)), store.renew(ownership, 1), store.release(ownership)]);
    t.match(commit, { kind: 'unknown', message: /no answer within 2000 ms/ });
    t.match(renewal, { kind: 'unavailable', message: /no answer/ });
    t.match(await store.reclaim(ownership), { kind: 'unavailable', message: /./ });
    t.match(store.health(), [{ name: 'postgresql', health: 'DOWN', detail: /does not answer since \d{4}-/ }]);
    proxy.cut();
    t.match(await store.commit(ownership, batchOf(2)), { kind: 'aborted', isTransient: true }, 'nothing was sent');
    proxy.mend();
    const next = await reclaimed(store, ownership);
    t.equal(next.lastSeq, 1);
    t.same(await commitAll(store, next, [batchOf(2)]), ['durable']);
    t.match(store.health(), [{ health: 'OK' }]);
  },
);

t.test('backends that are ended under load: nothing acknowledged is lost, nothing is there twice', options, async (t) => {
  const { sql, store } = await opened(t, { leaseMs: 3_000 });
  let isOver = false;
  const driven = drive(store, 'c-1', () => isOver);
  for (let round = 0; round < 40; round++) {
    await pause(10 + (round % 7));
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'workflow-%' and datname = current_database()`;
  }
  isOver = true;
  await driven.done;
  t.same([...(await journalNames(store))], [...driven.acknowledged]);
  t.ok((driven.answers.unknown ?? 0) > 0, JSON.stringify(driven.answers));
  t.ok((driven.answers.reclaimed ?? 0) > 0);
});

t.test('a database that takes no writes: proven to be aborted, told by health, over by itself', options, async (t) => {
  const { harness, sql, store } = await opened(t);
  const ownership = await take(store);
  t.same(await commitAll(store, ownership, [batchOf(1)]), ['durable']);
  const name = parseAddress(harness.url).database;
  await sql.unsafe(`alter database ${name} set default_transaction_read_only = on`);
  await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'workflow-%' and datname = current_database()`;
  // A connection may be known to be gone, or found to be.
  const first = await store.commit(ownership, batchOf(2));
  t.ok(first.kind === 'unknown' || first.kind === 'aborted', first.kind);
  t.match(await store.commit(ownership, batchOf(2)), { kind: 'aborted', isTransient: true, message: /read-only/ });
  t.match(await store.renew(ownership, 1), { kind: 'unavailable', message: /read-only/ });
  t.match(await store.reclaim(ownership), { kind: 'unavailable', message: /read-only/ });
  t.match(store.health(), [{ health: 'DOWN', detail: /takes no writes since/ }]);
  t.same(plain(await loaded(store)), plain([batchOf(1)]), 'what is there can be read');
  t.match(store.health(), [{ health: 'DOWN', detail: /takes no writes since/ }], 'a read does not make it well');
  await execute(server.url, `alter database ${name} reset default_transaction_read_only`);
  await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'workflow-%' and datname = current_database()`;
  const next = await reclaimed(store, ownership);
  t.same(await commitAll(store, next, [batchOf(2)]), ['durable']);
  t.match(store.health(), [{ health: 'OK' }]);
});

t.test('a notice on a commit: its outcome is unknown', options, async (t) => {
  const { sql, store } = await opened(t);
  const ownership = await take(store);
  await sql.unsafe(`
    create function say() returns trigger language plpgsql as $$ begin raise warning 'something'; return new; end $$;
    create trigger say before update on shard for each row when (new.last_seq <> old.last_seq) execute function say()`);
  t.match(await store.commit(ownership, batchOf(1)), { kind: 'unknown', message: /noticed: something/ });
  await sql.unsafe('drop trigger say on shard; drop function say');
  const next = await reclaimed(store, ownership);
  t.equal(next.lastSeq, 1, 'here it had taken effect');
});

t.test('errors of a commit: those that pass, and those that never do', options, async (t) => {
  const { sql, store } = await opened(t);
  const ownership = await take(store);
  const raising = (code: string) =>
    sql.unsafe(`
      create or replace function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused' using errcode = '${code}'; end $$;
      create or replace trigger refuse before update on shard for each row when (new.last_seq <> old.last_seq) execute function refuse()`);
  for (const [code, expected] of Object.entries({
    '40001': { kind: 'aborted', isTransient: true },
    '40P01': { kind: 'aborted', isTransient: true },
    '55P03': { kind: 'aborted', isTransient: true },
    '53100': { kind: 'aborted', isTransient: true },
    '53200': { kind: 'aborted', isTransient: true },
    '23505': { kind: 'aborted', isTransient: false },
    '22003': { kind: 'aborted', isTransient: false },
    '42501': { kind: 'aborted', isTransient: false },
    '57014': { kind: 'unknown' },
    '58030': { kind: 'unknown' },
    XX000: { kind: 'unknown' },
  })) {
    await raising(code);
    t.match(await store.commit(ownership, batchOf(1)), { ...expected, message: new RegExp(code) }, code);
    if (code === '53100') t.match(store.health(), [{ health: 'DOWN', detail: /no room on its disk/ }]);
  }
  await sql.unsafe('drop trigger refuse on shard; drop function refuse');
  t.same(await commitAll(store, ownership, [batchOf(1)]), ['durable']);
});

t.test('a new day that has no partition yet: the commit passes at the second attempt', options, async (t) => {
  const { sql, store } = await opened(t);
  const ownership = await take(store);
  await store.upkeep.clean();
  for (const {
    relname,
  } of await sql`select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'journal'::regclass`) {
    await sql.unsafe(`drop table ${relname}`);
  }
  t.match(await store.commit(ownership, batchOf(1)), { kind: 'aborted', isTransient: true, message: /no partition/ });
  t.same(await commitAll(store, ownership, [batchOf(1)]), ['durable']);
});

t.test('any value is a value, in whatever way it is written into a statement', options, async (t) => {
  const harness = await postgresHarness(server.url);
  t.teardown(() => harness.dispose());
  for (const setting of ['on', 'off']) {
    const link = await Link.open({ address: parseAddress(harness.url), name: 'test' }, 10_000);
    await link.run(`set standard_conforming_strings = ${setting}; set escape_string_warning = off`, 10_000);
    const pieces = fc.constantFrom(
      "'",
      '"',
      '\\',
      '$',
      '$w',
      '$w$',
      '$1',
      'w$',
      '--',
      '/*',
      ';',
      '\n',
      'e',
      'ü',
      '漢',
      '😀',
      ' ',
      '%',
      '0',
    );
    const text = fc.oneof(
      fc.array(pieces, { maxLength: 12 }).map((list) => list.join('')),
      fc.string({ unit: 'binary', maxLength: 20 }),
    );
    const ask = statement('select $1::text as text, $2::bytea as bytes, $3::float8 as number, $1::text as again');
    await fc.assert(
      fc.asyncProperty(
        text.filter((some) => !some.includes('\0')),
        fc.uint8Array({ maxLength: 20 }),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        async (some, bytes, number) => {
          const [row] = await link.run(ask(some, bytes, number), 10_000);
          if (row!.text !== some.toWellFormed() || row!.again !== row!.text)
            throw new Error(`${JSON.stringify(some)} came back as ${JSON.stringify(row!.text)}`);
          if (Buffer.compare(row!.bytes as Uint8Array, bytes) !== 0) throw new Error('bytes');
          if (row!.number !== number && !(row!.number === 0 && number === 0)) throw new Error(`${number} came back as ${row!.number}`);
        },
      ),
      { numRuns: 300 },
    );
    await t.rejects(link.run(ask('a\0b', new Uint8Array(), 0), 10_000), { code: '22021' }, 'PostgreSQL keeps no NUL');
    t.throws(() => ask('a', new Uint8Array()), { message: 'the statement has no value for $3' });
    t.throws(() => ask('a', new Uint8Array(), Number.NaN), { message: /is no number/ });
    await link.close();
  }
});

t.test('a database that lost what it had acknowledged is written to by nobody who knows of it', options, async (t) => {
  const { store, sql } = await opened(t);
  const ownership = await take(store);
  await commitAll(store, ownership, [batchOf(1), batchOf(2)]);
  const { entries } = batchOf(1);
  const slice = (number: number) => store.checkpoint(ownership, { number, entries, finish: null });
  t.same(await slice(1), { kind: 'kept' });
  t.same(await store.archive!.write([blueWorkflow(1, 7)]), { kind: 'kept' });
  // As a copy that took over would have it: without the last event.
  await sql`update shard set last_seq = 1`;
  t.same(await slice(2), { kind: 'fenced' });
  t.same(await store.archive!.write([blueWorkflow(2, 7)]), { kind: 'fenced' });
  t.equal(await store.archive!.get(idOf(2)), null);
  t.match(await store.renew(ownership, 2), { kind: 'lost', message: /went back in time/ });
  await sql`update shard set last_seq = 2`;
  t.same(await slice(3), { kind: 'kept' });
  // Without the last slice: what this owner believes to be kept is not.
  await sql`update checkpoint_state set round = round - 1`;
  t.same(await slice(4), { kind: 'fenced' });
  const finish = { seq: 2, ended: [] };
  t.same(await store.checkpoint(ownership, { number: 5, entries: [], finish }), { kind: 'fenced' }, 'and so the journal stays');
  const next = await store.reclaim(ownership);
  if (next.kind !== 'reclaimed') return t.fail(next.message);
  t.same(
    await store.checkpoint(next.ownership, { number: 6, entries, finish }),
    { kind: 'fenced' },
    'also when it takes the shard anew from itself',
  );
  const anew = await take(store);
  t.same(await store.checkpoint(anew, { number: 1, entries, finish }), { kind: 'kept' }, 'whoever reads it anew goes on');
});

t.test('a question that is refused, or takes too long, is no trouble of the database', options, async (t) => {
  const health = new Health('db', '');
  const database = new Database(parseAddress(server.url), health, () => {});
  await t.rejects(database.ask('select 1 / 0'), { code: '22012' });
  await t.rejects(database.ask('select pg_sleep(10)', 300), { code: '57014' });
  t.match(health.tiers(), [{ health: 'OK' }]);
  await t.rejects(database.askLease('select pg_sleep(10)'), 'a lease that is not answered in time is trouble');
  t.match(health.tiers(), [{ health: 'DOWN' }]);
  t.same(await database.ask('select 1 as one'), [{ one: 1 }]);
  t.match(health.tiers(), [{ health: 'OK' }]);
  await database.close();
});

t.test('a closed store answers, and lets the process end', options, async (t) => {
  const { store } = await opened(t);
  const ownership = await take(store);
  await store.close();
  t.match(await store.acquire(someone), { kind: 'unavailable' });
  t.match(await store.renew(ownership, 0), { kind: 'unavailable' });
  t.match(await store.checkpoint(ownership, { number: 1, entries: [], finish: { seq: 0, ended: [] } }), { kind: 'unavailable' });
  await t.rejects(loaded(store), { name: 'StoreUnavailable' });
  await store.close();
});
