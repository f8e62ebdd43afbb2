/**
 * One measurement in a process of its own, which is the driver: it starts what is measured, submits, watches, checks, and tells one JSON line of figures.
 *
 *     node --conditions=workflow-orchestrator test/bench/measure.ts '{"workload":"chain","store":"memory"}'
 *
 * Invariant: a line is told only when every workflow SUCCEEDED, each with the right output of every job.
 */
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { Workflow_Status } from '@workflow-orchestrator/proto';
import { jsonOf, WorkflowClient, workflowStatusName } from '@workflow-orchestrator/sdk';
import { type Completed, Completions } from './completions.ts';
import { type Ending, now } from './job-worker.ts';
import { isOrder } from './payload.ts';
import { startProfile } from './profile.ts';
import { type StoreName, startCoordinator, startStore, startWorker, Teardown } from './programs.ts';
import { Submitter } from './submitter.ts';
import { meter, type Usage } from './usage.ts';
import { type Bench, definitionOf, pooled, type Settings, type Workload, workloads } from './workloads.ts';

/** What is measured. */
export interface Measurement extends Settings {
  readonly workload: string;
  readonly store: StoreName;
  /** Attempts that the worker takes at once. */
  readonly slots: number;
  /** Folder for a CPU profile of each process; null for none. */
  readonly profileDir: string | null;
}

const defaults: Measurement = {
  workload: 'single-bulk',
  store: 'memory',
  slots: 1_000,
  profileDir: null,
  n: 0,
  warmup: 300,
  batch: 500,
  batches: 4,
  lanes: 64,
  inflight: 100,
  steps: 10,
  width: 1_000,
  rate: 50,
  seconds: 10,
};

/** How often the coordinator is asked whether all has ended, and how long that may take. */
const pollMs = 5;
const settleMs = 60_000;

if (import.meta.main) {
  const t = new Teardown();
  // One that is told to stop, or takes too long, leaves nothing behind.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void t.run().then(() => process.exit(1)));
  try {
    process.stdout.write(`${JSON.stringify(await measure({ ...defaults, ...JSON.parse(process.argv[2] ?? '{}') }, t))}\n`);
  } finally {
    await t.run();
  }
}

async function measure(measurement: Measurement, t: Teardown): Promise<Record<string, unknown>> {
  const workload = workloads[measurement.workload];
  if (workload === undefined) throw new Error(`no workload ${measurement.workload}; there are ${Object.keys(workloads).join(', ')}`);
  const options = { t, profileDir: measurement.profileDir };
  const completions = new Completions();
  const store = await startStore(measurement.store, t);
  const coordinator = await startCoordinator(store.env, options);
  const onMessage = (message: unknown) => {
    const { kind, endings } = message as { kind: string; endings: Ending[] };
    if (kind === 'ended') completions.ended(endings);
  };
  const worker = await startWorker(coordinator.url, measurement.slots, onMessage, options);

  const client = new WorkflowClient(coordinator.url);
  const { definition } = await client.register({ yaml: definitionOf(workload.shape, measurement) });
  const bench: Bench = { settings: measurement, client, completions, submitter: new Submitter(client, definition.hash) };
  const run = (from: number, to: number) => Promise.race([workload.run(bench, from, to), completions.failed]);

  const jobs = { one: 1, chain: measurement.steps, fan: measurement.width + 2 }[workload.shape];
  const warm = Math.ceil(measurement.warmup / jobs);
  await run(0, warm);
  await settled(client);
  // What was written before is not written back while something is measured.
  spawnSync('sync');

  const n = measurement.n || workload.n(measurement);
  const executedBefore = await worker.executed();
  const processes = {
    driver: { pid: process.pid, tree: false },
    worker: { pid: worker.pid, tree: false },
    coordinator: { pid: coordinator.pid, tree: false },
    ...store.processes,
  };
  const endProfiles = measurement.profileDir === null ? null : await startProfiles(measurement.profileDir, [coordinator, worker]);
  const endMeter = meter(processes);
  const completed = await run(warm, warm + n);
  const settledAt = await settled(client);
  const usage = endMeter();
  await endProfiles?.();
  const executed = (await worker.executed()) - executedBefore;
  if (executed !== n * jobs) throw new Error(`${executed} handlers were called, not ${n * jobs}`);
  await check(bench, workload);

  return {
    peer: 'workflow-orchestrator',
    label: `ours-${measurement.store}${measurement.workload === 'chain-one' ? '-one' : ''}`,
    workload: workload.workload,
    submit: workload.submit,
    n,
    ...figuresOf(workload, completed, settledAt, n * jobs),
    jobs_executed: executed,
    usage: { ...usage, engine: engineOf(usage) },
    durability: (await client.info()).durability,
    observed: workload.observed === 'worker' ? 'worker: the last handler ended, and no workflow is open' : 'client: watched to its end',
    args: measurement,
    node: process.version,
    cpus: cpus().length,
    at: new Date().toISOString(),
  };
}

