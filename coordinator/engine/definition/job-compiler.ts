/**
 * The expressions and schemas of jobs and of the workflow, compiled.
 *
 * Invariants
 * 1. Parameters and outputs are maps, or one expression that gives a map.
 * 2. The idempotency key is computed before there is a workflow: it reads inputs only.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import type { JobRead } from './ancestry.ts';
import { compileCondition } from './expression/condition.ts';
import { type ExpressionContext, isText } from './expression/expression.ts';
import { compileParts, expressionsOf, type Part, type PlaceIn, renderText, templateOf } from './expression/template.ts';
import type { DeclaredInput } from './expression/variables.ts';
import type { Condition, Graph, GraphJob, Json, Scope, Template } from './graph.ts';
import type { JobFile } from './job-file.ts';
import { describe, type Node, type ScalarNode } from './node.ts';
import { readOutputSchema } from './output-schema.ts';
import { jsonPayload } from './payload.ts';

/** What of a job had to be compiled. */
export interface JobParts {
  readonly condition: Condition | null;
  readonly parameters: Template;
  readonly checkOutput: GraphJob['checkOutput'];
}

/** Compiles a job; what it reads of other jobs goes to `reads`. */
export function compileJob(context: ExpressionContext, declared: readonly DeclaredInput[], job: JobFile, reads: JobRead[]): JobParts {
  const placeIn: PlaceIn = (node) => ({
    forEach: job.forEach,
    readsJob: (read, offset) => reads.push({ reader: job.index, read, node: node as ScalarNode, offset }),
  });
  const { condition, parameters } = job;
  return {
    condition: condition === null ? null : compileCondition(context, condition, placeIn(condition), declared),
    parameters: parameters === null ? EMPTY : compileMap(context, declared, parameters, placeIn, 'parameters'),
    checkOutput: readOutputSchema(context, job.outputsSchema),
  };
}

const EMPTY: Template = { kind: 'static', payload: jsonPayload({}) };

/** Compiles the workflow's `outputs`. */
export function compileOutputs(context: ExpressionContext, declared: readonly DeclaredInput[], node: Node): Template {
  return compileMap(context, declared, node, () => ({ forEach: false, readsJob: () => {} }), 'outputs');
}

function compileMap(context: ExpressionContext, declared: readonly DeclaredInput[], node: Node, placeIn: PlaceIn, what: string): Template {
  if (node.kind === 'scalar' && node.value === null) return EMPTY;
  if (node.kind !== 'map' && !(isText(node) && node.value.includes('${{'))) {
    context.problems.add(node, 'bad-type', `${what} must be a map, found ${describe(node)}`, `write  ${what}: { key: value }`);
    return EMPTY;
  }
  const part = compileParts(context, node, placeIn);
  if (part.kind === 'text') {
    context.problems.add(
      node,
      'bad-type',
      `${what} must be a map, found text`,
      'one expression and nothing else may give a map: ${{ ... }}',
    );
  }
  const template = templateOf(part, declared, what);
  if (template.kind === 'static' && template.payload.data.length > limits.parametersBytes) {
    const message = `${what} have ${template.payload.data.length} bytes, more than parametersBytes (${limits.parametersBytes})`;
    context.problems.add(node, 'limit', message, 'pass large data as inputs or by reference');
  }
  return template;
}

/** Longest idempotency key, as requests may bring one. */
const MAX_KEY_LENGTH = 255;

/** Compiles `idempotency_key`. */
export function compileKey(context: ExpressionContext, declared: readonly DeclaredInput[], node: Node): Graph['idempotencyKey'] {
  if (!isText(node)) {
    const hint = 'write for instance "${{ inputs.order_id }}"';
    context.problems.add(node, 'bad-type', `idempotency_key must be text, found ${describe(node)}`, hint);
    return null;
  }
  const part = compileParts(context, node, () => ({ forEach: false, readsJob: () => {} }));
  checkKeyReads(context, node, part);
  return (inputs) => {
    const rendered = renderText(part, scopeOf(inputs), declared);
    if (rendered.kind === 'failure') return rendered;
    const { value } = rendered;
    if (value.trim() === '' || value === 'null') return { kind: 'failure', message: 'idempotency_key is empty for these inputs' };
    if (value.length <= MAX_KEY_LENGTH) return { kind: 'value', value };
    return { kind: 'failure', message: `idempotency_key has ${value.length} characters, at most ${MAX_KEY_LENGTH} are allowed` };
  };
}

function checkKeyReads({ problems }: ExpressionContext, node: ScalarNode, part: Part): void {
  for (const { jobs, inspection } of expressionsOf(part)) {
    const named = jobs.length > 0 ? 'jobs' : inspection.reads.workflow ? 'workflow' : inspection.reads.failure ? 'failure' : null;
    if (named === null) continue;
    const message = `'${named}' is not known yet when idempotency_key is computed`;
    problems.add(node, 'unknown-name', message, 'it is computed when the workflow is submitted, from inputs');
  }
}

function scopeOf(inputs: Json): Scope {
  const job = { output: null, status: '', error: null };
  return { inputs, job: () => job, workflow: { id: '', name: '', status: '' }, failure: null };
}
