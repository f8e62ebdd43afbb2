/** The Python worker of the examples beside a stock worker, on a real coordinator: one workflow of both, and the example of the quick start. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { Job_Status, Workflow_Status } from '@workflow-orchestrator/proto';
import t, { type Test } from 'tap';
import { python } from '../services/python.ts';
import { eventually, root, startCoordinator, startStockWorker } from './support/system.ts';

const skip = python.kind === 'missing' && python.why;

/** A coordinator, a stock worker `w1` for two types, and the Python worker `py` for the others. */
async function startBoth(t: Test) {
  if (python.kind === 'missing') throw new Error(python.why);
  const { client, url } = await startCoordinator(t, ['--log-level', 'warn']);
  await startStockWorker(t, url, 'w1', { WORKER_TYPES: 'processing,integration' });
  const child = spawn(python.program, [join(root, 'examples/python-worker/example_worker.py')], {
    env: { ...process.env, COORDINATOR_URL: url, WORKER_ID: 'py' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let says = '';
  child.stderr.on('data', (chunk) => (says += String(chunk)));
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  await eventually('the Python worker connects', async () => {
    for await (const worker of client.workers()) if (worker.id === 'py') return true;
    if (child.exitCode !== null) throw new Error(says);
    return false;
  });
  return { client, child, exited };
}

t.test('Python and TypeScript in one workflow; then SIGTERM, and it ends with 0', { skip }, async (t) => {
  const { client, child, exited } = await startBoth(t);
  const yaml = readFileSync(join(root, 'examples/python-worker/measurements.yaml'), 'utf8');
  const { id } = await client.submitAndStartWorkflow({ yaml });
  const workflow = await client.waitFor(id, { timeoutMs: 20_000 });
  t.equal(workflow.status, Workflow_Status.SUCCEEDED);
  const describe = await client.job(id, 'describe');
  t.equal(describe.workerId, 'py');
  t.match(toJson(ValueSchema, describe.output!), { count: 8, mean: 3.875, median: 3.5, min: 1, max: 9 });
  const report = await client.job(id, 'report');
  t.equal(report.workerId, 'w1');
  t.equal(toJson(ValueSchema, report.output!), '8 values, from 1 to 9, median 3.5');
  const lines: string[] = [];
  for await (const { message } of client.logs(id)) lines.push(message);
  t.ok(lines.includes('8 values'), 'its log line came', { lines });
  child.kill('SIGTERM');
  t.equal(await exited, 0);
});

t.test('the example of the quick start, with Python for its validation; data that does not fit fails it', { skip }, async (t) => {
  const { client } = await startBoth(t);
  const yaml = readFileSync(join(root, 'examples/workflow_definitions/data-pipeline.yaml'), 'utf8');
  const good = await client.submitAndStartWorkflow({ yaml });
  t.equal((await client.waitFor(good.id, { timeoutMs: 20_000 })).status, Workflow_Status.SUCCEEDED);
  t.match(await client.job(good.id, 'validate'), { workerId: 'py', status: Job_Status.SUCCEEDED });
  t.match(await client.job(good.id, 'save'), { workerId: 'w1', status: Job_Status.SUCCEEDED });
  const odd = yaml.replace('schema: "input-schema"', 'schema: "input-schema"\n        data: [1, 2]');
  const bad = await client.submitAndStartWorkflow({ yaml: odd });
  await client.waitFor(bad.id, { timeoutMs: 20_000 });
  const validate = await client.job(bad.id, 'validate');
  t.match(validate, { workerId: 'py', status: Job_Status.FAILED, attempt: 1 });
  t.match(validate.error, { code: 'VALIDATION_FAILED', message: /does not fit 'input-schema': it is no object/ });
  t.match(await client.job(bad.id, 'process'), { status: Job_Status.SKIPPED });
  t.match(await client.job(bad.id, 'alert'), { workerId: 'w1', status: Job_Status.SUCCEEDED });
});
