/**
 * The program `wf` against a real coordinator: every command that calls one, with what scripts rely on (exit codes, JSON).
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { limits } from '@workflow-orchestrator/proto/limits';
import { WorkflowClient } from '@workflow-orchestrator/sdk';
import { createWorker } from '@workflow-orchestrator/worker';
import pino from 'pino';
import t from 'tap';
import { startCoordinator } from '../../coordinator/coordinator.ts';
import { MemoryStore } from '../../coordinator/store/memory/memory.ts';
import { runCli } from '../../sdk/cli/program.ts';
import type { Terminal } from '../../sdk/cli/terminal.ts';
import { ROOT } from '../repo/source.ts';

const running = await startCoordinator({
  store: new MemoryStore(),
  host: '127.0.0.1',
  port: 0,
  grpcPort: null,
  advertiseUrl: null,
  token: 'secret',
  version: '0.0.0',
  log: pino({ level: 'silent' }),
  onStopped: (reason) => {
    throw new Error(reason);
  },
});
t.teardown(() => running.close(1_000));
const address = `http://127.0.0.1:${running.port}`;
const client = new WorkflowClient(address, { token: 'secret' });

async function wf(argv: readonly string[], input = '', more: Partial<Terminal> = {}) {
  const written = { out: '', err: '' };
  const never = new AbortController().signal;
  const terminal: Terminal = {
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
    env: { COORDINATOR_URL: address, WORKFLOW_TOKEN: 'secret' },
    interrupted: never,
    forced: never,
    ...more,
  };
  const code = await runCli(argv, terminal, '0.0.0');
  return { code, ...written };
}

const file = `workflow:
  name: waits
  inputs:
    n: { type: integer, default: 1 }
    who: { type: string, default: nobody }
  jobs:
    - { id: first, type: nobody-does-this, on_success: last }
    - { id: last, type: nobody-does-this }
`;

async function submitted(...words: string[]): Promise<string> {
  const { code, out } = await wf(['submit', '-', ...words], file);
  if (code !== 0) throw new Error(out);
  return out.split(' ')[0];
}

t.test('submit, with inputs, labels and keys', async (t) => {
  const dir = t.testdir({ 'flow.yaml': file, 'inputs.yaml': 'n: 5\nwho: file\n', 'bad.yaml': file.replace('id: last', 'id: lst') });
  const one = await wf(['submit', join(dir, 'flow.yaml'), '-i', 'n=3', '-i', 'who=me', '-l', 'team=a', '-k', 'key-1', '--json']);
  t.equal(one.code, 0);
  const workflow = JSON.parse(one.out);
  t.match(workflow, { name: 'waits', status: 'PENDING', inputs: { n: 3, who: 'me' }, labels: { team: 'a' }, idempotencyKey: 'key-1' });
  const again = await wf(['submit', join(dir, 'flow.yaml'), '-i', 'n=3', '-i', 'who=me', '-l', 'team=a', '-k', 'key-1']);
  t.match(again.out, `${workflow.id}  waits  PENDING\n`);
  t.match(await wf(['submit', join(dir, 'flow.yaml'), '-k', 'key-1']), { code: 2, err: /^wf: .*key-1.*\n$/ });
  const withFile = await wf([
    'submit',
    join(dir, 'flow.yaml'),
    '--inputs-file',
    join(dir, 'inputs.yaml'),
    '-i',
    'n=6',
    '--start',
    '--json',
  ]);
  t.match(JSON.parse(withFile.out), { status: 'RUNNING', inputs: { n: 6, who: 'file' } });
  t.match(await wf(['submit', join(dir, 'flow.yaml'), '-i', 'n=many']), { code: 2, err: /n/ });
  t.match(await wf(['submit', join(dir, 'bad.yaml')]), {
    code: 2,
    err: /^wf: .*bad\.yaml:7:\d+: no job 'last' \(did you mean 'lst'\?\)\n$/,
  });
  const huge = `${file}#${'x'.repeat(limits.requestBytes)}\n`;
  t.match(await wf(['submit', '-'], huge), { code: 2, err: /^wf: .*larger than 1048576 bytes\n$/ });
  t.match(await wf(['validate', '--server', '-'], huge), { code: 2, err: /larger than 1048576 bytes/ });
  const json = await wf(['submit', join(dir, 'bad.yaml'), '--json']);
  t.match(JSON.parse(json.err), { error: { exitCode: 2, code: 'invalid_argument', problems: [{ line: 7, rule: 'unknown-job' }] } });
});

t.test('definitions: register, list, submit by name and hash', async (t) => {
  const { code, out } = await wf(['register', '-', '--json'], file);
  t.equal(code, 0);
  const { definition } = JSON.parse(out);
  t.match(await wf(['register', '-'], file), { code: 0, out: `${definition.hash}  waits  (known already)\n` });
  t.match((await wf(['definitions', 'waits'])).out, new RegExp(`waits +${definition.hash}`));
  t.same(await wf(['definitions', definition.hash]), { code: 0, out: file, err: '' });
  t.match(JSON.parse((await wf(['definitions', '--json'])).out), { definitions: [{ name: 'waits', hash: definition.hash }] });
  t.match(await wf(['submit', '--definition', 'waits']), { code: 0, out: /waits {2}PENDING/ });
  t.match(await wf(['submit', '-d', definition.hash]), { code: 0 });
  t.match(await wf(['submit', '-d', 'nothing']), { code: 3, err: /nothing/ });
  t.match((await wf(['graph', definition.hash])).out, /first \[nobody-does-this\]\n`- ok -> last/);
  t.match(await wf(['validate', '-', '--server'], file), { code: 0, out: /stdin|-: ok \(waits/ });
  t.match(await wf(['validate', '-', '--server'], 'workflow: {}'), { code: 2, out: /^stdin:1:\d+: / });
});

t.test('look and steer', async (t) => {
  const id = await submitted('-l', 'look=1');
  t.match(await wf(['start', id]), { code: 0, out: `${id}  waits  RUNNING\n` });
  t.match(await wf(['pause', id]), { code: 0, out: `${id}  waits  PAUSED\n` });
  t.match(JSON.parse((await wf(['resume', id, '--json'])).out), { id, status: 'RUNNING' });
  t.match(
    (await wf(['status', id])).out,
    /status +RUNNING\n[\s\S]*\nJOB +TYPE +STATUS[\s\S]*\no first +nobody-does-this +READY\n\. last +nobody-does-this +PENDING/,
  );
  t.match((await wf(['status'])).out, /workers +0\n/);
  t.match(JSON.parse((await wf(['status', '--json'])).out), { durability: 'VOLATILE', coordinatorId: running.id });
  t.match((await wf(['job', id, 'first'])).out, /status +READY/);
  t.match(JSON.parse((await wf(['job', id, 'first', '--json'])).out), { job: { id: 'first', status: 'READY' }, attempts: [] });
  t.match(JSON.parse((await wf(['list', '-l', 'look=1', '--json'])).out), { workflows: [{ id }], more: false });
  t.match((await wf(['list', '--status', 'running', '--since', '1h', '--limit', '1'])).out, /^ID +NAME +STATUS/);
  t.match(await wf(['list', '--name', 'no-such']), { code: 0, out: '', err: 'no workflows\n' });
  t.match(await wf(['workers']), { code: 0, out: '', err: /no workers/ });
  t.same(JSON.parse((await wf(['workers', '--json'])).out), { workers: [] });
  t.match(await wf(['workers', 'drain', 'nobody']), { code: 3 });
  t.match(JSON.parse((await wf(['workers', 'drain', 'nobody', '--json'])).err), { error: { exitCode: 3 } });
  t.match((await wf(['graph', id])).out, /first \[nobody-does-this\], READY/);
  t.match((await wf(['graph', id, '-f', 'mermaid'])).out, /style j0 fill:/);
  t.match(await wf(['logs', id]), { code: 0, out: '' });

  const watching = wf(['watch', id]);
  const asJson = wf(['watch', id, '--json']);
  t.match(await wf(['cancel', id, '--reason', 'enough', '--force']), { code: 0, out: new RegExp(id) });
  const watched = await watching;
  t.equal(watched.code, 4);
  t.match(watched.out, /waits RUNNING\n[\s\S]*first CANCELLED\n[\s\S]*waits CANCELLED after/);
  const lines = (await asJson).out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.equal((await asJson).code, 4);
  t.match(lines[0], { event: { seq: '1', submitted: { workflowId: id } } });
  t.match(lines.at(-1), { workflow: { id, status: 'CANCELLED' } });
  t.match(await wf(['status', id, '--exit-status']), { code: 4 });
  t.match(await wf(['status', id]), { code: 0 });
  t.match(await wf(['start', id]), { code: 6, err: /^wf: .*\n$/ });
  t.match(await wf(['logs', id, '--follow']), { code: 0 });
});

t.test('what is not there, who may not, who interrupts', async (t) => {
  for (const command of [
    ['status', 'no'],
    ['watch', 'no'],
    ['start', 'no'],
    ['cancel', 'no'],
    ['logs', 'no'],
    ['job', 'no', 'no'],
    ['graph', 'no'],
  ]) {
    t.match(await wf(command), { code: 3, out: '', err: /^wf: .*'no'.*\n$/ }, command.join(' '));
  }
  t.match(await wf(['graph', 'no']), { err: /, and no file of that name\n$/ });
  t.match(await wf(['status', '--token', 'wrong']), { code: 6, err: /^wf: .*\n$/ });
  const id = await submitted('--start');
  const interrupt = new AbortController();
  const watching = wf(['watch', id], '', { interrupted: interrupt.signal });
  await client.waitFor(id, { until: 'RUNNING' });
  interrupt.abort();
  t.match(await watching, { code: 130, err: /no longer watching; the workflow goes on/ });
});

t.test('with a worker: how a workflow ends is the exit code', async (t) => {
  const release = new EventTarget();
  const worker = createWorker({ url: address, token: 'secret', id: 'worker-1', labels: { region: 'eu' } });
  worker.handle('greet', async ({ parameters }, context) => {
    context.log.info('greeting', { n: 1 });
    context.log.warn('second line');
    context.progress(0.5, 'half way');
    return { hello: (parameters as { who: string }).who };
  });
  worker.handle('fail', () => {
    throw new Error('no luck');
  });
  worker.handle('hold', () => new Promise((resolve) => release.addEventListener('go', resolve)));
  await worker.start();
  t.teardown(() => worker.stop());

  const flow = (type: string) => `workflow:
  name: ${type}
  inputs: { who: { type: string, default: world } }
  outputs: { text: "\${{ jobs.first.output.hello }}" }
  jobs:
    - { id: first, type: ${type}, parameters: { who: "\${{ inputs.who }}" }, on_success: last }
    - { id: last, type: greet, parameters: { who: you } }
`;
  const good = await wf(['submit', '-', '--watch', '-i', 'who=you'], flow('greet'));
  t.equal(good.code, 0);
  t.match(
    good.out,
    /greet {2}(PENDING|RUNNING)\n[\s\S]*first SUCCEEDED after .*\n[\s\S]*greet SUCCEEDED after .*\noutputs {"text":"you"}\n$/,
  );
  const id = good.out.split(' ')[0];
  t.match(await wf(['watch', id]), { code: 0 }, 'the story can be read again');
  t.match((await wf(['logs', id])).out, /INFO +first greeting.*\n.*WARN +first second line\n.*INFO +last greeting/);
  t.notMatch((await wf(['logs', id, '--job', 'last'])).out, /first/);
  t.match(JSON.parse((await wf(['logs', id, '-j', 'last', '--json'])).out.split('\n')[0]), { jobId: 'last', message: /greeting/ });
  t.match((await wf(['job', id, 'first'])).out, /output +{"hello":"you"}[\s\S]*\n1 +SUCCEEDED .* worker-1/);
  t.match((await wf(['workers'])).out, /worker-1 +ACTIVE +0\/10 .* fail,greet,hold +region=eu/);

  const bad = await wf(['submit', '-', '--watch'], flow('fail'));
  t.equal(bad.code, 1);
  t.match(bad.out, /first FAILED after .*no luck\n[\s\S]*last SKIPPED: UPSTREAM_FAILED because of first\n[\s\S]*fail FAILED after/);
  const json = await wf(['submit', '-', '--watch', '--json'], flow('fail'));
  t.equal(json.code, 1);
  t.match(JSON.parse(json.out.trimEnd().split('\n').at(-1) ?? ''), { workflow: { status: 'FAILED' } });

  const held = (await wf(['submit', '-', '--start', '-l', 'held=1'], flow('hold'))).out.split(' ')[0];
  await client.waitFor(held, { until: ({ jobs }) => jobs[0].workerId === 'worker-1' });
  t.match((await wf(['status', held])).out, /first +hold +RUNNING +1 of \d+ .* worker-1/);
  let seen = '';
  let told = () => {};
  const begun = new Promise<void>((resolve) => (told = resolve));
  const write = (text: string) => {
    seen += text;
    told();
  };
  const following = wf(['watch', held], '', { write });
  await begun;
  t.match(await wf(['workers', 'drain', 'worker-1', '--reason', 'new version']), { code: 0, out: 'worker-1  DRAINING\n' });
  release.dispatchEvent(new Event('go'));
  await worker.done;
  await wf(['cancel', held]);
  t.equal((await following).code, 4);
  t.equal(seen.split('first RUNNING on worker-1').length, 2, 'a job that was running already is told, once');
});

t.test('the launcher runs under any Node that is there', async (t) => {
  const run = (...words: string[]) =>
    spawnSync(process.execPath, [join(ROOT, 'sdk/cli/bin/wf.js'), ...words], {
      encoding: 'utf8',
      env: { ...process.env, COORDINATOR_URL: address, WORKFLOW_TOKEN: 'secret', NODE_OPTIONS: '' },
    });
  t.match(run('--version'), { status: 0, stdout: /^\d+\.\d+\.\d+\n$/ });
  t.match(run('nonsense'), { status: 2, stdout: '', stderr: "wf: unknown command 'nonsense'\n" });
  t.match(run('coordinator', '--prot', '1'), { status: 2, stderr: /unknown flag --prot; did you mean --port\?/ });
});

t.test('completion completes', async (t) => {
  t.testdir();
  const script = (await wf(['completion', 'bash'])).out;
  const complete = (...words: string[]) => {
    const line = `COMP_WORDS=(wf ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; _wf; echo "\${COMPREPLY[*]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', `${script}\n${line}`], { encoding: 'utf8', cwd: t.testdirName });
    return stdout.trim() + stderr;
  };
  t.equal(complete('work'), 'worker workers');
  t.match(complete('workers', 'dr'), /^drain/);
  t.match(complete('submit', '--in'), '--input --inputs-file');
  t.match(complete('workers', 'drain', '--re'), '--reason');
});
