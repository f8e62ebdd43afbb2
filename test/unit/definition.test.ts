/**
 * Definitions: what is refused, where, and why; what is accepted.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { compile, MAX_PROBLEMS, type Problem, rules } from '@workflow-orchestrator/engine/definition';
import { limits } from '@workflow-orchestrator/proto/limits';
import t from 'tap';

const fixtures = new URL('../fixtures/definition/', import.meta.url);

function problemsOf(source: string): readonly Problem[] {
  const compiled = compile(source);
  return compiled.kind === 'bad' ? compiled.problems : [];
}

/** A workflow around lines of YAML that stand below `jobs`. */
function withJobs(...lines: string[]): string {
  return ['workflow:', '  name: w', '  jobs:', ...lines.map((line) => `    ${line}`), ''].join('\n');
}

/** A workflow with one job and more keys. */
function withKeys(...lines: string[]): string {
  return ['workflow:', '  name: w', ...lines.map((line) => `  ${line}`), '  jobs: [{ id: a, type: t }]', ''].join('\n');
}

t.test('bad files', async (t) => {
  const files = readdirSync(new URL('bad/', fixtures)).filter((name) => name.endsWith('.yaml'));
  t.ok(files.length >= 20);
  for (const file of files) {
    const problems = problemsOf(readFileSync(new URL(`bad/${file}`, fixtures), 'utf8'));
    const expected = JSON.parse(readFileSync(new URL(`bad/${file.replace('.yaml', '.json')}`, fixtures), 'utf8'));
    const found = problems.map(({ line, column, path, rule }) => ({ line, column, path, rule }));
    t.strictSame(found, expected, file);
    for (const { message, rule } of problems) {
      t.not(message, '', `${file}: every problem says what is wrong`);
      t.ok((rules as readonly string[]).includes(rule), `${file}: ${rule} is a known rule`);
    }
  }
});

t.test('good files', async (t) => {
  for (const file of readdirSync(new URL('good/', fixtures))) {
    t.strictSame(problemsOf(readFileSync(new URL(`good/${file}`, fixtures), 'utf8')), [], file);
  }
});

/** Stands in a text where the problem is. */
const MARK = '‸';

