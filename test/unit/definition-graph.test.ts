/**
 * The compiled graph: edges, policies, order, reachability, hash, inputs, output schemas, payloads and durations.
 */
import { readFileSync } from 'node:fs';
import {
  compile,
  decodePayload,
  type Edge,
  formatDuration,
  type Graph,
  type Json,
  jsonDepthFits,
  jsonPayload,
  parseDuration,
  readPayload,
} from '@workflow-orchestrator/engine/definition';
import { limits } from '@workflow-orchestrator/proto/limits';
import t from 'tap';

function graphOf(...lines: string[]): Graph {
  const compiled = compile(['workflow:', '  name: w', ...lines.map((line) => `  ${line}`), ''].join('\n'));
  if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems, null, 1));
  return compiled.graph;
}

function fixture(name: string): Graph {
  const compiled = compile(readFileSync(new URL(`../fixtures/definition/good/${name}.yaml`, import.meta.url), 'utf8'));
  if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems, null, 1));
  return compiled.graph;
}

function printed(graph: Graph): string[] {
  const print = ({ source, target, kind }: Edge): string => `${graph.jobs[source].id} ${kind} ${graph.jobs[target].id}`;
  return graph.jobs.flatMap((job) => job.outEdges.map(print));
}

t.test('edges', async (t) => {
  const merge = fixture('merge');
  t.strictSame(printed(merge), ['a success b', 'a failure c', 'a failure notify', 'b success d', 'c success d', 'x success d']);
  t.strictSame(
    merge.jobs.flatMap((job) => job.inEdges).toSorted((a, b) => a.source - b.source || a.target - b.target),
    merge.jobs.flatMap((job) => job.outEdges),
    'each edge stands at both ends',
  );
  const both = graphOf('jobs: [{ id: a, type: t, on_success: [b, b], on_failure: b }, { id: b, type: t, needs: [a, a] }]');
  t.strictSame(printed(both), ['a success b', 'a failure b'], 'the same edge twice is one edge, two kinds are two');
  const place = ({ order }: Graph, index: number): number => order.indexOf(index);
  for (const { source, target } of merge.jobs.flatMap((job) => job.outEdges)) t.ok(place(merge, source) < place(merge, target));
  t.strictSame(merge.order.toSorted(), [0, 1, 2, 3, 4, 5]);
  t.strictSame([...merge.indexOf.keys()], ['a', 'b', 'c', 'd', 'notify', 'x']);

  const seed = fixture('seed');
  t.strictSame(printed(seed), ['validate success process', 'validate failure alert', 'process success save']);
  t.match(seed.jobs[3], { alwaysRun: true, finaliser: false });
});

t.test('reachability by outcome', async (t) => {
  const graph = fixture('merge');
  const reaches = (source: string, outcome: 'success' | 'failure', target: string): boolean =>
    graph.reachable(graph.indexOf.get(source)!, outcome, graph.indexOf.get(target)!);
  t.ok(reaches('a', 'success', 'b'));
  t.notOk(reaches('a', 'failure', 'b'));
  t.ok(reaches('a', 'failure', 'd'), 'through c, along edges of either kind');
  t.ok(reaches('a', 'success', 'd'));
  t.notOk(reaches('a', 'success', 'notify'));
  t.notOk(reaches('d', 'success', 'a'));
  t.notOk(reaches('a', 'success', 'a'), 'nothing reaches itself');
  t.notOk(graph.reachable(99, 'success', 0));

  // Against the definition, on graphs with more than one word of bits.
  const count = 70;
  const lines = Array.from({ length: count }, (_, index) => {
    const targets = (step: number): string =>
      [index + step, index * 2 + step]
        .filter((to) => to < count)
        .map((to) => `j${to}`)
        .join(', ');
    return `  - { id: j${index}, type: t, on_success: [${targets(2)}], on_failure: [${targets(3)}] }`;
  });
  const large = graphOf('jobs:', ...lines);
  const walk = (from: number): Set<number> => {
    const seen = new Set<number>();
    const visit = (index: number): void => {
      if (seen.has(index)) return;
      seen.add(index);
      for (const edge of large.jobs[index].outEdges) visit(edge.target);
    };
    visit(from);
    return seen;
  };
  for (let source = 0; source < count; source++) {
    for (const outcome of ['success', 'failure'] as const) {
      const expected = new Set(
        large.jobs[source].outEdges.filter(({ kind }) => kind === outcome).flatMap(({ target }) => [...walk(target)]),
      );
      const found = large.jobs.filter(({ index }) => large.reachable(source, outcome, index)).map(({ index }) => index);
      t.strictSame(
        found,
        [...expected].toSorted((a, b) => a - b),
      );
    }
  }
});

