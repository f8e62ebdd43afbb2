/** Parameters of every stock job type: what is refused before anything is done, all problems at once. */
import t from 'tap';
import { parseConnections } from '../../worker/connections/load.ts';
import type { Json } from '../../worker/handler.ts';
import { type StockType, stockHandlers } from '../../worker/jobs/stock.ts';
import type { ComputePool } from '../../worker/pool/pool.ts';
import { jobOf, run } from '../jobs-support/run.ts';

const connections = parseConnections(
  `
schemas: { any: { type: object } }
endpoints:
  api: { url: "https://api.example.com/base", headers: { X-Key: "k" } }
  sink: { kind: store, store: files, operation: append, key: sink }
channels: { log: { kind: log } }
stores:
  files: { kind: file }
  cache: { kind: redis, url: redis://127.0.0.1:1 }
  db: { kind: postgres, url: postgres://127.0.0.1:1/x, tables: { t: { columns: [id, n], key: [id] } } }
`,
  { file: 'c.yaml', dataFolder: '/nowhere', env: {} },
);

/** Nothing in this file may get as far as a computation. */
const unused: ComputePool = { run: () => Promise.reject(new Error('computed')), processes: 0, close: async () => {} };
const { handlers, close } = stockHandlers(connections, unused);
t.teardown(close);

