/**
 * The program `wf` in this process, with a terminal of the test's own: everything that needs no server and no process.
 */
import { readFileSync } from 'node:fs';
import { WorkflowError } from '@workflow-orchestrator/sdk';
import type { Command } from 'commander';
import t from 'tap';
import { CommandError, exit, farewellOf } from '../../sdk/cli/exit.ts';
import { logLine } from '../../sdk/cli/process/log-line.ts';
import { createProgram, runCli } from '../../sdk/cli/program.ts';
import { Shell } from '../../sdk/cli/shell.ts';
import { clean, type Terminal, wantsColor } from '../../sdk/cli/terminal.ts';
import { durationMs, inputsOf, timeOf } from '../../sdk/cli/words.ts';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function terminal(input = '', more: Partial<Terminal> = {}) {
  const written = { out: '', err: '' };
  const never = new AbortController().signal;
  const fake: Terminal = {
    write: (text) => {
      written.out += text;
    },
    complain: (text) => {
      written.err += text;
    },
    readInput: async () => input,
    interactive: false,
    color: false,
    unicode: false,
    size: () => ({ columns: 120, rows: 40 }),
    env: {},
    interrupted: never,
    forced: never,
    ...more,
  };
  return { fake, written };
}

async function wf(argv: readonly string[], input = '', more: Partial<Terminal> = {}): Promise<Ran> {
  const { fake, written } = terminal(input, more);
  const code = await runCli(argv, fake, '1.2.3');
  return { code, ...written };
}

const pipeline = `workflow:
  name: data-pipeline
  jobs:
    - id: validate
      type: validation
      on_success: process
      on_failure: alert
    - id: process
      type: processing
      if: inputs.env == 'prod'
      on_success: save
    - id: save
      type: integration
    - id: alert
      type: integration
      always_run: true
  inputs:
    env: { type: string, default: prod }
`;

function allCommands(command: Command, path: string[] = []): { path: string; command: Command }[] {
  const own = path.length === 0 ? [] : [{ path: `wf ${path.join(' ')}`, command }];
  return [...own, ...command.commands.flatMap((child) => allCommands(child, [...path, child.name()]))];
}

