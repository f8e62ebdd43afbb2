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
import type { Problems } from './problem.ts';
import { addTagProblem, treeOf } from './yaml-tree.ts';

/** Syntax errors after which the parser is stopped. */
const MAX_SYNTAX_ERRORS = 200;
/** The parser's code for a tag that it does not know. */
const TAG_FAULT = 'TAG_RESOLVE_FAILED';
/** Open collections at which the parser is stopped: enough to see every place that is too deep in a sane file. */
const STACK_LIMIT = 2 * limits.definitionDepth;

/** Ends a parse early; never leaves this file. */
class Stopped extends Error {}

/** Parses a definition's text. */
export function parseYaml(problems: Problems): Node | null {
  if (!checkText(problems)) return null;
  const composed = composeAll(problems);
  if (composed === null) return null;
  const [document, second] = composed.documents;
  if (second !== undefined) {
    const hint = 'one file holds one definition; remove the line ---';
    problems.addText(second.range[0], 'documents', 'a second YAML document begins here', hint);
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
  return treeOf(document.contents, problems, composed.unknownTags);
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

interface Composed {
  /** At most two. */
  readonly documents: readonly Document.Parsed[];
  /** Offsets of tags that YAML 1.2 core does not know, ascending. */
  readonly unknownTags: readonly number[];
}

/** Null when there is a syntax error. Errors become problems. */
function composeAll(problems: Problems): Composed | null {
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
  const faultyLines = new Set<number>();
  const unknownTags: number[] = [];
  const stray: Stray = { offset: -1, message: '' };
  let firstFault = -1;
  const onError: OnError = (place, code, message) => {
    // The composer takes `Stopped` for a fault of the collection that it is in, and tells it.
    if (errors >= MAX_SYNTAX_ERRORS) throw new Stopped();
    const offset = Math.min(typeof place === 'number' ? place : 'offset' in place ? place.offset : place[0], source.length);
    if (code === TAG_FAULT) unknownTags.push(offset);
    else {
      // What follows on the same line follows from the first fault.
      const line = endOfLine(source, offset);
      if (!faultyLines.has(line)) addSyntaxProblem(problems, offset, code, message);
      faultyLines.add(line);
      if (firstFault < 0 || offset < firstFault) firstFault = offset;
    }
    if (++errors >= MAX_SYNTAX_ERRORS) throw new Stopped();
  };
  // The composer makes an Error with a stack for each fault, 7 s for 1 MiB of brackets. It has no option for that, so its handler is replaced.
  (composer as unknown as { onError: OnError }).onError = onError;
  const documents: Document.Parsed[] = [];
  try {
    for (const document of composer.compose(boundedTokens(problems, stray), true, source.length)) {
      // Some faults go past the handler.
      for (const { pos, code, message } of [...document.errors, ...document.warnings]) onError(pos, code, message);
      documents.push(document);
      if (documents.length === 2) break;
    }
    if (stray.offset >= 0 && (firstFault < 0 || stray.offset < firstFault)) onError(stray.offset, '', stray.message);
    if (faultyLines.size === 0) return { documents, unknownTags: unknownTags.toSorted((a, b) => a - b) };
  } catch (error) {
    if (!(error instanceof Stopped)) problems.addText(0, 'syntax', 'the YAML parser gave up on this text');
  }
  for (const offset of unknownTags) addTagProblem(problems, null, offset);
  addTab(problems, faultyLines);
  return null;
}

/** The parser loses its way at a tab and says so in other words: the first line that begins with one is told as what it is. */
function addTab(problems: Problems, faultyLines: ReadonlySet<number>): void {
  const { source } = problems;
  const offset = source.startsWith('\t') ? 0 : source.indexOf('\n\t') + 1;
  if ((offset === 0 && !source.startsWith('\t')) || faultyLines.has(endOfLine(source, offset))) return;
  addSyntaxProblem(problems, offset, 'TAB_AS_INDENT', 'Tabs are not allowed as indentation');
}

type OnError = (place: ErrorPlace, code: string, message: string) => void;
type ErrorPlace = number | readonly [number, ...number[]] | { readonly offset: number };

/** The first token that belongs to no document. The ones after it, and often the first itself, follow from another fault. */
interface Stray {
  offset: number;
  message: string;
}

/** The tokens of the text, as long as they do not nest too deep and belong to a document. */
function* boundedTokens(problems: Problems, stray: Stray): Generator<CST.Token> {
  const parser = new Parser();
  let ends = 0;
  for (const lexeme of new Lexer().lex(problems.source)) {
    for (const token of parser.next(lexeme)) {
      const isStray = token.type === 'error' || (token.type === 'doc-end' && ++ends > 1);
      if (!isStray) yield token;
      else if (stray.offset < 0) {
        stray.offset = token.offset;
        stray.message = 'this does not fit to the lines before it';
      }
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
  const expression = line.includes('${{') ? `quote text that holds an expression: "\${{ ... }}"` : '';
  problems.addText(offset, 'syntax', message.replaceAll(/\s+/g, ' ').slice(0, 200), expression || (hints[code] ?? ''));
}

function endOfLine(source: string, offset: number): number {
  const end = source.indexOf('\n', offset);
  return end < 0 ? source.length : end;
}
