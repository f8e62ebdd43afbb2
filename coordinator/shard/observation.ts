/** What metrics are told of a workflow's events. */
import type { WorkflowEvent, WorkflowState } from '@workflow-orchestrator/engine/machine';
import type { ShardObserver } from './ports.ts';

/** Tells of one event. `state` is the one after it. */
export function observe(observer: ShardObserver, state: WorkflowState, event: WorkflowEvent): void {
  switch (event.kind) {
    case 'ended':
      observer.workflowEnded(event.status, event.at - state.submittedAt);
      return;
    case 'jobSucceeded':
    case 'jobFailed':
    case 'jobCancelled':
    case 'jobSkipped': {
      const { type } = state.graph.jobs[event.job]!;
      observer.jobEnded(type, state.jobs[event.job]!.phase);
      if (event.kind === 'jobFailed') observer.attemptFailed(type, event.error.code);
      return;
    }
    case 'jobRetryScheduled':
      observer.attemptFailed(state.graph.jobs[event.job]!.type, event.error.code);
      return;
    default:
  }
}