t.test('every command and option is in the README, with help and examples', async (t) => {
  const readme = readFileSync(new URL('../../sdk/cli/README.md', import.meta.url), 'utf8');
  const commands = allCommands(createProgram(new Shell(terminal().fake), '0'));
  t.ok(commands.length >= 20);
  for (const { path, command } of commands) {
    const section = readme.split(/^### /m).find((part) => part.startsWith(`${path}\n`)) ?? '';
    t.not(section, '', path);
    const shared = new Set(['--json', '--coordinator-url', '--token', '--timeout']);
    for (const { long } of command.options) if (long && !shared.has(long)) t.match(section, long, `${path} ${long}`);
    const help = await wf([...path.split(' ').slice(1), '--help']);
    t.equal(help.code, 0, path);
    t.match(help.out, /Examples:\n {2}\$ /, path);
  }
  for (const [name, code] of Object.entries(exit)) t.match(readme, new RegExp(`\\| ${code} \\|`), name);
});

t.test('help, version and bad command lines', async (t) => {
  t.match(await wf([]), { code: 0, out: /Usage: wf/ });
  t.same(await wf(['--version']), { code: 0, out: '1.2.3\n', err: '' });
  t.match(await wf(['help', 'submit']), { code: 0, out: /--idempotency-key/ });
  t.match(await wf(['sumbit']), { code: 2, out: '', err: "wf: unknown command 'sumbit'; did you mean submit?\n" });
  t.match(await wf(['list', '--stauts', 'FAILED']), { code: 2, err: /^wf: unknown option '--stauts'; did you mean --status\?\n$/ });
  t.match(await wf(['start']), { code: 2, err: /^wf: missing required argument 'id'\n$/ });
  t.match(await wf(['list', '--status', 'FAILD']), { code: 2, err: /must be one of .*did you mean FAILED\?/ });
  t.match(await wf(['list', '--limit', 'x']), { code: 2, err: /whole number/ });
  t.match(await wf(['list', '--since', 'yesterday']), { code: 2, err: /2026-11-23T10:00:00Z/ });
  t.match(await wf(['list', '-u', 'localhost:8000']), { code: 2, err: /^wf: --coordinator-url: .*http:/ });
  t.match(await wf(['list', '--timeout', '3']), { code: 2, err: /with its unit/ });
  t.match(await wf(['submit']), { code: 2, err: /give a file, or --definition/ });
  t.match(await wf(['submit', '-', '--input', 'novalue']), { code: 2, err: /--input "novalue": write it as key=value/ });
  t.match(await wf(['submit', '-', '--inputs-file', '-'], '[1]'), { code: 2, err: /must hold an object/ });
  const json = await wf(['status', '--json', '-u', 'nowhere']);
  t.equal(json.code, 2);
  t.match(JSON.parse(json.err), { error: { exitCode: 2, message: /COORDINATOR|coordinator-url/ } });
});

t.test('a coordinator that does not answer is one clear line', async (t) => {
  const address = 'http://127.0.0.1:1'; // a port that nobody listens on

  const ran = await wf(['status', '-u', address]);
  t.match(ran, { code: 5, out: '', err: `wf: no coordinator answers at ${address} (connection refused)\n` });
  t.match(await wf(['watch', 'x', '--json', '-u', address]), { code: 5, err: /^{"error":{"exitCode":5,"code":"unavailable"/ });
});

t.test('a timeout of nothing is refused', async (t) => {
  for (const none of ['0s', '0.5ms']) {
    t.same(await wf(['status', '--timeout', none]), { code: 2, out: '', err: `wf: --timeout "${none}": must be 1ms or longer\n` });
  }
});

t.test('validate: file, line and column of every problem', async (t) => {
  const dir = t.testdir({
    'good.yaml': pipeline,
    'bad.yaml': pipeline.replace('on_success: process', 'on_success: proces').replace('type: processing', 'typ: processing'),
  });
  t.match(await wf(['validate', `${dir}/good.yaml`]), { code: 0, out: /good\.yaml: ok \(data-pipeline [0-9a-f]{12}\)/ });
  const bad = await wf(['validate', `${dir}/bad.yaml`, `${dir}/good.yaml`]);
  t.equal(bad.code, 2);
  t.match(bad.out, /bad\.yaml:6:\d+: no job 'proces' \(did you mean 'process'\?\)/);
  t.match(bad.out, /bad\.yaml:9:\d+: /);
  t.match(bad.out, /good\.yaml: ok/);
  const json = JSON.parse((await wf(['validate', '-', '--json'], pipeline)).out);
  t.match(json, { file: '-', valid: true, name: 'data-pipeline', problems: [] });
  t.match(JSON.parse((await wf(['validate', `${dir}/bad.yaml`, '--json'])).out), {
    valid: false,
    hash: null,
    problems: [{ line: 6, rule: 'unknown-job' }, {}],
  });
  t.same(await wf(['validate', `${dir}/none.yaml`]), { code: 2, out: `${dir}/none.yaml: no such file\n`, err: '' });
  t.match(await wf(['validate', dir, `${dir}/none.yaml`, `${dir}/good.yaml`]), {
    code: 2,
    out: /: it is a folder\n.*none\.yaml: no such file\n.*good\.yaml: ok/,
  });
  t.match(JSON.parse((await wf(['validate', `${dir}/none.yaml`, `${dir}/good.yaml`, '--json'])).out), {
    files: [{ valid: false, problems: [{ line: 0, rule: 'unreadable', message: 'no such file' }] }, { valid: true }],
  });
});

t.test('graph: three formats', async (t) => {
  const ascii = await wf(['graph', '-'], pipeline);
  t.equal(
    ascii.out,
    `data-pipeline (4 jobs)

validate [validation]
|- ok -> process [processing], if inputs.env == 'prod'
|  \`- ok -> save [integration]
\`- failed -> alert [integration], always runs
`,
  );
  const mermaid = (await wf(['graph', '-', '--format', 'mermaid'], pipeline)).out;
  t.match(mermaid, /^flowchart TD\n {2}j0\["validate<br\/>validation"\]/);
  t.match(mermaid, /j0 -\. failed \.-> j3/);
  const dot = (await wf(['graph', '-', '-f', 'dot'], pipeline)).out;
  t.match(dot, /^digraph "data-pipeline" \{/);
  t.match(dot, /j0 -> j3 \[style=dashed/);
  t.match(JSON.parse((await wf(['graph', '-', '--json'], pipeline)).out), {
    name: 'data-pipeline',
    jobs: [{ id: 'validate' }, { inEdges: [{ source: 'validate', kind: 'success' }] }, {}, {}],
  });
  // A file is a file whatever its name looks like.
  const dir = t.testdir({ pipeline });
  const here = process.cwd();
  process.chdir(dir);
  t.teardown(() => process.chdir(here));
  t.equal((await wf(['graph', 'pipeline'])).out, ascii.out);
  t.match(await wf(['graph', '-', '-f', 'svg'], pipeline), { code: 2, err: /must be one of ascii, mermaid, dot/ });
});

t.test('graph: merges and long chains', async (t) => {
  const job = (id: string, needs: string[]) => `    - { id: ${id}, type: x${needs.length > 0 ? `, needs: [${needs.join(', ')}]` : ''} }\n`;
  const merge = `workflow:\n  name: m\n  jobs:\n${job('a', [])}${job('b', [])}${job('c', ['a', 'b'])}`;
  t.equal((await wf(['graph', '-'], merge)).out, 'm (3 jobs)\n\na [x]\n`- ok -> c [x]\nb [x]\n`- ok -> c (above)\n');
  const chain = `workflow:\n  name: m\n  jobs:\n${Array.from({ length: 100 }, (_, index) => job(`j${index}`, index === 0 ? [] : [`j${index - 1}`])).join('')}`;
  const drawn = (await wf(['graph', '-'], chain)).out;
  t.match(drawn, /j31 \(below\)\nj31 \[x\]\n/);
  for (let index = 0; index < 100; index += 1) t.equal(drawn.split(`j${index} [x]`).length, 2);
});

t.test('plan', async (t) => {
  const scenario = await wf(['plan', '-', '--outcome', 'validate=FAILED', '--json'], pipeline);
  t.equal(scenario.code, 0);
  t.same(JSON.parse(scenario.out), {
    workflow: { status: 'FAILED' },
    jobs: {
      validate: { status: 'FAILED', skipReason: null, causes: [] },
      process: { status: 'SKIPPED', skipReason: 'UPSTREAM_FAILED', causes: ['validate'] },
      save: { status: 'SKIPPED', skipReason: 'UPSTREAM_FAILED', causes: ['validate'] },
      alert: { status: 'SUCCEEDED', skipReason: null, causes: [] },
    },
  });
  const skipped = JSON.parse((await wf(['plan', '-', '-o', 'process=if_false', '--json'], pipeline)).out);
  t.match(skipped, {
    workflow: { status: 'SUCCEEDED' },
    jobs: { process: { skipReason: 'CONDITION_FALSE' }, save: { skipReason: 'UPSTREAM_SKIPPED', causes: [] } },
  });
  t.match(
    (await wf(['plan', '-', '-o', 'validate=FAILED'], pipeline)).out,
    /data-pipeline FAILED\n\nJOB +STATUS +SKIPPED +BECAUSE OF\nvalidate +FAILED\nprocess +SKIPPED +UPSTREAM_FAILED +validate/,
  );
  t.match((await wf(['plan', '-', '--job', 'save'], pipeline)).out, /^save\n {2}runs when\n {6}validate SUCCEEDED, process SUCCEEDED\n/);
  t.match(JSON.parse((await wf(['plan', '-', '--json'], pipeline)).out), {
    workflow: { name: 'data-pipeline' },
    jobs: { alert: { complete: true, cases: [{ runs: true }] } },
  });
  t.match(await wf(['plan', '-', '-o', 'valdate=FAILED'], pipeline), {
    code: 2,
    err: /no job "valdate" in data-pipeline; did you mean validate\?/,
  });
  t.match(await wf(['plan', '-', '-o', 'validate=BROKEN'], pipeline), { code: 2, err: /must be one of SUCCEEDED, FAILED, IF_FALSE/ });
  t.match(await wf(['plan', '-'], pipeline, { interrupted: AbortSignal.abort() }), { code: 130, out: '' });
  t.match(await wf(['plan', '-'], 'workflow: {}'), { code: 2, err: /^wf: stdin:1:\d+: / });
});

t.test('config shows what is in force and hides secrets', async (t) => {
  const env = { PORT: '9000', WORKFLOW_TOKEN: 'very-secret', DATABASE_URL: 'postgresql://me:pass@h/db' };
  const text = await wf(['config'], '', { env });
  t.equal(text.code, 0);
  t.match(text.out, /PORT +--port +9000 +environment/);
  t.match(text.out, /COORDINATOR_URL +--coordinator-url +http:\/\/localhost:8000 +default/);
  t.notMatch(text.out, /very-secret|pass@/);
  const worker = JSON.parse((await wf(['config', 'worker', '--json', '--', '--slots', '20'])).out);
  t.match(
    worker.worker.find((row: { name: string }) => row.name === 'slots'),
    { value: '20', source: 'flag' },
  );
  t.match(await wf(['config'], '', { env: { PORT: 'x' } }), { code: 2, err: /wf coordinator: PORT: "x"/ });
  t.match(await wf(['config', 'wroker']), { code: 2, err: /did you mean worker/ });
});

t.test('completion knows every command', async (t) => {
  const commands = allCommands(createProgram(new Shell(terminal().fake), '0'));
  for (const name of ['bash', 'zsh', 'fish']) {
    const { code, out } = await wf(['completion', name]);
    t.equal(code, 0);
    for (const { path } of commands) t.ok(out.includes(path.split(' ').at(-1) ?? ''), `${name} ${path}`);
  }
  t.match(await wf(['completion', 'tcsh']), { code: 2, err: /bash, zsh, fish/ });
});

t.test('words', async (t) => {
  t.same(inputsOf('-i', ['n=3', 'b=true', 's=text', 'q="3"', 'l=[1,{"a":null}]', 'e=', 'x=a=b']), {
    n: 3,
    b: true,
    s: 'text',
    q: '3',
    l: [1, { a: null }],
    e: '',
    x: 'a=b',
  });
  t.equal(durationMs('-t', '1.5s'), 1500);
  t.equal(timeOf('--since', '2h', 7_200_000).getTime(), 0);
  t.equal(timeOf('--since', '2026-11-23T10:00:00Z', 0).toISOString(), '2026-11-23T10:00:00.000Z');
  t.equal(clean('a\u001b[31mb\u0007\tc'), 'a[31mb\tc');
  t.equal(wantsColor({}, true), true);
  t.equal(wantsColor({ NO_COLOR: '1', FORCE_COLOR: '1' }, true), false);
  t.equal(wantsColor({ FORCE_COLOR: '1' }, false), true);
  t.equal(wantsColor({ TERM: 'dumb' }, true), false);
});

t.test('every kind of error ends with its number', async (t) => {
  const codeOf = (thrown: unknown) => farewellOf(thrown)?.code;
  t.equal(codeOf(new WorkflowError('not_found', 'x')), 3);
  t.equal(codeOf(new WorkflowError('not_found', 'x', { resource: { type: 'file', name: 'f' } })), 2);
  t.equal(codeOf(new WorkflowError('invalid_argument', 'x')), 2);
  t.equal(codeOf(new WorkflowError('resource_exhausted', 'x', { retryDelayMs: 5 })), 5);
  const limit = (name: string) => new WorkflowError('resource_exhausted', 'x', { reason: 'LIMIT_EXCEEDED', metadata: { limit: name } });
  t.equal(codeOf(limit('requestBytes')), 2, 'what was sent is too large');
  t.equal(codeOf(limit('batchRequestBytes')), 2);
  t.equal(codeOf(limit('registeredDefinitions')), 5, 'the coordinator is full');
  t.equal(codeOf(new WorkflowError('permission_denied', 'x')), 6);
  t.equal(codeOf(new CommandError('x', exit.cancelled)), 4);
  t.equal(farewellOf(new TypeError('a fault of the program')), null);
  t.match(farewellOf(new WorkflowError('resource_exhausted', 'full', { retryDelayMs: 5 }))?.lines, ['full', /try again in 5 ms/]);
});

t.test('a fault of the program has a number of its own and no stack', async (t) => {
  const broken = {
    get COORDINATOR_URL(): string {
      throw new TypeError('broken');
    },
  };
  t.same(await wf(['status'], '', { env: broken }), {
    code: 70,
    out: '',
    err: 'wf: this is a fault of wf itself: broken\n  WF_DEBUG=1 shows where\n',
  });
});

t.test('log lines of processes', async (t) => {
  const line = (text: string) => logLine({ color: false }, 'dev-1', 1, 11, text);
  const time = new Date(2026, 10, 23, 10, 0, 0, 5).toISOString();
  t.equal(
    line(JSON.stringify({ level: 30, time, msg: 'serves', port: 8000, at: 'a b' })),
    'dev-1       | 10:00:00.005 INFO  serves port=8000 at="a b"',
  );
  t.equal(line('{"level":50,"msg":"x"}'), 'dev-1       | ERROR x');
  t.equal(line('plain \u001b[31mtext'), 'dev-1       | plain [31mtext');
  t.equal(line('{broken'), 'dev-1       | {broken');
});
