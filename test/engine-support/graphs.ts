/**
 * Graphs for engine tests, built straight from the abstract form: no YAML, conditions as closures, so that a fault here is the engine's.
 *
 * Invariant: what is built keeps the contract of `Graph` (edges of a job in file order, `order` topological, `reachable` as section 2.3 says).
 */
import { createHash } from 'node:crypto';
import type { Condition, Edge, EdgeKind, Graph, GraphJob, Json, Payload, Template } from '@workflow-orchestrator/engine/definition';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { AbstractGraph, AbstractJob } from '../reference/evaluator.ts';
import { parse, print } from '../reference/notation.ts';

/** What a test may set beside the shape. */
export interface GraphOptions {
  /** By job id: replaces fields of the built job. */
  readonly jobs?: Readonly<Record<string, Partial<GraphJob>>>;
  readonly timeoutMs?: number | null;
  readonly cleanupTimeoutMs?: number;
  readonly outputs?: Template | null;
}

/** A JSON value as a payload. */
export function json(value: Json): Payload {
  return { encoding: 'json', data: new TextEncoder().encode(JSON.stringify(value)) };
}

/** A graph from the notation of `reference/notation.ts`. */
export function graphOf(text: string, options: GraphOptions = {}): Graph {
  return buildGraph(parse(text), options);
}

/** A graph from its abstract form. Throws when it has a cycle. */
export function buildGraph(abstract: AbstractGraph, options: GraphOptions = {}): Graph {
  const edges: readonly Edge[] = abstract.edges;
  const jobs = abstract.jobs.map((job, index) => ({ ...buildJob(job, index, edges), ...options.jobs?.[job.id] }));
  return {
    hash: createHash('sha256').update(print(abstract)).digest('hex'),
    name: 'test',
    version: '',
    description: '',
    jobs,
    indexOf: new Map(jobs.map((job) => [job.id, job.index])),
    order: topologicalOrder(jobs),
    reachable: (source, outcome, target) => reachableAlong(jobs, source, outcome, target),
    timeoutMs: options.timeoutMs ?? null,
    cleanupTimeoutMs: options.cleanupTimeoutMs ?? 300_000,
    cancelGraceMs: limits.cancelGraceMs,
    assignmentBytes: limits.assignmentBytes,
    outputs: options.outputs ?? null,
    prepareInputs: (inputs) => ({ kind: 'ok', inputs }),
    idempotencyKey: null,
    inputsSchema: null,
  };
}

function buildJob(job: AbstractJob, index: number, edges: readonly Edge[]): GraphJob {
  const inEdges = edges.filter((edge) => edge.target === index);
  return {
    index,
    id: job.id,
    name: job.id,
    type: 'work',
    inEdges,
    outEdges: edges.filter((edge) => edge.source === index),
    alwaysRun: job.alwaysRun,
    finaliser: job.alwaysRun && inEdges.length === 0,
    condition: buildCondition(job),
    join: job.join,
    allowFailure: job.allowFailure,
    recover: job.recover,
    retry: {
      maxAttempts: 1,
      maxAttemptsWhenLost: 1 + limits.lostWorkerRedeliveries,
      initialDelayMs: 1000,
      factor: 2,
      maxDelayMs: 60_000,
      jitter: 0,
      on: [],
      notOn: [],
    },
    timeouts: { queueMs: null, runMs: null, heartbeatMs: null, totalMs: null },
    priority: 5,
    requiredLabels: new Map(),
    parameters: { kind: 'static', payload: json({}) },
    checkOutput: null,
  };
}

function buildCondition(job: AbstractJob): Condition | null {
  switch (job.condition) {
    case 'none':
      return null;
    case 'true':
    case 'false':
      return { source: job.condition, evaluate: () => ({ kind: 'value', value: job.condition === 'true' }) };
    case 'error':
      return { source: '1 / 0 == 1', evaluate: () => ({ kind: 'failure', message: `if of ${job.id}: division by zero` }) };
  }
}

function topologicalOrder(jobs: readonly GraphJob[]): number[] {
  const order: number[] = [];
  const visiting = new Set<number>();
  const visit = (index: number): void => {
    if (order.includes(index)) return;
    if (visiting.has(index)) throw new Error(`cycle through ${jobs[index].id}`);
    visiting.add(index);
    for (const edge of jobs[index].inEdges) visit(edge.source);
    order.push(index);
  };
  for (const job of jobs) visit(job.index);
  return order;
}

function reachableAlong(jobs: readonly GraphJob[], source: number, outcome: EdgeKind, target: number): boolean {
  if (source === target) return false;
  const seen = new Set<number>();
  const visit = (index: number): boolean => {
    if (index === target) return true;
    if (seen.has(index)) return false;
    seen.add(index);
    return jobs[index].outEdges.some((edge) => visit(edge.target));
  };
  return jobs[source].outEdges.some((edge) => edge.kind === outcome && visit(edge.target));
}
