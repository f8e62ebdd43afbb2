/**
 * The workloads: what is submitted, how, and when it counts as done. A measurement with a wrong result is none.
 *
 * Two ways to see an end. Where many run at once the worker tells when the last handler of a workflow has ended, and the time counts until the coordinator
 * has no open workflow any more; where one is waited for, the client watches it until its end, as a user's program would.
 */
import type { Workflow } from '@workflow-orchestrator/proto';
import type { WorkflowClient } from '@workflow-orchestrator/sdk';
import type { Completed, Completions } from './completions.ts';
import { now } from './job-worker.ts';
import type { Submitter } from './submitter.ts';

/** What is run. */
export interface Settings {
  /** Workflows; 0: as many as the workload is meant for. */
  readonly n: number;
  /** Jobs that run before and do not count. */
  readonly warmup: number;
  /** Workflows of a submit call, and calls under way at once. */
  readonly batch: number;
  readonly batches: number;
  /** Calls under way at once where each submits one. */
  readonly lanes: number;
  /** Workflows under way at once in a closed loop. */
  readonly inflight: number;
  readonly steps: number;
  readonly width: number;
  /** Workflows a second, and for how long. */
  readonly rate: number;
  readonly seconds: number;
}

/** What a workload works with. */
export interface Bench {
  readonly settings: Settings;
  readonly client: WorkflowClient;
  readonly submitter: Submitter;
  readonly completions: Completions;
}

/** A workload. */
export interface Workload {
  /** Its name and way to submit in the JSON lines, which are those of other engines' drivers. */
  readonly workload: 'single' | 'chain' | 'chain-idle' | 'latency' | 'fanout';
  readonly submit: 'bulk' | 'one';
  readonly observed: 'worker' | 'client';
  readonly figure: 'jobs_per_s' | 'steps_per_s' | 'median_ms' | 'p50_ms';
  readonly shape: 'one' | 'chain' | 'fan';
  n(settings: Settings): number;
  /** Runs workflows `from` to `to`; all have ended when it resolves. */
  run(bench: Bench, from: number, to: number): Promise<Completed[]>;
}

/** Pause between workflows that are to find an idle engine. */
const idleMs = 50;

export const workloads: Readonly<Record<string, Workload>> = {
  'single-bulk': {
    workload: 'single',
    submit: 'bulk',
    observed: 'worker',
    figure: 'jobs_per_s',
    shape: 'one',
    n: () => 20_000,
    async run({ settings: { batch, batches }, submitter, completions }, from, to) {
      const ended: Promise<Completed>[] = [];
      await pooled(Math.ceil((to - from) / batch), batches, async (call) => {
        const ids = numbers(from + call * batch, Math.min(to, from + (call + 1) * batch));
        for (const id of ids) ended.push(completions.expect(id, 1));
        await submitter.batch(ids);
      });
      return Promise.all(ended);
    },
  },
  'single-one': {
    workload: 'single',
    submit: 'one',
    observed: 'worker',
    figure: 'jobs_per_s',
    shape: 'one',
    n: () => 10_000,
    async run({ settings: { lanes }, submitter, completions }, from, to) {
      const ended: Promise<Completed>[] = [];
      await pooled(to - from, lanes, async (index) => {
        ended.push(completions.expect(from + index, 1));
        await submitter.one(from + index);
      });
      return Promise.all(ended);
    },
  },
  chain: chainOf('bulk'),
  'chain-one': chainOf('one'),
  'chain-idle': {
    workload: 'chain-idle',
    submit: 'one',
    observed: 'client',
    figure: 'median_ms',
    shape: 'chain',
    n: () => 50,
    run: (bench, from, to) => oneAtATime(bench, from, to, bench.settings.steps),
  },
  latency: {
    workload: 'latency',
    submit: 'one',
    observed: 'client',
    figure: 'p50_ms',
    shape: 'one',
    n: ({ rate, seconds }) => rate * seconds,
    async run(bench, from, to) {
      const start = now();
      return Promise.all(
        numbers(from, to).map(async (id, index) => {
          await sleep(start + (index * 1_000) / bench.settings.rate - now());
          return submitAndWatch(bench, id, 1);
        }),
      );
    },
  },
  fanout: {
    workload: 'fanout',
    submit: 'one',
    observed: 'client',
    figure: 'median_ms',
    shape: 'fan',
    n: () => 5,
    run: (bench, from, to) => oneAtATime(bench, from, to, bench.settings.width),
  },
};

/** A closed loop: each end brings the next submit. */
function chainOf(submit: 'bulk' | 'one'): Workload {
  return {
    workload: 'chain',
    submit,
    observed: 'worker',
    figure: 'steps_per_s',
    shape: 'chain',
    n: () => 2_000,
    async run({ settings: { inflight, steps }, submitter, completions }, from, to) {
      const all: Completed[] = [];
      await pooled(to - from, inflight, async (index) => {
        const id = from + index;
        const ended = completions.expect(id, steps);
        await (submit === 'bulk' ? submitter.gathered(id) : submitter.one(id));
        all.push(await ended);
      });
      return all;
    },
  };
}

async function oneAtATime(bench: Bench, from: number, to: number, value: number): Promise<Completed[]> {
  const all: Completed[] = [];
  for (const id of numbers(from, to)) {
    all.push(await submitAndWatch(bench, id, value));
    await sleep(idleMs);
  }
  return all;
}

/** Submits one and watches it to its end; the worker's word is only checked. */
async function submitAndWatch({ client, submitter, completions }: Bench, id: number, value: number): Promise<Completed> {
  const told = completions.expect(id, value);
  const submittedAt = now();
  const workflow: Workflow = await submitter.one(id);
  for await (const _step of client.watch(workflow.id, { afterSeq: workflow.lastEventSeq }));
  const endedAt = now();
  await told;
  return { submittedAt, endedAt };
}

/** The definition of a shape. The last job of each tells its end (`job-worker.ts`). */
export function definitionOf(shape: Workload['shape'], { steps, width }: Settings): string {
  const job = (id: string, needs?: string | readonly string[]) => ({ id, type: 'bench-step', ...(needs === undefined ? {} : { needs }) });
  const jobs = [];
  if (shape === 'one') jobs.push(job('last'));
  else if (shape === 'chain') {
    for (let i = 1; i <= steps; i++) jobs.push(job(i === steps ? 'last' : `step-${i}`, i === 1 ? undefined : `step-${i - 1}`));
  } else {
    const parts = numbers(0, width).map((i) => `part-${i}`);
    jobs.push(job('first'), ...parts.map((id) => job(id, 'first')), { id: 'last', type: 'bench-join', needs: parts });
  }
  return JSON.stringify({ workflow: { name: `bench-${shape}`, inputs: { order: { type: 'object', required: true } }, jobs } });
}

/** Calls `work` for 0 to `count`, at most `most` at once. */
export async function pooled(count: number, most: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(most, count) }, lane));
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
}

function sleep(ms: number): Promise<void> {
  return ms <= 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms));
}
