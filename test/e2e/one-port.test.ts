/** The seed commands, and every face on one port. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { eventually, root, startCoordinator, startProgram, startStockWorker } from './support/system.ts';

const run = promisify(execFile);
const example = join(root, 'examples/workflow_definitions/data-pipeline.yaml');

async function curl(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await run('curl', ['-sS', ...args]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

t.test('submit, start and status by curl', async (t) => {
  const { url } = await startCoordinator(t);
  await startStockWorker(t, url, 'w1');
  const submitted = await curl(
    '-X',
    'POST',
    `${url}/workflows/from-yaml`,
    '-H',
    'Content-Type: text/plain',
    '--data-binary',
    `@${example}`,
  );
  t.equal(submitted.status, 'PENDING');
  const started = await curl('-X', 'POST', `${url}/workflows/${submitted.id}/start`);
  t.equal(started.id, submitted.id);
  const ended = await eventually('the workflow ends', async () => {
    const workflow = await curl(`${url}/workflows/${submitted.id}`);
    return ['SUCCEEDED', 'FAILED'].includes(String(workflow.status)) && workflow;
  });
  t.equal(ended.status, 'SUCCEEDED');
  const jobs = ended.jobs as Record<string, unknown>[];
  t.same(
    jobs.map(({ id, status }) => [id, status]),
    [
      ['validate', 'SUCCEEDED'],
      ['process', 'SUCCEEDED'],
      ['save', 'SUCCEEDED'],
      ['alert', 'SUCCEEDED'],
    ],
  );
  for (const job of jobs) t.match(job, { attempt: 1, workerId: 'w1', startTime: /^\d{4}-/, endTime: /^\d{4}-/ });
});

t.test('Connect JSON by curl, REST, and server-sent events on the same port', async (t) => {
  const { url } = await startCoordinator(t);
  await startStockWorker(t, url, 'w1');
  const body = JSON.stringify({ yaml: readFileSync(example, 'utf8'), start: true });
  const { workflow } = (await curl(
    '-X',
    'POST',
    `${url}/workflow.v1.WorkflowService/SubmitWorkflow`,
    '-H',
    'Content-Type: application/json',
    '-d',
    body,
  )) as {
    workflow: { id: string };
  };
  const { stdout } = await run('curl', ['-sS', '-N', '-H', 'Accept: text/event-stream', `${url}/workflows/${workflow.id}/events`]);
  const ids = [...stdout.matchAll(/^id: ?(\d+)$/gm)].map(([, id]) => Number(id));
  t.same(
    ids,
    Array.from({ length: ids.length }, (_, i) => i + 1),
    'events are numbered without gaps',
  );
  t.match(stdout, /SUCCEEDED/);
  const resumed = await run('curl', [
    '-sS',
    '-N',
    '-H',
    'Accept: text/event-stream',
    '-H',
    `Last-Event-ID: ${ids.length - 1}`,
    `${url}/workflows/${workflow.id}/events`,
  ]);
  t.same(
    [...resumed.stdout.matchAll(/^id: ?(\d+)$/gm)].map(([, id]) => Number(id)),
    [ids.length],
    'and can be resumed',
  );
  for (const path of ['/healthz', '/readyz', '/metrics', '/openapi.json']) t.equal((await fetch(url + path)).status, 200, path);
});

t.test('the worker and the client of examples/greeter, as the pages start them', async (t) => {
  const token = { WORKFLOW_TOKEN: 'secret' };
  const { url } = await startCoordinator(t, [], token);
  const env = { ...token, COORDINATOR_URL: url };
  const worker = startProgram(t, 'examples/greeter/worker.ts', [], env);
  await eventually('the worker is ready', () => worker.output().includes('ready'));
  const client = startProgram(t, 'examples/greeter/client.ts', [], env);
  t.equal(await client.exited, 0);
  t.equal(client.output(), "SUCCEEDED { text: 'hello from greeting' }\n");
  worker.child.kill('SIGTERM');
  t.equal(await worker.exited, 0);
});
