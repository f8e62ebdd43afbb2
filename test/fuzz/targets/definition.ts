/**
 * Texts of definitions: YAML by the keys of the language, and pieces of YAML repeated until they are large.
 *
 * What must hold: an answer; the same one twice; a refusal has a rule, a message and a place inside of the text, in the order of the file.
 */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Compiled, compile } from '@workflow-orchestrator/engine/definition';
import { stringify } from 'yaml';
import type { Random } from '../../engine-support/random.ts';
import { ROOT } from '../../repo/source.ts';
import { largeSize, repeated } from '../mutate.ts';
import { Broken, bytesOf, type Outcome, shapeOf, type Target, textOf } from '../target.ts';

type Value = unknown;

/** The files of the examples and of the tests of definitions. */
export function definitionFiles(): Uint8Array[] {
  return ['examples/workflow_definitions/*.yaml', 'test/fixtures/definition/*/*.yaml']
    .flatMap((pattern) => globSync(pattern, { cwd: ROOT }).sort())
    .map((path) => readFileSync(join(ROOT, path)));
}

/** The target. */
export function definitionTarget(): Target {
  return { name: 'definition', seeds: definitionFiles, generate, words, isText: true, mostBytes: 256 * 1024, run, close: async () => {} };
}

function run(input: Uint8Array): Outcome {
  const text = textOf(input);
  const compiled = compile(text);
  return { features: featuresOf(compiled), kept: compiled, check: () => judge(text, compiled) };
}

function featuresOf(compiled: Compiled): string[] {
  if (compiled.kind === 'bad') return compiled.problems.slice(0, 20).map(({ rule, message }) => `${rule} ${shapeOf(message)}`);
  const { jobs } = compiled.graph;
  const edges = jobs.reduce((sum, { inEdges }) => sum + inEdges.length, 0);
  return [`jobs ${Math.min(8, jobs.length)}`, `edges ${Math.min(8, edges)}`, `parameters ${jobs[0].parameters.kind}`];
}

function judge(text: string, compiled: Compiled): void {
  const again = compile(text);
  if (compiled.kind === 'ok') {
    const { graph } = compiled;
    if (again.kind !== 'ok' || again.graph.hash !== graph.hash) throw new Broken('another answer the second time');
    if (JSON.stringify(again.graph) !== JSON.stringify(graph)) throw new Broken('another graph the second time');
    if (new Set(graph.order).size !== graph.jobs.length) throw new Broken('the order does not name every job once');
    return;
  }
  if (JSON.stringify(again) !== JSON.stringify(compiled)) throw new Broken('another answer the second time');
  if (compiled.problems.length === 0) throw new Broken('refused without a reason');
  const lines = (text.startsWith('\ufeff') ? text.slice(1) : text).split('\n');
  let before = { line: 1, column: 1 };
  for (const { line, column, rule, message } of compiled.problems) {
    if (rule === 'internal') throw new Broken(`internal: ${message}`);
    if (message === '') throw new Broken(`${rule} says nothing`);
    if (!(line >= 1 && line <= lines.length)) throw new Broken(`${rule} at a line outside of the text`);
    if (!(column >= 1 && column <= lines[line - 1].length + 1)) throw new Broken(`${rule} at a column outside of its line`);
    if (line < before.line || (line === before.line && column < before.column)) throw new Broken(`${rule} is not in the order of the file`);
    before = { line, column };
  }
}

const words = [
  ...['workflow:', 'jobs:', '- id: a', 'type: t', 'on_success: [a]', 'needs: b', 'if: ', 'retry: { max_attempts: 3 }', 'inputs:'],
  ...['${{ ', ' }}', 'jobs.a.output', 'inputs.x', '\n', '\n  ', '\n    ', '- ', ': ', '? ', '"', "'", '[', ']', '{', '}', ', '],
  ...['&a ', '*a', '<<: *a', '!!str ', '!x ', '|\n', '>-\n', '|9+\n', '%YAML 1.1\n', '%TAG ! tag:x,2000:\n', '---\n', '...\n', '# '],
  ...['\t', '\r', '\r\n', '\u0085', '\u2028', '\ufeff', '\u{1f600}', '\\u0000', '\\x', '\\ud83d', '__proto__', 'constructor', '~', '.inf'],
  ...[
    '0o7',
    '0x1F',
    '1_000',
    '2001-01-01',
    '-.5e-3',
    'yes',
    'null',
    '=',
    '[[[[',
    '{{{{',
    ']]]]',
    '}}}}',
    '${{ ${{ }} }}',
    '$',
    '{#',
    '}}}',
  ],
];

