/** Runs one computation. Total: whatever happens is a result. */
import type { AnySchema, ValidateFunction } from 'ajv';
import type { Json } from '../handler.ts';
import { schemaCompiler, schemaProblem, violationsOf } from '../schema/compile.ts';
import { compileExpression, isTruthy } from './expression.ts';
import { aggregate, asList, merge, sort } from './list.ts';
import { ComputeError, type ComputeLimits, type ComputeResult, type ComputeTask } from './task.ts';
import { renderTemplate } from './template.ts';

/** The result as JSON text, checked against the limits; or why there is none. `dataText` is JSON. */
export async function compute(task: ComputeTask, dataText: string, limits: ComputeLimits): Promise<ComputeResult> {
  try {
    const value = await run(task, JSON.parse(dataText) as Json, limits);
    const text = JSON.stringify(value, refuseFunctions) ?? 'null';
    const bytes = text.length > limits.outputBytes ? text.length : Buffer.byteLength(text);
    if (bytes > limits.outputBytes)
      throw new ComputeError('OUTPUT_TOO_LARGE', `the result has ${bytes} bytes or more, at most ${limits.outputBytes} are kept`);
    if (depthOf(text) > limits.jsonDepth)
      throw new ComputeError('OUTPUT_TOO_DEEP', `the result is nested deeper than ${limits.jsonDepth} levels`);
    return { kind: 'value', text };
  } catch (error) {
    if (error instanceof ComputeError) return { kind: 'failed', code: error.code, message: error.message, details: error.details };
    // What V8 says of too deep recursion, too long texts and circular results.
    return {
      kind: 'failed',
      code: 'EXPRESSION_ERROR',
      message: `the result cannot be written as JSON: ${(error as Error).message}`,
      details: null,
    };
  }
}

async function run(task: ComputeTask, data: Json, limits: ComputeLimits): Promise<unknown> {
  switch (task.kind) {
    case 'validate':
      return validate(task.schema, data, limits.violations);
    case 'transform':
      return compileExpression(task.expression)(data);
    case 'filter': {
      const items = asList(data, 'filter');
      const kept = await evaluateEach(task.expression, items);
      return items.filter((_, index) => isTruthy(kept[index]));
    }
    case 'map':
      return (await evaluateEach(task.expression, asList(data, 'map'))).map((value) => value ?? null);
    case 'aggregate':
      return aggregate(asList(data, 'aggregate'), task.groupBy, task.columns);
    case 'sort':
      return sort(asList(data, 'sort'), task.by);
    case 'merge':
      return merge(data, task.deep, task.by);
    case 'template':
      return renderTemplate(task.template, data);
    default:
      return task satisfies never;
  }
}

/** The expression's value for each item; in it `$index` is the item's place, `$data` the whole list. */
async function evaluateEach(expression: string, items: Json[]): Promise<unknown[]> {
  const evaluate = compileExpression(expression);
  const values: unknown[] = [];
  for (const [index, item] of items.entries()) {
    try {
      values.push(await evaluate(item, { index, data: items }));
    } catch (error) {
      if (error instanceof ComputeError) throw new ComputeError(error.code, `element ${index}: ${error.message}`, error.details);
      throw error;
    }
  }
  return values;
}

const compiler = schemaCompiler(true);
/** Compiled schemas by their text, the latest used last. Compiling takes about a millisecond. */
const compiledSchemas = new Map<string, { readonly schema: AnySchema; readonly check: ValidateFunction }>();
const schemasKept = 100;

function validate(schema: Json, data: Json, most: number): true {
  const check = compiledSchema(schema);
  if (check(data)) return true;
  const { violations, total } = violationsOf(check, most);
  const shown = violations.slice(0, 3).map(({ path, message }) => `data${path} ${message}`);
  const more = total > shown.length ? `; and ${total - shown.length} more` : '';
  throw new ComputeError('VALIDATION_FAILED', `${shown.join('; ')}${more}`, {
    violations: violations.map((violation) => ({ ...violation })),
    total,
  });
}

function compiledSchema(schema: Json): ValidateFunction {
  const text = JSON.stringify(schema);
  const known = compiledSchemas.get(text);
  if (known !== undefined) {
    compiledSchemas.delete(text);
    compiledSchemas.set(text, known);
    return known.check;
  }
  let check: ValidateFunction;
  try {
    check = compiler.compile(schema as AnySchema);
  } catch (error) {
    compiler.removeSchema(schema as AnySchema);
    throw new ComputeError('INVALID_SCHEMA', `schema: ${schemaProblem(error)}`);
  }
  compiledSchemas.set(text, { schema: schema as AnySchema, check });
  for (const [oldest, { schema: old }] of compiledSchemas) {
    if (compiledSchemas.size <= schemasKept) break;
    compiledSchemas.delete(oldest);
    compiler.removeSchema(old);
  }
  return check;
}

/** JSONata's functions are values; JSON has none. */
function refuseFunctions(key: string, value: unknown): unknown {
  const isFunction =
    typeof value === 'function' ||
    (typeof value === 'object' && value !== null && ('_jsonata_lambda' in value || '_jsonata_function' in value));
  if (isFunction)
    throw new ComputeError('EXPRESSION_ERROR', `the result is a function, or holds one under ${JSON.stringify(key)}; call it`);
  return value;
}

/** Levels of nesting of a JSON text. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inText = false;
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index];
    if (inText) {
      if (character === '\\') index += 1;
      else if (character === '"') inText = false;
    } else if (character === '"') inText = true;
    else if (character === '{' || character === '[') {
      depth += 1;
      deepest = Math.max(deepest, depth);
    } else if (character === '}' || character === ']') depth -= 1;
  }
  return deepest;
}
