/**
 * What each open job waits for: a total function over states, so that "nothing is ever stuck" is something that can be checked.
 *
 * Written from what the parts outside the engine do: workers answer assignments and end attempts (or are declared lost by their session),
 * the dispatcher serves `readyJobs`, the clock fires `nextWake`, people start and resume. Anything else would wait for ever.
 */
import { hasEnded, jobTimer, readyJobs, type WorkflowState } from '@workflow-orchestrator/engine/machine';

/** Who moves next for a job. */
export type NextEvent =
  /** Somebody starts the workflow. */
  | 'start'
  /** A job before it ends. */
  | 'source'
  /** A worker takes it, now or at the time of its next attempt. */
  | 'dispatch'
  /** Somebody resumes the workflow. */
  | 'resume'
  /** The worker that holds it answers or is lost. */
  | 'worker'
  /** Its timer fires. */
  | 'timer';

/** What job `index` waits for; null when it has ended. Throws when nothing can ever happen to it. */
export function nextEvent(state: WorkflowState, index: number): NextEvent | null {
  const job = state.jobs[index];
  const { finaliser, inEdges, id } = state.graph.jobs[index];
  switch (job.phase) {
    case 'SUCCEEDED':
    case 'FAILED':
    case 'CANCELLED':
    case 'SKIPPED':
      return null;
    case 'PENDING': {
      if (state.status === 'PENDING') return 'start';
      const open = (other: number): boolean => !hasEnded(state.jobs[other].phase);
      if (inEdges.some((edge) => open(edge.source))) return 'source';
      if (finaliser && state.graph.jobs.some((other) => !other.finaliser && open(other.index))) return 'source';
      throw new Error(`stuck: ${id} waits for nothing; ${describe(state)}`);
    }
    case 'READY':
      if (job.lease !== null) return 'worker';
      if (state.status === 'PAUSED') return 'resume';
      if (state.status === 'RUNNING' && readyJobs(state).includes(index)) return 'dispatch';
      if (jobTimer(state, index) !== null) return 'timer';
      throw new Error(`stuck: ${id} is READY and nobody serves it; ${describe(state)}`);
    default:
      return job.phase satisfies never;
  }
}

/** A state in a line. */
export function describe(state: WorkflowState): string {
  const jobs = state.jobs.map((job, index) => {
    const lease = job.lease === null ? '' : job.lease.acceptedAt === null ? '+lease' : '+running';
    return `${state.graph.jobs[index].id} ${job.phase}${lease}`;
  });
  return `${state.status}: ${jobs.join(', ')}`;
}
