/** Text with `{{ expression }}` in it. `\{{` stands for `{{`. */
import type { Json } from '../handler.ts';
import { compileExpression, type Evaluate } from './expression.ts';
import { ComputeError } from './task.ts';

/**
 * The text with every expression replaced by its value: nothing for no value, JSON for lists and objects.
 * @throws ComputeError `EXPRESSION_ERROR`
 */
export async function renderTemplate(template: string, data: Json): Promise<string> {
  let text = '';
  for (const part of parseTemplate(template)) {
    if (typeof part === 'string') text += part;
    else text += show(await part(data));
  }
  return text;
}

/** Plain texts and compiled expressions, in order. */
function parseTemplate(template: string): (string | Evaluate)[] {
  const parts: (string | Evaluate)[] = [];
  let rest = template;
  for (;;) {
    const open = rest.indexOf('{{');
    if (open < 0) return [...parts, rest];
    if (rest[open - 1] === '\\') {
      parts.push(`${rest.slice(0, open - 1)}{{`);
      rest = rest.slice(open + 2);
      continue;
    }
    parts.push(rest.slice(0, open));
    const { evaluate, length } = readExpression(rest.slice(open + 2));
    parts.push(evaluate);
    rest = rest.slice(open + 2 + length);
  }
}

/** An expression may itself hold `}}`: it ends at the first one where it is complete. */
function readExpression(text: string): { evaluate: Evaluate; length: number } {
  let firstError: unknown = null;
  for (let close = text.indexOf('}}'); close >= 0; close = text.indexOf('}}', close + 1)) {
    try {
      return { evaluate: compileExpression(text.slice(0, close)), length: close + 2 };
    } catch (error) {
      firstError ??= error;
    }
  }
  throw firstError ?? new ComputeError('EXPRESSION_ERROR', `template: {{ without }}: ${text.slice(0, 60)}`);
}

function show(value: unknown): string {
  if (value === undefined || value === null || typeof value === 'function') return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