/** Profiles this process and others, until the answer is called. */
async function startProfiles(folder: string, others: readonly { profile(): Promise<void> }[]): Promise<() => Promise<void>> {
  for (const other of others) await other.profile();
  const end = await startProfile(join(folder, 'driver.cpuprofile'));
  return async () => {
    await end();
    for (const other of others) await other.profile();
  };
}

/** Waits until no workflow is open; the time when that was seen. */
async function settled(client: WorkflowClient): Promise<number> {
  const deadline = now() + settleMs;
  for (;;) {
    const { openWorkflows } = await client.info();
    const at = now();
    if (openWorkflows === 0n) return at;
    if (at > deadline) throw new Error(`${openWorkflows} workflows are still open`);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** Every workflow that was submitted, as the API tells of it. */
async function check({ client, submitter, settings }: Bench, { shape }: Workload): Promise<void> {
  const ids = [...submitter.ids];
  await pooled(ids.length, settings.lanes, async (index) => {
    const [workflowId, id] = ids[index]!;
    const { status, jobs } = await client.get(workflowId);
    if (status !== Workflow_Status.SUCCEEDED) throw new Error(`workflow ${workflowId} is ${workflowStatusName(status)}`);
    for (const [at, job] of jobs.entries()) {
      // The parts of a fan are the second step; in a chain each job is the next.
      const isRight =
        job.type === 'bench-join'
          ? (jsonOf(job.output) as { joined?: number } | null)?.joined === settings.width
          : isOrder(jsonOf(job.output), id, shape === 'fan' ? Math.min(at, 1) + 1 : at + 1);
      if (!isRight) throw new Error(`workflow ${workflowId} (number ${id}): wrong output of job ${job.id}`);
    }
  });
}

/** The figures of a workload, under the names that drivers of other engines use. */
function figuresOf({ workload, figure }: Workload, completed: readonly Completed[], settledAt: number, jobs: number) {
  const from = Math.min(...completed.map(({ submittedAt }) => submittedAt));
  const to = Math.max(...completed.map(({ endedAt }) => endedAt), figure.endsWith('_per_s') ? settledAt : 0);
  const seconds = (to - from) / 1_000;
  const tookMs = completed.map(({ submittedAt, endedAt }) => endedAt - submittedAt).sort((a, b) => a - b);
  const at = (share: number) => rounded(tookMs[Math.max(0, Math.ceil(share * tookMs.length) - 1)] ?? Number.NaN);
  const latencies = workload === 'single' ? {} : { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1) };
  const main = figure.endsWith('_per_s') ? { [figure]: Math.round(jobs / seconds) } : figure === 'median_ms' ? { median_ms: at(0.5) } : {};
  return { ...main, ...latencies, elapsed_s: rounded(seconds) };
}

/** Coordinator and servers of the store together, which is what other engines' drivers call the engine. */
function engineOf(usage: Readonly<Record<string, Usage>>): Usage {
  const parts = Object.entries(usage).filter(([name]) => name !== 'driver' && name !== 'worker');
  const sum = (key: keyof Usage) => rounded(parts.reduce((total, [, used]) => total + used[key], 0));
  return { cpu_s: sum('cpu_s'), peak_mib: sum('peak_mib'), peak_own_mib: sum('peak_own_mib') };
}

function rounded(value: number): number {
  return Number(value.toFixed(2));
}
