/** The pure parts under the stock job types: durations, fields, addresses, headers, secrets, schemas, lists, templates. */
import fc from 'fast-check';
import t from 'tap';
import { compute } from '../../worker/compute/compute.ts';
import type { ComputeTask } from '../../worker/compute/task.ts';
import { Redactor } from '../../worker/connections/redactor.ts';
import { formatDuration, parseDurationMs } from '../../worker/fields/duration.ts';
import { Fields, textElement } from '../../worker/fields/fields.ts';
import { type FieldProblem, formatProblem } from '../../worker/fields/path.ts';
import type { Json } from '../../worker/handler.ts';
import { isAllowed, isPublicAddress, parseAllowRule } from '../../worker/http/address.ts';
import { isHeaderValue, reservedHeader } from '../../worker/http/header.ts';
import { parseRetryAfterMs } from '../../worker/http/retry-after.ts';
import { isPlainSchema } from '../../worker/schema/plain.ts';

t.test('durations', async (t) => {
  const cases: [string, number | null][] = [
    ['500ms', 500],
    ['30s', 30_000],
    ['1.5s', 1_500],
    ['1h30m', 5_400_000],
    ['1d', 86_400_000],
    ['PT1M30S', 90_000],
    ['P1DT1H', 90_000_000],
    ['P1W', 604_800_000],
    ['30', null],
    ['', null],
    ['s', null],
    ['-5s', null],
    ['5 s', null],
    ['P', null],
    ['PT', null],
    ['P1DT', null],
    ['1e3s', null],
  ];
  for (const [text, expected] of cases) t.equal(parseDurationMs(text), expected, text);
  fc.assert(fc.property(fc.integer({ min: 1, max: 10_000_000_000 }), (ms) => parseDurationMs(formatDuration(ms)) === ms));
});

t.test('fields: every problem at once, and what was probably meant', async (t) => {
  const problems: FieldProblem[] = [];
  const fields = new Fields(
    { operatoin: 'sort', count: 1.5, flag: 'yes', timeout: 30, kind: 'fiel', list: ['a', 3], map: { 'a b': 1 }, __proto__x: 1 },
    ['parameters'],
    problems,
  );
  t.equal(fields.requiredText('operation'), '');
  fields.integer('count', { min: 0 });
  fields.flag('flag');
  fields.durationMs('timeout', { min: 1, max: 1_000 });
  t.equal(fields.requiredChoice('kind', ['file', 'http']), 'file');
  fields.list('list', textElement);
  fields.map('map', textElement);
  fields.close('a test');
  t.strictSame(problems.map(formatProblem), [
    'parameters.operation: is required: a text',
    'parameters.count: must be a whole number, is the number 1.5',
    'parameters.flag: must be true or false, is "yes"',
    'parameters.timeout: must be a duration with a unit, such as 500ms, 30s or 5m, is the number 30',
    `parameters.kind: must be one of file, http, is "fiel"; did you mean 'file'?`,
    'parameters.list[1]: must be a text, is the number 3',
    'parameters.map["a b"]: must be a text, is the number 1',
    "parameters.operatoin: is no field of a test; did you mean 'operation'?",
    'parameters.__proto__x: is no field of a test; known: operation, count, flag, timeout, kind, list, map',
  ]);

  const inherited: FieldProblem[] = [];
  t.equal(new Fields({}, [], inherited).text('constructor'), undefined, 'only own fields');
  new Fields([1], ['parameters'], inherited).close('x');
  t.match(inherited.map(formatProblem), ['parameters: must be an object with named fields, is a list of 1']);
});

t.test('addresses: what is public', async (t) => {
  const refused = [
    '127.0.0.1',
    '127.255.255.254',
    '0.0.0.0',
    '10.1.2.3',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '192.0.0.8',
    '198.18.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '[::1]',
    'fe80::1',
    'fe80::1%eth0',
    'fc00::1',
    'fd12:3456::1',
    'ff02::1',
    '2001:db8::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '0:0:0:0:0:ffff:a9fe:a9fe',
    '::127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b::10.0.0.1',
    '64:ff9b:1::1',
    '2002:7f00:1::',
    '2002:c0a8:101::1',
    '2001:0:4136:e378:8000:63bf:80ff:fffe',
    '2606:4700::5efe:10.0.0.1',
    'localhost',
    '2130706433',
    '0x7f000001',
    '',
  ];
  for (const address of refused) t.equal(isPublicAddress(address), false, address);
  const open = [
    '1.1.1.1',
    '8.8.8.8',
    '172.32.0.1',
    '100.128.0.1',
    '2606:4700:4700::1111',
    '::ffff:8.8.8.8',
    '64:ff9b::8.8.8.8',
    '2a00:1450:4001::1',
  ];
  for (const address of open) t.equal(isPublicAddress(address), true, address);
});

