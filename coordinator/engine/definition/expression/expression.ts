/**
 * One expression: from its text to something that can be evaluated.
 *
 * Invariants
 * 1. Compiling tells every fault of the expression at its place in the file; a fault in it hides none elsewhere.
 * 2. Evaluating never throws and always ends: a failure is a value.
 */
import type { ParseResult } from '@marcbachmann/cel-js';
import { limits } from '@workflow-orchestrator/proto/limits';
import { type Budget, BudgetExceeded } from '../budget.ts';
import { knownJobs } from '../edges.ts';
import type { Reading } from '../fields.ts';
import type { ExpressionFailure } from '../graph.ts';
import type { Node, ScalarNode } from '../node.ts';
import { quote, type Rule } from '../problem.ts';
import { offsetInside } from '../scalar-offset.ts';
import { type CelError, check, evaluate, lastValue, parse } from './cel.ts';
import { explain, explainFailure } from './message.ts';
import { type Names, type Rewritten, rewriteNames, UNKNOWN } from './names.ts';
import { type Inspection, inspect } from './references.ts';
import type { Variables } from './variables.ts';

/** What all expressions of a file know. */
export interface ExpressionContext extends Reading {
  readonly names: Names;
  /** The type of each input, by index. */
  readonly inputTypes: readonly string[];
}

/** Where an expression stands. */
export interface ExpressionPlace {
  readonly node: ScalarNode;
  /** Offset of the expression in the value of `node`. */
  readonly index: number;
  /** Whether `item` and `index` may be named. */
  readonly forEach: boolean;
  /** Told of each job that the expression reads, with the offset in the file. */
  readonly readsJob: (job: number, offset: number) => void;
}

/** A compiled expression. */
export interface Expression {
  readonly source: string;
  /** CEL type of its value; `dyn` when it is known only later. */
  readonly type: string;
  /** Whether it reads nothing, so that its value is always the same. */
  readonly constant: boolean;
  readonly inspection: Inspection;
  /** Jobs that it names. */
  readonly jobs: readonly number[];
  /** Its CEL value, or why there is none. */
  readonly evaluate: (variables: Variables, budget: Budget) => Evaluated;
}

/** A CEL value, or why there is none. */
export type Evaluated = { readonly kind: 'value'; readonly value: unknown } | ExpressionFailure;

/** Compiles; null when there is a fault, which was told. */
export function compileExpression(context: ExpressionContext, source: string, place: ExpressionPlace): Expression | null {
  const { problems } = context;
  const before = problems.count;
  const offsetOf = (index: number): number => offsetInside(problems.source, place.node, place.index + index);
  const tell = (index: number, rule: Rule, message: string, hint: string): void =>
    problems.addInside(place.node, offsetOf(index), rule, message, hint);
  if (source.trim() === '') {
    tell(0, 'expression-syntax', 'the expression is empty', "write for instance inputs.env == 'prod'");
    return null;
  }
  if (source.length > limits.expressionLength) {
    const message = `the expression has ${source.length} characters, more than expressionLength (${limits.expressionLength})`;
    tell(0, 'expression-limit', message, 'compute it in a job');
    return null;
  }
  const rewritten = rewriteNames(source, context.names);
  const jobs = tellNames(context, rewritten, tell, (job, index) => place.readsJob(job, offsetOf(index)));
  const parsed = parseSafely(rewritten, tell);
  if (parsed === null) return null;
  const inspection = inspect(parsed.ast, place.forEach, context.patterns);
  for (const { offset, rule, message, hint } of inspection.faults) tell(rewritten.toSource(offset), rule, message, hint);
  const { type, errors } = check(parsed, context.inputTypes);
  for (const error of errors) {
    // Names without a job or input were told above, better.
    if (error.code === 'no_such_key' && error.summary.endsWith(` ${UNKNOWN}`)) continue;
    const { rule, message, hint } = explain(error, context.suggestions);
    tell(rewritten.toSource(error.range?.start ?? 0), rule, message, hint);
  }
  return problems.count > before ? null : expressionOf(source, rewritten, parsed, { type, inspection, jobs });
}

/** Apart from the compiler, so that an expression does not keep the file's tree alive. */
function expressionOf(
  source: string,
  rewritten: Rewritten,
  parsed: ParseResult,
  known: Pick<Expression, 'type' | 'inspection' | 'jobs'>,
): Expression {
  return {
    source,
    constant: known.inspection.reads.nothing,
    ...known,
    evaluate: (variables, budget) => evaluateSafely(source, rewritten, parsed, variables, budget),
  };
}

type Tell = (index: number, rule: Rule, message: string, hint: string) => void;

/** Tells names that do not exist; answers the jobs that do. */
function tellNames(
  { names, suggestions }: ExpressionContext,
  { references, unnamed }: Rewritten,
  tell: Tell,
  readsJob: (job: number, index: number) => void,
): number[] {
  const jobs = new Set<number>();
  for (const { kind, name, index, start } of references) {
    if (kind === 'job' && index >= 0) {
      jobs.add(index);
      readsJob(index, start);
    } else if (kind === 'job') {
      tell(start, 'unknown-job', `no job ${quote(name)}`, suggestions.hint(name, names.jobs.keys(), knownJobs(names.jobs)));
    } else if (index < 0 && !names.anyInput) {
      const known = [...names.inputs.keys()].slice(0, 10).join(', ');
      const otherwise = known === '' ? 'declare it below inputs' : `known inputs: ${known}`;
      tell(start, 'unknown-input', `no input ${quote(name)}`, suggestions.hint(name, names.inputs.keys(), otherwise));
    }
  }
  for (const { kind, start } of unnamed) {
    const message = kind === 'job' ? "'jobs' must be followed by the name of a job" : "'inputs' must be followed by the name of an input";
    tell(start, 'unknown-name', message, kind === 'job' ? 'write jobs.<id>.output' : 'write inputs.<name>');
  }
  return [...jobs];
}

function parseSafely(rewritten: Rewritten, tell: Tell): ParseResult | null {
  try {
    return parse(rewritten.text);
  } catch (error) {
    const known = error as Partial<CelError>;
    const offset = known.range?.start ?? 0;
    const { rule, message, hint } = explain(
      { code: known.code ?? '', summary: known.summary ?? 'it cannot be parsed', range: known.range },
      null,
    );
    const equals = rewritten.text[offset] === '=' ? 'to compare, write ==' : '';
    tell(rewritten.toSource(offset), rule, message, equals || hint);
    return null;
  }
}

function evaluateSafely(source: string, rewritten: Rewritten, parsed: ParseResult, variables: Variables, budget: Budget): Evaluated {
  try {
    return { kind: 'value', value: evaluate(parsed, variables.forNames(), budget) };
  } catch (error) {
    const shown = quote(source);
    if (error instanceof BudgetExceeded || budget.exceeded) {
      return { kind: 'failure', message: `${shown}: it takes more than expressionSteps (${limits.expressionSteps}) steps` };
    }
    return { kind: 'failure', message: `${shown}: ${explainFailure(error, rewritten, lastValue() === null)}` };
  }
}

/** Where an expression may stand that is written as plain text. */
export function isText(node: Node): node is ScalarNode & { readonly value: string } {
  return node.kind === 'scalar' && typeof node.value === 'string';
}
