/** The tables in PostgreSQL: migrations, who may do what, what people see, and what is forgotten when. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { databaseStatus, knownMigrations, type Migration, migrate } from '../../coordinator/store/postgres/migrate.ts';
import { openPostgresStore } from '../../coordinator/store/postgres/postgres.ts';
import type { ArchivedWorkflow } from '../../coordinator/store/store.ts';
import { fold } from '../engine-support/snapshots.ts';
import { postgres } from '../services/services.ts';
import { batchOf, commitAll, take } from '../store-contract/contract.ts';
import { definitionOf } from '../store-contract/events.ts';
import { changed, connect, emptyDatabase, execute } from '../store-support/databases.ts';
import { dumpSchema } from '../store-support/schema-dump.ts';

const server = await postgres(t);
const options = { skip: server.skip };
const SCHEMA = new URL('../../coordinator/store/postgres/schema.txt', import.meta.url);
const DAY_MS = 86_400_000;

type Scope = { teardown(end: () => Promise<void>): void };

async function database(t: Scope) {
  const made = await emptyDatabase(server.url);
  const sql = connect(made.url);
  t.teardown(async () => {
    await sql.end({ timeout: 1 });
    await made.drop();
  });
  return { url: made.url, sql };
}

async function opened(t: Scope, url: string, more: Partial<Parameters<typeof openPostgresStore>[0]> = {}) {
  const store = await openPostgresStore({ url, leaseMs: 300, ...more });
  t.teardown(() => store.close());
  await store.upkeep.clean();
  return store;
}

function migrationOf(id: number, sql: string): Migration {
  return { id, name: `m${id}`, sql, checksum: createHash('sha256').update(sql).digest('hex') };
}

const { stored, graph } = definitionOf('blue');
const json = (text: string) => ({ encoding: 'json', data: new TextEncoder().encode(text) });

/** A workflow that was submitted on a day, and ended on another or not at all. Its id says when it was submitted. */
function workflowOf(submittedAt: number, endedAt: number | null, output = json('{"ok":true}'), key = ''): ArchivedWorkflow {
  let ms = submittedAt;
  let id = '';
  for (let at = 0; at < 10; at++) {
    id = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'[ms % 32] + id;
    ms = Math.floor(ms / 32);
  }
  id += '0000000000000000';
  const attempt = { number: 1, token: 't', workerId: 'w1', startMs: submittedAt + 1 };
  const error = { code: 'BROKEN', message: 'it "broke" \u0000 \ud800 here', retryable: false, details: null, retryAfterMs: 0, stack: '' };
  const events: ArchivedWorkflow['events'] = [
    {
      kind: 'submitted',
      at: submittedAt,
      workflowId: id,
      graph,
      inputs: json('{}'),
      labels: { team: 'blue\u0000' },
      idempotencyKey: key,
      requestHash: 'h',
    },
    { kind: 'started', at: submittedAt },
    { kind: 'jobReady', at: submittedAt, job: 0, parameters: null, inputJobs: [] },
    { kind: 'jobSucceeded', at: submittedAt + 2, job: 0, attempt, output },
    { kind: 'jobReady', at: submittedAt + 2, job: 1, parameters: null, inputJobs: [0] },
    ...(endedAt === null
      ? []
      : ([
          { kind: 'jobFailed', at: endedAt, job: 1, attempt, error },
          { kind: 'ended', at: endedAt, status: 'FAILED', outputs: null, error, errorJob: 1 },
        ] as const)),
  ];
  return { state: fold(events), events };
}

t.test('the tables are those of schema.txt', options, async (t) => {
  const { url, sql } = await database(t);
  await migrate(url);
  const [{ version }] = await sql<{ version: number }[]>`select current_setting('server_version_num')::integer / 10000 as version`;
  const dump = await dumpSchema(sql);
  if (process.env.UPDATE_SCHEMA === '1') writeFileSync(SCHEMA, dump);
  if (version !== 18) return t.pass(`PostgreSQL ${version} writes some things otherwise; compared with 18 only`);
  t.equal(dump, readFileSync(SCHEMA, 'utf8'), 'UPDATE_SCHEMA=1 writes it anew');
});

t.test('migrations: applied once, in order, also by several at once', options, async (t) => {
  const { url, sql } = await database(t);
  const known = await knownMigrations();
  t.match(await databaseStatus(url), {
    current: 0,
    known: known.length,
    applied: [],
    missing: known.map(({ id, name }) => ({ id, name })),
  });
  const all = await Promise.all(Array.from({ length: 4 }, () => migrate(url)));
  for (const status of all) t.match(status, { current: known.length, missing: [] });
  t.same(
    [...(await sql`select id, name, checksum from migration order by id`)],
    known.map(({ id, name, checksum }) => ({ id, name, checksum })),
  );
  const stores = await Promise.all([openPostgresStore({ url }), openPostgresStore({ url })]);
  for (const store of stores) await store.close();
});

