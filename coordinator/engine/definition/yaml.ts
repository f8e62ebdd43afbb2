/**
 * Text to tree: YAML 1.2 core, one document, bounded in every direction.
 *
 * Invariants
 * 1. Never throws, whatever the text.
 * 2. Time and memory grow with the length of the text, which is bounded: keys are compared by hash, aliases add few nodes, nesting is cut before
 *    anything recurses over it, and after `MAX_SYNTAX_ERRORS` the parser is stopped.
 * 3. Null when the text has no usable tree; there is then at least one problem.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { Composer, type CST, type Document, isScalar, Lexer, Parser } from 'yaml';
import type { Node } from './node.ts';
import { type Problems, quote } from './problem.ts';
import { treeOf } from './yaml-tree.ts';

/** Syntax errors after which the parser is stopped. */
const MAX_SYNTAX_ERRORS = 200;
/** The parser's code for a tag that it does not know: a fault of its own, also on a line with another one. */
const TAG_FAULT = 'TAG_RESOLVE_FAILED';
/** Open collections at which the parser is stopped: enough to see every place that is too deep in a sane file. */
const STACK_LIMIT = 2 * limits.definitionDepth;

/** Ends a parse early; never leaves this file. */
class Stopped extends Error {}

/** Parses a definition's text. */
export function parseYaml(problems: Problems): Node | null {
  const { source } = problems;
  if (!checkText(problems)) return null;
  const before = problems.count;
  const documents = composeAll(problems);
  if (documents === null || problems.count > before) return null;
  const [document, second] = documents;
  if (second !== undefined) {
    problems.addText(
      second.range[0],
      'documents',
      'a second YAML document begins here',
      'one file holds one definition; remove the line ---',
    );
    return null;
  }
  const version = document.directives.yaml;
  if (version.explicit === true && version.version !== '1.2') {
    problems.addText(0, 'syntax', `YAML ${version.version} is not supported`, 'remove the %YAML line: files are read as YAML 1.2');
    return null;
  }
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
    problems.addText(0, 'missing-key', 'the file is empty', 'it begins with: workflow:');
    return null;
  }
  return treeOf(document.contents, problems);
}

/** Refuses what is too long or can be no text. */
function checkText(problems: Problems): boolean {
  const { source } = problems;
  const most = limits.definitionBytes;
  if (source.length > most || (source.length * 3 > most && new TextEncoder().encode(source).length > most)) {
    problems.addText(0, 'limit', `the file is larger than definitionBytes (${most})`, 'split the workflow, or pass data as inputs');
    return false;
  }
  const control = /[^\P{Cc}\t\n\r\u0085]/u.exec(source);
  if (control !== null) {
    const code = control[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
    problems.addText(control.index, 'syntax', `the control character U+${code} is not allowed in YAML`, 'remove it');
    return false;
  }
  if (!source.isWellFormed()) {
    problems.addText(0, 'syntax', 'the text holds half of a UTF-16 surrogate pair', 'save the file as UTF-8');
    return false;
  }
  return true;
}

/** At most two documents; null when the parser was stopped. Errors become problems. */
function composeAll(problems: Problems): Document.Parsed[] | null {
  const { source } = problems;
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    merge: false,
    uniqueKeys: false,
    resolveKnownTags: false,
    prettyErrors: false,
    logLevel: 'silent',
  });
  let errors = 0;
  let lineEnd = -1;
  const onError: OnError = (place, code, message) => {
    const offset = Math.min(typeof place === 'number' ? place : 'offset' in place ? place.offset : place[0], source.length);
    // What follows on the same line follows from the first fault.
    if (code === TAG_FAULT || offset > lineEnd) addSyntaxProblem(problems, offset, code, message);
    if (code !== TAG_FAULT && offset > lineEnd) lineEnd = endOfLine(source, offset);
    if (++errors >= MAX_SYNTAX_ERRORS) throw new Stopped();
  };
  // The composer makes an Error with a stack for each fault, 7 s for 1 MiB of brackets. It has no option for that, so its handler is replaced.
  (composer as unknown as { onError: OnError }).onError = onError;
  const documents: Document.Parsed[] = [];
  try {
    for (const document of composer.compose(boundedTokens(problems, onError), true, source.length)) {
      // Some faults go past the handler.
      for (const { pos, code, message } of [...document.errors, ...document.warnings]) onError(pos, code, message);
      documents.push(document);
      if (documents.length === 2) break;
    }
    return documents;
  } catch (error) {
    if (error instanceof Stopped) return null;
    problems.addText(0, 'syntax', 'the YAML parser gave up on this text');
    return null;
  }
}

type OnError = (place: ErrorPlace, code: string, message: string) => void;
type ErrorPlace = number | readonly [number, ...number[]] | { readonly offset: number };

/** The tokens of the text, as long as they do not nest too deep. */
function* boundedTokens(problems: Problems, onError: OnError): Generator<CST.Token> {
  const parser = new Parser();
  let ends = 0;
  for (const lexeme of new Lexer().lex(problems.source)) {
    for (const token of parser.next(lexeme)) {
      // Stray tokens outside of a document: the composer would make an Error of each.
      if (token.type === 'error') onError(token.offset, 'UNEXPECTED_TOKEN', token.message);
      else if (token.type !== 'doc-end' || ++ends === 1) yield token;
      else onError(token.offset, '', 'Document end without a document');
    }
    if (parser.stack.length > STACK_LIMIT) {
      const most = limits.definitionDepth;
      problems.addText(parser.offset, 'limit', `maps and lists nest deeper than definitionDepth (${most})`, 'flatten the value');
      throw new Stopped();
    }
  }
  yield* parser.end();
}

const QUOTE_HINT = "put the whole value in quotes: 'text'";
/** What would be right, by the parser's code. */
const hints: Readonly<Record<string, string>> = {
  BLOCK_AS_IMPLICIT_KEY: `begin nested keys on a line of their own, or ${QUOTE_HINT}`,
  TAB_AS_INDENT: 'indent with spaces',
  BAD_INDENT: 'indent all keys of a map alike',
  MISSING_CHAR: 'close what was opened',
  BAD_SCALAR_START: QUOTE_HINT,
  MULTILINE_IMPLICIT_KEY: 'a key fits on one line and ends with a colon and a space',
  UNEXPECTED_TOKEN: 'begin each key on a line of its own, indented like its neighbours',
};

function addSyntaxProblem(problems: Problems, offset: number, code: string, message: string): void {
  const { source } = problems;
  const line = source.slice(source.lastIndexOf('\n', offset - 1) + 1, endOfLine(source, offset));
  if (code === TAG_FAULT) {
    const tag = /^!\S*/.exec(source.slice(offset, offset + 80))?.[0] ?? '!';
    problems.addText(offset, 'tag', `the YAML tag ${quote(tag)} is not supported`, `if the value begins with !, ${QUOTE_HINT}`);
    return;
  }
  const expression = line.includes('${{') ? `quote text that holds an expression: "\${{ ... }}"` : '';
  problems.addText(offset, 'syntax', message.replaceAll(/\s+/g, ' ').slice(0, 200), expression || (hints[code] ?? ''));
}

function endOfLine(source: string, offset: number): number {
  const end = source.indexOf('\n', offset);
  return end < 0 ? source.length : end;
}