t.test('addresses: what network.allow opens', async (t) => {
  const table: [string, string, string, number, boolean][] = [
    ['127.0.0.1', '127.0.0.1', '127.0.0.1', 80, true],
    ['127.0.0.1', '127.0.0.2', '127.0.0.2', 80, false],
    ['127.0.0.1:9000', '127.0.0.1', '127.0.0.1', 9000, true],
    ['127.0.0.1:9000', '127.0.0.1', '127.0.0.1', 9001, false],
    ['10.0.0.0/8', 'db.internal', '10.9.9.9', 5432, true],
    ['10.0.0.0/8', '[::ffff:a09:909]', '::ffff:10.9.9.9', 5432, true],
    ['10.0.0.0/8', 'db.internal', '192.168.0.1', 5432, false],
    ['fd00::/8', 'x', 'fd00::5', 80, true],
    ['[fd00::5]:8080', 'x', 'fd00::5', 8080, true],
    ['[fd00::5]:8080', 'x', 'fd00::5', 80, false],
    ['localhost', 'localhost', '127.0.0.1', 80, true],
    ['localhost', 'LOCALHOST.', '::1', 80, true],
    ['localhost', 'evil.example', '127.0.0.1', 80, false],
    ['*.svc.cluster.local', 'a.svc.cluster.local', '10.0.0.1', 80, true],
    ['*.svc.cluster.local', 'svc.cluster.local', '10.0.0.1', 80, false],
    ['*.svc.cluster.local', 'a.svc.cluster.local.evil.example', '10.0.0.1', 80, false],
  ];
  for (const [allow, host, address, port, expected] of table) {
    const rule = parseAllowRule(allow);
    if (rule === null) t.fail(`${allow} is no rule`);
    else t.equal(isAllowed({ allow: [rule] }, host, address, port), expected, `${allow}: ${host} as ${address}:${port}`);
  }
  t.equal(isAllowed({ allow: [] }, 'example.com', '1.1.1.1', 443), true, 'public ones need no rule');
  for (const text of ['', '10.0.0', '1.2.3.4.5', '10.0.0.0/33', 'a b', 'http://x', '*', '*.', 'x:0', 'x:70000', '10.0.0.0/x'])
    t.equal(parseAllowRule(text), null, text);
});

t.test('Retry-After', async (t) => {
  const now = Date.parse('2026-11-01T12:00:00Z');
  const cases: [string | undefined, number][] = [
    [undefined, 0],
    ['7', 7_000],
    [' 7 ', 7_000],
    ['0', 0],
    ['999999999', 3_600_000],
    ['Sun, 01 Nov 2026 12:00:30 GMT', 30_000],
    ['Sun, 01 Nov 2026 11:00:00 GMT', 0],
    ['-5', 0],
    ['1.5', 0],
    ['soon', 0],
  ];
  for (const [header, expected] of cases) t.equal(parseRetryAfterMs(header, now), expected, String(header));
});

t.test('headers', async (t) => {
  t.equal(isHeaderValue('Bearer x'), true);
  t.equal(isHeaderValue('a\r\nHost: evil'), false);
  t.equal(isHeaderValue('a\0'), false);
  t.not(reservedHeader('Host'), null);
  t.equal(reservedHeader('X-Mine'), null);
});

t.test('secrets are replaced in every form', async (t) => {
  const redactor = new Redactor();
  redactor.add('s3cr3t/with space');
  redactor.add('postgres://user:p%40ssword@db.example/x');
  redactor.add('https://hooks.example.com/services/T000/B000/abcdef?token=longenough');
  redactor.add('abc');
  t.equal(redactor.text('got s3cr3t/with space and s3cr3t%2Fwith%20space'), 'got *** and ***');
  t.equal(redactor.text('password p@ssword or p%40ssword of postgres://user:p%40ssword@db.example/x'), 'password *** or *** of ***');
  t.equal(redactor.text('POST /services/T000/B000/abcdef failed; token longenough'), 'POST *** failed; token ***');
  t.equal(redactor.text('abc stays: too short to be told from words'), 'abc stays: too short to be told from words');
  t.strictSame(redactor.json({ a: ['s3cr3t/with space'], 's3cr3t/with space': 1 }), { a: ['***'], '***': 1 });
});