t.test('every rule, with place, message and hint', async (t) => {
  const job = (rest: string): string => withJobs(`- { id: a, type: t${rest} }`);
  const table: readonly (readonly [source: string, path: string, rule: string, message: string, hint: string])[] = [
    ['a: ‸b: c', '', 'syntax', 'Nested mappings are not allowed in compact mappings', 'begin nested keys on a line of their own'],
    ['workflow: { a: $‸{{ x }} }', '', 'syntax', 'Unexpected flow-map-start', 'quote text that holds an expression: "${{ ... }}"'],
    [`${job('')}‸---\n${job('')}`, '', 'documents', 'a second YAML document begins here', 'one file holds one definition'],
    [job(', name: ‸!x y'), 'workflow.jobs[0].name', 'tag', "the YAML tag '!x' is not supported", 'put the whole value in quotes'],
    [withKeys('‸<<: { version: a }'), 'workflow["<<"]', 'merge-key', 'merge keys (<<) are not part of YAML 1.2', '`defaults`'],
    [job(', name: ‸*x'), 'workflow.jobs[0].name', 'alias', "no anchor '&x' before this alias", 'put it in quotes'],
    [withKeys('‸name: again'), 'workflow.name', 'duplicate-key', "the key 'name' is there twice", 'keep one of them'],
    [withKeys('? ‸[a]', ': b'), 'workflow', 'bad-key', 'a key must be text', 'key: value'],
    ['workflow: ‸{ name: w }', 'workflow.jobs', 'missing-key', "the workflow has no 'jobs'", 'write  jobs:'],
    [job(', ‸neds: b'), 'workflow.jobs[0].neds', 'unknown-key', "unknown key 'neds' in a job", "did you mean 'needs'?"],
    [job(', ‸colour: red'), 'workflow.jobs[0].colour', 'unknown-key', "unknown key 'colour' in a job", 'known keys: id, name, type'],
    [job(', priority: ‸"5"'), 'workflow.jobs[0].priority', 'bad-type', 'priority must be a whole number from 0 to 9, found the text', ''],
    [job(', always_run: ‸on'), 'workflow.jobs[0].always_run', 'bad-type', "must be true or false, found the text 'on'", 'write true'],
    [job(', join: ‸al'), 'workflow.jobs[0].join', 'bad-value', "join 'al' is not known", "did you mean 'all'?"],
    [withKeys('version: ‸1.10'), 'workflow.version', 'bad-type', 'version must be text, found the number 1.1', 'put it in quotes: "1.10"'],
    [
      job('').replace('name: w', 'name: ‸w!'),
      'workflow.name',
      'bad-name',
      "the name 'w!' may only hold A-Z a-z 0-9 . _ -",
      "for instance 'w-'",
    ],
    [job(', priority: ‸10'), 'workflow.jobs[0].priority', 'out-of-range', 'priority is 10', 'write a whole number from 0 to 9'],
    [
      job(', timeout: ‸1s, timeouts: { run: 2s }'),
      'workflow.jobs[0].timeout',
      'conflict',
      '`timeout` and `timeouts.run`',
      'keep one of them',
    ],
    [job(', timeout: ‸30'), 'workflow.jobs[0].timeout', 'bad-duration', 'timeout: the duration 30 has no unit', 'write 30s for seconds'],
    [job(', timeout: ‸2 hours'), 'workflow.jobs[0].timeout', 'bad-duration', "timeout: '2 hours' is no duration", 'write 2h'],
    [job(', ‸for_each: x'), 'workflow.jobs[0].for_each', 'not-supported', '`for_each` is not supported yet', 'remove the key'],
    [job('').replace('type: t', 'type: ‸approval'), 'workflow.jobs[0].type', 'not-supported', '`type: approval`', 'a worker handles'],
    [withKeys('‸schedule: []'), 'workflow.schedule', 'not-supported', '`schedule`', 'remove the key'],
    [
      withJobs('- { id: a, type: t }', '- { id: ‸A, type: t }'),
      'workflow.jobs[1].id',
      'duplicate-id',
      "'a' and 'A' differ only in case",
      'rename one',
    ],
    [
      withJobs('- { id: process, type: t }', '- { id: b, type: t, needs: ‸proces }'),
      'workflow.jobs[1].needs',
      'unknown-job',
      "no job 'proces'",
      "did you mean 'process'?",
    ],
    [job(', needs: [‸zebra]'), 'workflow.jobs[0].needs[0]', 'unknown-job', "no job 'zebra'", 'known jobs: a'],
    [
      job(', on_failure: { run: ‸a }'),
      'workflow.jobs[0].on_failure.run',
      'self-edge',
      "the job 'a' has an edge to itself",
      'name another job',
    ],
    [
      withJobs('- { id: a, type: t, needs: ‸b }', '- { id: b, type: t, needs: a }'),
      'workflow.jobs[0].needs',
      'cycle',
      'a cycle: a -> b -> a',
      'remove one',
    ],
    [job(", if: '‸1 == 1 && false'").replace("'‸", "‸'"), 'workflow.jobs[0].if', 'never-runs', 'the job can never run', 'if: false'],
    [
      withJobs('- { id: a, type: t, always_run: true, on_success: ‸b }', '- { id: b, type: t }'),
      'workflow.jobs[0].on_success',
      'never-runs',
      "'b' can never run",
      'give',
    ],
    [
      withJobs('- { id: a, type: t, always_run: true, on_success: ‸b }', '- { id: b, type: t, always_run: true }'),
      'workflow.jobs[0].on_success',
      'always-run-deadlock',
      "'a' and 'b' wait for each other",
      'remove the edge',
    ],
    [
      job(', parameters: { x: "a ‸${{ 1" }'),
      'workflow.jobs[0].parameters.x',
      'template-syntax',
      'this ${{ is never closed',
      'end the expression with }}',
    ],
    [job(', if: ‸"${{ true }} && true"'), 'workflow.jobs[0].if', 'template-syntax', 'only a part of the condition', 'inside of one'],
    [job(', name: ‸"${{ 1 }}"'), 'workflow.jobs[0].name', 'template-not-allowed', 'name is fixed', 'expressions are evaluated in'],
    [job(", if: 'true &&‸'"), 'workflow.jobs[0].if', 'expression-syntax', 'unexpected token: EOF', ''],
    [job(", if: workflow.name ‸= 'w'"), 'workflow.jobs[0].if', 'expression-syntax', 'unexpected character: =', 'to compare, write =='],
    [
      job(', if: ‸workflow.name'),
      'workflow.jobs[0].if',
      'expression-type',
      'if must be true or false, this is of type string',
      "value == 'text'",
    ],
    [job(", if: true && ‸size(workflow.name) == 'x'"), 'workflow.jobs[0].if', 'expression-type', 'no such overload: int == string', ''],
    [job(', if: ‸always()'), 'workflow.jobs[0].if', 'expression-type', "found no matching overload for 'always()'", 'use always_run: true'],
    [
      job(`, if: "‸${'true || '.repeat(600)}true"`),
      'workflow.jobs[0].if',
      'expression-limit',
      'more than expressionLength (4096)',
      'compute it in a job',
    ],
    [job(`, if: "‸${'1+'.repeat(600)}1 > 0"`), 'workflow.jobs[0].if', 'expression-limit', 'more than expressionNodes (1000) parts', ''],
    [job(', if: ‸input.x'), 'workflow.jobs[0].if', 'unknown-name', "no name 'input'", "did you mean 'inputs'?"],
    [
      withKeys('inputs: { env: {} }', 'outputs: { a: "x ${{ ‸inputs.enw }}" }'),
      'workflow.outputs.a',
      'unknown-input',
      "no input 'enw'",
      "did you mean 'env'?",
    ],
    [
      withKeys('outputs:', '  a: |', '    one', '    two ${{ ‸nil }}'),
      'workflow.outputs.a',
      'unknown-name',
      "no name 'nil'",
      'known names',
    ],
    [
      withJobs('- { id: a, type: t }', '- { id: b, type: t, if: 1 > 0 && ‸jobs.a.output.ok }'),
      'workflow.jobs[1].if',
      'not-an-ancestor',
      "'b' does not wait for 'a'",
      'add  needs: [a]',
    ],
    [withKeys('inputs: { n: { type: ‸intger } }'), 'workflow.inputs.n.type', 'bad-schema', "no type 'intger'", "did you mean 'integer'?"],
    [
      withKeys('inputs: { n: { type: integer, default: ‸x } }'),
      'workflow.inputs.n.default',
      'bad-default',
      'the default must be integer',
      'its own schema',
    ],
  ];
  for (const [marked, path, rule, message, hint] of table) {
    const before = marked.slice(0, marked.indexOf(MARK)).split('\n');
    const place = { line: before.length, column: before.at(-1)!.length + 1, path, rule };
    const problems = problemsOf(marked.replace(MARK, ''));
    const found = problems.find((problem) => problem.rule === rule && problem.message.includes(message));
    t.match(found, place, `${rule}: ${marked.length > 200 ? `${marked.slice(0, 200)}...` : marked}`);
    t.ok(found?.hint.includes(hint), `'${found?.hint}' says '${hint}'`);
  }
  const told = new Set(table.map(([, , rule]) => rule));
  const elsewhere = ['limit', 'too-many-problems', 'internal'];
  t.strictSame(
    rules.filter((rule) => !told.has(rule)),
    elsewhere,
    'every rule has a row',
  );
});

