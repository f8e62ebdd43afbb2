/** A worker of your own with one job type, `greet`. `COORDINATOR_URL` and `WORKFLOW_TOKEN` say where it works when that is not this machine. */
import { createWorker } from '@workflow-orchestrator/worker';

const worker = createWorker();
worker.handle('greet', async (job) => ({ text: `hello from ${job.workflowName}` }));
await worker.start();
console.log('ready');
process.once('SIGTERM', () => worker.stop());
