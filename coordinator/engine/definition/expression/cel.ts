/**
 * The one CEL environment of all definitions, with guards that the library lacks.
 *
 * Invariants
 * 1. Evaluation takes a bounded number of steps, counted at each node of the syntax tree; the bound holds for loops, for values that share parts,
 *    and for functions whose cost grows with their arguments.
 * 2. A check reports every type error of an expression, not only the first, and never builds types of unbounded size.
 * 3. Ints and doubles mix freely; anything may be compared with null.
 *
 * The library hands its checker and its evaluator to macros. That is how the guards get in: a macro that nobody else can call takes both, and their
 * `check` and `run`, through which every node passes, are wrapped. Everything here is synchronous, so that the state of the current run may be global.
 */
import { type ASTNode, Environment, EvaluationError, type ParseResult } from '@marcbachmann/cel-js';
import { limits } from '@workflow-orchestrator/proto/limits';
import { Budget, BudgetExceeded } from '../budget.ts';
import { compilePattern } from '../pattern.ts';
import { chargeFor, chargeText } from './cost.ts';
import { REPLACED } from './names.ts';
import { InputsValue, JobValue, WorkflowValue } from './value.ts';

/** A type of the checker, as far as it is used here. */
export interface CelType {
  readonly name: string;
}

interface Checker {
  check(ast: CheckedNode, context: unknown): CelType;
  getType(name: string): CelType;
}

interface Evaluator {
  run(ast: EvaluatedNode, context: unknown): unknown;
  debugType(value: unknown): CelType;
  debugTypeDeep(value: unknown): CelType;
}

type CheckedNode = ASTNode & { checkedType?: CelType };
type EvaluatedNode = ASTNode & { evaluate(evaluator: Evaluator, ast: EvaluatedNode, context: unknown): unknown };

/** An error of the library, as far as it is used here. */
export interface CelError {
  readonly code: string;
  readonly summary: string;
  readonly range?: { readonly start: number; readonly end: number } | undefined;
}

/** The macro through which the guards get in. Expressions may not name it. */
export const GUARD = '__guard';
/** Characters of a type's name. A longer type is dynamic: types of nested map literals double with each level. */
const MAX_TYPE_NAME = 120;

/** The run in progress. */
const current = {
  budget: new Budget(0),
  typeErrors: [] as CelError[],
  inputTypes: [] as readonly string[],
  /** The value that was computed last: when an evaluation fails, the operand that it failed on. */
  last: null as unknown,
};

const environment = declare();

/** A checked expression. */
export interface Checked {
  readonly type: string;
  readonly errors: readonly CelError[];
}

/** Parses; throws a `ParseError` of the library. */
export function parse(text: string): ParseResult {
  return environment.parse(text);
}

/** Checks the types. `inputTypes[n]`: the type of the input that is rewritten to `inputs.i<n>`. */
export function check(parsed: ParseResult, inputTypes: readonly string[]): Checked {
  current.typeErrors = [];
  current.inputTypes = inputTypes;
  const result = parsed.check();
  const errors = current.typeErrors;
  if (!result.valid && result.error !== undefined) errors.push(result.error);
  return { type: result.type ?? 'dyn', errors };
}

/** Evaluates a checked expression; throws `BudgetExceeded`, an `EvaluationError` of the library, or what a function threw. */
export function evaluate(parsed: ParseResult, variables: Record<string, unknown>, budget: Budget): unknown {
  const outer = current.budget;
  current.budget = budget;
  try {
    budget.charge(1);
    const value = parsed(variables) as unknown;
    // Operators like || go on after an error in one operand, also after this one.
    if (budget.exceeded) throw new BudgetExceeded();
    return value;
  } finally {
    current.budget = outer;
  }
}

/** The value that the evaluation which failed just now had computed last. */
export function lastValue(): unknown {
  return current.last;
}

function declare(): Environment {
  const made = new Environment({
    homogeneousAggregateLiterals: false,
    enableOptionalTypes: true,
    limits: { maxAstNodes: limits.expressionNodes, maxDepth: 100 },
  });
  made.registerType('Inputs', { ctor: InputsValue });
  made.registerType('Job', { ctor: JobValue, fields: { output: 'dyn', status: 'string', error: 'dyn' } });
  made.registerType('Workflow', { ctor: WorkflowValue, fields: { id: 'string', name: 'string', status: 'string' } });
  made.registerVariable('inputs', 'Inputs');
  made.registerVariable('jobs', 'map<string, Job>');
  made.registerVariable('workflow', 'Workflow');
  for (const name of ['failure', 'item', 'index']) made.registerVariable(name, 'dyn');
  addNumbers(made);
  for (const type of ['bool', 'string', 'int', 'double', 'list', 'map']) made.registerOperator(`${type} == null`, () => false);
  const sync = { async: false } as object;
  made.registerFunction(`string.${REPLACED.matches}(string): bool`, matches, sync);
  made.registerFunction(`list<string>.${REPLACED.join}(): string`, (items: unknown[]) => join(items, ''), sync);
  made.registerFunction(`list<string>.${REPLACED.join}(string): string`, join, sync);
  guard(made);
  return made;
}