t.test('what a job says, over defaults', async (t) => {
  const plain = graphOf('jobs: [{ id: a, type: t }]').jobs[0];
  t.match(plain, {
    name: 'a',
    join: 'all',
    alwaysRun: false,
    finaliser: false,
    allowFailure: false,
    recover: false,
    condition: null,
    checkOutput: null,
    priority: 5,
    timeouts: { queueMs: null, runMs: null, heartbeatMs: null, totalMs: null },
    retry: { maxAttempts: 1, initialDelayMs: 1_000, factor: 2, maxDelayMs: 60_000, jitter: 0.2, on: [], notOn: [] },
  });
  t.equal(plain.retry.maxAttemptsWhenLost, 1 + limits.lostWorkerRedeliveries, 'a lost worker is no outcome of the job');

  const graph = fixture('every-feature');
  t.match(graph, {
    name: 'every.feature_1-0',
    version: '3',
    description: 'All of it,\nover two lines.\n',
    timeoutMs: 3_600_000,
    cleanupTimeoutMs: 90_000,
  });
  t.equal(graph.cancelGraceMs, limits.cancelGraceMs);
  const [fetch, fallback, check, save, , tell, sweep] = graph.jobs;
  t.match(fetch, {
    name: 'Fetch the rows',
    recover: true,
    priority: 9,
    timeouts: { queueMs: 600_000, runMs: 30_000, heartbeatMs: 15_000, totalMs: 3_600_000 },
    retry: {
      maxAttempts: 3,
      maxAttemptsWhenLost: 3,
      initialDelayMs: 2_000,
      factor: 3,
      maxDelayMs: 300_000,
      jitter: 0,
      notOn: ['INVALID_INPUT'],
    },
  });
  t.strictSame(
    [...fetch.requiredLabels],
    [
      ['region', 'eu'],
      ['gpu', 'true'],
    ],
  );
  t.match(fallback, { recover: false, priority: 3, timeouts: { queueMs: 600_000, runMs: 300_000 } });
  t.match(check, { allowFailure: true, timeouts: { runMs: 500 }, retry: { maxAttempts: 1, on: ['TIMEOUT'], notOn: ['INVALID_INPUT'] } });
  t.match(save, { join: 'any' });
  t.match(tell, { alwaysRun: true, finaliser: false, join: 'all_done' });
  t.match(sweep, { alwaysRun: true, finaliser: true });

  const cleanup = graphOf('defaults: { retry: { initial_delay: 5m } }', 'jobs: [{ id: a, type: t }]');
  t.equal(cleanup.cleanupTimeoutMs, 300_000);
  t.equal(cleanup.jobs[0].retry.maxDelayMs, 300_000, 'a long first delay moves the default bound');
});

t.test('hash', async (t) => {
  const hash = (text: string): string => {
    const compiled = compile(text);
    if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems));
    return compiled.graph.hash;
  };
  const base = 'workflow: { name: w, jobs: [{ id: a, type: t, parameters: { x: 1, y: [1, 2] } }] }';
  t.match(hash(base), /^[0-9a-f]{64}$/);
  const same = [
    '# comment\nworkflow:\n  jobs:\n    - parameters: { y: [1.0, 2], x: 0x1 }\n      type: "t"\n      id: a\n  name: w\n',
    `\ufeff${base}`,
    'x-a: &a t\nworkflow: { x-b: c, name: w, jobs: [{ id: a, x-c: 1, type: *a, parameters: { x: 1, y: [1, 2] } }] }',
    JSON.stringify({ workflow: { jobs: [{ type: 't', parameters: { y: [1, 2], x: 1 }, id: 'a' }], name: 'w' } }),
    base.replaceAll(' ', '\r\n '),
  ];
  for (const text of same) t.equal(hash(text), hash(base), text);
  const other = [
    base.replace('[1, 2]', '[2, 1]'),
    base.replace('name: w', 'name: v'),
    base.replace('x: 1', '"x": "1"'),
    base.replace('x: 1', 'x: 1, x-a: 1'),
  ];
  for (const text of other) t.not(hash(text), hash(base), text);
});

