/** Bad definitions, refused alike by the program, by REST and by gRPC; and a stranger's gRPC client, with nothing but an address. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { connectGrpc, type GrpcError } from '../integration/support/grpc-client.ts';
import { root, startCoordinator, startStockWorker } from './support/system.ts';

const folder = join(root, 'test/fixtures/definition/bad');
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.yaml'))
  .map((file) => file.slice(0, -'.yaml'.length));

interface Problem {
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly rule: string;
  readonly hint?: string;
}

const places = (problems: readonly Problem[]) => problems.map(({ line, column, path, rule }) => ({ line, column, path: path ?? '', rule }));

t.test('every bad definition gives the same problems by CLI, REST and gRPC', async (t) => {
  const { url, port } = await startCoordinator(t, ['--log-level', 'warn']);
  const client = await connectGrpc(`127.0.0.1:${port}`);
  t.teardown(() => client.close());
  t.ok(names.length >= 20, `${names.length} files`);
  const byCli = await validate(names.map((name) => join(folder, `${name}.yaml`)));

  for (const [index, name] of names.entries()) {
    const yaml = readFileSync(join(folder, `${name}.yaml`), 'utf8');
    const expected = places(JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Problem[]);
    t.same(places(byCli[index]!.problems), expected, `${name} by wf validate`);

    const response = await fetch(`${url}/workflows/from-yaml`, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: yaml });
    t.equal(response.status, 400, name);
    const body = (await response.json()) as { details: { type: string; debug: { problems: Problem[] } }[] };
    const byRest = body.details.find(({ type }) => type === 'workflow.v1.DefinitionProblems')?.debug.problems ?? [];
    t.same(places(byRest), expected, `${name} by REST`);
    t.same(
      byRest.map(({ hint }) => hint ?? ''),
      byCli[index]!.problems.map(({ hint }) => hint ?? ''),
      `${name}: the same hints`,
    );

    const refused = (await client.call('workflow.v1.WorkflowService/SubmitWorkflow', { yaml }).then(
      () => null,
      (error: unknown) => error,
    )) as GrpcError | null;
    t.equal(refused?.code, 3, `${name} is INVALID_ARGUMENT`);
    const byGrpc = refused?.details['workflow.v1.DefinitionProblems'] as { problems?: Problem[] } | undefined;
    t.same(places(byGrpc?.problems ?? []), expected, `${name} by gRPC`);
  }
  t.same(await (await fetch(`${url}/workflows`)).json(), { workflows: [], nextPageToken: '' }, 'nothing was kept');
});

t.test('a gRPC client that knows only the address lists services, submits and watches', async (t) => {
  const { url, port } = await startCoordinator(t, ['--log-level', 'warn']);
  await startStockWorker(t, url, 'w1');
  const client = await connectGrpc(`127.0.0.1:${port}`);
  t.teardown(() => client.close());
  for (const service of ['WorkflowService', 'DefinitionService', 'WorkerService', 'SystemService'])
    t.ok(client.services.includes(`workflow.v1.${service}`), service);
  const yaml = readFileSync(join(root, 'examples/workflow_definitions/data-pipeline.yaml'), 'utf8');
  const { workflow } = (await client.call('workflow.v1.WorkflowService/SubmitWorkflow', { yaml, start: true })) as {
    workflow: { id: string };
  };
  const seqs: number[] = [];
  let end: unknown = null;
  for await (const { event } of client.stream('workflow.v1.WorkflowService/WatchWorkflow', { workflowId: workflow.id })) {
    if (event === undefined) continue;
    const { seq, ended } = event as { seq: string; ended?: { status: string } };
    seqs.push(Number(seq));
    end = ended?.status ?? end;
  }
  t.equal(end, 'SUCCEEDED');
  t.same(
    seqs,
    seqs.map((_, index) => index + 1),
  );
});

/** `wf validate --json` of all files in one call. */
async function validate(files: readonly string[]): Promise<{ problems: Problem[] }[]> {
  const args = ['--conditions=workflow-orchestrator', join(root, 'sdk/cli/main.ts'), 'validate', '--json', ...files];
  const { code, stdout } = await new Promise<{ code: unknown; stdout: string }>((resolve) => {
    execFile(process.execPath, args, { maxBuffer: 16 * 1024 * 1024 }, (error, stdout) => resolve({ code: error?.code, stdout }));
  });
  if (code !== 2) throw new Error(`wf validate ended with ${String(code)}, not 2`);
  return (JSON.parse(stdout) as { files: { problems: Problem[] }[] }).files;
}
