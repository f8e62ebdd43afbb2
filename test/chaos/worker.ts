/**
 * The worker process of the kill test: the worker library with one job type, which tells the sink what it does before it does it and what came of it before it returns.
 *
 * Invariant: a handler returns, or throws, only after the sink has written what it is about to say. What the coordinator hears of is in the ledger.
 *
 * Environment: COORDINATOR_URL, WORKER_ID, WORKER_SLOTS, INCARNATION, SINK_PORT.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createWorker, type Job, type JobContext, PermanentError, RetryableError } from '@workflow-orchestrator/worker';
import type { StepParameters } from './graphs.ts';
import { connectSink } from './sink.ts';

const { WORKER_ID = '', WORKER_SLOTS, INCARNATION, SINK_PORT } = process.env;
const slots = Number(WORKER_SLOTS);
const sink = await connectSink(Number(SINK_PORT), { node: WORKER_ID, incarnation: Number(INCARNATION) });
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const worker = createWorker({
  slots,
  log: silent,
  onEvent: (event) => {
    if (event.kind !== 'resultAcknowledged') return;
    const { workflowId: workflow, jobId: job, attempt, leaseToken: token, verdict: answer } = event;
    void sink.tell({ op: 0, f: 'acked', type: 'ok', workflow, job, attempt, value: { token, answer } });
  },
});

let executions = 0;

worker.handle('step', async (job: Job<StepParameters>, context: JobContext) => {
  const { ms, fail } = job.parameters;
  const token = tokenOf(context.fencingToken);
  executions += 1;
  const common = { op: executions, f: 'execute', workflow: job.workflowId, job: job.id, attempt: job.attempt };
  await sink.tell({ ...common, type: 'invoke', value: { token, slots } });
  try {
    await sleep(ms, undefined, { signal: context.signal });
  } catch (error) {
    await sink.tell({ ...common, type: 'fail', value: { token, outcome: 'cancelled' } });
    throw error;
  }
  if (fail === 'always' || fail === 'permanently' || (fail === 'once' && job.attempt === 1)) {
    await sink.tell({ ...common, type: 'fail', value: { token, outcome: 'failed' } });
    throw fail === 'permanently' ? new PermanentError('it was told to fail') : new RetryableError('it was told to fail');
  }
  const output = { by: token, key: context.idempotencyKey };
  await sink.tell({ ...common, type: 'ok', value: { token, outcome: 'succeeded', output: JSON.stringify(output) } });
  return output;
});

/** A fencing token is made of the epoch and the number of the assignment in it, and so is the beginning of the lease token. */
function tokenOf(fencingToken: bigint): string {
  return `${fencingToken >> 32n}.${fencingToken & 0xffff_ffffn}`;
}

process.on('SIGTERM', () => void worker.stop({ graceMs: 5_000 }).then(() => process.exit(0)));
await worker.start();
