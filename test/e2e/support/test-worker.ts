/**
 * A worker of a user's own, over the public library: its handlers tell a ledger (a file) when they start and end.
 * Environment: COORDINATOR_URL, WORKER_ID, LEDGER.
 */
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createWorker, PermanentError } from '@workflow-orchestrator/worker';

const { COORDINATOR_URL, WORKER_ID, LEDGER } = process.env as Record<string, string>;

function note(what: string, job: { readonly workflowId: string; readonly id: string; readonly attempt: number }): void {
  appendFileSync(LEDGER!, `${JSON.stringify({ what, worker: WORKER_ID, workflow: job.workflowId, job: job.id, attempt: job.attempt })}\n`);
}

const worker = createWorker({ url: COORDINATOR_URL!, id: WORKER_ID!, slots: 10 });

worker.handle('sleep', async (job, context) => {
  // `thenMs`: what a second attempt takes, so that only the first one is caught in whatever the test does.
  const { ms: firstMs, thenMs } = job.parameters as { ms: number; thenMs?: number };
  const ms = job.attempt === 1 ? firstMs : (thenMs ?? firstMs);
  note('start', job);
  await sleep(ms, undefined, { signal: context.signal });
  note('end', job);
  return { slept: ms };
});

worker.handle('fail', (job) => {
  note('start', job);
  throw new PermanentError('it was told to fail', { code: 'TOLD_TO' });
});

worker.handle('crash', (job) => {
  note('start', job);
  process.exit(7);
});

worker.handle('echo', (job) => {
  note('start', job);
  return { parameters: job.parameters, input: job.input };
});

process.on('SIGTERM', () => {
  void worker.drain().then(() => process.exit(0));
});
await worker.start();
process.send?.('ready');
