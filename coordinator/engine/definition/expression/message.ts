/**
 * Errors of the expression library in words of this language: no rewritten names, no internal terms, a hint where one is known.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import type { Rule } from '../problem.ts';
import type { Suggestions } from '../suggest.ts';
import type { CelError } from './cel.ts';
import { REPLACED, type Rewritten } from './names.ts';

/** A problem of an expression. */
export interface Explanation {
  readonly rule: Rule;
  readonly message: string;
  readonly hint: string;
}

const ROOTS = ['inputs', 'jobs', 'workflow', 'failure'];
const FIELDS = ['output', 'status', 'error', 'id', 'name'];

/** What people write who come from elsewhere. */
const elsewhere: Readonly<Record<string, string>> = {
  success: 'a job runs after success by itself: use on_success or needs',
  always: 'use always_run: true',
  failure: 'use on_failure; `failure` without brackets is the error that opened the job',
  cancelled: 'use always_run: true',
  contains: "write text.contains('part') or value in list",
  startsWith: "write text.startsWith('part')",
  endsWith: "write text.endsWith('part')",
  format: 'write the expressions into the text, each in ${{ }}',
  toJSON: 'a value inside of text is written as JSON by itself',
  fromJSON: 'outputs are read as JSON by themselves',
  join: "write list.join(', ')",
  len: 'write size(value)',
};

const rules: Readonly<Record<string, Rule>> = { unknown_variable: 'unknown-name', limit_exceeded: 'expression-limit' };
/** Codes of the library's parser. */
const SYNTAX =
  /^(unexpected_|expected_|invalid_(number|hex_|integer|exponent|unicode|octal|escape|macro)|unterminated_|newline_|octal_|reserved_|bytes_unicode|expression_must)/;

/** Explains an error of parsing or checking. */
export function explain(error: CelError, suggestions: Suggestions | null): Explanation {
  const rule = rules[error.code] ?? (SYNTAX.test(error.code) || error.code === '' ? 'expression-syntax' : 'expression-type');
  return { rule, message: plainWords(error.summary), hint: hintFor(error, suggestions) };
}

/** Explains why an evaluation failed. `isNull`: whether it failed on null. */
export function explainFailure(error: unknown, rewritten: Rewritten, isNull: boolean): string {
  const known = error as Partial<CelError> & { readonly node?: ASTNode; readonly message?: string };
  if (known.code === 'no_such_key' && known.node?.op === '.') {
    const [left, key] = known.node.args;
    const owner = sourceOf(left, rewritten);
    const named = owner === null ? 'the value' : `'${owner}'`;
    return isNull ? `${named} is null, so it has no key '${key}'` : `${named} has no key '${key}'`;
  }
  const message = plainWords(known.summary ?? known.message ?? 'it failed');
  return message.length > 500 ? `${message.slice(0, 497)}...` : message;
}

/** The piece of the original text that a node stands for, if it is short. */
function sourceOf(node: ASTNode, { text, toSource, source }: Rewritten): string | null {
  const start = toSource(node.start);
  const end = node.end >= text.length ? source.length : toSource(node.end);
  const piece = source.slice(start, end).trim();
  return piece === '' || piece.length > 60 ? null : piece;
}

function plainWords(summary: string): string {
  let message = summary;
  for (const [name, alias] of Object.entries(REPLACED)) message = message.replaceAll(alias, name);
  message = message
    .replaceAll(/dyn<([^<>]*(?:<[^<>]*>)?[^<>]*)>/g, '$1')
    .replaceAll(/list<dyn>|map<dyn, dyn>/g, (type) => type.slice(0, type.indexOf('<')))
    .replace(/^Unknown variable: (.*)$/, "no name '$1'")
    .replace(/^No such key: (.*)$/, "no field '$1'")
    .replace(/^Exceeded maxAstNodes \((\d+)\)/, 'it has more than expressionNodes ($1) parts')
    .replace(/^Exceeded max(\w+) \((\d+)\)/, 'it is too large: more than $2 ($1)');
  return message.slice(0, 1).toLowerCase() + message.slice(1);
}

function hintFor({ code, summary }: CelError, suggestions: Suggestions | null): string {
  const name = /: ([\w.-]+)$/.exec(summary)?.[1] ?? '';
  if (code === 'unknown_variable') {
    const otherwise = `known names: ${ROOTS.join(', ')}; text is written in quotes: '${name}'`;
    return suggestions?.hint(name, ROOTS, otherwise) ?? otherwise;
  }
  if (code === 'no_such_key') return suggestions?.hint(name, FIELDS) ?? '';
  const called = /overload for '(?:[^'(]*\.)?(\w+)\(/.exec(summary)?.[1];
  if (called !== undefined && Object.hasOwn(elsewhere, called)) return elsewhere[called];
  if (code === 'no_such_overload' && /string [+]|[+] string/.test(summary)) return 'turn the other side into text: string(value)';
  if (code === 'reserved_identifier') return 'this word is reserved in CEL';
  return '';
}