t.test('schemas that are checked without the pool', async (t) => {
  t.equal(isPlainSchema({ type: 'object', required: ['a'], properties: { a: { type: 'array', items: { enum: [1, 2] } } } }), true);
  t.equal(isPlainSchema(true), true);
  const expensive: Json[] = [
    { pattern: '^(a+)+$' },
    { properties: { a: { pattern: 'x' } } },
    { items: { format: 'email' } },
    { uniqueItems: true },
    { $ref: '#' },
    { patternProperties: {} },
    { allOf: [{ contains: {} }] },
    { 'x-anything': 1 },
  ];
  for (const schema of expensive) t.equal(isPlainSchema(schema), false, JSON.stringify(schema));
});

const bounds = { outputBytes: 10_000, jsonDepth: 10, violations: 5 };
const outcome = async (task: ComputeTask, data: Json) => {
  const result = await compute(task, JSON.stringify(data), bounds);
  return result.kind === 'value' ? (JSON.parse(result.text) as Json) : { code: result.code, message: result.message };
};

t.test('computations', async (t) => {
  const rows: Json = [
    { region: 'eu', amount: 3, who: { name: 'b' } },
    { region: 'us', amount: 5, who: { name: 'a' } },
    { region: 'eu', amount: 4, who: null },
    { amount: null },
  ];
  const table: [string, ComputeTask, Json, Json][] = [
    ['transform', { kind: 'transform', expression: '$sum(amount)' }, [{ amount: 1 }, { amount: 2 }], 3],
    ['transform to nothing', { kind: 'transform', expression: 'missing' }, {}, null],
    ['filter', { kind: 'filter', expression: 'amount > 3' }, (rows as Json[]).slice(0, 3), [(rows as Json[])[1], (rows as Json[])[2]]],
    ['filter by index', { kind: 'filter', expression: '$index = 1' }, ['a', 'b'], ['b']],
    ['map', { kind: 'map', expression: 'amount * 2' }, [{ amount: 2 }, {}], [4, null]],
    ['map sees the whole data', { kind: 'map', expression: '$ / $sum($data)' }, [1, 3], [0.25, 0.75]],
    [
      'aggregate by group',
      {
        kind: 'aggregate',
        groupBy: [{ name: 'region', field: 'region' }],
        columns: [
          { name: 'n', function: 'count', field: null },
          { name: 'sum', function: 'sum', field: 'amount' },
          { name: 'avg', function: 'avg', field: 'amount' },
          { name: 'names', function: 'list', field: 'who.name' },
        ],
      },
      rows,
      [
        { region: 'eu', n: 2, sum: 7, avg: 3.5, names: ['b'] },
        { region: 'us', n: 1, sum: 5, avg: 5, names: ['a'] },
        { region: null, n: 1, sum: 0, avg: null, names: [] },
      ],
    ],
    [
      'aggregate of all',
      {
        kind: 'aggregate',
        groupBy: [],
        columns: (['min', 'max', 'first', 'last', 'distinct', 'count'] as const).map((name) => ({ name, function: name, field: 'amount' })),
      },
      rows,
      { min: 3, max: 5, first: 3, last: 4, distinct: [3, 5, 4], count: 3 },
    ],
    ['sort', { kind: 'sort', by: [{ field: null, descending: false }] }, [3, null, 'a', 1, true], [true, 1, 3, 'a', null]],
    [
      'sort by several, nulls last',
      {
        kind: 'sort',
        by: [
          { field: 'a', descending: true },
          { field: 'b', descending: false },
        ],
      },
      [{ a: 1, b: 2 }, { b: 9 }, { a: 2, b: 2 }, { a: 2, b: 1 }],
      [{ a: 2, b: 1 }, { a: 2, b: 2 }, { a: 1, b: 2 }, { b: 9 }],
    ],
    ['merge objects', { kind: 'merge', deep: false, by: null }, [{ a: { x: 1 } }, null, { a: { y: 2 }, b: 1 }], { a: { y: 2 }, b: 1 }],
    ['merge deeply', { kind: 'merge', deep: true, by: null }, { one: { a: { x: 1 } }, two: { a: { y: 2 } } }, { a: { x: 1, y: 2 } }],
    ['merge lists', { kind: 'merge', deep: false, by: null }, { one: [1], two: [2, 3] }, [1, 2, 3]],
    [
      'merge by key',
      { kind: 'merge', deep: false, by: 'id' },
      [[{ id: 1, a: 1 }], [{ id: 1, b: 2 }, { id: 2 }]],
      [{ id: 1, a: 1, b: 2 }, { id: 2 }],
    ],
    [
      'template',
      { kind: 'template', template: 'Hi {{ name }}, {{ $sum(n) }}, {{ {"a": {"b": 1}} }}, \\{{ x }}{{ none }}' },
      { name: 'Ada', n: [1, 2] },
      'Hi Ada, 3, {"a":{"b":1}}, {{ x }}',
    ],
  ];
  for (const [name, task, data, expected] of table) t.strictSame(await outcome(task, data), expected, name);
});

