/** Stores and cleanup against real files, a real PostgreSQL and a real Redis. */
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { appendFile, readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import client from 'postgres';
import t from 'tap';
import { parseConnections } from '../../worker/connections/load.ts';
import type { Json } from '../../worker/handler.ts';
import { type StockHandlers, stockHandlers } from '../../worker/jobs/stock.ts';
import type { ComputePool } from '../../worker/pool/pool.ts';
import { contextOf, type Ended, jobOf, run } from '../jobs-support/run.ts';
import { postgres, redis } from '../services/services.ts';

const unused: ComputePool = { run: () => Promise.reject(new Error('computed')), processes: 0, close: async () => {} };

const [server, database] = await Promise.all([redis(t), postgres(t)]);

/** Handlers over a connections file, closed with the test. */
function open(
  t: { teardown(fn: () => Promise<void>): void },
  text: string,
  dataFolder: string | null,
  env: Record<string, string> = {},
): StockHandlers {
  const stock = stockHandlers(parseConnections(text, { file: 'c.yaml', dataFolder, env }), unused);
  t.teardown(stock.close);
  return stock;
}

/** Runs an integration job under an idempotency key. */
const integrate = (stock: StockHandlers, parameters: Json, key = 'w/job/0', input: Json = null): Promise<Ended> =>
  run(stock.handlers.integration, jobOf('integration', parameters, input), contextOf(key));
const clean = (stock: StockHandlers, parameters: Json): Promise<Ended> => run(stock.handlers.cleanup, jobOf('cleanup', parameters));

t.test('files: put, get, append, delete', async (t) => {
  const folder = t.testdir();
  const stock = open(
    t,
    'stores: { files: { kind: file } }\nendpoints: { sink: { kind: store, store: files, operation: append, key: sink } }',
    folder,
  );
  const file = (operation: string, key: string, more: { [key: string]: Json } = {}, idempotencyKey?: string) =>
    integrate(stock, { store: 'files', operation, key, ...more }, idempotencyKey);

  t.match(await file('get', 'a/b'), { output: { found: false, value: null } });
  t.match(await file('put', 'a/b', { data: { n: 1 } }), { output: { store: 'files', operation: 'put', key: 'a/b', written: true } });
  t.match(await file('put', 'a/b', { data: { n: 2 } }), { kind: 'output' });
  t.match(await file('get', 'a/b'), { output: { found: true, value: { n: 2 } } });
  t.strictSame(await readdir(join(folder, 'store/a')), ['b.json'], 'nothing is left beside it');
  t.match(await file('delete', 'a/b'), { output: { deleted: true } });
  t.match(await file('delete', 'a/b'), { output: { deleted: false } });

  t.match(await file('append', 'log', { data: 1 }, 'k1'), { output: { written: true, repeated: false } });
  t.match(await file('append', 'log', { data: 2 }, 'k1'), { output: { written: true, repeated: true } }, 'the same job once more');
  t.match(await file('append', 'log', { data: null }, 'k2'), { output: { repeated: false } });
  t.match(await file('get', 'log'), { output: { found: true, value: [1, null] } });

  t.match(await integrate(stock, { endpoint: 'sink' }, 'k9', { from: 'before' }), {
    output: { endpoint: 'sink', store: 'files', operation: 'append', key: 'sink', repeated: false },
  });
  t.match(JSON.parse(readFileSync(join(folder, 'store/sink.jsonl'), 'utf8')), { key: 'k9', data: { from: 'before' } });
});

t.test('files: any key is a file below the folder, and none is another key', async (t) => {
  const folder = t.testdir();
  const stock = open(t, 'stores: { files: { kind: file } }', folder);
  const keys = ['account-ada+x@example.com', 'a b', '..', '../../etc/passwd', '.hidden', 'a%2Fb', 'ü/ö', 'con:x*?', 'a.b.c', '-rf'];
  for (const [index, key] of keys.entries())
    t.match(await integrate(stock, { store: 'files', operation: 'put', key, data: index }), { kind: 'output' }, key);
  for (const [index, key] of keys.entries())
    t.match(await integrate(stock, { store: 'files', operation: 'get', key }), { output: { value: index } }, key);
  t.strictSame(await readdir(folder), ['store']);
  for (const key of ['a//b', '/a', 'a/', 'x'.repeat(201), 'x/'.repeat(300)])
    t.match(
      await integrate(stock, { store: 'files', operation: 'put', key, data: 1 }),
      { kind: 'error', retryable: false },
      key.slice(0, 20),
    );
});

t.test('files: links are not followed', async (t) => {
  const folder = t.testdir({ outside: { 'secret.json': '"secret"', 'log.jsonl': '' }, data: { store: {} } });
  const stock = open(t, 'stores: { files: { kind: file } }', join(folder, 'data'));
  symlinkSync(join(folder, 'outside'), join(folder, 'data/store/link'));
  symlinkSync(join(folder, 'outside/secret.json'), join(folder, 'data/store/value.json'));
  symlinkSync(join(folder, 'outside/log.jsonl'), join(folder, 'data/store/log.jsonl'));
  symlinkSync(join(folder, 'outside/new'), join(folder, 'data/store/dangling'));
  const refused = { code: 'PATH_REFUSED', retryable: false };
  t.match(await integrate(stock, { store: 'files', operation: 'get', key: 'link/secret' }), refused);
  t.match(await integrate(stock, { store: 'files', operation: 'put', key: 'link/x', data: 1 }), refused);
  t.match(await integrate(stock, { store: 'files', operation: 'put', key: 'dangling/x', data: 1 }), refused);
  t.match(await integrate(stock, { store: 'files', operation: 'get', key: 'value' }), refused);
  t.match(await integrate(stock, { store: 'files', operation: 'append', key: 'log', data: 1 }), refused);
  t.match(
    await integrate(stock, { store: 'files', operation: 'put', key: 'value', data: 1 }),
    { kind: 'output' },
    'a put replaces the link itself',
  );
  t.equal(readFileSync(join(folder, 'outside/secret.json'), 'utf8'), '"secret"');
  t.notOk(existsSync(join(folder, 'outside/new')));
});

t.test('files: appends of many jobs, of two workers, after a torn line', async (t) => {
  const folder = t.testdir();
  const text = 'stores: { files: { kind: file }, again: { kind: file } }';
  const [one, two] = [open(t, text, folder), open(t, text, folder)];
  const append = (stock: StockHandlers, key: string, store = 'files') =>
    integrate(stock, { store, operation: 'append', key: 'log', data: key }, key);
  const path = join(folder, 'store/log.jsonl');

  await Promise.all(Array.from({ length: 200 }, (_, index) => append(one, `job-${index % 100}`, index % 3 === 0 ? 'again' : 'files')));
  const keysOf = () =>
    readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('{"key":"') && line.endsWith('}'))
      .map((line) => JSON.parse(line).key as string);
  t.equal(keysOf().length, 100);
  t.match(await append(two, 'job-5'), { output: { repeated: true } }, 'what the other worker wrote counts');
  t.match(await append(two, 'job-100'), { output: { repeated: false } });
  t.match(await append(one, 'job-100'), { output: { repeated: true } });

  await appendFile(path, '{"key":"torn","da');
  t.match(await append(one, 'after'), { output: { repeated: false } });
  t.match(await append(one, 'torn'), { output: { repeated: false } }, 'a torn line was never told of');
  t.match(await integrate(two, { store: 'files', operation: 'get', key: 'log' }), { output: { found: true } });
  t.equal(new Set(keysOf()).size, 103);
  t.equal(keysOf().length, 103);

  t.match(await clean(one, { store: 'files', keys: ['log', 'never'] }), {
    output: { removed: ['key log in store files'], already_gone: ['key never in store files'] },
  });
  t.match(await append(one, 'job-1'), { output: { repeated: false } }, 'a new file begins anew');
});

