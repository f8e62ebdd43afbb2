/** What the journal of a shard holds: every workflow as the fold of its events. */
import type { WorkflowState } from '@workflow-orchestrator/engine/machine';
import { evolve } from '@workflow-orchestrator/engine/machine';
import type { Store } from '../store/store.ts';
import { History } from './history.ts';

/** One workflow as it was read. */
export interface FoundWorkflow {
  readonly state: WorkflowState;
  readonly events: History;
}

/** Everything that was read. */
export interface FoundWorkflows {
  /** In the order of submission. */
  readonly workflows: readonly FoundWorkflow[];
  /** Time of the latest event, milliseconds since 1970; 0 without one. */
  readonly lastAt: number;
}

/** Reads the whole journal. Rejects when it does not start with a submission, for it is damaged then. */
export async function readJournal(store: Store): Promise<FoundWorkflows> {
  const found = new Map<string, FoundWorkflow>();
  let lastAt = 0;
  for await (const { entries } of store.load(0)) {
    for (const { workflowId, events } of entries) {
      for (const event of events) {
        const known = found.get(workflowId);
        const workflow = known ?? { state: evolve(null, event), events: new History() };
        if (known === undefined) found.set(workflowId, workflow);
        else evolve(workflow.state, event);
        workflow.events.push(event);
        lastAt = Math.max(lastAt, event.at);
      }
    }
  }
  return { workflows: [...found.values()], lastAt };
}
