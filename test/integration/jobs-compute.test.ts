/** Computation in processes: what is hostile, slow or cancelled is stopped, and the worker's own loop never notices. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import t from 'tap';
import { noConnections } from '../../worker/connections/connections.ts';
import { parseConnections } from '../../worker/connections/load.ts';
import type { Json } from '../../worker/handler.ts';
import { stockHandlers } from '../../worker/jobs/stock.ts';
import { programFlags } from '../../worker/pool/compute-process.ts';
import { openComputePool } from '../../worker/pool/pool.ts';
import { contextOf, jobOf, run } from '../jobs-support/run.ts';

const pool = openComputePool({ size: 2 });
const { handlers, close } = stockHandlers(noConnections(null), pool);
t.teardown(async () => {
  await close();
  await pool.close();
});
const process_ = (parameters: Json, input: Json = { a: 1 }) => run(handlers.processing, jobOf('processing', parameters, input));

t.test('hostile expressions are stopped while the loop goes on answering', async (t) => {
  const hostile: [string, string, string][] = [
    ['endless recursion', '($f := function($x){ $f($x + 1) }; $f(1))', 'EXPRESSION_TIMEOUT'],
    ['deep recursion', '($f := function($x){ 1 + $f($x + 1) }; $f(1))', 'EXPRESSION_ERROR'],
    ['backtracking pattern', '$match("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", /^(a+)+$/)', 'EXPRESSION_TIMEOUT'],
    ['ten million objects', '$map([1..9999999], function($x){ {"a": $x} })', 'EXPRESSION_MEMORY'],
    ['one huge text', '($f := function($s, $n){ $n = 0 ? $s : $f($s & $s, $n - 1) }; $uppercase($f("abcdefgh", 25)))', 'EXPRESSION_MEMORY'],
    [
      'one huge list',
      '($f := function($a, $n){ $n = 0 ? $a : $f($append($a, $a), $n - 1) }; $count($f([1..1000], 25)))',
      'EXPRESSION_MEMORY',
    ],
    ['bytes outside the heap', '$base64encode($pad("x", 300000000))', 'EXPRESSION_MEMORY'],
    ['too large a result', '$pad("x", 300000)', 'OUTPUT_TOO_LARGE'],
  ];
  for (const [name, expression, code] of hostile) {
    const seen = contextOf();
    // What ends by itself gets time for it, however busy the machine is.
    const timeout = code === 'EXPRESSION_TIMEOUT' ? '2s' : '90s';
    const job = jobOf('processing', { operation: 'transform', expression, timeout }, { a: 1 });
    t.match(await run(handlers.processing, job, seen), { kind: 'error', code }, name);
    // One sign of life comes at the start; the others only from a loop that is not blocked.
    if (code === 'EXPRESSION_TIMEOUT') t.ok(seen.beats > 1, `${name}: ${seen.beats} signs of life meanwhile`);
  }
  t.match(await process_({ operation: 'transform', expression: 'a + 1' }), { kind: 'output', output: 2 }, 'and the pool still computes');
});

t.test('a process may read the program only, and may write and start nothing', async (t) => {
  const probe = `
    const fs = require('node:fs');
    const attempt = (what) => { try { what(); return 'done'; } catch (error) { return error.code; } };
    console.log(JSON.stringify([
      attempt(() => fs.readFileSync(${JSON.stringify(import.meta.filename)})),
      attempt(() => fs.writeFileSync(${JSON.stringify(`${import.meta.dirname}/never`)}, '')),
      attempt(() => require('node:child_process').execSync('id')),
      attempt(() => fs.readFileSync(${JSON.stringify(new URL('../../worker/pool/process.ts', import.meta.url).pathname)})),
    ]));`;
  const child = spawn(process.execPath, [...programFlags, '-e', probe], { env: {}, stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise<string>((resolve) => createInterface({ input: child.stdout! }).once('line', resolve));
  t.strictSame(JSON.parse(line), ['ERR_ACCESS_DENIED', 'ERR_ACCESS_DENIED', 'ERR_ACCESS_DENIED', 'done']);
});

t.test('one computation leaves nothing behind for the next', async (t) => {
  const data = JSON.parse('{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}}') as Json;
  await process_({ operation: 'merge', deep: true, data: [data, data] });
  await process_({ operation: 'transform', expression: '$merge([$, $]) ~> |$|{"__proto__": {"polluted": 1}}|', data });
  t.match(await process_({ operation: 'transform', expression: 'polluted', data: {} }), { output: null });
});

t.test('operations over real data', async (t) => {
  const orders: Json = [
    { id: 1, country: 'CH', amount: 10.5 },
    { id: 2, country: 'DE', amount: 4 },
    { id: 3, country: 'CH', amount: 2 },
  ];
  t.match(await process_({ operation: 'transform' }, orders), { output: orders }, 'without an expression: the identity');
  t.match(await process_({ operation: 'transform', data: null }, orders), { output: null }, 'null is data too');
  t.match(await process_({ operation: 'filter', expression: 'amount >= 4' }, orders), { output: [{ id: 1 }, { id: 2 }] });
  t.match(await process_({ operation: 'map', expression: 'id' }, orders), { output: [1, 2, 3] });
  t.match(await process_({ operation: 'sort', by: 'amount', order: 'desc' }, orders), { output: [{ id: 1 }, { id: 2 }, { id: 3 }] });
  t.match(
    await process_(
      {
        operation: 'aggregate',
        group_by: { land: 'country' },
        aggregates: { n: 'count', sum: { sum: 'amount' }, top: { function: 'max', field: 'amount' } },
      },
      orders,
    ),
    {
      output: [
        { land: 'CH', n: 2, sum: 12.5, top: 10.5 },
        { land: 'DE', n: 1, sum: 4, top: 4 },
      ],
    },
  );
  t.match(
    await process_({ operation: 'merge' }, { one: { a: 1 }, two: { b: 2 } }),
    { output: { a: 1, b: 2 } },
    'the input of a job that came from several',
  );
  t.match(await process_({ operation: 'template', template: '{{ $count($) }} orders' }, orders), { output: '3 orders' });
  t.match(await process_({ operation: 'sort' }, {}), { code: 'INVALID_INPUT', retryable: false, message: /sort needs a list/ });
});

t.test('a cancelled computation ends at once, shows life before, and leaves the pool usable', async (t) => {
  const seen = contextOf();
  const reason = new Error('cancelled by somebody');
  const running = run(
    handlers.processing,
    jobOf('processing', { operation: 'transform', expression: '($f := function($x){ $f($x) }; $f(1))', timeout: '1m' }),
    seen,
  );
  while (seen.beats < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  seen.cancel(reason);
  t.strictSame(await running, { kind: 'stopped', reason });
  t.match(await process_({ operation: 'transform', expression: '1' }), { output: 1 });

  const queued = contextOf();
  const blockers = [contextOf(), contextOf()];
  const endless = { operation: 'filter', expression: '($f := function($x){ $f($x) }; $f(1))', data: [1], timeout: '1m' };
  const blocked = blockers.map((blocker) => run(handlers.processing, jobOf('processing', endless), blocker));
  const waiting = run(handlers.processing, jobOf('processing', { operation: 'map', expression: '$', data: [1] }), queued);
  queued.cancel(reason);
  t.strictSame(await waiting, { kind: 'stopped', reason }, 'one that waits for a process leaves the queue');
  for (const blocker of blockers) blocker.cancel(reason);
  await Promise.all(blocked);
});

t.test('validation', async (t) => {
  const connections = parseConnections(
    'schemas: { order: { type: object, required: [id], properties: { id: { type: string }, n: { type: integer } } }, slow: { type: string, pattern: "^(a+)+$" } }',
    { file: 'c.yaml', dataFolder: null, env: {} },
  );
  const named = stockHandlers(connections, pool);
  t.teardown(named.close);
  const validate = (parameters: Json, input: Json = null) => run(named.handlers.validation, jobOf('validation', parameters, input));

  t.strictSame(
    await validate({ schema: 'order' }, { id: 'x', extra: [1] }),
    { kind: 'output', output: { id: 'x', extra: [1] } },
    'the output is the data',
  );
  t.match(await validate({ schema: 'order' }, { n: 'x' }), {
    code: 'VALIDATION_FAILED',
    retryable: false,
    message: "data must have required property 'id'; data/n must be integer",
    details: {
      total: 2,
      violations: [
        { path: '', keyword: 'required' },
        { path: '/n', keyword: 'type' },
      ],
    },
  });
  t.match(await validate({ schema: { format: 'email' }, data: 'ada@example.com' }), { kind: 'output' });
  t.match(await validate({ schema: false, data: 1 }), { code: 'VALIDATION_FAILED' });
  t.match(await validate({ schema: { type: 'objekt' } }), { code: 'INVALID_SCHEMA', retryable: false });
  t.match(await validate({ schema: 'slow', data: `${'a'.repeat(40)}!`, timeout: '1s' }), { code: 'VALIDATION_TIMEOUT', retryable: true });
  t.match(await validate({ schema: { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } }, data: 1, timeout: '5s' }), {
    kind: 'error',
    retryable: false,
  });
  const many = Array.from({ length: 5_000 }, () => 'x');
  const ended = await validate({ schema: { type: 'array', items: { type: 'integer' } }, data: many });
  t.match(ended, { code: 'VALIDATION_FAILED', details: { total: 5_000 } });
  if (ended.kind === 'error') t.equal((ended.details as { violations: Json[] }).violations.length, 100);
});

t.test('processes end when they are idle, and when the pool is closed', async (t) => {
  const own = openComputePool({ size: 1, idleMs: 50 });
  const signal = new AbortController().signal;
  const one = () => own.run({ kind: 'transform', expression: '1' }, null, { timeMs: 5_000, signal });
  t.match(await one(), { kind: 'value', text: '1' });
  while (own.processes > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  t.match(await one(), { kind: 'value', text: '1' }, 'the next one gets a new process');
  const endless = own.run({ kind: 'transform', expression: '($f := function($x){ $f($x) }; $f(1))' }, null, { timeMs: 60_000, signal });
  const queued = one();
  await own.close();
  t.match(await endless, { kind: 'crashed' });
  t.match(await queued, { kind: 'crashed', reason: 'the pool is closed' });
  t.match(await one(), { kind: 'crashed' });
  t.equal(own.processes, 0);
});

t.test('a busy process does not outlive a worker that was killed', async (t) => {
  const program = `
    import { openComputePool } from ${JSON.stringify(new URL('../../worker/pool/pool.ts', import.meta.url).href)};
    const pool = openComputePool({ size: 1 });
    const signal = new AbortController().signal;
    await pool.run({ kind: 'transform', expression: '1' }, null, { timeMs: 5000, signal });
    void pool.run({ kind: 'transform', expression: '($f := function($x){ $f($x) }; $f(1))' }, null, { timeMs: 60000, signal });
    const { readdirSync, readFileSync } = await import('node:fs');
    const mine = readdirSync('/proc').filter((pid) => /^\\d+$/.test(pid)).filter((pid) => {
      try { return readFileSync('/proc/' + pid + '/stat', 'utf8').split(') ')[1].split(' ')[1] === String(process.pid); } catch { return false; }
    });
    console.log(mine.join(','));
  `;
  if (process.platform !== 'linux') return t.plan(0, 'reads /proc');
  const worker = spawn(process.execPath, ['--conditions=workflow-orchestrator', '--input-type=module-typescript', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const pids = await new Promise<string>((resolve) => createInterface({ input: worker.stdout! }).once('line', resolve));
  t.match(pids, /^\d+$/, 'one process');
  worker.kill('SIGKILL');
  const isThere = () => {
    try {
      process.kill(Number(pids), 0);
      return true;
    } catch {
      return false;
    }
  };
  while (isThere()) await new Promise((resolve) => setTimeout(resolve, 50));
  t.pass('it is gone');
});
