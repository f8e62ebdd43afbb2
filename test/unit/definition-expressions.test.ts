/**
 * Expressions: what they give, how they fail, and that they always end.
 */
import {
  compile,
  type ExpressionResult,
  type Graph,
  type Json,
  type Payload,
  readPayload,
  type Scope,
} from '@workflow-orchestrator/engine/definition';
import { limits } from '@workflow-orchestrator/proto/limits';
import t from 'tap';

const inputs = [
  'inputs:',
  '  env: { type: string, default: prod }',
  '  count: { type: integer, default: 7 }',
  '  ratio: { type: number, default: 0.5 }',
  '  dry-run: { type: boolean, default: true }',
  '  tags: { type: array, items: { type: string }, default: [a, b] }',
  '  list: { type: array, default: [1, 2.5, 3] }',
  '  data: { type: object, default: { k: v } }',
  '  note: { type: string }',
  '  size: { type: integer }',
];

function graphOf(...lines: string[]): Graph {
  const compiled = compile(['workflow:', '  name: w', ...lines.map((line) => `  ${line}`), ''].join('\n'));
  if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems, null, 1));
  return compiled.graph;
}

/** A graph in which the job `reader` comes after `my-job` and `a.b`, and renders `parameters`. */
function reader(parameters: string, condition = 'true'): Graph {
  return graphOf(
    ...inputs,
    'jobs:',
    '  - { id: my-job, type: t }',
    '  - { id: a.b, type: t }',
    '  - { id: a, type: t }',
    '  - id: reader',
    '    type: t',
    '    needs: [my-job, a.b, a]',
    `    if: ${JSON.stringify(condition)}`,
    `    parameters: ${parameters}`,
  );
}

interface Around {
  readonly inputs?: Json;
  readonly outputs?: readonly Json[];
  readonly error?: { readonly code: string; readonly message: string } | null;
  readonly failure?: Scope['failure'];
  readonly asked?: number[];
}

function scope(graph: Graph, around: Around = {}): Scope {
  const prepared = graph.prepareInputs(around.inputs ?? {});
  if (prepared.kind === 'bad') throw new Error(JSON.stringify(prepared.problems));
  return {
    inputs: prepared.inputs,
    job: (index) => {
      around.asked?.push(index);
      return { output: around.outputs?.[index] ?? null, status: 'SUCCEEDED', error: around.error ?? null };
    },
    workflow: { id: 'w-1', name: 'w', status: 'RUNNING' },
    failure: around.failure ?? null,
  };
}

function render(graph: Graph, around: Around = {}): ExpressionResult<Json> {
  const template = graph.jobs.at(-1)!.parameters;
  const rendered: ExpressionResult<Payload> =
    template.kind === 'static' ? { kind: 'value', value: template.payload } : template.render(scope(graph, around));
  return rendered.kind === 'value' ? { kind: 'value', value: readPayload(rendered.value) } : rendered;
}

/** The value of one expression as JSON, or the message of its failure. */
function evaluated(expression: string, around: Around = {}): Json {
  const rendered = render(reader(JSON.stringify({ v: `\${{ ${expression} }}` })), around);
  return rendered.kind === 'value' ? (rendered.value as { readonly v: Json }).v : `failure: ${rendered.message}`;
}

const output = {
  rows: [{ id: 1 }, { id: 2 }],
  n: 5,
  half: 0.5,
  at: 1,
  constructor: 'c',
  'a-b': 3,
  deep: { constructor: { x: 1 }, __proto: 0 },
};
const around: Around = { outputs: [output, 'dotted', { b: 'plain' }] };

