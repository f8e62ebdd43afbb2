/**
 * JSON Schemas as definitions hold them, with values to check. An input is `output` or `input` on the first line, the schema on the second, as JSON,
 * and the value on the third.
 *
 * What must hold: an accepted schema judges every value in bounded time, as the output of a job and as an input, and says the same twice.
 */
import { compile, type Graph, type Json } from '@workflow-orchestrator/engine/definition';
import fc from 'fast-check';
import type { Random } from '../../engine-support/random.ts';
import { repeated } from '../mutate.ts';
import { Broken, bytesOf, type Outcome, shapeOf, type Target, textOf } from '../target.ts';

/** The target. */
export function schemaTarget(): Target {
  return { name: 'schema', seeds, generate, words, isText: false, mostBytes: 24 * 1024, run, close: async () => {} };
}

function run(input: Uint8Array): Outcome {
  const [place, schemaText = '', valueText = 'null'] = textOf(input).split('\n');
  const isOutput = place !== 'input';
  // Flow YAML reads JSON; what is none is YAML, and judged as such.
  const compiled = compile(
    isOutput
      ? `workflow: { name: w, jobs: [{ id: a, type: t, outputs_schema: ${schemaText} }] }`
      : `workflow: { name: w, inputs: { v: ${schemaText} }, jobs: [{ id: a, type: t }] }`,
  );
  if (compiled.kind === 'bad') {
    const { problems } = compiled;
    if (problems.length === 0) throw new Broken('refused without a reason');
    const internal = problems.find(({ rule }) => rule === 'internal');
    if (internal !== undefined) throw new Broken(`internal: ${internal.message}`);
    return { features: problems.slice(0, 10).map(({ rule, message }) => `${rule} ${shapeOf(message)}`), kept: compiled };
  }
  const value = jsonOr(valueText);
  const judge = isOutput ? () => judgeOutput(compiled.graph, value) : () => judgeInput(compiled.graph, value);
  const said = judge();
  const check = () => {
    if (judge() !== said) throw new Broken('another verdict the second time');
    if (!isOutput) compiled.graph.prepareInputs({});
  };
  return { features: [`${place} ${shapeOf(said)}`], kept: compiled, check };
}

function judgeOutput({ jobs: [job] }: Graph, value: Json): string {
  const said = job.checkOutput?.(value) ?? 'fits';
  if (said === '') throw new Broken('a verdict says nothing');
  if (said.includes('cannot be checked')) throw new Broken(said);
  return said;
}

function judgeInput({ prepareInputs }: Graph, value: Json): string {
  const prepared = prepareInputs({ v: value });
  if (prepared.kind === 'ok') return 'fit';
  if (prepared.problems.length === 0) throw new Broken('inputs are refused without a reason');
  for (const { path, message } of prepared.problems) {
    if (path === '' || message === '') throw new Broken('inputs are refused without a place or a message');
    if (message.includes('cannot be checked')) throw new Broken(message);
  }
  return prepared.problems.map(({ message }) => message).join(', ');
}

function jsonOr(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}

const keywordNames = [
  ...[
    'type',
    'enum',
    'const',
    'required',
    'properties',
    'patternProperties',
    'additionalProperties',
    'propertyNames',
    'items',
    'prefixItems',
  ],
  ...[
    'contains',
    'minContains',
    'maxContains',
    'uniqueItems',
    'minItems',
    'maxItems',
    'minLength',
    'maxLength',
    'pattern',
    'format',
    'minimum',
  ],
  ...[
    'maximum',
    'exclusiveMinimum',
    'multipleOf',
    'minProperties',
    'maxProperties',
    'dependentRequired',
    'dependentSchemas',
    'allOf',
    'anyOf',
    'oneOf',
  ],
  ...[
    'not',
    'if',
    'then',
    'else',
    '$ref',
    '$defs',
    '$id',
    '$anchor',
    '$dynamicRef',
    'unevaluatedItems',
    'unevaluatedProperties',
    'default',
    'title',
  ],
];
const words = [
  ...keywordNames.map((name) => `"${name}":`),
  '{"$ref":"#"}',
  '"#/$defs/a"',
  '[',
  ']',
  '{',
  '}',
  ',',
  'true',
  'false',
  '1e308',
  '-0',
  '0.1',
  '"^(a|a)*$"',
  '"\\\\p{L}"',
  '""',
];