/** Mixed arithmetic: an int beside a double counts as a double. Division by zero is an error also between doubles: JSON has no infinity. */
function addNumbers(made: Environment): void {
  const pairs = [
    ['int', 'double'],
    ['double', 'int'],
  ] as const;
  for (const [left, right] of pairs) {
    made.registerOperator(`${left} + ${right}: double`, (a, b) => Number(a) + Number(b));
    made.registerOperator(`${left} - ${right}: double`, (a, b) => Number(a) - Number(b));
    made.registerOperator(`${left} * ${right}: double`, (a, b) => Number(a) * Number(b));
    made.registerOperator(`${left} / ${right}: double`, (a, b) => Number(a) / divisor(b));
    made.registerOperator(`${left} % ${right}: double`, (a, b) => Number(a) % divisor(b));
  }
  made.registerOperator('double % double: double', (a, b) => a % divisor(b));
  // biome-ignore lint/suspicious/noDoubleEquals: an int and a double are equal when they are the same number.
  made.registerOperator('int == double', (a, b) => a == b);
}

function divisor(value: bigint | number): number {
  const number = Number(value);
  if (number === 0) throw new EvaluationError('division by zero');
  return number;
}

/** Compiling a character class such as \\p{L}, spread over its characters. */
const STEPS_PER_PATTERN_CHAR = 100;

function matches(text: string, source: string): boolean {
  current.budget.chargeOnce(source, source.length * STEPS_PER_PATTERN_CHAR);
  const compiled = compilePattern(source);
  if (compiled.kind === 'bad') throw new EvaluationError(`the pattern is not valid: ${compiled.message}`);
  return compiled.pattern.test(text, current.budget);
}

function join(items: readonly unknown[], separator: string): string {
  let length = 0;
  for (const item of items) {
    if (typeof item !== 'string') throw new EvaluationError('join() takes a list of strings');
    length += item.length + separator.length;
  }
  current.budget.charge(Math.floor(items.length / 8));
  chargeText(length, current.budget);
  return items.join(separator);
}

function guard(made: Environment): void {
  const taken: { checker?: Checker; evaluator?: Evaluator } = {};
  made.registerFunction(`${GUARD}(ast): dyn`, () => ({
    typeCheck: (checker: Checker) => {
      taken.checker = checker;
      return checker.getType('dyn');
    },
    evaluate: (evaluator: Evaluator) => {
      taken.evaluator = evaluator;
      return null;
    },
  }));
  const parsed = made.parse(`${GUARD}(0)`);
  parsed.check();
  parsed({});
  guardChecker(taken.checker!);
  guardEvaluator(taken.evaluator!);
}

function guardChecker(checker: Checker): void {
  const checkNode = checker.check;
  const dynamic = checker.getType('dyn');
  checker.check = (ast, context) => {
    if (ast.checkedType !== undefined) return ast.checkedType;
    let type: CelType;
    try {
      type = checkNode.call(checker, ast, context);
    } catch (error) {
      // Ending in dyn, a fault has no consequences further up. Branches of different types are no fault: JSON values vary.
      if ((error as CelError).code !== 'incompatible_ternary_branches') current.typeErrors.push(error as CelError);
      type = dynamic;
    }
    if (ast.op === '.' && ast.args[0].op === 'id' && ast.args[0].args === 'inputs') {
      type = checker.getType(current.inputTypes[Number(ast.args[1].slice(1))] ?? 'dyn');
    }
    if (ast.op === 'map') checkKeys(ast.args.map(([key]) => key));
    if (type.name.length > MAX_TYPE_NAME) type = dynamic;
    ast.checkedType = type;
    return type;
  };
}

const KEY_TYPES = new Set(['string', 'int', 'uint', 'double', 'bool', 'dyn']);

/** The library takes any key and makes text of it. */
function checkKeys(keys: readonly CheckedNode[]): void {
  for (const { checkedType, range } of keys) {
    if (checkedType === undefined || KEY_TYPES.has(checkedType.name)) continue;
    current.typeErrors.push({ code: 'invalid_map_key', summary: `a map has no keys of type ${checkedType.name}`, range });
  }
}

function guardEvaluator(evaluator: Evaluator): void {
  // The deep variant makes a type, kept for ever, for each shape of data it meets.
  evaluator.debugTypeDeep = evaluator.debugType;
  evaluator.run = (ast, context) => {
    current.budget.charge(1);
    const value = ast.evaluate(evaluator, ast, context);
    chargeFor(ast, value, current.last, current.budget);
    current.last = value;
    return value;
  };
}