t.test('values', async (t) => {
  const table: readonly (readonly [expression: string, value: Json])[] = [
    // Inputs: ints where the schema says integer, names with dashes, null when not given.
    ['inputs.env + "!"', 'prod!'],
    ['inputs.count / 2', 3],
    ['inputs.count % 2', 1],
    ['inputs.count * inputs.ratio', 3.5],
    ['inputs.count == 7.0', true],
    ['inputs.count-1', 6],
    ['!inputs.dry-run', false],
    ["inputs['dry-run']", true],
    ['inputs.tags[inputs.tags.size() - 1]', 'b'],
    ["inputs.tags.join('+')", 'a+b'],
    ['inputs.list.map(x, x * 2)', [2, 5, 6]],
    ['1 in inputs.list && 2.5 in inputs.list', true],
    ['inputs.data.k', 'v'],
    ['inputs.note', null],
    ["inputs.note == null ? 'none' : inputs.note", 'none'],
    ['inputs.env != null', true],
    ['inputs', { env: 'prod', count: 7, ratio: 0.5, 'dry-run': true, tags: ['a', 'b'], list: [1, 2.5, 3], data: { k: 'v' } }],
    // Jobs: ids with dashes and dots, the longest known id wins, brackets say which is meant.
    ['jobs.my-job.output.rows', [{ id: 1 }, { id: 2 }]],
    ["jobs['my-job'].output.n", 5],
    ['jobs.a.b.output', 'dotted'],
    ["jobs['a'].output.b", 'plain'],
    ['jobs.my-job.output.rows[jobs.my-job.output.at].id', 2],
    ['jobs.my-job.output.n / 2', 2.5],
    ['jobs.my-job.output.n % 2 == 1', true],
    ['jobs.my-job.output.n == 5 && jobs.my-job.output.half < 1', true],
    ['jobs.my-job.status', 'SUCCEEDED'],
    ['jobs.my-job.error', null],
    ['jobs.my-job.output["a-b"]-1', 2],
    ['jobs.my-job.output.constructor', 'c'],
    ['jobs.my-job.output.deep.constructor.x', 1],
    ['jobs.my-job.output.rows.exists(r, r.id == 2)', true],
    ['jobs.my-job.output.rows.filter(r, r.id > 1).map(r, {"n": r.id})', [{ n: 2 }]],
    ["jobs.my-job.output.rows == [{'id': 1}, {'id': 2}]", true],
    ['jobs.my-job.output.rows.map(item, item.id)', [1, 2]],
    ['has(jobs.my-job.output.n) && !has(jobs.my-job.output.x)', true],
    ["jobs.my-job.output.?x.orValue('none')", 'none'],
    ['workflow.id + workflow.name + workflow.status', 'w-1wRUNNING'],
    ['failure', null],
    // The language itself.
    ['1 + 2', 3],
    ['7 / 2', 3],
    ['7 / 2.0', 3.5],
    ['1 + 0.5', 1.5],
    ['true ? "text" : null', 'text'],
    ['{"a": 1, "b": [true, null, "x"]}', { a: 1, b: [true, null, 'x'] }],
    ["{'}}': '{{'}['}}']", '{{'],
    ['string(inputs.count) + string(0.5)', '70.5'],
    ['size("abc") + size([1])', 4],
    ["'a-b'.split('-')", ['a', 'b']],
    ["'abc'.matches('^a.c$')", true],
    ["'jobs.nowhere' // jobs.nowhere", 'jobs.nowhere'],
    ['cel.bind(x, 3, x + inputs.count)', 10],
    ['timestamp("2026-12-01T00:00:00Z")', '2026-12-01T00:00:00.000Z'],
    ['duration("1m30s")', '90s'],
    ["b'abc'", 'YWJj'],
    ['optional.none()', null],
    ['-inputs.count', -7],
    ['5u', 5],
  ];
  for (const [expression, value] of table) t.strictSame(evaluated(expression, around), value, expression);
  const failed: Around = {
    ...around,
    error: { code: 'TIMEOUT', message: 'too slow' },
    failure: { job: 'a', error: { code: 'X', message: 'm' }, attempts: 3 },
  };
  t.equal(evaluated("jobs.my-job.error.code + ': ' + jobs.my-job.error.message", failed), 'TIMEOUT: too slow');
  t.equal(evaluated("failure.job + ' ' + failure.error.code", failed), 'a X');
  t.equal(evaluated('failure.attempts > 2', failed), true);
  t.equal(evaluated('inputs.size / 2', { inputs: { size: 9 } }), 4, 'an integer is an int also where it is optional');
});

