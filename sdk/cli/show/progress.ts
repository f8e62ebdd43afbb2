/**
 * What a live view knows about a workflow: a fold of the steps of a watch. Pure.
 */
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Job, Job_Status, type JobError, type Workflow, Workflow_Status, type WorkflowEvent } from '@workflow-orchestrator/proto';
import { type JobStatusName, jobStatusName, skipReasonName, type WorkflowStatusName, workflowStatusName } from '../../client/status.ts';
import type { WatchStep } from '../../client/watch.ts';

/** One job as a view shows it. */
export interface JobProgress {
  readonly id: string;
  readonly status: JobStatusName | 'UNKNOWN';
  readonly attempt: number;
  /** 0 to 1, or null when the handler says nothing. */
  readonly fraction: number | null;
  /** Words of the handler, an error, a reason. */
  readonly remark: string;
  /** Milliseconds since 1970; 0 before. */
  readonly startMs: number;
  readonly endMs: number;
}

/** A workflow as a view shows it. */
export interface WorkflowProgress {
  readonly id: string;
  readonly name: string;
  readonly status: WorkflowStatusName | 'UNKNOWN';
  readonly remark: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly jobs: ReadonlyMap<string, JobProgress>;
}

/** The view of a workflow as it was read. */
export function progressOf(workflow: Workflow): WorkflowProgress {
  return {
    id: workflow.id,
    name: workflow.name,
    status: workflowStatusName(workflow.status),
    remark: workflow.error === undefined ? '' : errorText(workflow.error),
    startMs: workflow.startTime === undefined ? 0 : timestampMs(workflow.startTime),
    endMs: workflow.endTime === undefined ? 0 : timestampMs(workflow.endTime),
    jobs: new Map(workflow.jobs.map((job) => [job.id, jobProgress(job)])),
  };
}

function jobProgress(job: Job): JobProgress {
  return {
    id: job.id,
    status: jobStatusName(job.status),
    attempt: job.attempt,
    fraction: job.status === Job_Status.RUNNING ? (job.progress ?? null) : null,
    remark: remarkOf(job),
    startMs: job.startTime === undefined ? 0 : timestampMs(job.startTime),
    endMs: job.endTime === undefined ? 0 : timestampMs(job.endTime),
  };
}

function remarkOf(job: Job): string {
  switch (job.status) {
    case Job_Status.RUNNING:
      return job.progressMessage;
    case Job_Status.FAILED:
    case Job_Status.RETRYING:
      return job.error === undefined ? '' : errorText(job.error);
    case Job_Status.SKIPPED:
      return skipText(skipReasonName(job.skipReason), job.causes);
    default:
      return '';
  }
}

/** `TIMEOUT: ran for longer than 30 s`. */
export function errorText(error: { readonly code: string; readonly message: string }): string {
  return [error.code, error.message].filter((part) => part !== '').join(': ');
}

function skipText(reason: string | null, causes: readonly string[]): string {
  return [reason ?? '', ...(causes.length === 0 ? [] : [`because of ${causes.join(', ')}`])].join(' ').trim();
}

/** The view after one more step. `idOf` names the job of an event that names it by its place only. */
export function afterStep(view: WorkflowProgress, step: WatchStep): WorkflowProgress {
  if (step.kind === 'job') return withJob(view, jobProgress(step.job));
  return afterEvent(view, step.event);
}

function afterEvent(view: WorkflowProgress, event: WorkflowEvent): WorkflowProgress {
  const atMs = event.time === undefined ? 0 : timestampMs(event.time);
  const { kind } = event;
  const job = (change: Partial<JobProgress>) => withJob(view, { ...jobOf(view, event.jobId), fraction: null, ...change });
  const attempt = (record: { number: number; startMs: bigint } | undefined) =>
    record === undefined ? {} : { attempt: record.number, startMs: Number(record.startMs) };
  switch (kind.case) {
    case 'submitted':
      return { ...view, status: 'PENDING' };
    case 'started':
      return { ...view, status: 'RUNNING', startMs: atMs };
    case 'paused':
      return { ...view, status: 'PAUSED' };
    case 'resumed':
      return { ...view, status: 'RUNNING' };
    case 'cancelRequested':
      return { ...view, remark: `being cancelled${kind.value.reason === '' ? '' : `: ${kind.value.reason}`}` };
    case 'timedOut':
      return { ...view, remark: `TIMEOUT: ${kind.value.limit} has passed` };
    case 'ended':
      return {
        ...view,
        status: workflowStatusName(kind.value.status),
        endMs: atMs,
        remark: kind.value.error === undefined ? '' : errorText(kind.value.error),
      };
    case 'jobReady':
      return job({ status: 'READY', remark: '' });
    case 'jobSkipped':
      return job({
        status: 'SKIPPED',
        endMs: atMs,
        remark: skipText(skipReasonName(kind.value.reason), causesOf(view, kind.value.causes)),
      });
    case 'jobRetryScheduled':
      return job({ status: 'RETRYING', ...attempt(kind.value.attempt), remark: remarkOfError(kind.value.error) });
    case 'jobSucceeded':
      return job({ status: 'SUCCEEDED', endMs: atMs, ...attempt(kind.value.attempt), remark: '' });
    case 'jobFailed':
      return job({ status: 'FAILED', endMs: atMs, ...attempt(kind.value.attempt), remark: remarkOfError(kind.value.error) });
    case 'jobCancelled':
      return job({ status: 'CANCELLED', endMs: atMs, ...attempt(kind.value.attempt), remark: '' });
    default:
      return view;
  }
}

function remarkOfError(error: JobError | undefined): string {
  return error === undefined ? '' : errorText(error);
}

function causesOf(view: WorkflowProgress, causes: readonly number[]): string[] {
  const ids = [...view.jobs.keys()];
  return causes.map((index) => ids[index] ?? `#${index}`);
}

function jobOf(view: WorkflowProgress, id: string): JobProgress {
  return view.jobs.get(id) ?? { id, status: 'PENDING', attempt: 0, fraction: null, remark: '', startMs: 0, endMs: 0 };
}

function withJob(view: WorkflowProgress, job: JobProgress): WorkflowProgress {
  // The map belongs to this fold alone: copying 10 000 jobs for each event would be the larger cost.
  (view.jobs as Map<string, JobProgress>).set(job.id, job);
  return { ...view };
}

/** How many jobs are in each status; those that there are none of are left out. */
export function countsOf(view: WorkflowProgress): Partial<Record<JobStatusName | 'UNKNOWN', number>> {
  const counts: Partial<Record<JobStatusName | 'UNKNOWN', number>> = {};
  for (const job of view.jobs.values()) counts[job.status] = (counts[job.status] ?? 0) + 1;
  return counts;
}

/** Whether the view is at its end. */
export function isOver(view: WorkflowProgress): boolean {
  return view.status === 'SUCCEEDED' || view.status === 'FAILED' || view.status === 'CANCELLED';
}

/** The number of a status' word. */
export function statusOf(view: WorkflowProgress): Workflow_Status {
  return view.status === 'UNKNOWN' ? Workflow_Status.STATUS_UNSPECIFIED : Workflow_Status[view.status];
}
