/**
 * The graph of a workflow as the program draws it, from a compiled file or from what a coordinator knows.
 */

import type { Graph } from '@workflow-orchestrator/engine/definition';
import { type Definition, Edge_Kind, JobDefinition_Join } from '@workflow-orchestrator/proto';

/** An edge that comes in. */
export interface GraphEdge {
  readonly source: string;
  readonly kind: 'success' | 'failure';
}

/** One job. */
export interface GraphNode {
  readonly id: string;
  readonly type: string;
  readonly inEdges: readonly GraphEdge[];
  readonly alwaysRun: boolean;
  /** The `if`; empty when there is none. */
  readonly condition: string;
  readonly join: 'all' | 'any' | 'all_done';
}

/** A whole graph; jobs in the order of the file. */
export interface GraphModel {
  readonly name: string;
  readonly nodes: readonly GraphNode[];
}

/** From a compiled file. */
export function modelOfGraph(graph: Graph): GraphModel {
  return {
    name: graph.name,
    nodes: graph.jobs.map((job) => ({
      id: job.id,
      type: job.type,
      inEdges: job.inEdges.map((edge) => ({ source: graph.jobs[edge.source].id, kind: edge.kind })),
      alwaysRun: job.alwaysRun,
      condition: job.condition?.source ?? '',
      join: job.join,
    })),
  };
}

/** From a registered definition. */
export function modelOfDefinition(definition: Definition): GraphModel {
  return {
    name: definition.name,
    nodes: definition.jobs.map((job) => ({
      id: job.id,
      type: job.type,
      inEdges: job.inEdges.map((edge) => ({ source: edge.source, kind: edge.kind === Edge_Kind.FAILURE ? 'failure' : 'success' })),
      alwaysRun: job.alwaysRun,
      condition: job.condition,
      join: job.join === JobDefinition_Join.ANY ? 'any' : job.join === JobDefinition_Join.ALL_DONE ? 'all_done' : 'all',
    })),
  };
}

/** Edges that go out, by the id of their source, in the order of their targets in the file. */
export function outEdges(model: GraphModel): Map<string, { readonly target: GraphNode; readonly kind: GraphEdge['kind'] }[]> {
  const out = new Map<string, { target: GraphNode; kind: GraphEdge['kind'] }[]>(model.nodes.map((node) => [node.id, []]));
  for (const target of model.nodes) for (const edge of target.inEdges) out.get(edge.source)?.push({ target, kind: edge.kind });
  return out;
}

/** What is special about a job, for people: `if ...`, `join any`, `always runs`. */
export function traitsOf(node: GraphNode): string[] {
  return [
    ...(node.condition === '' ? [] : [`if ${node.condition}`]),
    ...(node.join === 'all' ? [] : [`join ${node.join}`]),
    ...(node.alwaysRun ? ['always runs'] : []),
  ];
}
