/** Runs a computation of a job in the pool, and says in the words of job errors what came of it. */
import { limits } from '@workflow-orchestrator/proto/limits';
import type { ComputeTask } from '../compute/task.ts';
import { PermanentError, RetryableError } from '../errors.ts';
import { formatDuration } from '../fields/duration.ts';
import type { Fields } from '../fields/fields.ts';
import type { JobContext, Json } from '../handler.ts';
import type { ComputePool } from '../pool/pool.ts';
import { whileAlive } from './sign-of-life.ts';

/** Begins the codes of what goes wrong: `EXPRESSION_TIMEOUT`, `PROCESSING_MEMORY`. */
export type ComputePurpose = 'EXPRESSION' | 'PROCESSING' | 'VALIDATION';

/** The parameter `timeout` of a job that computes. */
export function readComputeMs(fields: Fields): number {
  return fields.durationMs('timeout', { min: 1, max: limits.computeMaxMs }) ?? limits.computeMs;
}

/**
 * The computed value.
 * @throws PermanentError with the code of the failed computation, or `<purpose>_MEMORY`
 * @throws RetryableError `<purpose>_TIMEOUT` (another machine may be faster), `POOL_FAILED`
 * @throws the signal's reason, when it is aborted
 */
export async function computeInPool(
  pool: ComputePool,
  task: ComputeTask,
  data: Json,
  options: { readonly timeMs: number; readonly purpose: ComputePurpose; readonly context: JobContext },
): Promise<Json> {
  const { timeMs, purpose, context } = options;
  const outcome = await whileAlive(context, () => pool.run(task, data, { timeMs, signal: context.signal }));
  switch (outcome.kind) {
    case 'value':
      return JSON.parse(outcome.text) as Json;
    case 'failed':
      throw new PermanentError(outcome.message, { code: outcome.code, details: outcome.details });
    case 'timeout':
      throw new RetryableError(`${task.kind} did not end within ${formatDuration(timeMs)} and was stopped`, { code: `${purpose}_TIMEOUT` });
    case 'memory':
      throw new PermanentError(`${task.kind} needed more memory than it may have (${limits.computeMemoryMib} MiB) and was stopped`, {
        code: `${purpose}_MEMORY`,
      });
    case 'crashed':
      throw new RetryableError(`${task.kind} ended without a result: ${outcome.reason}`, { code: 'POOL_FAILED' });
    default:
      return outcome satisfies never;
  }
}
