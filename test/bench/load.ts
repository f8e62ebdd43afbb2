/**
 * Load on a running system, as its users would put it there: many one-job workflows by batch submit, one wide and one long workflow.
 * Prints jobs per second, times from submit to end, CPU per job and memory of the coordinator. Every result is checked: what did not SUCCEED fails the run.
 *
 *   node --conditions=workflow-orchestrator test/bench/load.ts [--url http://localhost:8000] [--workflows 10000] [--jobs 2000]
 *
 * The coordinator's own figures are read from its /metrics.
 */
import { parseArgs } from 'node:util';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { Workflow_Status } from '@workflow-orchestrator/proto';
import { WorkflowClient } from '@workflow-orchestrator/sdk';

const { values } = parseArgs({
  options: {
    url: { type: 'string', default: 'http://localhost:8000' },
    workflows: { type: 'string', default: '10000' },
    jobs: { type: 'string', default: '2000' },
  },
});
const url = values.url;
const client = new WorkflowClient(url);

const ONE_JOB =
  'workflow: { name: bench-one-job, jobs: [{ id: a, type: processing, parameters: { operation: transform, data: { n: 1 } } }] }';

/** One job, then `width` side by side, then one that joins them. */
function wide(width: number): string {
  const ids = Array.from({ length: width }, (_, i) => `m${i}`);
  const jobs = [
    { id: 'first', type: 'processing', parameters: { operation: 'transform', data: 1 }, on_success: ids },
    ...ids.map((id) => ({ id, type: 'processing', parameters: { operation: 'transform', data: 1 }, on_success: 'last' })),
    { id: 'last', type: 'processing', parameters: { operation: 'transform', data: 1 } },
  ];
  return JSON.stringify({ workflow: { name: `bench-wide-${width}`, jobs } });
}

/** `length` jobs, one after the other. */
function chain(length: number): string {
  const jobs = Array.from({ length }, (_, i) => ({
    id: `s${i}`,
    type: 'processing',
    parameters: { operation: 'transform', data: 1 },
    ...(i + 1 < length ? { on_success: `s${i + 1}` } : {}),
  }));
  return JSON.stringify({ workflow: { name: `bench-chain-${length}`, jobs } });
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(new URL('/metrics', url))).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return line === undefined ? Number.NaN : Number(line.split(' ')[1]);
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

async function measure(name: string, jobs: number, run: () => Promise<readonly number[]>): Promise<void> {
  const cpu = await metric('process_cpu_seconds_total');
  const started = performance.now();
  const latencies = [...(await run())].sort((a, b) => a - b);
  const seconds = (performance.now() - started) / 1_000;
  const figures = {
    name,
    jobs,
    seconds: Number(seconds.toFixed(2)),
    jobsPerSecond: Math.round(jobs / seconds),
    submitToEndP50Ms: Math.round(quantile(latencies, 0.5)),
    submitToEndP99Ms: Math.round(quantile(latencies, 0.99)),
    coordinatorCpuUsPerJob: Math.round((((await metric('process_cpu_seconds_total')) - cpu) / jobs) * 1e6),
    coordinatorRssMb: Math.round((await metric('process_resident_memory_bytes')) / 1e6),
  };
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}

async function singles(count: number): Promise<number[]> {
  const batches = Math.ceil(count / 500);
  const ids: string[] = [];
  for (let i = 0; i < batches; i++) {
    const size = Math.min(500, count - i * 500);
    const results = await client.submitBatch(Array.from({ length: size }, () => ({ source: { yaml: ONE_JOB }, start: true })));
    for (const result of results) {
      if (result.kind !== 'accepted') throw new Error(`submit was refused: ${JSON.stringify(result)}`);
      ids.push(result.workflowId);
    }
  }
  // The last submitted ends about last: waited for by its events; the others are read in pages after it.
  await client.waitFor(ids.at(-1)!, { timeoutMs: 300_000 });
  for (;;) {
    const info = await client.info();
    if (info.openWorkflows === 0n) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const wanted = new Set(ids);
  const latencies: number[] = [];
  for await (const workflow of client.list({ name: 'bench-one-job', pageSize: 1000 })) {
    if (!wanted.has(workflow.id)) continue;
    if (workflow.status !== Workflow_Status.SUCCEEDED)
      throw new Error(`workflow ${workflow.id} did not succeed: ${workflow.error?.message}`);
    latencies.push(timestampMs(workflow.endTime!) - timestampMs(workflow.submitTime!));
  }
  if (latencies.length !== count) throw new Error(`${latencies.length} of ${count} workflows were found`);
  return latencies;
}

async function one(yaml: string): Promise<number[]> {
  const { id } = await client.submitAndStartWorkflow({ yaml });
  const workflow = await client.waitFor(id, { timeoutMs: 300_000 });
  if (workflow.status !== Workflow_Status.SUCCEEDED) throw new Error(`workflow ${id} did not succeed: ${workflow.error?.message}`);
  return [timestampMs(workflow.endTime!) - timestampMs(workflow.submitTime!)];
}

const count = Number(values.workflows);
const jobs = Number(values.jobs);
await singles(500); // warm-up
await measure('one-job workflows, batch submit', count, () => singles(count));
await measure('one workflow: 1 -> n -> 1', jobs, () => one(wide(jobs - 2)));
await measure('one workflow: a chain', jobs, () => one(chain(jobs)));
await measure('a chain of 10 on an idle engine', 10, () => one(chain(10)));
