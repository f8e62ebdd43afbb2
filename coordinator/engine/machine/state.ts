/**
 * The state of one workflow, as the fold of its events.
 *
 * Invariants
 * 1. Only `evolve` writes here. `decide` reads.
 * 2. A job that has ended never changes again; a workflow that has ended never changes again.
 * 3. `lease` is volatile: it is set by volatile events, is not in the journal, and is gone after a recovery; `recoveredAt` says when that was.
 *    Everything else is the fold of durable events alone.
 * 4. All times are milliseconds since 1970, given by the shell with each command.
 */
import type { Graph, Payload } from '../definition/graph.ts';

export type WorkflowStatus = 'PENDING' | 'RUNNING' | 'PAUSED' | 'SUCCEEDED' | 'FAILED' | 'CANCELLED';
/** READY covers running and waiting to retry too, for where an attempt runs is no fact: see `jobStatus`. */
export type JobPhase = 'PENDING' | 'READY' | 'SUCCEEDED' | 'FAILED' | 'CANCELLED' | 'SKIPPED';
/** What people are shown. */
export type JobStatus = JobPhase | 'RUNNING' | 'RETRYING';
export type SkipReason = 'CONDITION_FALSE' | 'BRANCH_NOT_TAKEN' | 'UPSTREAM_FAILED' | 'UPSTREAM_SKIPPED';

/** An error of a job. `details` stays unparsed. */
export interface JobError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly details: Payload | null;
  /** The handler asks the next attempt to wait at least this long; 0 when it does not. */
  readonly retryAfterMs: number;
  readonly stack: string;
}

/** Who tried, and since when. `workerId` is empty and `startMs` 0 when no worker had accepted it. */
export interface AttemptRecord {
  readonly number: number;
  /** The lease token it ran under: tells a repeated result from a foreign one. Empty when it never had a lease. */
  readonly token: string;
  readonly workerId: string;
  readonly startMs: number;
}

/** An attempt that has ended. */
export interface EndedAttempt extends AttemptRecord {
  readonly endMs: number;
  readonly outcome: 'SUCCEEDED' | 'FAILED' | 'CANCELLED';
  readonly error: JobError | null;
}

/** A job's place on a worker: volatile. */
export interface Lease {
  readonly token: string;
  readonly workerId: string;
  readonly attempt: number;
  readonly fencingToken: number;
  readonly assignedAt: number;
  /** Null until the worker accepts it. */
  readonly acceptedAt: number | null;
  /** When the handler last showed life; equals `acceptedAt` at first. */
  readonly beatAt: number;
  /** When the worker was told to stop; null while it was not. */
  readonly cancelAt: number | null;
  readonly progress: number | null;
  readonly progressMessage: string;
}

/** One job of one workflow. Immutable: `evolve` replaces it. */
export interface JobState {
  readonly phase: JobPhase;
  readonly skipReason: SkipReason | null;
  /** Indexes of failed jobs, ascending. */
  readonly causes: readonly number[];
  /** When it became READY; 0 before. */
  readonly readyAt: number;
  /** No attempt starts before this time: `readyAt`, later the time of the next attempt. */
  readonly notBefore: number;
  /** Rendered parameters; null when the definition's are static. */
  readonly parameters: Payload | null;
  /** Jobs whose outputs are its input, by index. */
  readonly inputJobs: readonly number[];
  /** Attempts that ended, oldest first. */
  readonly attempts: readonly EndedAttempt[];
  readonly checkpoint: Payload | null;
  readonly output: Payload | null;
  /** Of the last attempt that failed, or of the job itself. */
  readonly error: JobError | null;
  /** 0 before the end. */
  readonly endedAt: number;
  /** Volatile. */
  readonly lease: Lease | null;
  /** Volatile: offers in a row whose worker was lost before it had answered. */
  readonly lostOffers: number;
}

/** One workflow. */
export interface WorkflowState {
  readonly id: string;
  readonly graph: Graph;
  readonly inputs: Payload;
  readonly labels: Readonly<Record<string, string>>;
  readonly idempotencyKey: string;
  readonly requestHash: string;
  readonly submittedAt: number;
  status: WorkflowStatus;
  /** 0 before the start. */
  startedAt: number;
  /** When it was last resumed; 0 when never. Time in the queue counts from here. */
  resumedAt: number;
  /** Volatile: until when workers may come back with what ran before this coordinator read the workflow from the journal; 0 when it did not. */
  recoveredAt: number;
  /** 0 before the end. */
  endedAt: number;
  /** 0 until a cancel was accepted. */
  cancelRequestedAt: number;
  cancelReason: string;
  /** A cancel with force was accepted, or `cleanup_timeout` passed: always_run jobs end too. */
  forced: boolean;
  /** 0 until `timeout` passed. */
  timedOutAt: number;
  /** Jobs that FAILED without `allow_failure`, in the order in which they did. */
  failures: readonly number[];
  /** How many of `failures` were there when the first cancel or timeout came; null before one. Later ones do not change how the workflow ends. */
  failuresBeforeStop: number | null;
  outputs: Payload | null;
  error: JobError | null;
  /** The job that `error` is about; null when it is about the workflow. */
  errorJob: number | null;
  /** Number of durable events so far. */
  seq: number;
  readonly jobs: JobState[];
  /** Jobs that have not ended. */
  openJobs: number;
  /** Jobs that are no finaliser and have not ended. */
  openRegularJobs: number;
}

/** What people are shown for a job at `now`. */
export function jobStatus(job: JobState, now: number): JobStatus {
  if (job.phase !== 'READY') return job.phase;
  if (job.lease?.acceptedAt != null) return 'RUNNING';
  return job.attempts.length > 0 && job.notBefore > now ? 'RETRYING' : 'READY';
}

/** Whether the status is one that never changes again. */
export function hasEnded(status: WorkflowStatus | JobPhase): boolean {
  return status === 'SUCCEEDED' || status === 'FAILED' || status === 'CANCELLED' || status === 'SKIPPED';
}