t.test('failures are values', async (t) => {
  const table: readonly (readonly [expression: string, message: RegExp])[] = [
    ['jobs.my-job.output.missing', /'jobs.my-job.output' has no key 'missing'/],
    ['jobs.my-job.error.code', /'jobs.my-job.error' is null, so it has no key 'code'/],
    ['failure.job', /'failure' is null/],
    ['inputs.list[7]', /index out of bounds/],
    ['1 / 0', /division by zero/],
    ['jobs.my-job.output.n / 0', /division by zero/],
    ['1.0 / 0.0', /Infinity is no JSON number/],
    ['9223372036854775807', /more digits than a JSON number keeps/],
    ['9223372036854775807 + 1', /overflow/],
    ['type(1)', /a type that JSON does not have/],
    ["'a'.substring(5)", /out of range/],
    ['inputs.env.matches(jobs.a.b.output + "(")', /the pattern is not valid/],
    ["jobs.my-job.output.rows + 'x'", /no such overload: list \+ string/],
    ['int(inputs.env)', /cannot convert to int/],
    ['jobs.my-job.output.rows.join()', /takes a list of strings/],
    ["b'a'.at(3)", /out of range/],
  ];
  for (const [expression, message] of table) t.match(evaluated(expression, around), message, expression);
  t.match(evaluated('inputs.env', { inputs: { env: 'x' } }), 'x');
  const graph = reader('{ v: "${{ inputs.env }}" }');
  const template = graph.jobs[3].parameters;
  t.match(template.kind === 'dynamic' && template.render({ ...scope(graph), inputs: { env: 5 } }), {
    kind: 'failure',
    message: /the input 'env' is not of the type/,
  });
  t.match(template.kind === 'dynamic' && template.render({ ...scope(graph), inputs: null }), { kind: 'failure' });
});

t.test('templates', async (t) => {
  const rendered = (parameters: string, more: Around = around): Json => {
    const result = render(reader(parameters), more);
    return result.kind === 'value' ? result.value : `failure: ${result.message}`;
  };
  t.strictSame(rendered('{ a: "${{ inputs.count }}", b: "n = ${{ inputs.count }}" }'), { a: 7, b: 'n = 7' }, 'alone it keeps its type');
  t.strictSame(
    rendered('{ a: "${{ inputs.env }}: ${{ inputs.tags }} ${{ inputs.note }} ${{ true }} ${{ 0.5 }}" }'),
    { a: 'prod: ["a","b"] null true 0.5' },
    'in a text, text is written as it is and the rest as JSON',
  );
  t.strictSame(rendered('{ a: [1, { b: "${{ 1 + 1 }}" }], c: null }'), { a: [1, { b: 2 }], c: null });
  t.strictSame(rendered('{ a: " ${{ 1 }}" }'), { a: ' 1' }, 'white space is text');
  t.strictSame(rendered('{ a: "$ {{ 1 }} }} {{" }'), { a: '$ {{ 1 }} }} {{' }, 'nothing else is a template');
  t.strictSame(rendered(`{ a: "\${{ '\${{ }}' }}" }`), { a: '${{ }}' }, 'how to write the braces themselves');
  t.strictSame(rendered('{ __proto__: "${{ 1 }}", constructor: 2 }'), JSON.parse('{"__proto__": 1, "constructor": 2}'));
  t.strictSame(rendered('"${{ inputs.data }}"'), { k: 'v' }, 'one expression may give all parameters');
  t.match(rendered('"${{ inputs.tags }}"'), /parameters must be a map/);
  t.match(rendered('{ a: "${{ jobs.my-job.output.x }}" }'), /failure: .*has no key 'x'/);
  t.strictSame(reader('{ a: [x, 1] }').jobs[3].parameters.kind, 'static');
  t.strictSame(render(reader('')), { kind: 'value', value: {} }, 'no parameters are an empty map');

  const big = 'x'.repeat(limits.parametersBytes - 20);
  t.type(rendered('{ a: "${{ jobs.a.b.output }}" }', { outputs: [null, big] }), 'object');
  t.match(
    rendered('{ a: "${{ jobs.a.b.output }}", b: "${{ jobs.a.b.output }}" }', { outputs: [null, big] }),
    /failure: .*larger than|more than parametersBytes/,
  );
  t.match(
    rendered('{ a: "${{ jobs.a.b.output }}" }', { outputs: [null, 'é'.repeat(limits.parametersBytes / 2)] }),
    /more than parametersBytes/,
  );
  const deep = JSON.parse(`${'['.repeat(limits.jsonDepth)}${']'.repeat(limits.jsonDepth)}`);
  t.match(rendered('{ a: "${{ jobs.a.b.output }}" }', { outputs: [null, deep] }), /nests deeper than/);

  const asked: number[] = [];
  render(reader('{ a: "${{ jobs.my-job.status }}", b: "${{ inputs.env }}" }'), { asked });
  t.strictSame(asked, [0], 'only jobs that are named are asked for');
});