t.test('a migration that fails leaves nothing behind', options, async (t) => {
  const { url, sql } = await database(t);
  const bad = [migrationOf(1, 'create table one (a integer)'), migrationOf(2, 'create table two (a integer); select 1 / 0')];
  await t.rejects(migrate(url, bad), { message: 'migration 2 (m2): division by zero (22012)' });
  t.match(await databaseStatus(url, bad), { current: 0 });
  t.match(await sql`select to_regclass('one') as one, to_regclass('migration') as migration`, [{ one: null, migration: null }]);
});

t.test('a database that is newer, or was changed, is refused', options, async (t) => {
  const { url } = await database(t);
  const known = await knownMigrations();
  await migrate(url, [...known, migrationOf(known.length + 1, 'create table later (a integer)')]);
  const newer = {
    name: 'SchemaError',
    message: new RegExp(`the database is at migration ${known.length + 1}, this version knows ${known.length}: `),
  };
  await t.rejects(migrate(url), newer);
  await t.rejects(databaseStatus(url), newer);
  await t.rejects(openPostgresStore({ url }), newer);
  await execute(url, `delete from migration where id > ${known.length}`, `update migration set checksum = 'other' where id = 2`);
  const damaged = { name: 'SchemaError', message: /migration 2 \(workflow\) was applied to the database with another text/ };
  await t.rejects(migrate(url), damaged);
  await t.rejects(openPostgresStore({ url }), damaged);
});

t.test('a database of another number of shards is refused', options, async (t) => {
  const { url } = await database(t);
  await migrate(url);
  await execute(url, `update setting set value = '64' where name = 'shards'`);
  await t.rejects(openPostgresStore({ url }), { name: 'SchemaError', message: /keeps 64 shards, and this version runs one/ });
});

t.test('a database that does not answer is unavailable; one that is not there, and a URL that is none, say so', options, async (t) => {
  await t.rejects(openPostgresStore({ url: changed(server.url, { port: 1 }) }), { name: 'StoreUnavailable', message: /ECONNREFUSED/ });
  await t.rejects(openPostgresStore({ url: changed(server.url, { database: 'no_such_database' }) }), {
    name: 'SchemaError',
    message: /does not exist/,
  });
  await t.rejects(openPostgresStore({ url: 'mysql://x' }), { message: /does not look like postgresql:/ });
});

t.test('the role of the coordinator needs no right to change tables; readers read', options, async (t) => {
  const { url, sql } = await database(t);
  const [app, reader] = [`app_${process.pid}`, `reader_${process.pid}`];
  const admin = connect(server.url);
  for (const role of [app, reader]) await admin.unsafe(`create role ${role} login password 'test'`);
  await sql.unsafe('revoke create on schema public from public');
  const asApp = changed(url, { user: app });
  t.teardown(async () => {
    await sql.unsafe(`drop owned by ${app}, ${reader}`);
    await admin.unsafe(`drop role ${app}, ${reader}`);
    await admin.end({ timeout: 1 });
  });
  await t.rejects(openPostgresStore({ url: asApp }), {
    name: 'SchemaError',
    message: new RegExp(`the role '${app}' may not change them. Run \`wf db init\` once`),
  });
  await migrate(url);
  const grants = readFileSync(new URL('../../deploy/postgres-roles.sql', import.meta.url), 'utf8');
  for (let twice = 0; twice < 2; twice++) await sql.unsafe(grants.replaceAll('workflow_app', app).replaceAll('workflow_reader', reader));

  const said: string[] = [];
  const store = await openPostgresStore({ url: asApp, leaseMs: 300, log: (_, message) => said.push(message) });
  await store.upkeep.run();
  t.same(said, [], 'nothing is refused');
  await store.putDefinition(stored);
  const ownership = await take(store);
  t.same(await commitAll(store, ownership, [batchOf(1)]), ['durable']);
  t.same(await store.checkpoint(ownership, { number: 1, entries: batchOf(1).entries, finish: { seq: 1, ended: [] } }), { kind: 'kept' });
  t.same(await store.checkpoint(ownership, { number: 1, entries: [], finish: { seq: 1, ended: ['wf-1'] } }), { kind: 'kept' });
  const large = json(`"${'x'.repeat(100_000)}"`);
  t.same(await store.archive.write([workflowOf(Date.now() - 90 * DAY_MS, Date.now() - 80 * DAY_MS), workflowOf(Date.now(), null, large)]), {
    kind: 'kept',
  });
  t.match(await store.reclaim(ownership), { kind: 'reclaimed' });
  await store.upkeep.run();
  t.match(said, [/^PostgreSQL: dropped workflow_\d{8}: /], 'it drops what is old');
  await store.close();

  const asReader = connect(changed(url, { user: reader }));
  t.match(await asReader`select status, count(*) from workflow group by 1`, [{ status: 'RUNNING', count: 1 }]);
  t.equal((await asReader`select * from job`).length, 2);
  const [, questions = ''] =
    /```sql\n(select [\s\S]*?)```/.exec(readFileSync(new URL('../../deploy/README.md', import.meta.url), 'utf8')) ?? [];
  t.ok(questions.includes('from shard'));
  for (const question of questions.split('\n').filter(Boolean)) t.ok(Array.isArray(await asReader.unsafe(question)), question);
  await t.rejects(asReader`update workflow set status = 'FAILED'`.execute(), { code: '42501' });
  await t.rejects(asReader`select make_partitions('journal', current_date, current_date)`.execute(), { code: '42501' });
  await asReader.end({ timeout: 1 });
});

