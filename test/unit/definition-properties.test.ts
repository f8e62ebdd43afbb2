/**
 * What holds for every text: an answer, always the same one, with places inside of the text; a hash that knows no order of keys.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { compile, type Json, jsonDepthFits, jsonPayload, parseDuration, readPayload } from '@workflow-orchestrator/engine/definition';
import fc from 'fast-check';
import t from 'tap';

const fixtures = new URL('../fixtures/definition/', import.meta.url);
const files = ['good/', 'bad/'].flatMap((folder) =>
  readdirSync(new URL(folder, fixtures))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => readFileSync(new URL(folder + name, fixtures), 'utf8')),
);

/** Compiles twice, and checks what holds for any text. Throws when it does not. */
function checkAnswer(text: string): void {
  const compiled = compile(text);
  const again = compile(text);
  if (compiled.kind === 'ok') {
    if (again.kind !== 'ok' || again.graph.hash !== compiled.graph.hash) throw new Error('another answer the second time');
    return;
  }
  if (JSON.stringify(again) !== JSON.stringify(compiled)) throw new Error('another answer the second time');
  if (compiled.problems.length === 0) throw new Error('refused without a reason');
  const lines = text.split('\n');
  let before = { line: 0, column: 0 };
  for (const { line, column, rule, message } of compiled.problems) {
    if (rule === 'internal') throw new Error(message);
    if (line < 1 || line > lines.length) throw new Error(`line ${line} of ${lines.length}`);
    if (column < 1 || column > lines[line - 1].length + 1) throw new Error(`column ${column} in line ${line}`);
    if (line < before.line || (line === before.line && column < before.column)) throw new Error('not in the order of the file');
    before = { line, column };
  }
}

t.test('any text gets an answer', async (t) => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), checkAnswer), { numRuns: 300 });
  const yamlish = fc.array(
    fc.constantFrom(
      'workflow:',
      'jobs:',
      '- ',
      'id: a',
      'type: t',
      '\n',
      '\n  ',
      '\n    ',
      '\t',
      ' ',
      '[',
      ']',
      '{',
      '}',
      '"',
      "'",
      ',',
      ': ',
      '&a ',
      '*a',
      '!!str ',
      '|',
      '>',
      '%',
      '---\n',
      '...\n',
      '#',
      '? ',
      '${{',
      '}}',
      'jobs.a.output',
      'on_success: a',
      'if: ',
      '<<: ',
      '\r\n',
      'é',
      '\u{1f600}',
    ),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(yamlish, (parts) => checkAnswer(parts.join(''))),
    { numRuns: 500 },
  );
  t.pass();
});

t.test('files with a mistake get an answer', async (t) => {
  const mutation = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    drop: fc.nat(12),
    insert: fc.oneof(
      fc.string({ maxLength: 4 }),
      fc.constantFrom('${{ ', ' }}', '\n', '  ', '"', '- ', ': ', 'null', '[]', '{}', '&x ', '*x', '-1', '1e999'),
    ),
  });
  const mutated = fc.tuple(fc.constantFrom(...files), fc.array(mutation, { minLength: 1, maxLength: 4 })).map(([text, mutations]) =>
    mutations.reduce((mutant, { at, drop, insert }) => {
      const offset = Math.floor(at * mutant.length);
      return mutant.slice(0, offset) + insert + mutant.slice(offset + drop);
    }, text),
  );
  fc.assert(fc.property(mutated, checkAnswer), { numRuns: 300 });
  t.pass();
});

t.test('any expression gets an answer', async (t) => {
  const token = fc.constantFrom(
    'inputs',
    '.',
    'a',
    'jobs',
    'my-job',
    '[',
    ']',
    '(',
    ')',
    '"x"',
    "'",
    '1',
    '1.5',
    '-',
    '+',
    '/',
    '%',
    '==',
    '!=',
    '<',
    '&&',
    '||',
    '!',
    '?',
    ':',
    'in',
    'null',
    'true',
    'has',
    'size',
    '.map(x, x)',
    '.filter(y, true)',
    '.matches("a")',
    '{',
    '}',
    ',',
    ' ',
    'failure',
    'workflow.id',
    '.output',
    '.?',
    'orValue',
    'b"x"',
    '//',
    '\\',
    'cel.bind(z, 1, z)',
    'dyn',
    'type',
  );
  const expression = fc.array(token, { maxLength: 14 }).map((parts) => parts.join(''));
  const property = fc.property(expression, fc.jsonValue({ maxDepth: 3 }), (text, output) => {
    const source = `workflow: { name: w, inputs: { a: {} }, jobs: [{ id: my-job, type: t }, { id: b, type: t, needs: my-job, parameters: { v: ${JSON.stringify(`\${{ ${text} }}`)} } }] }`;
    checkAnswer(source);
    const compiled = compile(source);
    if (compiled.kind === 'bad') return;
    const template = compiled.graph.jobs[1].parameters;
    if (template.kind === 'static') return;
    const rendered = template.render({
      inputs: { a: output as Json },
      job: () => ({ output: output as Json, status: 'SUCCEEDED', error: null }),
      workflow: { id: 'w', name: 'w', status: 'RUNNING' },
      failure: null,
    });
    if (rendered.kind === 'value') readPayload(rendered.value);
    else if (rendered.message === '') throw new Error('a failure without a reason');
  });
  fc.assert(property, { numRuns: 1_500 });
  t.pass();
});