t.test('inputs', async (t) => {
  const graph = fixture('every-feature');
  const prepare = (inputs: Json): unknown => {
    const prepared = graph.prepareInputs(inputs);
    return prepared.kind === 'ok' ? prepared.inputs : prepared.problems.map(({ path, message }) => `${path} ${message}`);
  };
  t.strictSame(prepare({ 'order-id': 'A-1', limit: 3 }), { env: 'prod', limit: 3, 'order-id': 'A-1', ratio: 0.5, tags: ['a', 'b'] });
  t.strictSame(prepare({ 'order-id': 'A-1', anything: [{}], tree: { children: [{ children: [] }] } }), {
    env: 'prod',
    limit: 100,
    'order-id': 'A-1',
    ratio: 0.5,
    tags: ['a', 'b'],
    tree: { children: [{ children: [] }] },
    anything: [{}],
  });
  t.strictSame(prepare({ limit: 0, env: 'test', tags: ['a', 1], tree: { children: [{ children: 1 }] }, orderid: 'A-1' }), [
    "inputs.orderid no input 'orderid'; did you mean 'order-id'?",
    'inputs.order-id is required',
    'inputs.env must be one of "dev", "prod"',
    'inputs.limit must be >= 1',
    'inputs.tags[1] must be string',
    'inputs.tree.children[0].children must be array',
  ]);
  t.match(prepare({ 'order-id': 'a' }), [/inputs.order-id must match pattern/]);
  t.match(prepare('text'), [/inputs must be a map/]);
  t.match(prepare({ 'order-id': 'A-1', note: 'x'.repeat(limits.inputsBytes) }), [/more than inputsBytes/]);
  t.match(prepare({ 'order-id': 'A-1', anything: JSON.parse('['.repeat(100) + ']'.repeat(100)) }), [/deeper than jsonDepth/]);
  t.match(graph.inputsSchema, {
    type: 'object',
    properties: { env: { type: 'string', default: 'prod' }, 'order-id': { type: 'string' }, anything: {} },
    required: ['order-id'],
    additionalProperties: false,
  });
  const none = graphOf('jobs: [{ id: a, type: t }]');
  t.equal(none.inputsSchema, null);
  t.strictSame(none.prepareInputs(null), { kind: 'ok', inputs: {} });
  t.match(none.prepareInputs({ a: 1 }), { kind: 'bad', problems: [{ path: 'inputs.a', message: /the workflow takes none/ }] });
  const odd = graphOf('inputs: { __proto__: { default: 1 }, constructor: { type: string } }', 'jobs: [{ id: a, type: t }]').prepareInputs({
    constructor: 'x',
  });
  t.equal(odd.kind === 'ok' && JSON.stringify(odd.inputs), '{"__proto__":1,"constructor":"x"}');
});

t.test('output schemas', async (t) => {
  const check = (schema: string): ((output: Json) => string | null) =>
    graphOf(`jobs: [{ id: a, type: t, outputs_schema: ${schema} }]`).jobs[0].checkOutput!;
  const rows = check(
    '{ type: object, required: [rows], properties: { rows: { type: array, uniqueItems: true, items: { $ref: "#/$defs/row" } } }, additionalProperties: false, $defs: { row: { type: integer } } }',
  );
  t.equal(rows({ rows: [1, 2] }), null);
  t.equal(rows({}), "output must have the key 'rows'");
  t.match(rows({ rows: [1, 'x'], more: 1 }), /output must not have the key 'more'; output.rows.1 must be integer/);
  t.match(rows({ rows: [1, 1] }), /must not hold the same item twice/);
  t.equal(
    check('{ uniqueItems: true }')([
      { a: 1, b: 2 },
      { b: 2, a: 1 },
    ]),
    'output must not hold the same item twice',
  );
  t.equal(check('false')(1), 'output boolean schema is false');
  t.equal(check('true')(1), null);
  const format = (name: string, value: string): boolean => check(`{ format: ${name} }`)(value) === null;
  for (const [name, good, bad] of [
    ['date-time', '2026-02-28T23:59:60.5Z', '2026-02-30T00:00:00Z'],
    ['date', '2024-02-29', '2026-02-29'],
    ['time', '12:00:00+01:00', '25:00:00Z'],
    ['duration', 'P1DT2H', 'P'],
    ['email', 'a.b@example.com', 'a@b@'],
    ['hostname', 'example.com', '-a.com'],
    ['ipv4', '127.0.0.1', '256.0.0.1'],
    ['ipv6', '::1', '1::2::3'],
    ['ipv6', '::ffff:127.0.0.1', '1:2:3:4:5:6:7'],
    ['uri', 'https://example.com/a', 'no uri'],
    ['uuid', '123e4567-e89b-12d3-a456-426614174000', '123'],
  ] as const) {
    t.ok(format(name, good), `${name} ${good}`);
    t.notOk(format(name, bad), `${name} ${bad}`);
  }
  const two = check(
    '{ properties: { a: { pattern: ^a }, b: { pattern: ^b } }, patternProperties: { ^x: { type: string }, ^y: { type: integer } } }',
  );
  t.equal(two({ a: 'a', b: 'b', x: 'x', y: 1 }), null, 'patterns are not mixed up');
  t.match(
    two({ a: 'b', b: 'a', x: 1, y: 'y' }),
    /output.a must match pattern.*output.b must match pattern.*output.x must be string.*output.y must be integer/,
  );
  const doubling = Array.from(
    { length: 40 },
    (_, index) => `a${index}: { allOf: [{ $ref: "#/$defs/a${index + 1}" }, { $ref: "#/$defs/a${index + 1}" }] }`,
  );
  t.match(check(`{ $ref: "#/$defs/a0", $defs: { ${doubling.join(', ')}, a40: { type: string } } }`)('x'), /more than schemaSteps/);
  t.match(check('{ items: { pattern: "(a?){400}a{400}b" } }')(Array(50).fill('a'.repeat(5_000))), /more than schemaSteps/);
  t.equal(check('{ pattern: "^(a+)+$" }')(`${'a'.repeat(20_000)}!`) === null, false, 'no pattern backtracks');
});