const table: [StockType, Json, string[]][] = [
  ['validation', null, ['parameters.schema: is required: the name of a schema, or a JSON Schema']],
  [
    'validation',
    [],
    [
      'parameters: must be an object with named fields, is a list of 0',
      'parameters.schema: is required: the name of a schema, or a JSON Schema',
    ],
  ],
  [
    'validation',
    { schema: 5, shema: 1 },
    [
      'parameters.schema: must be the name of a schema or a JSON Schema, is the number 5',
      "parameters.shema: is no field of a validation; did you mean 'schema'?",
    ],
  ],
  ['validation', { schema: 'any', timeout: '0s' }, ['parameters.timeout: must be from 1ms to 10m, is 0s']],
  [
    'validation',
    { schema: 'any', timeout: 5 },
    ['parameters.timeout: must be a duration with a unit, such as 500ms, 30s or 5m, is the number 5'],
  ],

  ['processing', {}, ['parameters.operation: is required: one of transform, filter, map, aggregate, sort, merge, template']],
  [
    'processing',
    { operation: 'tranform' },
    [
      `parameters.operation: must be one of transform, filter, map, aggregate, sort, merge, template, is "tranform"; did you mean 'transform'?`,
    ],
  ],
  [
    'processing',
    { operation: 'transform', expresion: 'x' },
    ["parameters.expresion: is no field of the operation transform; did you mean 'expression'?"],
  ],
  ['processing', { operation: 'transform', expression: 7 }, ['parameters.expression: must be a text, is the number 7']],
  [
    'processing',
    { operation: 'transform', expression: 'x'.repeat(65_537) },
    ['parameters.expression: has 65537 characters, at most 65536 are allowed'],
  ],
  ['processing', { operation: 'filter' }, ['parameters.expression: is required: a text']],
  ['processing', { operation: 'map', expression: '' }, ['parameters.expression: must not be empty']],
  ['processing', { operation: 'template' }, ['parameters.template: is required: a text']],
  [
    'processing',
    { operation: 'merge', deep: 'yes', by: 3 },
    ['parameters.deep: must be true or false, is "yes"', 'parameters.by: must be a text, is the number 3'],
  ],
  [
    'processing',
    { operation: 'sort', by: [{ feild: 'a' }, 7], order: 'down' },
    [
      'parameters.order: must be one of asc, desc, is "down"',
      'parameters.by[0].field: is required: a text',
      "parameters.by[0].feild: is no field of a sort key; did you mean 'field'?",
      'parameters.by[1]: must be a field or { field, order }, is the number 7',
    ],
  ],
  [
    'processing',
    {
      operation: 'aggregate',
      group_by: [1],
      aggregates: { a: 'sum', b: { summ: 'x' }, c: { sum: 'x', avg: 'x' }, d: { function: 'sum' } },
    },
    [
      'parameters.group_by[0]: must be a text, is the number 1',
      'parameters.aggregates.a: must be count, or a function and its field such as { sum: amount }, is "sum"',
      'parameters.aggregates.b.function: is required: one of count, sum, avg, min, max, first, last, list, distinct',
      "parameters.aggregates.b.summ: is no field of an aggregate; did you mean 'sum'?",
      'parameters.aggregates.c: only one of count, sum, avg, min, max, first, last, list, distinct may be given, found sum and avg',
      'parameters.aggregates.d.field: is required: a text',
    ],
  ],

  ['integration', {}, ['parameters: needs one of url, endpoint, channel, store: where to']],
  [
    'integration',
    { url: 'https://x.example', channel: 'log' },
    ['parameters: only one of url, endpoint, channel, store may be given, found url and channel'],
  ],
  ['integration', { url: 'file:///etc/passwd' }, ['parameters.url: must be an http or https URL']],
  [
    'integration',
    { url: 'https://u:p@x.example' },
    ['parameters.url: must have no user or password in it; use an endpoint of the connections file'],
  ],
  [
    'integration',
    {
      url: 'https://x.example',
      method: 'BREW',
      headers: { 'a b': 'x', Host: 'y', Ok: 'a\nb', N: {} },
      expect_status: [2, '2xx', 'ok'],
      redirects: 99,
      response: 'all',
      body: 1,
      data: 2,
      path: '/x',
    },
    [
      'parameters.method: must be one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
      'parameters.headers["a b"]: is no name of an HTTP header',
      'parameters.headers.Host: is set by the worker itself',
      'parameters.headers.Ok: has characters that no HTTP header may have',
      'parameters.headers.N: must be a text, is an object',
      'parameters: only one of body, data may be given, found body and data',
      'parameters.expect_status[0]: must be a status such as 201, or a class such as 2xx, is the number 2',
      'parameters.expect_status[2]: must be a status such as 201, or a class such as 2xx, is "ok"',
      'parameters.redirects: must be from 0 to 20, is 99',
      'parameters.response: must be one of full, body, none, is "all"',
      'parameters.path: is no field of an HTTP request; known: url, endpoint, channel, store, method, headers, query, body, data, expect_status, timeout, redirects, response',
    ],
  ],
  ['integration', { url: 'https://x.example', method: 'GET', body: 1 }, ['parameters.body: a GET request has no body; use query']],
  ['integration', { endpoint: 'api', path: '../admin' }, [`parameters.path: "../admin" leads out of endpoint 'api'`]],
  ['integration', { endpoint: 'api', path: 'a/%2e%2e/%2e%2e/b' }, [`parameters.path: "a/%2e%2e/%2e%2e/b" leads out of endpoint 'api'`]],
  ['integration', { endpoint: 'api', path: 'a/%252e%252e/b' }, [`parameters.path: "a/%252e%252e/b" leads out of endpoint 'api'`]],
  ['integration', { endpoint: 'api', path: '..\\b' }, [`parameters.path: "..\\\\b" leads out of endpoint 'api'`]],
  ['integration', { endpoint: 'api', headers: { 'x-key': 'mine' } }, ["parameters.headers: x-key is set by endpoint 'api' itself"]],
  [
    'integration',
    { endpoint: 'sink', method: 'PUT' },
    ["parameters.method: is no field of endpoint 'sink', which keeps data in a store; known: url, endpoint, channel, store, timeout, data"],
  ],
  ['integration', { channel: 'log', massage: 'x' }, ["parameters.massage: is no field of a message to a channel; did you mean 'message'?"]],
  [
    'integration',
    { store: 'files', operation: 'insert' },
    ['parameters.operation: must be one of get, put, append, delete, is "insert"', 'parameters.key: is required: a text'],
  ],
  [
    'integration',
    { store: 'files', operation: 'put', key: 'a', ttl: '1m' },
    [
      'parameters.ttl: is no field of the operation put of a file store; known: url, endpoint, channel, store, operation, key, timeout, data',
    ],
  ],
  [
    'integration',
    { store: 'cache', operation: 'put', key: 'a', ttl: 60 },
    ['parameters.ttl: must be a duration with a unit, such as 500ms, 30s or 5m, is the number 60'],
  ],
  [
    'integration',
    { store: 'db', operation: 'get', table: 't' },
    ['parameters.key: is required: the value of the key column, or an object of key columns and values'],
  ],
  [
    'integration',
    { store: 'db', operation: 'upsert', key: 'x' },
    [
      'parameters.table: is required: a text',
      'parameters.key: is no field of the operation upsert of a postgres store; known: url, endpoint, channel, store, operation, table, timeout, data',
    ],
  ],
  [
    'integration',
    { store: 'db', operation: 'insert', table: 't', data: 5 },
    ['data: rows must be objects of columns and values; row 0 is the number 5'],
  ],
  [
    'integration',
    { store: 'db', operation: 'insert', table: 't', data: [{ id: 1 }, { n: 2 }] },
    ['data: row 1 has other columns than row 0; all rows of one operation must have the same'],
  ],
  [
    'integration',
    { store: 'db', operation: 'insert', table: 't', data: { 'id"; drop table t; --': 1 } },
    [`data: 'id"; drop table t; --' is no column of 't' that jobs may set; known: id, n`],
  ],
  ['integration', { store: 'db', operation: 'upsert', table: 't', data: { n: 1 } }, ['data: the rows lack the key id']],
  ['integration', { store: 'db', operation: 'get', table: 't', key: { n: 1 } }, ['key: must have the columns id']],

  ['cleanup', {}, ['parameters: needs at least one of files, store with keys, url, endpoint']],
  [
    'cleanup',
    { files: [], recursive: 1 },
    [
      'parameters.files: must have 1 to 1000 elements, has 0',
      'parameters.recursive: must be true or false, is the number 1',
      'parameters: needs at least one of files, store with keys, url, endpoint',
    ],
  ],
  [
    'cleanup',
    { files: ['a', 7], store: 'files' },
    ['parameters.files[1]: must be a text, is the number 7', 'parameters.keys: is required: what to remove from the store'],
  ],
  ['cleanup', { store: 'files', keys: ['a', 5] }, ['parameters.keys: key 1 must be a text']],
  ['cleanup', { store: 'db', keys: [1] }, ['parameters.table: is required: a text']],
  ['cleanup', { endpoint: 'sink' }, ["parameters.endpoint: 'sink' keeps data in store 'files'; use store and keys"]],
  [
    'cleanup',
    { url: 'gopher://x', file: 'a' },
    ['parameters.url: must be an http or https URL', "parameters.file: is no field of a cleanup; did you mean 'files'?"],
  ],
];