t.test('conditions', async (t) => {
  const decide = (condition: string, more: Around = around): unknown => {
    const graph = reader('{}', condition);
    const result = graph.jobs[3].condition!.evaluate(scope(graph, more));
    return result.kind === 'value' ? result.value : result.message;
  };
  t.equal(decide("inputs.env == 'prod'"), true);
  t.equal(decide("${{ inputs.env == 'dev' }}"), false);
  t.equal(decide("  ${{ inputs.env == 'dev' }}\n"), false);
  t.equal(decide('jobs.my-job.output.n > 4'), true);
  t.match(decide('jobs.my-job.output.n'), /neither true nor false/);
  t.match(decide('jobs.my-job.output.x == 1'), /if 'jobs.my-job.output.x == 1': .* has no key 'x'/);
  t.equal(decide('false || inputs.note == null'), true);
  t.equal(reader('{}', "${{ inputs.env == 'x' }}").jobs[3].condition!.source, "inputs.env == 'x'");
  const off = graphOf(
    'jobs: [{ id: a, type: t, if: false }, { id: b, type: t, if: "false" }, { id: c, type: t, if: true }, { id: d, type: t, if: 1 / 0 == 1 }]',
  );
  t.strictSame(
    off.jobs.map(({ condition }) => condition!.evaluate(scope(off))),
    [
      { kind: 'value', value: false },
      { kind: 'value', value: false },
      { kind: 'value', value: true },
      { kind: 'failure', message: "if '1 / 0 == 1': division by zero" },
    ],
    'a job may be switched off; a condition that always fails is a failure, no refusal',
  );
});

