/**
 * Runs one attempt: reads its values, checks them, calls the handler, and says how it ended. Never throws.
 */
import type { Assignment } from '@workflow-orchestrator/proto';
import { JobError } from '../errors.ts';
import type { Handler, Job, Json } from '../handler.ts';
import { type Failure, failure, type Outcome } from '../session/outcome.ts';
import type { AttemptContext } from './context.ts';
import { readJob } from './job.ts';
import { type Check, type CheckResult, describeViolations } from './schema.ts';
import { messageOf, writeValue } from './value.ts';

/** A handler as it was registered. Its types were checked where it was. */
export interface Registration {
  readonly type: string;
  /** At once; 0: as many as the worker has slots. */
  readonly slots: number;
  readonly handler: Handler<never, unknown>;
  /** Of the parameters. */
  readonly input: Check | null;
  readonly output: Check | null;
}

/** Causes that are followed in a stack trace. */
const mostCauses = 5;

/** Runs the attempt to its end. */
export async function runAttempt(registration: Registration, assignment: Assignment, context: AttemptContext): Promise<Outcome> {
  const read = readJob(assignment);
  if (read.kind === 'problem') return failed('INVALID_INPUT', read.message);
  try {
    let { job } = read;
    if (registration.input !== null) {
      const pending = registration.input(job.parameters);
      const checked = pending instanceof Promise ? await pending : pending;
      if (checked.kind === 'wrong') return wrong('INVALID_INPUT', 'the parameters do not fit', checked);
      job = { ...job, parameters: checked.value as Json };
    }
    // The registration paired the handler with its schema: what the check gave is what the handler takes.
    let output = await registration.handler(job as Job<never>, context);
    if (registration.output !== null) {
      const pending = registration.output(output ?? null);
      const checked = pending instanceof Promise ? await pending : pending;
      if (checked.kind === 'wrong') return wrong('OUTPUT_SCHEMA', 'the output does not fit', checked);
      output = checked.value;
    }
    const written = writeValue(output, 'the output');
    return written.kind === 'problem' ? failed('OUTPUT_NOT_JSON', written.message) : { kind: 'succeeded', output: written.bytes };
  } catch (thrown) {
    return { kind: 'failed', error: failureOf(thrown) };
  }
}

/** What a thrown thing means for the job. */
export function failureOf(thrown: unknown): Failure {
  const message = messageOf(thrown);
  const stack = stackOf(thrown);
  if (!(thrown instanceof JobError)) return { ...failure('HANDLER_ERROR', message, true), stack };
  const { code, retryable, retryAfterMs } = thrown;
  const written = thrown.details === undefined ? null : writeValue(thrown.details, 'details');
  return { code, message, retryable, retryAfterMs, stack, details: written?.kind === 'bytes' ? written.bytes : null };
}

function failed(code: string, message: string): Outcome {
  return { kind: 'failed', error: failure(code, message, false) };
}

function wrong(code: string, what: string, { violations, total }: Extract<CheckResult, { kind: 'wrong' }>): Outcome {
  const details = writeValue({ violations, total }, 'details');
  const error = failure(code, `${what}: ${describeViolations(violations, total)}`, false);
  return { kind: 'failed', error: { ...error, details: details.kind === 'bytes' ? details.bytes : null } };
}

function stackOf(thrown: unknown): string {
  const stacks: string[] = [];
  let error = thrown;
  while (error instanceof Error && stacks.length < mostCauses) {
    stacks.push(error.stack ?? String(error));
    error = error.cause;
  }
  return stacks.join('\nCaused by: ');
}
