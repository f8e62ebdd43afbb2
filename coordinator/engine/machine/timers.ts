/**
 * Timers: when something becomes due, and what. All of them are read off the state, so a recovered state has them armed.
 *
 * Invariants
 * 1. A due timer always leads to an event in `decide(tick)`, and that event disarms it: after a tick no timer is in the past.
 * 2. While a workflow is paused only the time in the queue stands still.
 */
import type { JobState, WorkflowState } from './state.ts';

/** What is due for a running attempt, or for a job in the queue. */
export type JobTimer = 'cancelGrace' | 'total' | 'run' | 'heartbeat' | 'queue';

/** What is due for the workflow. */
export type WorkflowTimer = 'timeout' | 'cleanup';

/** The next timer of one job; null when it has none. Of two at the same time the first in the order of `JobTimer` counts. */
export function jobTimer(state: WorkflowState, index: number): { readonly timer: JobTimer; readonly at: number } | null {
  const job = state.jobs[index]!;
  if (job.phase !== 'READY') return null;
  const { timeouts } = state.graph.jobs[index]!;
  const { lease } = job;
  if (lease !== null && lease.cancelAt !== null) return { timer: 'cancelGrace', at: lease.cancelAt + state.graph.cancelGraceMs };
  // Only after a recovery: it ran when it was told to stop, and its worker may come back with it.
  if (lease === null && isToStop(state, index)) {
    return { timer: 'cancelGrace', at: Math.max(firstStop(state), state.recoveredAt) + state.graph.cancelGraceMs };
  }
  let next: { timer: JobTimer; at: number } | null = null;
  const consider = (timer: JobTimer, since: number, limitMs: number | null): void => {
    if (limitMs !== null && (next === null || since + limitMs < next.at)) next = { timer, at: since + limitMs };
  };
  consider('total', job.readyAt, timeouts.totalMs);
  if (lease?.acceptedAt != null) {
    consider('run', lease.acceptedAt, timeouts.runMs);
    consider('heartbeat', lease.beatAt, timeouts.heartbeatMs);
  } else if (lease === null && state.status === 'RUNNING') {
    consider('queue', queuedSince(state, job), timeouts.queueMs);
  }
  return next;
}

function queuedSince(state: WorkflowState, job: JobState): number {
  return Math.max(job.notBefore, state.resumedAt, state.recoveredAt);
}

/** The next timer of the workflow itself; null when it has none. */
export function workflowTimer(state: WorkflowState): { readonly timer: WorkflowTimer; readonly at: number } | null {
  if (state.startedAt === 0 || state.endedAt !== 0) return null;
  const stoppedAt = Math.max(state.timedOutAt, state.cancelRequestedAt);
  if (stoppedAt !== 0) return state.forced ? null : { timer: 'cleanup', at: firstStop(state) + state.graph.cleanupTimeoutMs };
  return state.graph.timeoutMs === null ? null : { timer: 'timeout', at: state.startedAt + state.graph.timeoutMs };
}

function firstStop(state: WorkflowState): number {
  if (state.timedOutAt === 0) return state.cancelRequestedAt;
  if (state.cancelRequestedAt === 0) return state.timedOutAt;
  return Math.min(state.timedOutAt, state.cancelRequestedAt);
}

/** When the next timer of the workflow or of any job is due, in milliseconds since 1970; null when none is armed. Reads every job. */
export function nextWake(state: WorkflowState): number | null {
  let next = workflowTimer(state)?.at ?? null;
  for (let index = 0; index < state.jobs.length; index++) {
    const at = jobTimer(state, index)?.at;
    if (at !== undefined && (next === null || at < next)) next = at;
  }
  return next;
}

/** Whether a cancel or timeout of the workflow meant this job too: it is never dispatched again, and told to stop where it runs. */
export function isToStop(state: WorkflowState, index: number): boolean {
  return state.failuresBeforeStop !== null && (state.forced || !state.graph.jobs[index]!.alwaysRun);
}

/**
 * Jobs that wait for a worker, in the order of the file: READY without a lease. `JobState.notBefore` says from when on.
 * None while the workflow is paused, and none that is to stop.
 */
export function readyJobs(state: WorkflowState): readonly number[] {
  if (state.status !== 'RUNNING') return [];
  const ready: number[] = [];
  for (let index = 0; index < state.jobs.length; index++) {
    const job = state.jobs[index]!;
    if (job.phase === 'READY' && job.lease === null && !isToStop(state, index)) ready.push(index);
  }
  return ready;
}
