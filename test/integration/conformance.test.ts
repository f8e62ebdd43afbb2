/**
 * The conformance kit, as people run it, against the project's own library and against the Python worker of the examples.
 */
import { execFile } from 'node:child_process';
import t from 'tap';
import { ROOT } from '../repo/source.ts';
import { python } from '../services/python.ts';

const kit = ['--conditions=workflow-orchestrator', `${ROOT}/test/conformance/main.ts`];
const typescript = [process.execPath, '--conditions=workflow-orchestrator', `${ROOT}/test/conformance/workers/typescript-worker.ts`];
/** Shown only by what takes longer than this test may (`--slow`). */
const slow = 2;

/** Runs it in a process of its own. */
function conformance(...args: readonly string[]): Promise<{ readonly status: unknown; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...kit, ...args], { cwd: ROOT, timeout: 100_000 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : error.code, stdout, stderr });
    });
  });
}

// They wait more than they compute.
t.jobs = 3;

t.test('the library keeps every duty', { buffered: true }, async (t) => {
  const { status, stdout, stderr } = await conformance('--sessions', '4', '--jobs', '6', '--', ...typescript);
  t.match(stdout, new RegExp(`${41 - slow} duties PASS, 0 FAIL, ${slow} NOT SHOWN; \\d+ of \\d+ sessions came to their end`), { stderr });
  t.equal(status, 0);
});

t.test('the Python worker keeps every duty', { buffered: true, skip: python.kind === 'missing' && python.why }, async (t) => {
  if (python.kind === 'missing') return;
  const worker = [python.program, `${ROOT}/examples/python-worker/conformance_worker.py`];
  const { status, stdout, stderr } = await conformance('--sessions', '4', '--seed', '50', '--jobs', '6', '--', ...worker);
  t.match(stdout, new RegExp(`${41 - slow} duties PASS, 0 FAIL, ${slow} NOT SHOWN; \\d+ of \\d+ sessions came to their end`), { stderr });
  t.equal(status, 0);
});

t.test('a command line that makes no sense, and programs that do not fit', { buffered: true }, async (t) => {
  t.match(await conformance(), { status: 2, stderr: /the command of the worker is missing[\s\S]*usage: / });
  t.match(await conformance('--slots', '4', '--', 'true'), { status: 2, stderr: /unknown option '--slots'/ });
  t.match(await conformance('--only', 'jbs', '--', 'true'), { status: 2, stderr: /no script 'jbs'; --list names them/ });
  t.match(await conformance('--seed', 'x', '--', 'true'), { status: 2, stderr: /--seed needs a whole number from 0, not 'x'/ });
  t.match(await conformance('--list'), { status: 0, stdout: /^go-away +GoAway in a burst of assignments/m });
  const dead = await conformance('--only', 'idle-end', '--', 'sh', '-c', 'echo no such module; exit 1');
  t.match(dead, { status: 2, stderr: /the program never said Hello. It printed:\nno such module/ });
  const other = `import { createWorker } from '@workflow-orchestrator/worker'; createWorker().handle('noop', () => null).start();`;
  const misfit = await conformance(
    '--only',
    'idle-end',
    '--',
    process.execPath,
    '--conditions=workflow-orchestrator',
    '--input-type=module',
    '-e',
    other,
  );
  t.match(misfit, { status: 2, stderr: /the worker must offer conformance\.echo, .*: see test\/conformance\/README\.md/ });
});
