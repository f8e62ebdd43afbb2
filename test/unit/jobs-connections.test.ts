/** The connections file: what it means, and every way in which it can be wrong. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type Connections, findConnection, noConnections } from '../../worker/connections/connections.ts';
import { ConnectionsError, loadConnections, parseConnections } from '../../worker/connections/load.ts';

const example = join(import.meta.dirname, '../../examples/connections.yaml');

function parse(text: string, env: Record<string, string> = {}, dataFolder: string | null = '/data'): Connections {
  return parseConnections(text, { file: 'c.yaml', dataFolder, env });
}

/** The problems, without the file's name. */
function problemsOf(text: string, env: Record<string, string> = {}, dataFolder: string | null = '/data'): string[] {
  try {
    parse(text, env, dataFolder);
    return [];
  } catch (error) {
    if (error instanceof ConnectionsError) return error.problems.map((line) => line.replace(/^c\.yaml:/, ''));
    throw error;
  }
}

t.test('the example has what the README speaks of, and needs neither server nor secret', async (t) => {
  const connections = loadConnections({ file: example, dataFolder: '.data', env: {} });
  t.strictSame(findConnection(connections, 'schema', 'input-schema'), { type: 'object' });
  t.match(findConnection(connections, 'endpoint', 'data-store'), {
    kind: 'store',
    store: 'files',
    operation: 'append',
    target: 'data-store',
  });
  t.match(findConnection(connections, 'channel', 'slack-alerts'), { kind: 'log', level: 'warn' });
  t.match(findConnection(connections, 'store', 'files'), { kind: 'file', folder: join(process.cwd(), '.data/store') });
  t.notMatch(readFileSync(example, 'utf8'), /(password|secret|token)\s*:\s*\w/i);
});

