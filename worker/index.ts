/**
 * Write a worker in a few lines:
 *
 * ```ts
 * const worker = createWorker({ url: 'http://localhost:8000' });
 * worker.handle('greet', { input: z.object({ name: z.string() }) }, ({ parameters }) => ({ text: `hello ${parameters.name}` }));
 * await worker.start();
 * process.once('SIGTERM', () => worker.stop());
 * ```
 */
export type { Accepted, Checked, JsonSchema, Schema, StandardSchema } from './attempt/schema.ts';
export * from './errors.ts';
export type { Handler, Job, JobContext, Json } from './handler.ts';
export type { Logger } from './logger.ts';
export type { WorkerOptions } from './options.ts';
export { createWorker, type HandleOptions, type Worker, type WorkerEvent, type WorkerState } from './worker.ts';
