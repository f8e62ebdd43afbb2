/**
 * The kit's job types (README.md) over the project's own worker library.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createWorker, type JobContext, type Json, PermanentError, RetryableError, type Worker } from '@workflow-orchestrator/worker';

/** Handlers begun in this process. */
let runs = 0;

/** A worker that offers them; `url` is its coordinator. */
export function conformanceWorker(url: string): Worker {
  const worker = createWorker({ url, slots: Number(process.env.WORKER_SLOTS) });

  worker.handle<{ value?: Json; characters?: number }>('conformance.echo', ({ parameters: { value = null, characters } }) => {
    runs += 1;
    return { run: runs, value: characters === undefined ? value : 'x'.repeat(characters) };
  });

  worker.handle<{ code: string; message?: string; retryable: boolean; message_characters?: number }>(
    'conformance.fail',
    ({ parameters }) => {
      runs += 1;
      const { code, message = '', retryable, message_characters: characters } = parameters;
      const words = characters === undefined ? message : 'x'.repeat(characters);
      throw retryable ? new RetryableError(words, { code }) : new PermanentError(words, { code });
    },
  );

  worker.handle<{ ms: number; log?: number; checkpoint?: Json }>('conformance.sleep', async ({ parameters }, context: JobContext) => {
    runs += 1;
    const run = runs;
    const { ms, log = 0, checkpoint } = parameters;
    for (let line = 1; line <= log; line += 1) context.log.info(`line ${line}`);
    if (checkpoint !== undefined) context.setCheckpoint(checkpoint);
    await sleep(ms, undefined, { signal: context.signal });
    return { run, slept_ms: ms };
  });

  worker.handle<{ ms: number }>('conformance.stubborn', async ({ parameters: { ms } }) => {
    runs += 1;
    const run = runs;
    await sleep(ms);
    return { run, slept_ms: ms };
  });

  worker.handle('conformance.input', ({ parameters, input, attempt, instance }, context) => {
    runs += 1;
    return { run: runs, parameters, input, attempt, instance, checkpoint: context.checkpoint ?? null };
  });

  return worker;
}