t.test('what is commented out in the example is right too', async (t) => {
  const text = readFileSync(example, 'utf8')
    .split('\n')
    .map((line) => (/^( *)# ( *)([\w-]+:|allow|- )/.test(line) ? line.replace('# ', '') : line))
    .filter((line, index, all) => !/^ {2}(data-store|slack-alerts): \{ kind: (store|log)/.test(line) || all.indexOf(line) !== index)
    .join('\n');
  // The same names twice: the first ones go, as whoever uncomments would do.
  const once = text.replace(/^ {2}data-store: \{ kind: store.*$/m, '').replace(/^ {2}slack-alerts: \{ kind: log.*$/m, '');
  const env = {
    DATA_STORE_TOKEN: 'tttt',
    SLACK_WEBHOOK_URL: 'https://hooks.example.com/services/x',
    WAREHOUSE_URL: 'postgres://db/x',
    CACHE_URL: 'redis://c',
  };
  const connections = parseConnections(once, { file: example, dataFolder: '/data', env });
  t.match(findConnection(connections, 'endpoint', 'data-store'), { kind: 'http', timeoutMs: 10_000 });
  t.match(findConnection(connections, 'channel', 'slack-alerts'), { kind: 'webhook', format: 'slack' });
  t.match(findConnection(connections, 'store', 'warehouse'), { kind: 'postgres' });
  t.match(findConnection(connections, 'store', 'cache'), { kind: 'redis', prefix: 'orders:' });
  t.equal(connections.network.allow.length, 3);
});

t.test('every section', async (t) => {
  const connections = parse(
    `
x-common: &common { timeout: 5s }
schemas:
  anything: true
endpoints:
  api: { <<: *common, url: "https://api.example.com/v1", headers: { Authorization: "Bearer \${TOKEN}", X-Plain: "$\${TOKEN}" } }
  named: { url: "\${URL:-https://fallback.example}", method: put }
channels:
  chat: { kind: webhook, url: https://chat.example, format: discord }
stores:
  db:
    kind: postgres
    url: postgresql+psycopg://u:pw12345@db/x
    tables:
      sales.orders: { columns: [id, total], key: id, idempotency_column: job }
  cache: { kind: redis, url: redis://c }
network: { allow: [10.0.0.0/8, localhost] }
`,
    { TOKEN: 'topsecret', URL: '' },
  );
  const api = findConnection(connections, 'endpoint', 'api');
  t.match(api, { kind: 'http', method: 'POST', timeoutMs: 5_000 });
  if (api.kind === 'http')
    t.strictSame(
      [...api.headers],
      [
        ['authorization', 'Bearer topsecret'],
        ['x-plain', '${TOKEN}'],
      ],
    );
  t.match(findConnection(connections, 'endpoint', 'named'), { method: 'PUT', url: { href: 'https://fallback.example/' } });
  t.match(findConnection(connections, 'store', 'db'), { kind: 'postgres', url: 'postgresql://u:pw12345@db/x' });
  t.match(findConnection(connections, 'store', 'cache'), { prefix: 'workflow:' });
  t.equal(connections.redactor.text('topsecret pw12345'), '*** ***');
});

t.test('every problem at once, each with its place', async (t) => {
  const text = `
schemas:
  broken: { type: nothing }
  missing: { file: nowhere.json }
endpoints:
  api:
    url: ftp://x
    methd: POST
    headers: { Authorization: "Bearer \${MISSING_TOKEN}", Host: x }
  "bad name": { url: https://x.example }
  sink: { kind: store, store: nowhere, operation: append, key: k }
  wrong: { kind: store, store: db, operation: append, key: k }
channels:
  c: { kind: webhok }
stores:
  db: { kind: postgres, url: "postgres://h/\${EMPTY}", tables: { t: { columns: [a], key: [b] } } }
  files: { kind: file, folder: ../elsewhere }
netwrk: {}
network: { allow: [10.0.0, 5] }
`;
  t.strictSame(problemsOf(text, { EMPTY: '' }), [
    '3:3: schemas.broken: is no valid JSON Schema (draft 2020-12): data/type must be equal to one of the allowed values, data/type must be array, data/type must match a schema in anyOf',
    '4:3: schemas.missing: nowhere.json: there is no such file',
    '7:5: endpoints.api.url: must be an http or https URL',
    "8:5: endpoints.api.methd: is no field of an endpoint of kind http; did you mean 'method'?",
    '9:16: endpoints.api.headers.Authorization: environment variable MISSING_TOKEN is not set',
    '9:58: endpoints.api.headers.Host: is set by the worker itself',
    '10:3: endpoints["bad name"]: the name must be 1 to 128 of A-Z a-z 0-9 . _ -',
    "11:24: endpoints.sink.store: no store 'nowhere'; known: db, files",
    '12:36: endpoints.wrong.operation: a postgres store has insert and upsert, not append',
    `14:8: channels.c.kind: must be one of log, webhook, is "webhok"; did you mean 'webhook'?`,
    '16:25: stores.db.url: environment variable EMPTY is empty',
    "16:84: stores.db.tables.t.key: 'b' is not one of the columns",
    '17:24: stores.files.folder: must be a folder below the data folder',
    "18:1: netwrk: is no field of the connections file; did you mean 'network'?",
    '19:20: network.allow[0]: must be an address, a range or a host name, such as 10.0.0.0/8, 127.0.0.1:9000, localhost or *.svc.cluster.local, is "10.0.0"',
    '19:28: network.allow[1]: must be an address, a range or a host name, such as 10.0.0.0/8, 127.0.0.1:9000, localhost or *.svc.cluster.local, is the number 5',
  ]);
});

t.test('files that are no connections file', async (t) => {
  t.match(problemsOf('a: [')[0], /^1:\d+: is no proper YAML/);
  t.match(problemsOf('a: 1\na: 2')[0], /Map keys must be unique/);
  const binary = problemsOf('a: b\n\x1b]0;owned\x07: [\0{\n\x7fELF: }\n');
  t.equal(binary.length, 1, 'one problem, not one for each line');
  t.match(binary[0], /is no text file: the control character U\+001B stands in line 2$/);
  t.notMatch(problemsOf('"\\e[2J": 1\nendpoints: { a: { kind: "\\e[2J" } }').join(), /\p{Cc}/u);
  const latin = t.testdir({ 'latin.yaml': Buffer.from([0x61, 0x3a, 0x20, 0xe9, 0x0a]) });
  t.throws(() => loadConnections({ file: `${latin}/latin.yaml`, dataFolder: null, env: {} }), /latin\.yaml: is no text in UTF-8$/);
  t.notMatch(problemsOf('a: [\u202e\u009b').join(), /\p{Cf}|\p{Cc}/u, 'nothing that a terminal would obey');
  t.match(problemsOf('- a')[0], /must have the sections/);
  t.strictSame(problemsOf(''), []);
  t.match(problemsOf('stores: { f: { kind: file } }', {}, null), [
    '1:11: stores.f: a file store needs the data folder of the worker: set DATA_DIR',
  ]);
  t.match(problemsOf('endpoints: { a: { url: "${}" } }')[0], /names no environment variable/);
  const bomb = `a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c, *c]\n`;
  t.match(problemsOf(bomb)[0], /alias/i);
  t.throws(() => loadConnections({ file: '/nowhere/c.yaml', dataFolder: null, env: {} }), {
    message: '/nowhere/c.yaml: there is no such file',
  });
});

t.test('no problem shows a value from the environment', async (t) => {
  const [problem] = problemsOf(
    'endpoints: { a: { url: https://x.example, method: "${SECRET}" } }\nchannels: { c: { kind: "${SECRET}" } }',
    { SECRET: 'hunter2-and-more' },
  ).slice(-1);
  t.match(problem, /channels\.c\.kind/);
  t.notMatch(problem, /hunter2/);
});

t.test('a name that is not there', async (t) => {
  const connections = parse('endpoints: { data-store: { url: https://x.example }, other: { url: https://y.example } }');
  t.throws(() => findConnection(connections, 'endpoint', 'data-stor'), {
    code: 'UNKNOWN_CONNECTION',
    retryable: false,
    message: "no endpoint 'data-stor'; known: data-store, other; did you mean 'data-store'?",
  });
  t.throws(() => findConnection(connections, 'channel', 'x'), { message: "no channel 'x'; known: none" });
  t.throws(() => findConnection(noConnections(null), 'store', 'x'), { message: /known: none; this worker has no connections file/ });
  t.throws(() => findConnection(connections, 'endpoint', 'constructor'), { code: 'UNKNOWN_CONNECTION' });
});
