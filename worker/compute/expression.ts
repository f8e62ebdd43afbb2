/** JSONata over data. */
import jsonata from 'jsonata';
import type { Json } from '../handler.ts';
import { ComputeError } from './task.ts';

/** A compiled expression. */
export type Evaluate = (data: Json, bindings?: Readonly<Record<string, unknown>>) => Promise<unknown>;

/** Depth of calls in an expression; deeper recursion fails with a message instead of using up the memory. */
const callDepth = 2_000;

/**
 * Compiles an expression.
 * @throws ComputeError `EXPRESSION_ERROR`
 */
export function compileExpression(source: string): Evaluate {
  let compiled: jsonata.Expression;
  try {
    compiled = jsonata(source, { stack: callDepth });
  } catch (error) {
    throw expressionError(source, error);
  }
  return async (data, bindings) => {
    try {
      return await compiled.evaluate(data, bindings);
    } catch (error) {
      throw expressionError(source, error);
    }
  };
}

/** What JSONata takes for true: not 0, not '', no empty object, a list with something true in it. */
export function isTruthy(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(isTruthy);
  if (typeof value === 'function' || value === null || value === undefined) return false;
  if (typeof value === 'object') return Object.keys(value).length > 0;
  return Boolean(value);
}

/** JSONata throws objects with `code`, `position` and `message`. */
function expressionError(source: string, error: unknown): ComputeError {
  const { code, position, message } = error as { code?: string; position?: number; message?: string };
  const where = position === undefined ? '' : ` at character ${position}`;
  const what = String(message ?? error).slice(0, 1_000);
  return new ComputeError('EXPRESSION_ERROR', `${shorten(source)}${where}: ${what}${code === undefined ? '' : ` (${code})`}`, {
    expression: source.slice(0, 1_000),
    position: position ?? null,
    code: code ?? null,
  });
}

function shorten(source: string): string {
  const line = source.replace(/\s+/g, ' ').trim();
  return line.length > 80 ? `${line.slice(0, 77)}...` : line;
}