const ids = ['a', 'b', 'c', 'a.b', 'a-b', 'x_1', '1', '', 'ü', 'a b', 'constructor', '__proto__', 'a'.repeat(129)];
const expressions = [
  ...['inputs.x', "inputs.x == 'p'", 'jobs.a.output.rows', 'size(jobs.b.output)', 'jobs["a-b"].status', 'failure.error.code'],
  ...[
    'workflow.id + "x"',
    '[1, 2].map(i, i * 2)',
    '{"a": 1}',
    'jobs.a.output.?f.orValue(1)',
    'nothing',
    '1 +',
    'a.b.c',
    'jobs',
    '"x".matches("[a-z]+")',
  ],
];
const durations = ['5m', '30s', 'PT5M', '1h30m', '0', '-1s', '1.5h', '500ms', '400d', 'soon', 5];

function scalar(random: Random): Value {
  return random.pick<Value>([
    0,
    1,
    -1,
    2.5,
    true,
    false,
    null,
    '',
    'text',
    '${{ inputs.x }}',
    'two\nlines',
    'é\u{1f600}',
    '"',
    "it's",
    '# no',
    ': ',
    '@',
    1e300,
  ]);
}

function expression(random: Random): string {
  return `\${{ ${random.pick(expressions)} }}`;
}

function some(random: Random, most: number, make: () => Value): Value[] {
  return Array.from({ length: random.below(most + 1) }, make);
}

function value(random: Random, depth: number): Value {
  if (depth <= 0 || random.chance(0.4)) return random.chance(0.3) ? expression(random) : scalar(random);
  if (random.chance(0.5)) return some(random, 3, () => value(random, depth - 1));
  return Object.fromEntries(
    some(random, 3, () => [random.pick([...ids, 'url', 'type', 'x-y']), value(random, depth - 1)]) as [string, Value][],
  );
}

function references(random: Random): Value {
  return random.chance(0.5) ? random.pick(ids) : some(random, 3, () => random.pick(ids));
}

const jobKeys: Readonly<Record<string, (random: Random) => Value>> = {
  name: (random) => random.pick(ids),
  parameters: (random) => value(random, 3),
  on_success: references,
  on_failure: (random) => (random.chance(0.5) ? references(random) : { run: references(random), recover: random.chance(0.5) }),
  needs: references,
  always_run: (random) => random.pick<Value>([true, false, 'yes']),
  if: (random) => random.pick<Value>([true, false, expression(random), random.pick(expressions)]),
  join: (random) => random.pick(['all', 'any', 'all_done', 'some']),
  allow_failure: (random) => random.chance(0.5),
  retry: (random) => ({
    max_attempts: random.below(25),
    initial_delay: random.pick<Value>(durations),
    factor: random.pick([1, 2, 0, 1e9]),
    on: ['X'],
  }),
  timeout: (random) => random.pick<Value>(durations),
  timeouts: (random) => ({ [random.pick(['queue', 'run', 'heartbeat', 'total', 'x'])]: random.pick<Value>(durations) }),
  priority: (random) => random.pick<Value>([0, 9, 10, -1, 'high']),
  requires: (random) => ({ labels: { [random.pick(ids)]: scalar(random) } }),
  outputs_schema: (random) => random.pick<Value>([{ type: 'object' }, { $ref: '#' }, { pattern: '(a+)+$' }, true, { type: 'x' }]),
  for_each: (random) => expression(random),
};

