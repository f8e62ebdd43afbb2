/**
 * What happened to one workflow. Durable events are the journal; volatile ones say where an attempt runs and are never written:
 * a dispatch is not a fact, a result is.
 */
import type { Graph, Payload } from '../definition/graph.ts';
import type { AttemptRecord, JobError, SkipReason, WorkflowStatus } from './state.ts';

/** A fact: written to the journal, numbered from 1 in its workflow. `at` is milliseconds since 1970. */
export type DurableEvent =
  | {
      readonly kind: 'submitted';
      readonly at: number;
      readonly workflowId: string;
      readonly graph: Graph;
      readonly inputs: Payload;
      readonly labels: Readonly<Record<string, string>>;
      readonly idempotencyKey: string;
      readonly requestHash: string;
    }
  | { readonly kind: 'started'; readonly at: number }
  | { readonly kind: 'paused'; readonly at: number }
  | { readonly kind: 'resumed'; readonly at: number }
  | { readonly kind: 'cancelRequested'; readonly at: number; readonly reason: string; readonly force: boolean }
  | { readonly kind: 'timedOut'; readonly at: number; readonly limit: 'timeout' | 'cleanup_timeout' }
  | {
      readonly kind: 'ended';
      readonly at: number;
      readonly status: Extract<WorkflowStatus, 'SUCCEEDED' | 'FAILED' | 'CANCELLED'>;
      readonly outputs: Payload | null;
      readonly error: JobError | null;
      readonly errorJob: number | null;
    }
  | {
      readonly kind: 'jobReady';
      readonly at: number;
      readonly job: number;
      readonly parameters: Payload | null;
      readonly inputJobs: readonly number[];
    }
  | {
      readonly kind: 'jobSkipped';
      readonly at: number;
      readonly job: number;
      readonly reason: SkipReason;
      readonly causes: readonly number[];
    }
  | {
      readonly kind: 'jobRetryScheduled';
      readonly at: number;
      readonly job: number;
      readonly attempt: AttemptRecord;
      readonly error: JobError;
      readonly nextAttemptAt: number;
    }
  | { readonly kind: 'jobSucceeded'; readonly at: number; readonly job: number; readonly attempt: AttemptRecord; readonly output: Payload }
  | {
      readonly kind: 'jobFailed';
      readonly at: number;
      readonly job: number;
      readonly attempt: AttemptRecord | null;
      readonly error: JobError;
    }
  | { readonly kind: 'jobCancelled'; readonly at: number; readonly job: number; readonly attempt: AttemptRecord | null }
  | { readonly kind: 'jobCheckpointed'; readonly at: number; readonly job: number; readonly checkpoint: Payload };

/** Where an attempt runs: applied to the state, never written. */
export type VolatileEvent =
  | {
      readonly kind: 'attemptAssigned';
      readonly at: number;
      readonly job: number;
      readonly token: string;
      readonly workerId: string;
      readonly attempt: number;
      readonly fencingToken: number;
    }
  | { readonly kind: 'attemptAccepted'; readonly at: number; readonly job: number; readonly startedAt: number }
  | {
      readonly kind: 'attemptReleased';
      readonly at: number;
      readonly job: number;
      readonly reason: string;
      /** Its worker was lost before it had answered. */
      readonly workerLost: boolean;
    }
  | {
      readonly kind: 'attemptBeat';
      readonly at: number;
      readonly job: number;
      /** When the handler last showed life. */
      readonly beatAt: number;
      readonly progress: number | null;
      readonly progressMessage: string;
    }
  | { readonly kind: 'attemptCancelSent'; readonly at: number; readonly job: number; readonly token: string; readonly reason: string };

export type WorkflowEvent = DurableEvent | VolatileEvent;

/** Whether an event belongs into the journal. */
export function isDurable(event: WorkflowEvent): event is DurableEvent {
  return !event.kind.startsWith('attempt');
}