t.test('people see workflows and jobs as the API shows them', options, async (t) => {
  const { url, sql } = await database(t);
  const store = await opened(t, url);
  await store.putDefinition(stored);
  const now = Date.now();
  const key = 'order \u0000 \ud800';
  const [ended, open] = [workflowOf(now - 5_000, now, undefined, key), workflowOf(now - 4_000, null)];
  await take(store);
  t.same(await store.archive.write([ended, open]), { kind: 'kept' });
  t.match(await sql`select status, count(*) from workflow group by 1 order by 1`, [
    { status: 'FAILED', count: 1 },
    { status: 'RUNNING', count: 1 },
  ]);
  t.match(await sql`select * from job where status = 'FAILED'`, [
    {
      workflow_id: ended.state.id,
      workflow_name: 'blue',
      job_id: 'b',
      type: 'work',
      attempts: 1,
      worker: 'w1',
      error_code: 'BROKEN',
      error_message: 'it "broke" \ufffd \ufffd here',
      ended_at: new Date(now),
    },
  ]);
  t.match(await sql`select job_id, status, output from job where workflow_id = ${open.state.id} order by 1`, [
    { job_id: 'a', status: 'SUCCEEDED', output: { ok: true } },
    { job_id: 'b', status: 'READY', output: null },
  ]);
  t.match(await sql`select labels->>'team' as team, error->>'job_id' as job from workflow where ended_at is not null`, [
    { team: 'blue\ufffd', job: 'b' },
  ]);
  t.same([...(await store.archive.byKeys([key, 'order'])).keys()], [key], 'a key that PostgreSQL cannot keep is found again');
  t.equal(
    (
      await store.archive.list({
        statuses: new Set(),
        name: '',
        submittedAfter: 0,
        submittedBefore: Number.POSITIVE_INFINITY,
        labels: new Map([['team', 'blue\u0000']]),
        beforeId: '',
        limit: 5,
      })
    ).length,
    1,
  );
});

t.test('what is old is forgotten: never what is open or needed for a recovery', options, async (t) => {
  const { url, sql } = await database(t);
  const said: string[] = [];
  const store = await opened(t, url, { retentionDays: 10, log: (_, message) => said.push(message) });
  await store.putDefinition(stored);
  said.length = 0;
  const now = Date.now();
  const day = (days: number): number => now - days * DAY_MS;
  const large = (letter: string) => json(`"${letter.repeat(100_000)}"`);
  const gone = workflowOf(day(40), day(39), large('a'));
  const openOne = workflowOf(day(30), null);
  const besideOpen = workflowOf(day(30) + 1, day(29));
  const endedLate = workflowOf(day(20), day(1), large('b'));
  const young = workflowOf(day(2), day(2));
  const ownership = await take(store);
  t.same(await store.archive.write([gone, openOne, besideOpen, endedLate, young]), { kind: 'kept' });
  // The journal of days ago, as if it had been written then.
  t.same(await commitAll(store, ownership, [batchOf(1), batchOf(2), batchOf(3)]), ['durable', 'durable', 'durable']);
  for (const [seq, days] of [
    [1, 30],
    [2, 20],
  ] as const) {
    await sql`select make_partitions('journal', (now() at time zone 'utc')::date - ${days}::integer, (now() at time zone 'utc')::date - ${days}::integer)`;
    await sql`update journal set day = (now() at time zone 'utc')::date - ${days}::integer where seq_to = ${seq}`;
  }
  t.same(await store.checkpoint(ownership, { number: 1, entries: [], finish: { seq: 1, ended: [] } }), { kind: 'kept' });
  await sql`update payload set used_on = used_on - 11`;
  await store.upkeep.run();
  t.equal(said.filter((line) => line.includes('journal_')).length, 1, 'the journal before the checkpoint');
  t.same([...(await sql`select seq_to from journal order by 1`)], [{ seq_to: 2 }, { seq_to: 3 }]);
  const ids = (await sql`select id from workflow order by 1`).map(({ id }) => id);
  t.same(
    ids,
    [openOne, besideOpen, endedLate, young].map(({ state }) => state.id),
  );
  t.equal(await store.archive.get(gone.state.id), null);
  t.ok(await store.archive.get(endedLate.state.id), 'with its large value');
  t.equal((await sql`select 1 from payload`).length, 1, 'what nothing names any more is deleted');

  // What was dropped may come again: its partition is made anew, though this process knew it.
  const other = await opened(t, url, { retentionDays: 10 });
  await take(other);
  t.same(await other.archive.write([gone]), { kind: 'kept' });
  await store.upkeep.run();
  t.same(await other.archive.write([gone]), { kind: 'kept' });
  t.ok(await other.archive.get(gone.state.id));
});
