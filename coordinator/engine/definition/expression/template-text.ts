/**
 * Text with `${{ expressions }}` in it, taken apart.
 *
 * Invariants
 * 1. The end of an expression is found by its own rules: `}}` inside a string or of a map literal does not end it.
 */
import { commentEnd, stringEnd } from './text.ts';

/** A piece of a text. `index`: its offset in the text; of an expression, without the braces. */
export type Piece =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'expression'; readonly source: string; readonly index: number };

/** The pieces of a text, or the offset of a `${{` that never ends. */
export type Pieces = { readonly kind: 'ok'; readonly pieces: readonly Piece[] } | { readonly kind: 'open'; readonly index: number };

const OPEN = '${{';
const CLOSE = '}}';

/** Takes a text apart. */
export function splitTemplate(text: string): Pieces {
  const pieces: Piece[] = [];
  let at = 0;
  for (let open = text.indexOf(OPEN); open >= 0; open = text.indexOf(OPEN, at)) {
    if (open > at) pieces.push({ kind: 'literal', text: text.slice(at, open) });
    const from = open + OPEN.length;
    const end = expressionEnd(text, from);
    if (end < 0) return { kind: 'open', index: open };
    const inner = text.slice(from, end);
    const lead = inner.length - inner.trimStart().length;
    pieces.push({ kind: 'expression', source: inner.trim(), index: from + lead });
    at = end + CLOSE.length;
  }
  if (at < text.length) pieces.push({ kind: 'literal', text: text.slice(at) });
  return { kind: 'ok', pieces };
}

/** The offset of the `}}` that ends the expression at `from`; -1 when there is none. */
function expressionEnd(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; ) {
    const char = text[at];
    if (char === '"' || char === "'") {
      at = stringEnd(text, at);
      continue;
    }
    if (char === '/' && text[at + 1] === '/') {
      at = commentEnd(text, at);
      continue;
    }
    if (char === '{') depth++;
    else if (char === '}') {
      if (depth === 0 && text.startsWith(CLOSE, at)) return at;
      depth--;
    }
    at++;
  }
  // A string that is not closed swallowed the end: let the parser say so.
  return text.indexOf(CLOSE, from);
}
