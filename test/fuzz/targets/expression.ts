/**
 * Expressions: compiled where they may stand and evaluated against any values. An input is the place (`if`, `parameters` or `outputs`) on the first
 * line, JSON of what the expression may read on the second, and then the expression.
 *
 * What must hold: no expression throws; a value is JSON, a failure has a message; the same values give the same answer.
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
import fc from 'fast-check';
import type { Random } from '../../engine-support/random.ts';
import { repeated } from '../mutate.ts';
import { Broken, bytesOf, type Outcome, shapeOf, type Target, textOf } from '../target.ts';

/** The target. */
export function expressionTarget(): Target {
  return { name: 'expression', seeds, generate, words: tokens, isText: false, mostBytes: 16 * 1024, run, close: async () => {} };
}

interface Case {
  readonly place: string;
  readonly data: Json;
  readonly text: string;
}

function read(input: Uint8Array): Case {
  const [place, data, ...rest] = textOf(input).split('\n');
  return { place, data: jsonOr(data ?? ''), text: rest.join('\n') };
}

function write({ place, data, text }: Case): Uint8Array {
  return bytesOf(`${place}\n${JSON.stringify(data)}\n${text}`);
}

function jsonOr(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}

function run(input: Uint8Array): Outcome {
  const { place, data, text } = read(input);
  const expression = `\${{ ${text} }}`;
  const job: Record<string, unknown> = { id: 'b', type: 't', needs: 'my-job' };
  if (place === 'if') job.if = text;
  else if (place === 'text') job.parameters = { v: `a ${expression} b` };
  else if (place !== 'outputs') job.parameters = { v: expression };
  const inputs = { a: {}, s: { type: 'string', default: 'x' }, n: { type: 'integer', default: 1 }, l: { type: 'array', default: [] } };
  const jobs = [{ id: 'my-job', type: 't' }, job];
  const workflow = { name: 'w', inputs, jobs, ...(place === 'outputs' ? { outputs: { v: expression } } : {}) };
  const compiled = compile(JSON.stringify({ workflow }));
  if (compiled.kind === 'bad') {
    if (compiled.problems.length === 0) throw new Broken('refused without a reason');
    const internal = compiled.problems.find(({ rule }) => rule === 'internal');
    if (internal !== undefined) throw new Broken(`internal: ${internal.message}`);
    return { features: compiled.problems.slice(0, 10).map(({ rule, message }) => `${rule} ${shapeOf(message)}`), kept: compiled };
  }
  const first = evaluate(compiled.graph, data, place);
  const shown = JSON.stringify(first);
  const check = () => {
    if (JSON.stringify(evaluate(compiled.graph, data, place)) !== shown) throw new Broken('another value the second time');
  };
  return { features: [`${place === 'if' ? 'if' : 'value'} ${first.kind} ${shapeOf(shown)}`], kept: [compiled, first], check };
}

/** What the expression gives, as JSON. */
function evaluate(graph: Graph, data: Json, place: string): { readonly kind: string; readonly is: Json } {
  const scope: Scope = {
    inputs: { a: data, s: 'text', n: 7, l: ['x', 'y'] },
    job: () => ({ output: data, status: 'SUCCEEDED', error: { code: 'X', message: 'y' } }),
    workflow: { id: 'w', name: 'w', status: 'RUNNING' },
    failure: { job: 'my-job', error: { code: 'X', message: 'y' }, attempts: 2 },
  };
  if (place === 'if') return plain(graph.jobs[1].condition?.evaluate(scope) ?? { kind: 'value', value: true });
  const template = place === 'outputs' ? graph.outputs : graph.jobs[1].parameters;
  if (template === null) throw new Broken('the outputs are gone');
  return plain(template.kind === 'static' ? { kind: 'value', value: template.payload } : template.render(scope));
}

function plain(result: ExpressionResult<boolean | Payload>): { readonly kind: string; readonly is: Json } {
  if (result.kind === 'failure') {
    if (result.message === '') throw new Broken('a failure says nothing');
    return { kind: 'failure', is: result.message };
  }
  if (typeof result.value === 'boolean') return { kind: 'value', is: result.value };
  if (result.value.data.length > limits.parametersBytes) throw new Broken('more than parametersBytes');
  const value = readPayload(result.value);
  if (value === undefined) throw new Broken('the value is no JSON');
  return { kind: 'value', is: value as Json };
}