t.test('limits, exceeded by one', async (t) => {
  const job = (id: number, rest = ''): string => `- { id: j${id}, type: t${rest} }`;
  const jobs = (count: number, rest: (id: number) => string = () => ''): string[] =>
    Array.from({ length: count }, (_, id) => job(id, rest(id)));
  const named = (source: string): string[] => problemsOf(source).map(({ rule, message }) => `${rule} ${message}`);
  const exceeds = (source: string, limit: string): void => {
    const found = named(source);
    const isTold = found.some((text) => text.startsWith('limit ') && text.includes(limit));
    t.ok(isTold, `${limit}: ${found[0]}`);
  };
  const padding = (bytes: number): string => `${withJobs(job(0))}#${'x'.repeat(bytes - withJobs(job(0)).length - 1)}`;
  t.strictSame(named(padding(limits.definitionBytes)), []);
  exceeds(padding(limits.definitionBytes + 1), 'definitionBytes');
  exceeds(padding(limits.definitionBytes).replace('x', 'é'), 'definitionBytes');

  const deep = (depth: number): string => withJobs(job(0, `, parameters: { v: ${'['.repeat(depth - 5)}${']'.repeat(depth - 5)} }`));
  t.strictSame(named(deep(limits.definitionDepth)), []);
  exceeds(deep(limits.definitionDepth + 1), 'definitionDepth');
  exceeds('['.repeat(100_000), 'definitionDepth');

  const aliases = (count: number): string => `x-a: &a 1\nx-b: [${Array(count).fill('*a').join(', ')}]\n${withJobs(job(0))}`;
  t.strictSame(named(aliases(limits.definitionAliasNodes)), []);
  exceeds(aliases(limits.definitionAliasNodes + 1), 'definitionAliasNodes');

  t.strictSame(named(withJobs(...jobs(limits.jobs))), []);
  exceeds(withJobs(...jobs(limits.jobs + 1)), 'jobs (10000)');

  const fanIn = (count: number): string => withJobs(...jobs(count + 1, (id) => (id < count ? `, on_success: j${count}` : '')));
  t.strictSame(named(fanIn(limits.inEdges)), []);
  exceeds(fanIn(limits.inEdges + 1), 'inEdges');

  const layer = Array.from({ length: 1_000 }, (_, id) => `j${id}`).join(',');
  const layers = (count: number): string => {
    const later = Array.from({ length: count }, (_, index) => `- { id: k${index}, type: t, needs: [${layer}] }`);
    return withJobs(...jobs(1_000), ...later);
  };
  t.strictSame(named(layers(limits.edges / 1_000)), []);
  exceeds(layers(limits.edges / 1_000 + 1), 'edges (100000)');

  const labels = (count: number): string =>
    withJobs(job(0, `, requires: { labels: { ${Array.from({ length: count }, (_, index) => `l${index}: v`).join(', ')} } }`));
  t.strictSame(named(labels(limits.labels)), []);
  exceeds(labels(limits.labels + 1), 'labels');

  const schema = (keywords: number): string =>
    withKeys('inputs:', ...Array.from({ length: keywords }, (_, index) => `  i${index}: { type: string }`));
  t.strictSame(named(schema(limits.schemaNodes)), []);
  exceeds(schema(limits.schemaNodes + 1), 'schemaNodes');

  const pattern = (length: number): string => withKeys(`inputs: { a: { pattern: ${'x'.repeat(length)} } }`);
  t.strictSame(named(pattern(limits.patternLength)), []);
  t.match(named(pattern(limits.patternLength + 1)), [/patternLength/]);
  const patterns = (count: number): string =>
    withKeys('inputs:', ...Array.from({ length: count }, (_, index) => `  i${index}: { pattern: ${`${index}`.padStart(1_000, 'x')} }`));
  t.strictSame(named(patterns(limits.patternsLength / 1_000)), []);
  t.match(named(patterns(limits.patternsLength / 1_000 + 1)), [/patternsLength/]);

  const parameters = (bytes: number): string => withJobs(job(0, `, parameters: { a: ${'x'.repeat(bytes - '{"a":""}'.length)} }`));
  t.strictSame(named(parameters(limits.parametersBytes)), []);
  exceeds(parameters(limits.parametersBytes + 1), 'parametersBytes');

  const name = (length: number): string => withJobs(job(0)).replace('name: w', `name: ${'w'.repeat(length)}`);
  t.strictSame(named(name(limits.nameLength)), []);
  t.match(named(name(limits.nameLength + 1)), [/^bad-name/]);
});

