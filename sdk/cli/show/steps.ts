/**
 * A watch as lines, one for each step that says something: for logs, pipes and terminals without a cursor.
 */
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { WatchStep } from '../../client/watch.ts';
import { clean, type Terminal } from '../terminal.ts';
import type { JobProgress, WorkflowProgress } from './progress.ts';
import { statusText } from './status.ts';
import { clockText, durationText } from './time.ts';

/**
 * The line for a step, or null when there is nothing new to say. `before` is the view before the step as a snapshot of the job it is about,
 * `after` the view after it.
 */
export function stepLine(
  canvas: Pick<Terminal, 'color'>,
  step: WatchStep,
  before: JobProgress | undefined,
  after: WorkflowProgress,
): string | null {
  if (step.kind === 'job') {
    const job = after.jobs.get(step.job.id);
    if (job === undefined || job.status !== 'RUNNING' || before?.status === 'RUNNING') return null;
    const worker = step.job.workerId === '' ? '' : ` on ${clean(step.job.workerId)}`;
    return `${clockText(job.startMs)}  ${job.id} ${statusText(canvas, 'RUNNING')}${worker}${attemptText(job)}`;
  }
  const { event } = step;
  const time = clockText(event.time === undefined ? 0 : timestampMs(event.time));
  switch (event.kind.case) {
    case 'submitted':
      return `${time}  ${after.name} ${after.id} ${statusText(canvas, 'PENDING')}`;
    case 'started':
    case 'paused':
    case 'resumed':
      return `${time}  ${after.name} ${statusText(canvas, after.status)}`;
    case 'cancelRequested':
    case 'timedOut':
      return `${time}  ${after.name} ${clean(after.remark)}`;
    case 'ended': {
      const took = after.startMs === 0 ? '' : ` after ${durationText(after.endMs - after.startMs)}`;
      return `${time}  ${after.name} ${statusText(canvas, after.status)}${took}${remark(after.remark)}`;
    }
    case 'jobReady':
    case 'jobCheckpointed':
    case undefined:
      return null;
    default: {
      const job = after.jobs.get(event.jobId);
      if (job === undefined) return null;
      const took = job.startMs === 0 || job.endMs === 0 ? '' : ` after ${durationText(job.endMs - job.startMs)}`;
      return `${time}  ${job.id} ${statusText(canvas, job.status)}${took}${attemptText(job)}${remark(job.remark)}`;
    }
  }
}

function attemptText(job: JobProgress): string {
  return job.attempt > 1 ? `, attempt ${job.attempt}` : '';
}

function remark(text: string): string {
  return text === '' ? '' : `: ${clean(text)}`;
}