const tokens = [
  ...[
    'inputs',
    '.',
    'a',
    'inputs.a',
    'inputs.s',
    'inputs.n',
    'inputs.l',
    'jobs',
    'my-job',
    'jobs.my-job.output',
    'jobs["my-job"].error',
    'failure',
  ],
  ...[
    'failure.error.code',
    'workflow.id',
    '.output',
    '[',
    ']',
    '[0]',
    '["x"]',
    '(',
    ')',
    '{',
    '}',
    ',',
    ':',
    '?',
    ' ',
    '\n',
    '//',
    '\\',
    '"x"',
    "'y'",
  ],
  ...[
    '"""z"""',
    'r"\\d"',
    'b"x"',
    '1',
    '0',
    '1.5',
    '-1',
    '1u',
    '0x1f',
    '1e308',
    '9223372036854775807',
    'true',
    'false',
    'null',
    '-',
    '+',
    '*',
    '/',
    '%',
  ],
  ...[
    '==',
    '!=',
    '<',
    '<=',
    '>',
    '>=',
    '&&',
    '||',
    '!',
    ' in ',
    'has(',
    'size(',
    'string(',
    'int(',
    'double(',
    'uint(',
    'bytes(',
    'bool(',
    'type(',
    'dyn(',
  ],
  ...[
    'duration(',
    'timestamp(',
    '.map(x, ',
    '.filter(y, ',
    '.all(z, ',
    '.exists(q, ',
    '.exists_one(e, ',
    '.matches(',
    '.contains(',
    '.startsWith(',
  ],
  ...[
    '.endsWith(',
    '.split(',
    '.join(',
    '.trim()',
    '.size()',
    '.lowerAscii()',
    '.upperAscii()',
    '.substring(',
    '.replace(',
    '.indexOf(',
    '.getHours()',
  ],
  ...[
    '.?x',
    '[?0]',
    '.orValue(',
    '.or(',
    'optional.of(',
    'optional.none()',
    '.hasValue()',
    '.value()',
    'cel.bind(k, ',
    'math.greatest(',
    'x',
    'y',
    '__guard(',
  ],
];

const whole = [
  ...[
    "inputs.s == 'x' && size(inputs.l) > 0",
    'jobs.my-job.output.rows.map(r, r.id)',
    '{"a": inputs.a, "b": [1, 2.5, null]}',
    'inputs.l.join(",")',
  ],
  ...[
    'inputs.s.matches("^(a+)+$")',
    'jobs["my-job"].output.?file.orValue("none")',
    'inputs.n / 2 * 3.5 - 1',
    'inputs.a in [1, 2]',
    'failure.error.code + "!"',
  ],
  ...[
    'inputs.l.map(x, inputs.l.map(y, x + y))',
    'cel.bind(k, inputs.l, k + k)',
    'string(inputs.n) + string(1.5)',
    'has(inputs.a.x) ? inputs.a.x : "none"',
  ],
  ...[
    'inputs.l.filter(x, x.contains("x")).size() == 1',
    '[inputs.l, inputs.l, inputs.l]',
    'timestamp("2024-01-01T00:00:00Z").getHours()',
    '"a".replace("", "b")',
  ],
];

const places = ['if', 'parameters', 'text', 'outputs'];

function seeds(): Uint8Array[] {
  const data: Json = { rows: [{ id: 1 }, { id: 'b' }], x: 'y', file: null, constructor: 1, __proto: [] };
  return whole.flatMap((text) => places.slice(0, 2).map((place) => write({ place, data, text })));
}

const anyJson = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }),
  fc.array(fc.string(), { maxLength: 30 }),
  fc.dictionary(fc.constantFrom('x', 'rows', 'constructor'), fc.double()),
);

function generate(random: Random): Uint8Array {
  const data = fc.sample(anyJson, { seed: random.below(2 ** 31), numRuns: 1 })[0] as Json;
  const place = random.pick(places);
  if (random.chance(0.15)) {
    const piece = Array.from({ length: 1 + random.below(3) }, () => random.pick(tokens)).join('');
    const text = random.pick(['', 'inputs.l', '[', 'inputs.l.map(x, ']) + repeated(piece, random.below(limits.expressionLength));
    return write({ place, data, text: random.chance(0.3) ? text + ')'.repeat(random.below(300)) : text });
  }
  if (random.chance(0.2)) return write({ place, data: largeData(random), text: random.pick(whole) });
  const parts = Array.from({ length: 1 + random.below(14) }, () => random.pick(random.chance(0.1) ? whole : tokens));
  return write({ place, data, text: parts.join('') });
}

/** Values on which loops and comparisons are long. */
function largeData(random: Random): Json {
  const count = 1 + random.below(1_500);
  const text = repeated(random.pick(['a', 'ab', 'é', ' ', '\\']), 1 + random.below(6_000));
  return random.pick<Json>([
    Array.from({ length: count }, (_, i) => i),
    text,
    { rows: Array<Json>(Math.ceil(count / 8)).fill({ id: 'x' }) },
    nested(random.below(60)),
  ]);
}

function nested(depth: number): Json {
  let made: Json = 'core';
  for (let i = 0; i < depth; i++) made = i % 2 === 0 ? [made] : { x: made };
  return made;
}