function job(random: Random): Value {
  const made: Record<string, Value> = { id: random.pick(ids), type: random.pick(['work', 'http', 'wait', '']) };
  for (const [key, make] of Object.entries(jobKeys)) if (random.chance(0.15)) made[key] = make(random);
  return made;
}

function definition(random: Random): Value {
  const workflow: Record<string, Value> = { name: random.pick(ids), jobs: some(random, 6, () => job(random)) };
  if (random.chance(0.4)) workflow.inputs = { x: { type: random.pick(['string', 'integer', 'array', 'x']), default: scalar(random) } };
  if (random.chance(0.2)) workflow.outputs = value(random, 2);
  if (random.chance(0.2)) workflow.idempotency_key = expression(random);
  if (random.chance(0.2)) workflow.defaults = { timeout: random.pick<Value>(durations), retry: { max_attempts: random.below(22) } };
  if (random.chance(0.2)) workflow[random.pick(['timeout', 'cleanup_timeout'])] = random.pick<Value>(durations);
  if (random.chance(0.05)) workflow[random.pick(['schedule', 'concurrency', 'versoin', 'x-a'])] = scalar(random);
  return { workflow };
}

/** Where repeated pieces stand. */
const frames = [
  ['', ''],
  ['workflow:\n  name: w\n  jobs:\n    - id: a\n      type: t\n      parameters:\n        p: ', '\n'],
  ['workflow:\n  name: w\n  description: "', '"\n  jobs: [{ id: a, type: t }]\n'],
  ['workflow:\n  name: w\n  description: |\n    ', '\n  jobs: [{ id: a, type: t }]\n'],
  ['workflow: { name: w, jobs: [{ id: a, type: t, parameters: {', '} }] }'],
  ['workflow: { name: w, jobs: [', '{ id: z, type: t }] }'],
  ['workflow:\n  name: w\n  jobs:\n', ''],
  ['workflow:\n  name: w\n  jobs:\n    - id: a\n      type: t\n      on_success: [', ']\n'],
  ['workflow:\n  name: w\n  jobs:\n    - { id: a, type: t, parameters: { p: "${{ ', ' }}" } }\n'],
  ['workflow:\n  name: w\n  inputs:\n    x: { type: string, pattern: "', '" }\n  jobs: [{ id: a, type: t }]\n'],
] as const;
const pieces = [
  ...[
    'a: 1\n',
    'a: 1, ',
    'x, ',
    '- a\n',
    '    - { id: a, type: t }\n',
    '{ id: b, type: t, needs: a }, ',
    '&a x ',
    '*a, ',
    '!x ',
    '${{ a }} ',
    '${{',
    '}}',
  ],
  ...[
    ' ',
    '\n',
    '\n\n ',
    '#\n',
    '# a',
    "''",
    '""',
    '\\n',
    '\\\n',
    'é',
    '\u{1f600}',
    '? ',
    ': ',
    '- ',
    '|\n',
    '>\n ',
    '\t',
    '\r',
    '---\n',
    '%a\n',
    '(',
    'a+',
    '[a-z]',
  ],
];

/** Pieces, numbered where they hold `@`, so that keys and ids differ. */
function large(random: Random): string {
  const [before, after] = random.pick(frames);
  const piece = Array.from({ length: 1 + random.below(3) }, () => random.pick(pieces)).join('');
  const size = largeSize(random, 200_000);
  if (random.chance(0.5)) return before + repeated(piece, size) + after;
  let text = before;
  for (let i = 0; text.length < size; i++) text += piece.replaceAll('a', `a${i}`);
  return text + after;
}

function generate(random: Random): Uint8Array {
  if (random.chance(0.12)) return bytesOf(large(random));
  const made = definition(random);
  if (random.chance(0.3)) return bytesOf(JSON.stringify(made, null, random.below(3)));
  return bytesOf(
    stringify(made, { aliasDuplicateObjects: random.chance(0.2), lineWidth: random.pick([0, 20, 80]), indent: 1 + random.below(4) }),
  );
}
