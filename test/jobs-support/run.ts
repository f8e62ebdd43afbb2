/** Runs a handler as the worker would, and keeps what it showed: log lines, signs of life, progress. */
import { JobError } from '../../worker/errors.ts';
import type { Handler, Job, JobContext, Json } from '../../worker/handler.ts';

/** A job with sensible values for what a test does not care about. */
export function jobOf(type: string, parameters: Json, input: Json = null, more: Partial<Job> = {}): Job {
  return {
    workflowId: 'w-1',
    workflowName: 'test',
    id: 'job',
    type,
    attempt: 1,
    maxAttempts: 1,
    instance: 0,
    parameters,
    input,
    ...more,
  };
}

/** A context and what was seen through it. */
export interface Seen {
  readonly context: JobContext;
  readonly lines: string[];
  readonly cancel: (reason: Error) => void;
  beats: number;
}

/** A context for one attempt. */
export function contextOf(idempotencyKey = 'w-1/job/0'): Seen {
  const controller = new AbortController();
  const lines: string[] = [];
  const line = (level: string) => (message: string, fields?: Record<string, unknown>) =>
    void lines.push(`${level} ${message}${fields === undefined ? '' : ` ${JSON.stringify(fields)}`}`);
  const seen: Seen = {
    lines,
    beats: 0,
    cancel: (reason) => controller.abort(reason),
    context: {
      signal: controller.signal,
      progress: () => {},
      heartbeat: () => {
        seen.beats += 1;
      },
      setCheckpoint: () => {},
      checkpoint: undefined,
      log: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
      idempotencyKey,
      fencingToken: 1n,
    },
  };
  return seen;
}

/** How a handler ended, as a plain value. */
export type Ended =
  | { readonly kind: 'output'; readonly output: Json }
  | {
      readonly kind: 'error';
      readonly code: string;
      readonly message: string;
      readonly retryable: boolean;
      readonly retryAfterMs: number;
      readonly details: Json;
    }
  | { readonly kind: 'stopped'; readonly reason: unknown };

/** Runs a handler to its end. */
export async function run(handler: Handler, job: Job, seen: Seen = contextOf()): Promise<Ended> {
  try {
    return { kind: 'output', output: await handler(job, seen.context) };
  } catch (error) {
    if (seen.context.signal.aborted) return { kind: 'stopped', reason: error };
    if (!(error instanceof JobError)) throw error;
    const { code, message, retryable, retryAfterMs, details = null } = error;
    return { kind: 'error', code, message, retryable, retryAfterMs, details };
  }
}