t.test('places in files from other systems', async (t) => {
  const source = withKeys('outputs:', '  a: |', '    one', '    two ${{ nil }}', '  b: "${{ nix }}"');
  t.match(
    problemsOf(`\ufeff${source.replaceAll('\n', '\r\n')}`),
    [
      { line: 6, column: 15 },
      { line: 7, column: 13 },
    ],
    'line breaks of Windows and a byte order mark',
  );
});

t.test('the list of problems is bounded', async (t) => {
  const problems = problemsOf(withJobs(...Array.from({ length: 250 }, (_, index) => `- { id: j${index}, type: t, colour: red }`)));
  t.equal(problems.length, MAX_PROBLEMS + 1);
  t.match(problems.at(-1), { rule: 'too-many-problems', line: 104, message: '150 more problems from here on' });
  const more = problemsOf(withJobs(...Array.from({ length: MAX_PROBLEMS }, (_, index) => `- { id: j${index}, type: t, colour: red }`)));
  t.equal(more.length, MAX_PROBLEMS, 'no closing problem when all are told');
});

t.test('one fault is one problem', async (t) => {
  const rulesOf = (source: string): string[] => problemsOf(source).map(({ rule }) => rule);
  t.strictSame(
    rulesOf(withJobs('- { id: a, type: t, on_sucess: b }', '- { id: b, type: t, if: jobs.a.output.ok }')),
    ['unknown-key'],
    'a misspelt key is read as what was meant',
  );
  t.strictSame(
    rulesOf(withJobs('- { id: fetch, type: t }', '- { id: b, type: t, needs: fetsh, if: jobs.fetch.output.ok }')),
    ['unknown-job'],
    'a misspelt reference still makes an ancestor',
  );
  t.strictSame(
    rulesOf(withJobs('- { id: a, type: t, on_success: zebra }', '- { id: b, type: t, if: jobs.a.output.ok }')),
    ['unknown-job'],
    'nobody is blamed for what an unknown target may give',
  );
  t.strictSame(
    rulesOf(withJobs('- { id: a, type: t }', '- { id: b, type: t, needs: zebra }', '- { id: c, type: t, needs: b, if: jobs.a.output.ok }')),
    ['unknown-job'],
    'nor for what an unknown source may give',
  );
  t.strictSame(
    rulesOf(withJobs('- { id: a, type: t, on_success: zebra }', '- { id: b, type: t }', '- { id: c, type: t, if: jobs.b.output.ok }')),
    ['unknown-job', 'not-an-ancestor'],
    'but for everything else',
  );
  t.strictSame(rulesOf(withKeys('inputs: []', 'outputs: { a: "${{ inputs.x + inputs.y }}" }')), ['bad-type'], 'unreadable inputs');
  t.strictSame(
    rulesOf(withJobs('- { id: a, type: t, on_success: ab }', '- { id: b, type: t, on_success: a }')),
    ['unknown-job'],
    'a guess makes no cycle',
  );
  t.strictSame(
    rulesOf(withJobs('- { id: each, type: t, for_each: "${{ [1] }}", if: item > index }')),
    ['not-supported'],
    'item and index belong to for_each',
  );
  t.strictSame(
    rulesOf(withJobs('- { id: a, type: t, needs: b, if: jobs.b.output.x }', '- { id: b, type: t, needs: a }')),
    ['cycle'],
    'a cycle is one fault',
  );
});

