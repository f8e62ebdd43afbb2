/**
 * The `if` of a job.
 *
 * Invariants
 * 1. The value is true or false; anything else is a failure, and where it is known before, a problem.
 * 2. `false` alone switches a job off and is allowed. Any other condition that is false whatever happens is a mistake and refused.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { Budget } from '../budget.ts';
import type { Condition, ExpressionResult, Scope } from '../graph.ts';
import type { Node, ScalarNode } from '../node.ts';
import { quote } from '../problem.ts';
import { compileExpression, type Expression, type ExpressionContext, isText } from './expression.ts';
import { type TemplatePlace, tellOpen } from './template.ts';
import { splitTemplate } from './template-text.ts';
import { type DeclaredInput, Variables } from './variables.ts';

/** Compiles an `if`; null when there is a fault, which was told. */
export function compileCondition(
  context: ExpressionContext,
  node: Node,
  place: TemplatePlace,
  declared: readonly DeclaredInput[],
): Condition | null {
  const { problems } = context;
  if (node.kind === 'scalar' && typeof node.value === 'boolean') {
    const value = node.value;
    return { source: `${value}`, evaluate: () => ({ kind: 'value', value }) };
  }
  if (!isText(node)) return null;
  const bare = unwrap(context, node);
  if (bare === null) return null;
  const expression = compileExpression(context, bare.source, { ...place, node, index: bare.index });
  if (expression === null) return null;
  if (expression.type !== 'bool' && expression.type !== 'dyn') {
    const hint = expression.type === 'string' ? "compare it: value == 'text'" : 'compare it with something';
    problems.add(node, 'expression-type', `if must be true or false, this is of type ${expression.type}`, hint);
    return null;
  }
  const evaluate = (scope: Scope): ExpressionResult<boolean> =>
    evaluateBoolean(expression, new Variables(scope, declared, expression.jobs));
  if (expression.constant && expression.source !== 'false' && isFalse(evaluate)) {
    const message = `the job can never run: ${quote(expression.source)} is always false`;
    problems.add(node, 'never-runs', message, 'to switch the job off, write  if: false');
    return null;
  }
  return { source: expression.source, evaluate };
}

/** The expression without the `${{ }}` around it. */
function unwrap(context: ExpressionContext, node: ScalarNode & { readonly value: string }): { source: string; index: number } | null {
  const { value } = node;
  const lead = value.length - value.trimStart().length;
  if (!value.includes('${{')) return { source: value.trim(), index: lead };
  const split = splitTemplate(value);
  if (split.kind === 'open') {
    tellOpen(context, node, split.index);
    return null;
  }
  const pieces = split.pieces.filter((piece) => piece.kind === 'expression' || piece.text.trim() !== '');
  const [only] = pieces;
  if (pieces.length === 1 && only.kind === 'expression') return only;
  const message = 'only a part of the condition stands in ${{ }}';
  context.problems.add(node, 'template-syntax', message, 'write the whole condition inside of one ${{ }}, or leave it away');
  return null;
}

function evaluateBoolean(expression: Expression, variables: Variables): ExpressionResult<boolean> {
  const result = expression.evaluate(variables, new Budget(limits.expressionSteps));
  if (result.kind === 'failure') return { kind: 'failure', message: `if ${result.message}` };
  if (typeof result.value === 'boolean') return { kind: 'value', value: result.value };
  return { kind: 'failure', message: `if ${quote(expression.source)}: the value is neither true nor false` };
}

/** The scope of an expression that reads nothing. */
const nothing: Scope = {
  inputs: {},
  job: () => ({ output: null, status: '', error: null }),
  workflow: { id: '', name: '', status: '' },
  failure: null,
};

function isFalse(evaluate: (scope: Scope) => ExpressionResult<boolean>): boolean {
  const result = evaluate(nothing);
  return result.kind === 'value' && !result.value;
}
