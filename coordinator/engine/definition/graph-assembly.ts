/**
 * The graph, put together from checked parts.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Wiring } from './edges.ts';
import type { Edge, Graph, GraphJob, Template } from './graph.ts';
import type { Inputs } from './inputs.ts';
import type { JobParts } from './job-compiler.ts';
import { reachability } from './reachability.ts';
import type { WorkflowFile } from './workflow-file.ts';

/** Everything that was read and compiled, without a problem. */
export interface Parts {
  readonly file: WorkflowFile;
  readonly inputs: Inputs;
  readonly wiring: Wiring;
  /** Of each job. */
  readonly parts: readonly JobParts[];
  readonly outputs: Template | null;
  readonly idempotencyKey: Graph['idempotencyKey'];
  readonly hash: string;
}

/** Puts the graph together. */
export function assemble({ file, inputs, wiring, parts, outputs, idempotencyKey, hash }: Parts): Graph {
  const outEdges: Edge[][] = file.jobs.map(() => []);
  const inEdges: Edge[][] = file.jobs.map(() => []);
  for (const edge of wiring.edges.toSorted(byPlace)) {
    outEdges[edge.source].push(edge);
    inEdges[edge.target].push(edge);
  }
  const jobs = file.jobs.map((job, index): GraphJob => {
    const { condition, parameters, checkOutput } = parts[index];
    return {
      index,
      id: job.id,
      name: job.name,
      type: job.type,
      inEdges: inEdges[index],
      outEdges: outEdges[index],
      alwaysRun: job.alwaysRun,
      finaliser: wiring.finalisers[index],
      condition,
      join: job.join,
      allowFailure: job.allowFailure,
      recover: job.recover,
      retry: job.policy.retry,
      timeouts: job.policy.timeouts,
      priority: job.policy.priority,
      requiredLabels: job.policy.labels,
      parameters,
      checkOutput,
    };
  });
  return {
    hash,
    name: file.name,
    version: file.version,
    description: file.description,
    jobs,
    indexOf: wiring.indexOf,
    order: topologicalOrder(jobs),
    reachable: reachability(jobs),
    timeoutMs: file.timeoutMs,
    cleanupTimeoutMs: file.cleanupTimeoutMs,
    cancelGraceMs: limits.cancelGraceMs,
    assignmentBytes: limits.assignmentBytes,
    outputs,
    prepareInputs: inputs.prepare,
    idempotencyKey,
    inputsSchema: inputs.schema,
  };
}

/** The same edges in the same order, at whichever end they were written. */
function byPlace(a: Edge, b: Edge): number {
  return a.source - b.source || a.target - b.target || (a.kind === b.kind ? 0 : a.kind === 'success' ? -1 : 1);
}

/** Sources before targets; in the order of the file where there is a choice. The graph has no cycle. */
function topologicalOrder(jobs: readonly GraphJob[]): number[] {
  const open = jobs.map((job) => job.inEdges.length);
  const order = jobs.filter((job) => job.inEdges.length === 0).map((job) => job.index);
  for (let at = 0; at < order.length; at++) {
    for (const { target } of jobs[order[at]].outEdges) if (--open[target] === 0) order.push(target);
  }
  return order;
}