t.test('texts that once were traps end quickly', async (t) => {
  const texts: Readonly<Record<string, string>> = {
    'nesting without end': '['.repeat(limits.definitionBytes),
    'closing brackets': ']'.repeat(100_000),
    commas: `[${','.repeat(100_000)}]`,
    documents: '---\n'.repeat(100_000),
    'document ends': '...\n'.repeat(50_000),
    tags: '- !a b\n'.repeat(10_000),
    'one cycle of all jobs': withJobs(
      ...Array.from({ length: 5_000 }, (_, index) => `- { id: j${index}, type: t, needs: j${(index + 1) % 5_000} }`),
    ),
    'cycles without number': withJobs(
      ...Array.from(
        { length: 60 },
        (_, index) =>
          `- { id: j${index}, type: t, needs: [${Array.from({ length: 60 }, (_, other) => `j${other}`).filter((_, other) => other !== index)}] }`,
      ),
    ),
    'expressions in one block': withKeys('outputs:', '  a: |', ...Array.from({ length: 5_000 }, () => '    ${{ x }}')),
    'the same key': `${withKeys('x-a:', ...Array.from({ length: 20_000 }, () => '  k: 1'))}`,
    'types that double': withKeys(`outputs: { a: "\${{ [1]${'.map(a, [{1: a, 2: a}])'.repeat(40)} }}" }`),
  };
  for (const [name, text] of Object.entries(texts)) {
    const compiled = compile(text);
    if (compiled.kind === 'bad') t.ok(compiled.problems.length >= 1 && compiled.problems.length <= MAX_PROBLEMS + 1, name);
    else t.equal(name, 'types that double');
  }
});
