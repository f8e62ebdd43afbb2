/**
 * A graph made ready for planning: only its shape decides, nothing that is known at run time only.
 *
 * Conditions are as the plan says, parameters and outputs are fixed and empty (an expression over an output that does not exist could only
 * fail), outputs are not checked, timeouts are off.
 */
import type { Graph, GraphJob, Payload } from '@workflow-orchestrator/engine/definition';

/** What becomes of a job in a plan, if it runs. `IF_FALSE`: its condition does not hold. */
export type PlannedOutcome = 'SUCCEEDED' | 'FAILED' | 'IF_FALSE';

/** The words, in the order in which they are tried. */
export const plannedOutcomes: readonly PlannedOutcome[] = ['SUCCEEDED', 'FAILED', 'IF_FALSE'];

/** The value null. */
export const nothing: Payload = { encoding: 'json', data: new TextEncoder().encode('null') };

/** The graph with everything forced but its shape. `outcomeOf` is asked when a job's condition is evaluated. */
export function forPlanning(graph: Graph, outcomeOf: (index: number) => PlannedOutcome): Graph {
  const jobs = graph.jobs.map(
    (job): GraphJob => ({
      ...job,
      condition: {
        source: job.condition?.source ?? 'true',
        evaluate: () => ({ kind: 'value', value: outcomeOf(job.index) !== 'IF_FALSE' }),
      },
      parameters: { kind: 'static', payload: nothing },
      checkOutput: null,
      timeouts: { queueMs: null, runMs: null, heartbeatMs: null, totalMs: null },
    }),
  );
  return { ...graph, jobs, outputs: null, timeoutMs: null, idempotencyKey: null };
}
