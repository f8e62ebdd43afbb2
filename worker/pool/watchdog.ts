/**
 * A thread beside a computation. A process in an endless loop cannot notice that its worker was killed; this thread can:
 * the process then has another parent.
 */
import { workerData } from 'node:worker_threads';

const { parent } = workerData as { readonly parent: number };
setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL');
}, 500);
