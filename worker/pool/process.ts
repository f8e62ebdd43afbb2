/**
 * A process of the pool: computes one thing after the other. Started by `pool.ts`; what it runs may be hostile.
 *
 * Invariants
 * 1. It ends when its worker ends, even in the middle of an endless loop (the watchdog sees to that).
 * 2. Signals of the terminal are the worker's business: ctrl-c does not end a computation, the worker does.
 * 3. Nothing may be added to the prototypes of the language: one computation leaves nothing behind for the next.
 */
import { Worker } from 'node:worker_threads';
import { compute } from '../compute/compute.ts';
import type { ComputeMessage, ComputeRequest } from './message.ts';

if (process.send === undefined) {
  process.stderr.write('This program is started by the worker; it does nothing by itself.\n');
  process.exit(2);
}

const say = (message: ComputeMessage) => process.send?.(message);

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', () => process.exit(0));
process.on('message', (request: ComputeRequest) => {
  void compute(request.task, request.data, request.limits).then((result) => say({ kind: 'result', result }));
});

// Takes the same extension as this file: sources run as they are, the build has JavaScript.
const watchdog = new URL(import.meta.url.endsWith('.ts') ? './watchdog.ts' : './watchdog.js', import.meta.url);
new Worker(watchdog, {
  workerData: { parent: process.ppid },
  resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 4 },
}).unref();

for (const prototype of [Object, Array, Function, String, Number, Boolean, RegExp, Map, Set, Promise, Error].map((type) => type.prototype))
  Object.preventExtensions(prototype);

say({ kind: 'ready' });