t.test('a schema that is accepted can be used', async (t) => {
  const { schema } = fc.letrec((tie) => {
    const child = tie('schema') as fc.Arbitrary<Json>;
    const children = fc.array(child, { minLength: 1, maxLength: 2 });
    const named = fc.dictionary(fc.constantFrom('a', 'b', 'constructor', '__proto__', '/~'), child, { maxKeys: 2 });
    const count = fc.constantFrom<Json>(0, 1, 2, -1, 'x');
    const keywords: Readonly<Record<string, fc.Arbitrary<Json>>> = {
      type: fc.oneof(fc.constantFrom<Json>('string', 'integer', 'object', 'array', 'null', 'x'), fc.constant<Json>(['string', 'array'])),
      enum: fc.array(fc.jsonValue({ maxDepth: 1 }) as fc.Arbitrary<Json>, { maxLength: 3 }),
      const: fc.jsonValue({ maxDepth: 1 }) as fc.Arbitrary<Json>,
      $ref: fc.constantFrom<Json>('#', '#/$defs/a', '#/properties/a', '#/items', '#/nowhere', '#/$defs/~1~0'),
      format: fc.constantFrom<Json>('date', 'ipv6', 'nothing'),
      pattern: fc.constantFrom<Json>('^a', '[', 'b$', '(?i)x'),
      required: fc.constantFrom<Json>(['a'], ['a', 'a'], ['constructor'], true),
      dependentRequired: fc.constantFrom<Json>({ a: ['b'] }, { a: 1 }),
      multipleOf: fc.constantFrom<Json>(1, 0.1, 0),
      ...Object.fromEntries(['$defs', 'properties', 'dependentSchemas'].map((name) => [name, named])),
      patternProperties: fc.dictionary(fc.constantFrom('^a', 'b', '['), child, { maxKeys: 2 }),
      ...Object.fromEntries(['allOf', 'anyOf', 'oneOf', 'prefixItems'].map((name) => [name, children])),
      ...Object.fromEntries(
        [
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
        ].map((name) => [name, child]),
      ),
      ...Object.fromEntries(
        ['minimum', 'maxLength', 'minItems', 'maxContains', 'minContains', 'maxProperties'].map((name) => [name, count]),
      ),
      uniqueItems: fc.boolean(),
      title: fc.constant<Json>('t'),
      'x-own': fc.constant<Json>(1),
    };
    const entry = fc.constantFrom(...Object.keys(keywords)).chain((name) => fc.tuple(fc.constant(name), keywords[name]));
    const map = fc.array(entry, { maxLength: 4 }).map((entries) => Object.fromEntries(entries) as Json);
    return { schema: fc.oneof({ maxDepth: 4 }, fc.boolean(), map) };
  });
  let used = 0;
  const property = fc.property(schema as fc.Arbitrary<Json>, fc.jsonValue({ maxDepth: 3 }), (written, output) => {
    const source = JSON.stringify({ workflow: { name: 'w', jobs: [{ id: 'a', type: 't', outputs_schema: written }] } });
    checkAnswer(source);
    const compiled = compile(source);
    if (compiled.kind === 'bad') return;
    used++;
    const message = compiled.graph.jobs[0].checkOutput!(output as Json);
    if (message?.includes('cannot be checked')) throw new Error(message);
  });
  fc.assert(property, { numRuns: 400 });
  t.ok(used > 20, `${used} schemas were accepted`);
});

/** The same value with the keys of every map in another order. */
function reversed(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(reversed);
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, item]) => [key, reversed(item as Json)]),
  );
}

t.test('the hash is that of the content', async (t) => {
  const definition = (parameters: Json): Json => ({ workflow: { name: 'w', version: '1', jobs: [{ id: 'a', type: 't', parameters }] } });
  const plain = fc.dictionary(
    fc.string({ maxLength: 5 }).filter((key) => !key.includes('${{')),
    fc.jsonValue({ maxDepth: 4 }),
    { maxKeys: 5 },
  );
  const hash = (value: Json, indent: number): string => {
    const compiled = compile(JSON.stringify(value, null, indent));
    if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems));
    return compiled.graph.hash;
  };
  const property = fc.property(plain, (parameters) => {
    const value = definition(parameters as Json);
    if (JSON.stringify(value).includes('${{') || JSON.stringify(value).includes('\\ud')) return;
    if (hash(value, 0) !== hash(reversed(value), 2)) throw new Error('the order of keys or the layout changed the hash');
    const compiled = compile(JSON.stringify(value));
    const template = compiled.kind === 'ok' && compiled.graph.jobs[0].parameters;
    const read = template && template.kind === 'static' ? JSON.stringify(readPayload(template.payload)) : '';
    if (read !== JSON.stringify(JSON.parse(JSON.stringify(parameters)))) throw new Error(`read as ${read}`);
  });
  fc.assert(property, { numRuns: 200 });
  t.pass();
});

t.test('payloads and durations take anything', async (t) => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (data) => readPayload({ encoding: 'json', data }) !== undefined));
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
      const json = JSON.parse(JSON.stringify(value)) as Json;
      return !jsonDepthFits(json) || JSON.stringify(readPayload(jsonPayload(json))) === JSON.stringify(json);
    }),
  );
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9.]{1,4}(ms|s|m|h|d|w)?$/)), (text) => {
      const result = parseDuration(text);
      return result.kind === 'bad' ? result.message !== '' && result.hint !== '' : Number.isInteger(result.ms) && result.ms >= 0;
    }),
  );
  t.pass();
});
