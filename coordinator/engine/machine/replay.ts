/**
 * The fold of events that come from outside: `evolve` for what is read from a journal, which may be damaged in ways that no checksum shows.
 *
 * Invariants
 * 1. An event that cannot have happened to a workflow in this state is `JournalDamaged`, never a guess and never a broken state.
 * 2. Whatever `decide` gave passes: this knows what an event needs, not why it was decided.
 */
import type { DurableEvent } from './event.ts';
import { evolve } from './evolve.ts';
import { hasEnded, type WorkflowState } from './state.ts';

/** A journal that cannot be read on: its message says where and why. Never retried. */
export class JournalDamaged extends Error {}

/** Folds the next event of workflow `workflowId` into `state`, in place, and returns it; `state` is null before the first. Throws `JournalDamaged`. */
export function replay(state: WorkflowState | null, workflowId: string, event: DurableEvent): WorkflowState {
  const fault = faultOf(state, workflowId, event);
  if (fault === null) return evolve(state, event);
  const number = state === null ? 1 : state.seq + 1;
  throw new JournalDamaged(`the journal is damaged: event ${number} ('${event.kind}') of workflow '${workflowId.slice(0, 200)}' ${fault}`);
}

function faultOf(state: WorkflowState | null, workflowId: string, event: DurableEvent): string | null {
  if (!isTime(event.at)) return `has the time ${event.at}`;
  if (event.kind === 'submitted') {
    if (state !== null) return 'came a second time';
    return event.workflowId === workflowId ? null : 'names another workflow';
  }
  if (state === null) return 'came before the workflow was submitted';
  if (hasEnded(state.status)) return 'came after the workflow had ended';
  return 'job' in event ? jobFault(state, event) : workflowFault(state, event);
}

function workflowFault(state: WorkflowState, event: Exclude<DurableEvent, { kind: 'submitted' } | { job: number }>): string | null {
  if (event.kind !== 'ended' || event.errorJob === null || isJob(state, event.errorJob)) return null;
  return `names job ${event.errorJob} of ${state.jobs.length}`;
}

function jobFault(state: WorkflowState, event: Extract<DurableEvent, { job: number }>): string | null {
  if (!isJob(state, event.job)) return `is about job ${event.job} of ${state.jobs.length}`;
  const { phase } = state.jobs[event.job]!;
  if (hasEnded(phase)) return `came after job ${event.job} had ended`;
  switch (event.kind) {
    case 'jobReady':
      return phase === 'PENDING' ? namedFault(state, event.inputJobs) : `came a second time for job ${event.job}`;
    case 'jobSkipped':
      return phase === 'PENDING' ? namedFault(state, event.causes) : `came after job ${event.job} was ready`;
    case 'jobRetryScheduled':
      if (!isTime(event.nextAttemptAt)) return `has the time ${event.nextAttemptAt}`;
      return phase === 'READY' ? null : `came before job ${event.job} was ready`;
    case 'jobSucceeded':
    case 'jobCheckpointed':
      return phase === 'READY' ? null : `came before job ${event.job} was ready`;
    case 'jobFailed':
    case 'jobCancelled':
      return null;
    default:
      return event satisfies never;
  }
}

function namedFault(state: WorkflowState, jobs: readonly number[]): string | null {
  const foreign = jobs.find((job) => !isJob(state, job));
  return foreign === undefined ? null : `names job ${foreign} of ${state.jobs.length}`;
}

function isJob({ jobs }: WorkflowState, index: number): boolean {
  return Number.isInteger(index) && index >= 0 && index < jobs.length;
}

/** Milliseconds since 1970 that a `Date` can hold. */
function isTime(at: number): boolean {
  return at >= 0 && at <= 8.64e15;
}
