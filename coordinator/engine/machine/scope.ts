/** What a job's expressions may read, taken from the state of its workflow. */
import type { JobScope, Scope } from '../definition/graph.ts';
import { readPayload } from '../definition/payload.ts';
import { endingOf } from './finish.ts';
import { hasEnded, type JobError, type WorkflowState } from './state.ts';

/** The scope of job `index`, or of the workflow's outputs when it is null. `failedSource` is the job whose failure edge opened it. */
export function scopeOf(state: WorkflowState, index: number | null, failedSource: number | null): Scope {
  const whole = index === null || state.graph.jobs[index]!.alwaysRun;
  return {
    get inputs() {
      return readPayload(state.inputs);
    },
    job: (other) => jobScope(state, other),
    workflow: { id: state.id, name: state.graph.name, status: whole ? endingOf(state).status : state.status },
    failure: failedSource === null ? null : failureOf(state, failedSource),
  };
}

function jobScope(state: WorkflowState, index: number): JobScope {
  const job = state.jobs[index]!;
  return {
    get output() {
      return job.output === null ? null : readPayload(job.output);
    },
    status: job.phase,
    error: job.error !== null && hasEnded(job.phase) ? errorScope(job.error) : null,
  };
}

function failureOf(state: WorkflowState, index: number): Scope['failure'] {
  const job = state.jobs[index]!;
  return { job: state.graph.jobs[index]!.id, error: errorScope(job.error), attempts: job.attempts.length };
}

function errorScope(error: JobError | null): { readonly code: string; readonly message: string } {
  return { code: error?.code ?? '', message: error?.message ?? '' };
}