for (const [type, parameters, expected] of table)
  t.test(`${type} ${JSON.stringify(parameters).slice(0, 80)}`, async (t) => {
    const ended = await run(handlers[type], jobOf(type, parameters, {}));
    t.match(ended, { kind: 'error', code: 'INVALID_INPUT', retryable: false });
    if (ended.kind === 'error')
      t.strictSame(
        ended.message.split('; parameters').map((line, index) => (index === 0 ? line : `parameters${line}`)),
        expected,
      );
  });

t.test('a name that the connections file does not have fails at once', async (t) => {
  const cases: [StockType, Json, string][] = [
    ['validation', { schema: 'nope' }, "no schema 'nope'; known: any"],
    ['integration', { endpoint: 'data-store', nonsense: 1 }, "no endpoint 'data-store'; known: api, sink"],
    ['integration', { channel: 'logg' }, "no channel 'logg'; known: log; did you mean 'log'?"],
    ['integration', { store: 'nope', operation: 'get', key: 'x' }, "no store 'nope'; known: files, cache, db"],
    ['integration', { store: 'db', operation: 'get', table: 'users', key: 1 }, "no table 'users' in store 'db'; known: t"],
    ['cleanup', { store: 'nope', keys: ['x'] }, "no store 'nope'; known: files, cache, db"],
  ];
  for (const [type, parameters, message] of cases)
    t.match(
      await run(handlers[type], jobOf(type, parameters)),
      { kind: 'error', code: 'UNKNOWN_CONNECTION', retryable: false, message },
      message,
    );
});