t.test('cleanup of files', async (t) => {
  const folder = t.testdir({
    outside: { keep: 'x' },
    data: { 'journal.sqlite': 'x', run: { 'a.csv': '1', 'b.csv': '2', deep: { c: '3' } }, empty: {} },
  });
  const data = join(folder, 'data');
  symlinkSync(join(folder, 'outside'), join(data, 'run/link'));
  const stock = open(t, '', data);
  t.match(await clean(stock, { files: ['run/a.csv', 'run/none.csv', 'nowhere/x', 'empty'] }), {
    output: { removed: ['file run/a.csv', 'file empty'], already_gone: ['file run/none.csv', 'file nowhere/x'] },
  });
  const refused = [
    '../outside/keep',
    join(folder, 'outside/keep'),
    'run/../../outside/keep',
    'run/link/keep',
    '.',
    'run/..',
    'journal.sqlite',
    'a\0b',
    '',
  ];
  for (const path of refused) t.match(await clean(stock, { files: [path] }), { kind: 'error', retryable: false }, JSON.stringify(path));
  t.ok(existsSync(join(folder, 'outside/keep')) && existsSync(join(data, 'journal.sqlite')));

  t.match(await clean(stock, { files: ['run', 'run/b.csv'] }), {
    code: 'NOT_EMPTY',
    retryable: false,
    details: { left: [{ what: 'file run', code: 'NOT_EMPTY' }], removed: ['file run/b.csv'], already_gone: [] },
  });
  t.match(await clean(stock, { files: ['run/link', 'run'], recursive: true }), { output: { removed: ['file run/link', 'file run'] } });
  t.ok(existsSync(join(folder, 'outside/keep')), 'the link is gone, not what it led to');
  t.match(
    await clean(stock, { files: ['run'], recursive: true }),
    { output: { removed: [], already_gone: ['file run'] } },
    'once more is no error',
  );
  t.match(await clean(open(t, '', null), { files: ['x'] }), { code: 'PATH_REFUSED', message: /no data folder/ });
});

