/**
 * A workflow that nobody stopped ends as the second, independent reading of the workflow language says: a part of I12.
 */
import type { Graph } from '@workflow-orchestrator/engine/definition';
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import { fold } from '../../engine-support/snapshots.ts';
import { type AbstractGraph, type ConditionResult, evaluate, type Outcome } from '../../reference/evaluator.ts';

/** Conditions whose value is known from their text alone. */
const CONDITIONS: ReadonlyMap<string, ConditionResult> = new Map([
  ['', 'none'],
  ['true', 'true'],
  ['false', 'false'],
  ['1 / 0 == 1', 'error'],
]);

/** How the jobs of a workflow ended that should have ended otherwise. */
export function againstTheReference(graph: Graph, events: readonly DurableEvent[]): string[] {
  const abstract = abstractOf(graph);
  const isStopped = events.some(({ kind }) => kind === 'cancelRequested' || kind === 'timedOut');
  if (abstract === null || isStopped || events.at(-1)?.kind !== 'ended') return [];
  const { jobs } = fold(events);
  const verdict = evaluate(
    abstract,
    jobs.map(({ phase }): Outcome => (phase === 'FAILED' ? 'FAILED' : 'SUCCEEDED')),
  );
  return jobs.flatMap(({ phase, skipReason, causes }, index) => {
    const ending = verdict.jobs[index];
    const expected = ending.status === 'SKIPPED' ? `SKIPPED ${ending.reason} ${ending.causes}` : ending.status;
    const actual = phase === 'SKIPPED' ? `SKIPPED ${skipReason} ${causes}` : phase;
    return actual === expected ? [] : [`${graph.jobs[index].id} ended ${actual}, where the language says ${expected}`];
  });
}

/** The graph as the reference reads it; null when a condition depends on values. */
function abstractOf(graph: Graph): AbstractGraph | null {
  const conditions = graph.jobs.map(({ condition }) => CONDITIONS.get(condition?.source ?? ''));
  if (conditions.includes(undefined)) return null;
  const jobs = graph.jobs.map(({ id, join, alwaysRun, allowFailure, recover }, index) => {
    return { id, join, alwaysRun, allowFailure, recover, condition: conditions[index]! };
  });
  return { jobs, edges: graph.jobs.flatMap(({ inEdges }) => inEdges.map(({ source, target, kind }) => ({ source, target, kind }))) };
}