t.test('payloads', async (t) => {
  const values: Json[] = [null, true, 0, -1.5, '', 'é', [], {}, [1, { a: [null] }], JSON.parse('{"__proto__": 1}')];
  for (const value of values) t.strictSame(readPayload(jsonPayload(value)), value);
  t.equal(jsonPayload(null).data.length, 0, 'null is no data');
  const text = (data: string, encoding = 'json'): { encoding: string; data: Uint8Array } => ({
    encoding,
    data: new TextEncoder().encode(data),
  });
  t.strictSame(readPayload(text('{"a":1}', '')), { a: 1 }, 'an empty encoding is json');
  t.equal(readPayload(text('{')), null);
  t.match(decodePayload(text('{')), { kind: 'failure', message: 'no JSON' });
  t.match(decodePayload(text('1', 'protobuf')), { kind: 'failure', message: /'protobuf' cannot be read/ });
  t.match(decodePayload({ encoding: 'json', data: new Uint8Array([0x22, 0xff, 0x22]) }), { kind: 'failure' });
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  t.strictSame(readPayload(text(nested(limits.jsonDepth))), JSON.parse(nested(limits.jsonDepth)));
  t.match(decodePayload(text(nested(limits.jsonDepth + 1))), { kind: 'failure', message: /deeper than 64/ });
  t.strictSame(
    readPayload(text(JSON.stringify(['['.repeat(500), '\\"', '{']))),
    ['['.repeat(500), '\\"', '{'],
    'brackets in text do not count',
  );
  t.equal(readPayload(text(nested(100_000))), null);
  const deep = JSON.parse(nested(5_000)) as Json;
  t.notOk(jsonDepthFits(deep));
  t.strictSame(readPayload(jsonPayload(deep)), JSON.parse(`${'['.repeat(64)}null${']'.repeat(64)}`), 'what is too deep is cut, not thrown');
  const payload = text('[1]');
  t.equal(readPayload(payload), readPayload(payload), 'parsed once');
});

t.test('durations', async (t) => {
  for (const [text, ms] of [
    ['500ms', 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    ['1h30m', 5_400_000],
    ['1.5s', 1_500],
    [' 1s ', 1_000],
    ['0s', 0],
    ['PT30S', 30_000],
    ['PT0.5S', 500],
    ['P1DT2H', 93_600_000],
    ['P2W', 1_209_600_000],
    ['366d', limits.durationMs],
  ] as const) {
    t.strictSame(parseDuration(text), { kind: 'ok', ms }, text);
  }
  for (const text of [
    '',
    '30',
    '-5s',
    '5',
    '5x',
    's',
    '30m1h',
    '1s1s',
    '1 s',
    'P',
    'PT',
    'P1Y',
    'P1M',
    '367d',
    '0.1ms',
    '1e3s',
    '5S',
    '٣s',
    '1h'.repeat(40),
  ]) {
    t.match(parseDuration(text), { kind: 'bad', message: /./, hint: /./ }, `'${text}'`);
  }
  for (const [ms, text] of [
    [0, '0ms'],
    [500, '500ms'],
    [90_000, '90s'],
    [3_600_000, '1h'],
    [172_800_000, '2d'],
  ] as const)
    t.equal(formatDuration(ms), text);
});
