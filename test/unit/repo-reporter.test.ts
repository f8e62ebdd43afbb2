/**
 * The runner of the tests, tested: whatever a file does, the figure on the last line and the exit code are right.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';

const RUNNER = resolve('test/reporter/run.ts');
const ROOT = resolve('test/fixtures/reporter');

interface Ending {
  readonly code: number | null;
  readonly stdout: string;
  readonly last: string;
}

function start(args: readonly string[], env: Record<string, string> = {}): { pid: number; ended: Promise<Ending> } {
  const child = spawn(process.execPath, [RUNNER, '--root', ROOT, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  const ended = new Promise<Ending>((settle) => {
    child.once('close', (code) => settle({ code, stdout, last: stdout.replace(/\n$/, '').split('\n').at(-1) ?? '' }));
  });
  return { pid: child.pid as number, ended };
}

/** Each fixture, the figure it must come to, and words that people must be able to read about it. */
const ENDINGS: readonly { file: string; last: string; says: readonly string[] }[] = [
  { file: 'pass', last: '2 passed, 0 failed, 1 skipped', says: ['skipped: for later (needs a moon)'] },
  { file: 'flat', last: '1 passed, 0 failed', says: [] },
  {
    file: 'fail',
    last: '1 passed, 2 failed',
    says: ['x compares', 'objects are alike', '-  "b": 3,', '+  "b": 2,', 'fail.fixture.ts:5:', 'x throws', 'a clear message'],
  },
  { file: 'crash-at-load', last: '0 passed, 1 failed', says: ['ended with exit code 1', 'Error: broken at load'] },
  { file: 'crash-later', last: '1 passed, 1 failed', says: ['ended with exit code 3'] },
  { file: 'exit-in-the-middle', last: '0 passed, 1 failed', says: ['x leaves', 'test unfinished'] },
  { file: 'killed', last: '0 passed, 2 failed', says: ['x is killed', 'never came to its end', 'ended by SIGKILL'] },
  { file: 'bail-out', last: '0 passed, 1 failed', says: ['bailed out: the disk is full'] },
  { file: 'unfinished', last: '0 passed, 1 failed', says: ['x never ends', 'test unfinished'] },
  { file: 'plan', last: '0 passed, 1 failed', says: ['test count(1) != plan(3)'] },
  { file: 'nothing', last: '0 passed, 1 failed', says: ['tests nothing'] },
  { file: 'skipped', last: '0 passed, 0 failed, 1 skipped', says: ['no such platform'] },
  { file: 'todo', last: '0 passed, 0 failed, 1 skipped', says: ['skipped: not yet (next year)'] },
];

t.test('one run of all fixtures counts each of them as it should', async (t) => {
  const { code, stdout, last } = await start([]).ended;
  t.equal(code, 1);
  const sum = { passed: 0, failed: 0, skipped: 0 };
  for (const { file, last: figure, says } of ENDINGS) {
    const from = stdout.search(new RegExp(`^(FAIL|ok  ) ${file}\\.fixture\\.ts`, 'm'));
    const report = stdout.slice(from, from + 1 + stdout.slice(from + 1).search(/^(FAIL|ok {2}|Failed:)/m));
    t.ok(report.includes(` ${figure}, `), `${file}: ${figure}`, { found: report });
    for (const words of says) t.ok(report.includes(words), `${file} says: ${words}`, { found: report });
    const [passed, failed, skipped] = [/(\d+) passed/, /(\d+) failed/, /(\d+) skipped/].map((word) => Number(word.exec(figure)?.[1] ?? 0));
    sum.passed += passed as number;
    sum.failed += failed as number;
    sum.skipped += skipped as number;
  }
  t.equal(last, `${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
});

t.test('a run in which nothing fails ends with 0', async (t) => {
  const { code, stdout, last } = await start(['pass.fixture.ts', 'flat.fixture.ts']).ended;
  t.equal(code, 0);
  t.equal(last, '3 passed, 0 failed, 1 skipped');
  t.notMatch(stdout, /words that are not TAP/, 'what passing files print is left out');
  t.match((await start(['pass.fixture.ts', '--verbose']).ended).stdout, /words that are not TAP/, 'unless it is asked for');
});

t.test('a file that never ends is ended, with all that it started', async (t) => {
  const ready = join(t.testdir(), 'ready');
  const { code, stdout, last } = await start(['slow/hang.ts', 'slow/busy.ts', '--timeout-s', '2'], { READY_FILE: ready }).ended;
  t.equal(code, 1);
  t.match(last, /^0 passed, [23] failed$/);
  t.match(stdout, /hang\.ts {2}\(the file\)/);
  t.match(stdout, /busy\.ts {2}\(the file\)/);
  t.match(stdout, /killed: silent for 4 s/);
  if (existsSync(ready)) t.notOk(lives(Number(readFileSync(ready, 'utf8'))), 'its child process is gone');
});

t.test('a run that is stopped from outside still says its figure', async (t) => {
  const ready = join(t.testdir(), 'ready');
  const run = start(['slow/hang.ts', 'flat.fixture.ts', '--jobs', '1'], { READY_FILE: ready });
  while (!existsSync(ready)) await delay(20);
  process.kill(run.pid, 'SIGTERM');
  const { code, stdout, last } = await run.ended;
  t.equal(code, 1);
  t.match(stdout, /stopped by SIGTERM; 1 files were not run/);
  t.match(last, /^0 passed, \d+ failed$/);
});

t.test('a run that takes too long stops by itself', async (t) => {
  const { code, stdout, last } = await start(['slow/busy.ts', 'slow/hang.ts', '--jobs', '1', '--run-timeout-s', '1']).ended;
  t.equal(code, 1);
  t.match(stdout, /the whole run took longer than 1 s/);
  t.match(last, /^0 passed, [23] failed$/);
});

t.test('a wrong command line is a failure with words', async (t) => {
  for (const [args, words] of [
    [['--job', '3'], "unknown option '--job'"],
    [['--jobs', 'many'], "--jobs needs a number above 0, not 'many'"],
    [['missing.ts'], "no file or folder 'missing.ts'"],
  ] as const) {
    const { code, stdout, last } = await start(args).ended;
    t.equal(code, 1);
    t.ok(stdout.includes(words), words);
    t.equal(last, '0 passed, 1 failed');
  }
});

t.test('a suite without files is no failure', async (t) => {
  const { code, last } = await start(['test/e2e']).ended;
  t.equal(code, 0);
  t.equal(last, '0 passed, 0 failed');
});

/** Whether a process runs; a zombie that nobody collected does not. */
function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const stat = `/proc/${pid}/stat`;
  return !existsSync(stat) || !/\) Z /.test(readFileSync(stat, 'utf8'));
}
