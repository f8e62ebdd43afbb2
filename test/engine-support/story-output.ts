/** What stories print: one line an event, one line for where the workflow stands. `#3` numbers durable events, `~` marks volatile ones. */
import type { Graph, Payload } from '@workflow-orchestrator/engine/definition';
import {
  type AttemptRecord,
  type JobError,
  jobStatus,
  nextWake,
  readyJobs,
  type WorkflowEvent,
  type WorkflowState,
} from '@workflow-orchestrator/engine/machine';
import { epochMs } from './run.ts';

/** A moment as seconds since the beginning of the story. */
function moment(at: number): string {
  return `${(at - epochMs) / 1000}s`;
}

/** One event. `seq` is its number when it is durable. */
export function eventLine(graph: Graph, event: WorkflowEvent, seq: number): string {
  const durable = `#${seq}`;
  const names = (jobs: readonly number[]): string => jobs.map((job) => graph.jobs[job].id).join(', ');
  const id = 'job' in event ? graph.jobs[event.job].id : '';
  switch (event.kind) {
    case 'submitted':
    case 'started':
    case 'paused':
    case 'resumed':
      return `${durable} ${event.kind}`;
    case 'cancelRequested':
      return `${durable} cancel requested${event.force ? ', forced' : ''}${event.reason === '' ? '' : `: ${event.reason}`}`;
    case 'timedOut':
      return `${durable} timed out: ${event.limit}`;
    case 'ended': {
      const about = event.errorJob === null ? '' : ` in ${names([event.errorJob])}`;
      return `${durable} ended ${event.status}${event.error === null ? '' : `: ${errorText(event.error)}${about}`}`;
    }
    case 'jobReady':
      return `${durable} ready ${id}${event.inputJobs.length > 0 ? `, from ${names(event.inputJobs)}` : ''}`;
    case 'jobSkipped':
      return `${durable} skipped ${id}: ${event.reason}${event.causes.length > 0 ? ` because of ${names(event.causes)}` : ''}`;
    case 'jobRetryScheduled':
      return `${durable} retry ${id} at ${moment(event.nextAttemptAt)}${attemptText(event.attempt)}: ${errorText(event.error)}`;
    case 'jobSucceeded':
      return `${durable} succeeded ${id}${attemptText(event.attempt)}: ${payloadText(event.output)}`;
    case 'jobFailed':
      return `${durable} failed ${id}${attemptText(event.attempt)}: ${errorText(event.error)}`;
    case 'jobCancelled':
      return `${durable} cancelled ${id}${attemptText(event.attempt)}`;
    case 'jobCheckpointed':
      return `${durable} checkpoint ${id}: ${payloadText(event.checkpoint)}`;
    case 'attemptAssigned':
      return `~ assigned ${id} to ${event.workerId}, attempt ${event.attempt}, token ${event.token}, fencing ${event.fencingToken}`;
    case 'attemptAccepted':
      return `~ accepted ${id}, running since ${moment(event.startedAt)}`;
    case 'attemptReleased':
      return `~ released ${id}${event.reason === '' ? '' : `: ${event.reason}`}`;
    case 'attemptBeat':
      return `~ beat ${id}, alive at ${moment(event.beatAt)}${event.progress === null ? '' : `, ${event.progress * 100} % ${event.progressMessage}`}`;
    case 'attemptCancelSent':
      return `~ told ${id} to stop${event.reason === '' ? '' : `: ${event.reason}`}`;
    default:
      return event satisfies never;
  }
}

/** Where the workflow stands after a block. */
export function standingLine(state: WorkflowState, now: number): string {
  const ready = readyJobs(state).map((index) => {
    const { notBefore } = state.jobs[index];
    return `${state.graph.jobs[index].id}${notBefore > now ? ` from ${moment(notBefore)}` : ''}`;
  });
  const wake = nextWake(state);
  const parts = [`${moment(now)} ${state.status}`];
  if (ready.length > 0) parts.push(`for workers: ${ready.join(', ')}`);
  if (wake !== null) parts.push(`next timer ${moment(wake)}`);
  return `= ${parts.join('; ')}`;
}

/** One job, for `show`. */
export function jobLine(state: WorkflowState, index: number, now: number): string {
  const job = state.jobs[index];
  const parts = [`${state.graph.jobs[index].id} ${jobStatus(job, now)}`];
  if (job.lease !== null) parts.push(`attempt ${job.lease.attempt} on ${job.lease.workerId}`);
  else if (job.attempts.length > 0) parts.push(`after ${job.attempts.length} attempt${job.attempts.length > 1 ? 's' : ''}`);
  if (job.skipReason !== null) parts.push(job.skipReason);
  if (job.error !== null) parts.push(job.error.code);
  if (job.checkpoint !== null) parts.push(`checkpoint ${payloadText(job.checkpoint)}`);
  return parts.join(', ');
}

function attemptText(attempt: AttemptRecord | null): string {
  if (attempt === null) return '';
  return `, attempt ${attempt.number}${attempt.workerId === '' ? '' : ` on ${attempt.workerId} since ${moment(attempt.startMs)}`}`;
}

function errorText(error: JobError): string {
  return `${error.code}${error.message === '' ? '' : `, ${error.message}`}`;
}

function payloadText(payload: Payload): string {
  return new TextDecoder().decode(payload.data);
}