t.test('cleanup over HTTP', async (t) => {
  const there = new Set(['/base/1', '/two']);
  const server = createServer((request, response) => {
    if (request.method !== 'DELETE') return void response.writeHead(405).end();
    if (request.url === '/stuck') return void response.writeHead(503, { 'retry-after': '3' }).end();
    response.writeHead(there.delete(request.url ?? '') ? 204 : 404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stock = open(t, `endpoints: { api: { url: "${url}/base" } }\nnetwork: { allow: [127.0.0.1] }`, null);
  t.match(await clean(stock, { endpoint: 'api', path: '1' }), { output: { removed: ['endpoint api 1'] } });
  t.match(await clean(stock, { endpoint: 'api', path: '1' }), { output: { removed: [], already_gone: ['endpoint api 1'] } });
  t.match(await clean(stock, { url: `${url}/two` }), { output: { removed: [`url ${url}/two`] } });
  t.match(await clean(stock, { url: `${url}/stuck` }), { code: 'HTTP_STATUS', retryable: true, retryAfterMs: 3_000 });
});

t.test('Redis', { skip: server.skip }, async (t) => {
  const prefix = `test-${process.pid}:`;
  const stock = open(t, `stores: { cache: { kind: redis, url: "\${R}", prefix: "${prefix}" } }`, null, { R: server.url });
  const look = new Redis(server.url);
  t.teardown(() => look.disconnect());
  const cache = (operation: string, key: string, more: { [key: string]: Json } = {}, idempotencyKey?: string) =>
    integrate(stock, { store: 'cache', operation, key, ...more }, idempotencyKey);

  t.match(await cache('get', 'a'), { output: { found: false, value: null } });
  t.match(await cache('put', 'a', { data: { n: 1 } }), { output: { written: true } });
  t.equal(await look.get(`${prefix}a`), '{"n":1}');
  t.match(await cache('get', 'a'), { output: { found: true, value: { n: 1 } } });
  t.match(await cache('put', 'short', { data: 1, ttl: '1h' }), { kind: 'output' });
  t.ok((await look.pttl(`${prefix}short`)) > 0);

  const appends = await Promise.all(
    Array.from({ length: 40 }, (_, index) => cache('append', 'log', { data: index % 20 }, `job-${index % 20}`)),
  );
  t.equal(appends.filter((end) => end.kind === 'output' && (end.output as { repeated: boolean }).repeated).length, 20, 'each key once');
  t.equal(await look.llen(`${prefix}log`), 20);
  t.match(await cache('get', 'log'), { output: { found: true } });

  await look.set(`${prefix}foreign`, 'no json');
  t.match(await cache('get', 'foreign'), { output: { value: 'no json' } });
  t.match(await cache('append', 'a', { data: 1 }), { code: 'STORE_REJECTED', retryable: false, message: /WRONGTYPE/ });
  t.match(await cache('get', 'bad key'), { code: 'INVALID_KEY', retryable: false });
  await look.set('outside', 'x');
  t.match(await clean(stock, { store: 'cache', keys: ['log', 'a', 'outside'] }), {
    output: { removed: ['key log in store cache', 'key a in store cache'], already_gone: ['key outside in store cache'] },
  });
  t.equal(await look.get('outside'), 'x', 'nothing outside the prefix');
  t.strictSame((await look.keys(`${prefix}*`)).sort(), [`${prefix}foreign`, `${prefix}short`]);
  await look.del('outside', `${prefix}foreign`, `${prefix}short`);
});

t.test(
  'Redis that goes away and comes back',
  { skip: server.skip || (server.isOwn ? false : 'the server is not ours to stop') },
  async (t) => {
    const stock = open(t, 'stores: { cache: { kind: redis, url: "${R}" } }', null, { R: server.url });
    const put = () => integrate(stock, { store: 'cache', operation: 'put', key: 'a', data: 1 });
    t.match(await put(), { kind: 'output' });
    await server.stop();
    t.match(await put(), { code: 'CONNECTION_FAILED', retryable: true, message: /^store 'cache': / });
    await server.start();
    let end = await put();
    for (let tries = 0; end.kind === 'error' && tries < 50; tries += 1) {
      t.match(end, { retryable: true });
      await new Promise((resolve) => setTimeout(resolve, 100));
      end = await put();
    }
    t.match(end, { kind: 'output' });
  },
);

t.test('PostgreSQL', { skip: database.skip }, async (t) => {
  const sql = client(database.url, { max: 1, onnotice: () => {} });
  t.teardown(() => sql.end({ timeout: 1 }));
  await sql.unsafe(`
    create table "Orders" (id bigint primary key, customer text not null, total numeric(12,2), tags text[], info jsonb, at timestamptz default now(), hidden text default 'h');
    create schema sales;
    create table sales.lines (line int, amount int, job text unique);
    create table pairs (a int, b text, v int, primary key (a, b))`);
  const stock = open(
    t,
    `
stores:
  db:
    kind: postgres
    url: \${DB}
    max_connections: 2
    tables:
      Orders: { columns: [id, customer, total, tags, info, at], key: [id] }
      sales.lines: { columns: [line, amount], idempotency_column: job }
      pairs: { columns: [a, b, v], key: [a, b] }
      nowhere: { columns: [id] }
`,
    null,
    { DB: database.url },
  );
  const db = (operation: string, table: string, more: { [key: string]: Json }, idempotencyKey?: string) =>
    integrate(stock, { store: 'db', operation, table, ...more }, idempotencyKey);

  const order = { id: 7, customer: `O'Hara"; drop table "Orders"; --`, total: 12.5, tags: ['a', 'b'], info: { deep: [1, null] } };
  t.match(await db('insert', 'Orders', { data: order }), { output: { table: 'Orders', rows: 1 } });
  t.match(await db('get', 'Orders', { key: 7 }), { output: { found: true, value: order } });
  const got = await db('get', 'Orders', { key: { id: 7 } });
  t.notOk(JSON.stringify(got).includes('hidden'), 'only the columns of the connections file');
  t.match(await db('get', 'Orders', { key: 8 }), { output: { found: false, value: null } });
  t.match(await db('insert', 'Orders', { data: order }), { code: 'STORE_REJECTED', retryable: false, details: { sqlstate: '23505' } });
  t.match(
    await db('upsert', 'Orders', {
      data: [
        { ...order, total: 1 },
        { ...order, id: 8 },
      ],
    }),
    { output: { rows: 2 } },
  );
  t.match(await db('get', 'Orders', { key: 7 }), { output: { value: { total: 1 } } });
  t.match(await db('delete', 'Orders', { key: 7 }), { output: { deleted: true } });
  t.match(await db('delete', 'Orders', { key: 7 }), { output: { deleted: false } });

  const lines = [
    { line: 1, amount: 5 },
    { line: 2, amount: 6 },
  ];
  t.match(await db('insert', 'sales.lines', { data: lines }, 'w/a/0'), { output: { rows: 2 } });
  t.match(await db('insert', 'sales.lines', { data: lines }, 'w/a/0'), { output: { rows: 0 } }, 'a second attempt adds nothing');
  t.match(await db('insert', 'sales.lines', { data: lines }, 'w/b/0'), { output: { rows: 2 } });
  t.strictSame(
    (await sql`select job from sales.lines order by job`).map((row) => row.job),
    ['w/a/0/1', 'w/a/0/2', 'w/b/0/1', 'w/b/0/2'],
  );

  t.match(await db('upsert', 'pairs', { data: { a: 1, b: 'x', v: 1 } }), { output: { rows: 1 } });
  t.match(await db('get', 'pairs', { key: { a: 1, b: 'x' } }), { output: { value: { v: 1 } } });
  t.match(await db('get', 'pairs', { key: 1 }), { code: 'INVALID_INPUT', message: /object with a, b/ });
  t.match(await db('insert', 'Orders', { data: { id: 9 } }), {
    code: 'STORE_REJECTED',
    details: { sqlstate: '23502', column: 'customer' },
  });
  t.match(await db('insert', 'Orders', { data: { id: 'x', customer: 'y' } }), { code: 'STORE_REJECTED', retryable: false });
  t.match(await db('insert', 'nowhere', { data: { id: 1 } }), { code: 'STORE_REJECTED', retryable: false, details: { sqlstate: '42P01' } });
  t.match(
    await clean(stock, {
      store: 'db',
      table: 'pairs',
      keys: [
        { a: 1, b: 'x' },
        { a: 2, b: 'y' },
      ],
    }),
    {
      output: { removed: ['key {"a":1,"b":"x"} in store db'], already_gone: ['key {"a":2,"b":"y"} in store db'] },
    },
  );

  const large = Array.from({ length: 10_000 }, (_, index) => ({ id: index + 100, customer: `c${index}` }));
  t.match(await db('insert', 'Orders', { data: large }), { output: { rows: 10_000 } });
  t.match(await db('insert', 'Orders', { data: [...large, large[0]] }), { code: 'INVALID_INPUT', message: /10001 rows/ });

  // Somebody holds the row: the job waits, and is cancelled or out of time.
  const holder = client(database.url, { max: 1 });
  t.teardown(() => holder.end({ timeout: 1 }));
  await holder.unsafe('begin; select * from "Orders" where id = 8 for update');
  t.match(await db('upsert', 'Orders', { data: { ...order, id: 8 }, timeout: '200ms' }), { code: 'STORE_TIMEOUT', retryable: true });
  const seen = contextOf();
  const waiting = run(
    stock.handlers.integration,
    jobOf('integration', { store: 'db', operation: 'delete', table: 'Orders', key: 8 }),
    seen,
  );
  while (seen.beats < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  seen.cancel(new Error('stop'));
  t.match(await waiting, { kind: 'stopped' });
  // Neither of the two is left waiting in the server.
  const waits = async () =>
    (await sql`select count(*)::int as n from pg_stat_activity where application_name = 'workflow-worker' and wait_event_type = 'Lock'`)[0]
      .n;
  while ((await waits()) > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  await holder.unsafe('rollback');
  t.match(await db('get', 'Orders', { key: 8 }), { output: { found: true } });
});

t.test(
  'PostgreSQL that goes away and comes back',
  { skip: database.skip || (database.isOwn ? false : 'the server is not ours to stop') },
  async (t) => {
    const password = new URL(database.url).password;
    const stock = open(t, 'stores: { db: { kind: postgres, url: "${DB}", tables: { kept: { columns: [id], key: id } } } }', null, {
      DB: database.url,
    });
    const sql = client(database.url, { max: 1 });
    await sql`create table kept (id int primary key)`;
    await sql.end();
    const upsert = () => integrate(stock, { store: 'db', operation: 'upsert', table: 'kept', data: { id: 1 } });
    t.match(await upsert(), { output: { rows: 1 } });
    await database.stop();
    const away = await upsert();
    t.match(away, { code: 'CONNECTION_FAILED', retryable: true });
    t.notOk(JSON.stringify(away).includes(password));
    await database.start();
    t.match(await upsert(), { kind: 'output' });
  },
);

t.test('a store that was never there', async (t) => {
  const stock = open(
    t,
    'stores: { cache: { kind: redis, url: redis://:pass1234@127.0.0.1:1 }, db: { kind: postgres, url: postgres://u:pass1234@127.0.0.1:1/x, tables: { t: { columns: [id], key: id } } } }',
    null,
  );
  const ends = [
    await integrate(stock, { store: 'cache', operation: 'get', key: 'x' }),
    await integrate(stock, { store: 'db', operation: 'get', table: 't', key: 1 }),
  ];
  for (const end of ends) t.match(end, { code: 'CONNECTION_FAILED', retryable: true });
  t.notMatch(JSON.stringify(ends), /pass1234/);
});

t.test('a disk that takes nothing', { skip: process.getuid?.() === 0 && 'root may write everywhere' }, async (t) => {
  const folder = t.testdir();
  mkdirSync(join(folder, 'store'), { mode: 0o500 });
  const stock = open(t, 'stores: { files: { kind: file } }', folder);
  t.match(await integrate(stock, { store: 'files', operation: 'put', key: 'a', data: 1 }), { code: 'STORE_FAILED', retryable: true });
});

t.test('a file in the place of the folder', async (t) => {
  const folder = t.testdir();
  writeFileSync(join(folder, 'store'), 'x');
  const stock = open(t, 'stores: { files: { kind: file } }', folder);
  t.match(await integrate(stock, { store: 'files', operation: 'put', key: 'a', data: 1 }), {
    code: 'STORE_FAILED',
    retryable: true,
    message: "store 'files': EEXIST",
  });
});
