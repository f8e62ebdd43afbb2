/**
 * How a file looks: what a reader may count on before opening it.
 */
import type { Node } from 'acorn';
import { lineOf, type Source, type Violation, walk } from './source.ts';

/** Most lines of a file. Tests may tell longer stories. */
export const MAX_LINES = { source: 400, test: 600 } as const;
/** Most lines of a function, not counting the functions inside it. */
export const MAX_FUNCTION_LINES = 90;

/** Names of folders and files that say nothing. */
const EMPTY_NAMES = new Set(['utils', 'util', 'common', 'helpers', 'helper', 'misc', 'types', 'shared', 'lib']);
/** Marks of unfinished work; put together so that this file does not name them itself. */
const UNFINISHED = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`);

/** What is wrong with the looks of one file. */
export function checkStyle(source: Source): Violation[] {
  return [
    ...checkName(source.path),
    ...checkHeader(source),
    ...checkLength(source),
    ...checkFunctions(source),
    ...checkWords(source.path, source.text),
  ];
}

/** Folder and file names: plain nouns in small letters, with dashes. */
export function checkName(path: string): Violation[] {
  const names = path.split('/').map((name) => name.replace(/(\.(test|fixture))?\.\w+$/, ''));
  return names.flatMap((name) => {
    if (EMPTY_NAMES.has(name)) return [{ path, line: 1, rule: `'${name}' says nothing: name it after what it holds` }];
    if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) return [{ path, line: 1, rule: `'${name}' is not in small letters with dashes` }];
    return [];
  });
}

/** Marks of unfinished work. */
export function checkWords(path: string, text: string): Violation[] {
  return text.split('\n').flatMap((line, index) => {
    const word = UNFINISHED.exec(line)?.[1];
    return word === undefined ? [] : [{ path, line: index + 1, rule: `'${word}': finish it, or say in words what is so` }];
  });
}

function checkHeader({ path, text }: Source): Violation[] {
  const opens = /^(#!.*\n)?\/\*\*[\s\S]*?\*\//.test(text);
  return opens ? [] : [{ path, line: 1, rule: 'does not open with a comment /** what the file is for */' }];
}

function checkLength({ path, text }: Source): Violation[] {
  const lines = text.split('\n').length - 1;
  const most = path.startsWith('test/') ? MAX_LINES.test : MAX_LINES.source;
  return lines <= most ? [] : [{ path, line: most + 1, rule: `${lines} lines: at most ${most}, so give each purpose a file` }];
}

function checkFunctions(source: Source): Violation[] {
  if (source.path.startsWith('test/')) return [];
  const found: Violation[] = [];
  walk(source.tree, (node) => {
    if (!isFunction(node)) return;
    const lines = ownLines(node);
    if (lines > MAX_FUNCTION_LINES)
      found.push({ path: source.path, line: lineOf(node), rule: `a function of ${lines} lines: at most ${MAX_FUNCTION_LINES}` });
  });
  return found;
}

/** The lines of a function without those of the functions inside it: a closure that holds ten small ones is not long. */
function ownLines(outer: Node): number {
  let lines = spanOf(outer);
  walk(outer, (node, ancestors) => {
    if (node === outer || !isFunction(node)) return;
    const direct = !ancestors.slice(ancestors.indexOf(outer) + 1).some(isFunction);
    if (direct) lines -= spanOf(node) - 1;
  });
  return lines;
}

function spanOf(node: Node): number {
  return node.loc === undefined || node.loc === null ? 0 : node.loc.end.line - node.loc.start.line + 1;
}

function isFunction(node: Node): boolean {
  return node.type === 'FunctionDeclaration' || node.type === 'FunctionExpression' || node.type === 'ArrowFunctionExpression';
}
