/**
 * Copies and comparisons of workflow states. Graphs, payloads and closures are immutable and shared, everything else is copied, whatever it is:
 * a field that the engine adds to the state for itself is compared too.
 */
import { isDeepStrictEqual } from 'node:util';
import type { WorkflowEvent, WorkflowState } from '@workflow-orchestrator/engine/machine';
import { evolve, isDurable, replay } from '@workflow-orchestrator/engine/machine';

/** A copy that shares nothing mutable with its original. */
export function cloneState(state: WorkflowState): WorkflowState {
  return { ...(copy({ ...state, graph: null }) as object), graph: state.graph } as WorkflowState;
}

function copy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(copy);
  if (value instanceof Map) return new Map([...value].map(([key, entry]) => [key, copy(entry)]));
  if (value instanceof Set) return new Set(value);
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, copy(entry)]));
}

/** Whether two states of the same graph are the same in every field. */
export function sameState(a: WorkflowState, b: WorkflowState): boolean {
  return isDeepStrictEqual({ ...a, graph: null }, { ...b, graph: null });
}

/** The fold of some events from nothing; durable ones as they are read from a journal, which refuses what cannot have happened. */
export function fold(events: readonly WorkflowEvent[]): WorkflowState {
  const [first] = events;
  const workflowId = first?.kind === 'submitted' ? first.workflowId : '';
  const state = events.reduce<WorkflowState | null>(
    (before, event) => (isDurable(event) ? replay(before, workflowId, event) : evolve(before, event)),
    null,
  );
  if (state === null) throw new Error('no events');
  return state;
}

/** The fields of two states that differ, for messages. */
export function differences(actual: unknown, expected: unknown, path = 'state'): string[] {
  if (isDeepStrictEqual(actual, expected)) return [];
  if (typeof actual !== 'object' || typeof expected !== 'object' || actual === null || expected === null) {
    return [`${path}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`];
  }
  const keys = new Set([...Object.keys(actual), ...Object.keys(expected)]);
  keys.delete('graph');
  return [...keys].flatMap((key) => {
    return differences((actual as Record<string, unknown>)[key], (expected as Record<string, unknown>)[key], `${path}.${key}`);
  });
}
