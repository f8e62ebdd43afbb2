/**
 * The project's own worker library as a program for the kit, and an example for others.
 * Environment: COORDINATOR_URL, WORKER_ID, WORKER_SLOTS. SIGTERM drains; the program ends with 0.
 */
import { conformanceWorker } from './job-types.ts';

const worker = conformanceWorker(process.env.COORDINATOR_URL!);
process.once('SIGTERM', () => worker.stop());
worker.start().catch((error: unknown) => process.stderr.write(`${error}\n`));
await worker.done;
process.exit(0);