const nesting = [
  'not',
  'if',
  'then',
  'else',
  'items',
  'contains',
  'additionalProperties',
  'propertyNames',
  'unevaluatedItems',
  'unevaluatedProperties',
];
const lists = ['allOf', 'anyOf', 'oneOf', 'prefixItems'];
const maps = ['properties', '$defs', 'dependentSchemas', 'patternProperties'];
const keys = ['a', 'b', 'constructor', '__proto__', '/~', '^a', ''];
const leaves: readonly (readonly [string, readonly Json[]])[] = [
  ['type', ['string', 'integer', 'number', 'object', 'array', 'null', 'boolean', 'x', ['string', 'null'], []]],
  ['enum', [[1, 'a', null], [], [[1], { a: 1 }], [1, 1]]],
  ['const', [1, 'a', { a: [1] }]],
  ['$ref', ['#', '#/$defs/a', '#/properties/a', '#/items', '#/nowhere', '#/allOf/0', 'http://x/y', '#/$defs/%41', '#a']],
  ['pattern', ['^a', '(a+)+$', '[', '(?i)x', '\\p{L}+', 'a{1,1000}', '(x{1,50}){1,50}', '(?=a)']],
  ['format', ['date', 'date-time', 'email', 'uri', 'uuid', 'ipv6', 'nothing', 'regex', 'duration', 'hostname']],
  ['required', [['a'], ['a', 'b', 'constructor'], 'a', ['a', 'a']]],
  ['uniqueItems', [true, false, 1]],
  ...['minimum', 'maxLength', 'minItems', 'maxItems', 'maxContains', 'minContains', 'maxProperties', 'multipleOf'].map(
    (name): readonly [string, readonly Json[]] => [name, [0, 1, 2, -1, 0.1, 1e308, 'x']],
  ),
  ['default', [1, 'a', null, {}]],
];

function schema(random: Random, depth: number): Json {
  if (random.chance(0.08)) return random.chance(0.8);
  const made: [string, Json][] = [];
  for (let i = random.below(4); i >= 0; i--) {
    if (depth <= 0 || random.chance(0.45)) {
      const [name, values] = random.pick(leaves);
      made.push([name, random.pick(values)]);
    } else if (random.chance(0.4)) made.push([random.pick(nesting), schema(random, depth - 1)]);
    else if (random.chance(0.5)) made.push([random.pick(lists), [schema(random, depth - 1), schema(random, depth - 1)]]);
    else
      made.push([
        random.pick(maps),
        Object.fromEntries([
          [random.pick(keys), schema(random, depth - 1)],
          [random.pick(keys), schema(random, depth - 1)],
        ]),
      ]);
  }
  return Object.fromEntries(made);
}

/** Schemas whose branches meet again, with values that take many steps. */
function hostile(random: Random): readonly [Json, Json] {
  const branch = random.pick(['allOf', 'anyOf', 'oneOf']);
  const depth = 2 + random.below(28);
  const $defs = Object.fromEntries(
    Array.from({ length: depth }, (_, i) => [
      `d${i}`,
      i === depth - 1 ? { type: 'string' } : { [branch]: [{ $ref: `#/$defs/d${i + 1}` }, { $ref: `#/$defs/d${i + 1}` }] },
    ]),
  );
  const list = Array.from({ length: random.below(2_000) }, (_, i) => i % (1 + random.below(900)));
  return random.pick<readonly [Json, Json]>([
    [{ $defs, $ref: '#/$defs/d0' } as Json, random.pick<Json>(['x', 1])],
    [{ uniqueItems: true }, random.chance(0.5) ? list : list.map((n) => [n])],
    [{ items: { anyOf: [{ type: 'string' }, { items: { $ref: '#/items' } }] } }, list.map(() => [[]])],
    [{ pattern: random.pick(['^(a+)+$', '(.*a){20}', '(a|aa)+$', '(x{1,30}){1,30}']) }, repeated('a', random.below(12_000))],
    [{ patternProperties: { '(a+)+$': { type: 'null' } } }, Object.fromEntries(list.map((n, i) => [`a${i}`, n]))],
    [{ enum: list.slice(0, 500) }, list],
    [{ additionalProperties: { $ref: '#' }, unevaluatedProperties: false }, nested(random.below(60))],
  ]);
}

function nested(depth: number): Json {
  let made: Json = {};
  for (let i = 0; i < depth; i++) made = { a: made, b: i };
  return made;
}

function write(schemaJson: Json, value: Json, place = 'output'): Uint8Array {
  return bytesOf(`${place}\n${JSON.stringify(schemaJson)}\n${JSON.stringify(value)}`);
}

function seeds(): Uint8Array[] {
  return [
    write(
      { type: 'object', required: ['a'], properties: { a: { type: 'string', pattern: '^[a-z]+$' }, b: { $ref: '#/properties/a' } } },
      { a: 'x' },
    ),
    write({ type: 'array', items: { anyOf: [{ type: 'integer' }, { $ref: '#' }] }, uniqueItems: true }, [1, [2, [3]]]),
    write({ $defs: { a: { type: 'number', multipleOf: 0.1 } }, oneOf: [{ $ref: '#/$defs/a' }, { const: 'x' }] }, 0.3),
    write({ type: 'string', format: 'date-time', default: '2024-01-01T00:00:00Z' }, 'no', 'input'),
  ];
}

function generate(random: Random): Uint8Array {
  if (random.chance(0.2)) return write(...hostile(random), random.pick(['output', 'input']));
  const value = fc.sample(fc.jsonValue({ maxDepth: 3 }), { seed: random.below(2 ** 31), numRuns: 1 })[0] as Json;
  return write(schema(random, 3), value, random.pick(['output', 'input']));
}