t.test('what computations refuse', async (t) => {
  const table: [string, ComputeTask, Json, string, RegExp][] = [
    ['syntax', { kind: 'transform', expression: 'a +' }, {}, 'EXPRESSION_ERROR', /a \+ at character 3: .*\(S0207\)/],
    ['type', { kind: 'transform', expression: '"a" + 1' }, {}, 'EXPRESSION_ERROR', /T2001/],
    ['function', { kind: 'transform', expression: '{"f": $sum}' }, {}, 'EXPRESSION_ERROR', /is a function/],
    [
      'one element',
      { kind: 'filter', expression: 'a > 1' },
      [{ a: 2 }, { a: null }],
      'EXPRESSION_ERROR',
      /^element 1: a > 1 at character 3/,
    ],
    ['no list', { kind: 'filter', expression: 'true' }, {}, 'INVALID_INPUT', /filter needs a list as data, is an object/],
    [
      'no numbers',
      { kind: 'aggregate', groupBy: [], columns: [{ name: 's', function: 'sum', field: 'a' }] },
      [{ a: 'x' }],
      'INVALID_INPUT',
      /data\[0\]\.a is "x"/,
    ],
    ['merge of both', { kind: 'merge', deep: false, by: null }, [[1], {}], 'INVALID_INPUT', /objects only or lists only/],
    ['merge without key', { kind: 'merge', deep: false, by: 'id' }, [[{}]], 'INVALID_INPUT', /element 0 of the lists has no id/],
    ['open template', { kind: 'template', template: 'a {{ b' }, {}, 'EXPRESSION_ERROR', /\{\{ without \}\}/],
    ['large', { kind: 'transform', expression: '$pad("x", 20000)' }, {}, 'OUTPUT_TOO_LARGE', /20002 bytes/],
    ['deep', { kind: 'transform', expression: '[[[[[[[[[[[1]]]]]]]]]]]' }, {}, 'OUTPUT_TOO_DEEP', /deeper than 10/],
    ['schema', { kind: 'validate', schema: { type: 'nothing' } }, {}, 'INVALID_SCHEMA', /type/],
    ['draft', { kind: 'validate', schema: { $schema: 'http://json-schema.org/draft-07/schema#' } }, {}, 'INVALID_SCHEMA', /2020-12/],
    ['remote', { kind: 'validate', schema: { $ref: 'https://example.com/x' } }, {}, 'INVALID_SCHEMA', /not followed/],
  ];
  for (const [name, task, data, code, message] of table) t.match(await outcome(task, data), { code, message }, name);
});

t.test('all violations of a schema', async (t) => {
  const schema: Json = {
    type: 'object',
    required: ['id'],
    additionalProperties: false,
    properties: { n: { type: 'integer' }, mail: { format: 'email' }, e: { enum: ['a', 'b'] } },
  };
  const result = await compute({ kind: 'validate', schema }, JSON.stringify({ n: 'x', mail: 'no', e: 'c', odd: 1 }), bounds);
  t.match(result, {
    kind: 'failed',
    code: 'VALIDATION_FAILED',
    details: {
      total: 5,
      violations: [
        { path: '', keyword: 'required', message: "must have required property 'id'" },
        { path: '', keyword: 'additionalProperties', message: 'must not have the property "odd"' },
        { path: '/n', keyword: 'type', message: 'must be integer' },
        { path: '/mail', keyword: 'format' },
        { path: '/e', keyword: 'enum', message: 'must be one of ["a","b"]' },
      ],
    },
  });
});

t.test('properties: sorting is a permutation in order, merging loses no key', async (t) => {
  const scalar = fc.oneof(fc.integer(), fc.string(), fc.boolean(), fc.constant(null));
  await fc.assert(
    fc.asyncProperty(fc.array(scalar), async (items) => {
      const sorted = (await outcome({ kind: 'sort', by: [{ field: null, descending: false }] }, items)) as Json[];
      const again = await outcome({ kind: 'sort', by: [{ field: null, descending: false }] }, sorted);
      t.strictSame(again, sorted);
      return (
        JSON.stringify([...sorted].map((x) => JSON.stringify(x)).sort()) === JSON.stringify(items.map((x) => JSON.stringify(x)).sort())
      );
    }),
    { numRuns: 50 },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.dictionary(fc.string(), fc.integer())), async (parts) => {
      const merged = (await outcome({ kind: 'merge', deep: true, by: null }, parts.length === 0 ? [{}] : parts)) as Record<string, Json>;
      return parts.every((part) => Object.keys(part).every((key) => Object.hasOwn(merged, key)));
    }),
    { numRuns: 50 },
  );
});
