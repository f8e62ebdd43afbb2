/** How large events are, roughly: for the bounds of a commit and of what waits for one. */
import type { DurableEvent, JobError } from '@workflow-orchestrator/engine/machine';

/** Bytes of what every event says: time, kind, job, attempt. */
const EVENT_BYTES = 64;

/** Approximate bytes of events as they are written. */
export function sizeOf(events: readonly DurableEvent[]): number {
  let bytes = 0;
  for (const event of events) bytes += EVENT_BYTES + payloadSize(event);
  return bytes;
}

function payloadSize(event: DurableEvent): number {
  switch (event.kind) {
    case 'submitted': {
      let bytes = 100 + event.inputs.data.length + event.idempotencyKey.length;
      for (const key in event.labels) bytes += key.length + event.labels[key]!.length;
      return bytes;
    }
    case 'jobSucceeded':
      return event.output.data.length;
    case 'jobReady':
      return (event.parameters?.data.length ?? 0) + 4 * event.inputJobs.length;
    case 'jobSkipped':
      return 4 * event.causes.length;
    case 'jobCheckpointed':
      return event.checkpoint.data.length;
    case 'jobFailed':
    case 'jobRetryScheduled':
      return errorSize(event.error);
    case 'ended':
      return (event.outputs?.data.length ?? 0) + (event.error === null ? 0 : errorSize(event.error));
    case 'cancelRequested':
      return event.reason.length;
    case 'started':
    case 'paused':
    case 'resumed':
    case 'timedOut':
    case 'jobCancelled':
      return 0;
    default:
      return event satisfies never;
  }
}

function errorSize({ message, stack, details }: JobError): number {
  return message.length + stack.length + (details?.data.length ?? 0);
}