t.test('evaluation ends after a bounded number of steps, the same on every machine', async (t) => {
  const o = 'jobs.my-job.output';
  const numbers = Array.from({ length: 20_000 }, (_, index) => index % 10);
  const data = { nums: numbers, map: Object.fromEntries(numbers.map((value, index) => [`k${index}`, value])), text: 'a'.repeat(200_000) };
  const bind = (count: number, step: (name: string) => string, first: string, last: (name: string) => string): string => {
    let text = '';
    for (let index = 0; index < count; index++) text += `cel.bind(v${index}, ${index === 0 ? first : step(`v${index - 1}`)}, `;
    return text + last(`v${count - 1}`) + ')'.repeat(count);
  };
  const hostile: Readonly<Record<string, string>> = {
    'loops in loops': `${o}.nums.all(x, ${o}.nums.all(y, ${o}.nums.all(z, true)))`,
    'the error is swallowed': `${o}.nums.all(x, ${o}.nums.all(y, ${o}.nums.all(z, z < 20))) || true`,
    'keys listed again and again': `${o}.nums.all(x, ${o}.map.exists(k, true))`,
    'size of a map': `${o}.nums.all(x, size(${o}.map) > 1)`,
    'deep comparison': `${o}.nums.all(x, ${o}.nums == ${o}.nums.map(y, y))`,
    'shared parts': bind(
      40,
      (name) => `[${name}, ${name}]`,
      '[1]',
      (name) => name,
    ),
    'shared parts compared': `${bind(
      30,
      (name) => `[${name}, ${name}]`,
      '[1]',
      (name) => `${name} == v29`,
    )}`,
    'text that doubles': bind(
      40,
      (name) => `${name} + ${name}`,
      `${o}.text`,
      (name) => `size(${name})`,
    ),
    'lists that double': bind(
      40,
      (name) => `${name} + ${name}`,
      `${o}.nums`,
      (name) => `size(${name})`,
    ),
    'joined lists': bind(
      12,
      (name) => `[${name}, ${name}].join(${name})`,
      `${o}.text`,
      (name) => `size(${name})`,
    ),
    'text taken apart': `${o}.nums.all(x, ${o}.text.split("").size() > 0)`,
    'patterns that backtrack': `${o}.nums.all(x, ${o}.text.matches("(a|aa)*b") || true)`,
    'large patterns': `${o}.text.matches("(a?){500}a{500}b")`,
    'time zones': `${o}.nums.all(x, timestamp("2026-01-01T00:00:00Z").getHours("Europe/Zurich") == 1)`,
    bytes: `${o}.nums.all(x, bytes(${o}.text).hex() != "")`,
  };
  for (const [name, expression] of Object.entries(hostile)) {
    t.match(evaluated(expression, { outputs: [data] }), /more than expressionSteps/, name);
  }
  const rows = Array.from({ length: 5_000 }, (_, id) => ({ id, name: `n${id}` }));
  const useful = `${o}.rows.filter(r, r.id % 2.0 == 0.0 && r.name.startsWith('n')).map(r, {'id': r.id}).size()`;
  t.equal(evaluated(useful, { outputs: [{ rows }] }), 2_500, 'and leaves room for work on a large output');
  const both = reader(
    JSON.stringify(
      Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`k${index}`, `\${{ ${o}.nums.all(x, x < 20) && ${index} > 100 }}`])),
    ),
  );
  t.match(render(both, { outputs: [data] }), { kind: 'failure', message: /expressionSteps/ }, 'all expressions of a job share the steps');
});

t.test('outputs and idempotency key', async (t) => {
  const graph = graphOf(
    'inputs: { order: { type: string, default: "" }, shop: { default: 1 } }',
    'outputs: { rows: "${{ jobs.a.output.n }}", status: "${{ workflow.status }}", fixed: 1 }',
    'idempotency_key: "${{ inputs.shop }}/${{ inputs.order }}"',
    'jobs: [{ id: a, type: t }]',
  );
  const { outputs } = graph;
  const rendered = outputs?.kind === 'dynamic' ? outputs.render(scope(graph, { outputs: [{ n: 3 }] })) : null;
  t.strictSame(rendered?.kind === 'value' && readPayload(rendered.value), { rows: 3, status: 'RUNNING', fixed: 1 });
  t.strictSame(graph.idempotencyKey?.({ order: 'A-1', shop: 2 }), { kind: 'value', value: '2/A-1' });
  const key = (text: string): Graph['idempotencyKey'] =>
    graphOf('inputs: { a: {} }', `idempotency_key: "${text}"`, 'jobs: [{ id: a, type: t }]').idempotencyKey;
  t.match(key('${{ inputs.a }}')?.({}), { kind: 'failure', message: /empty/ });
  t.match(key('${{ inputs.a }}')?.({ a: 'x'.repeat(256) }), { kind: 'failure', message: /at most 255/ });
  t.match(key('${{ inputs.a.b }}')?.({ a: {} }), { kind: 'failure', message: /has no key 'b'/ });
  t.strictSame(key('always')?.({}), { kind: 'value', value: 'always' });
  t.equal(graphOf('jobs: [{ id: a, type: t }]').idempotencyKey, null);
  t.equal(graphOf('jobs: [{ id: a, type: t }]').outputs, null);
});
