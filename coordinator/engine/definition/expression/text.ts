/**
 * The characters of an expression, as far as one must know them without parsing it: where strings and comments end.
 */

/** Whether a character may be part of an identifier. */
export function isWord(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || (code >= 48 && code <= 57) || code === 95;
}

/** The offset behind the string that opens at `at` with a quote; the end of the text when it is not closed. */
export function stringEnd(text: string, at: number): number {
  const mark = text[at];
  const triple = text.startsWith(mark.repeat(3), at);
  const close = triple ? mark.repeat(3) : mark;
  for (let end = at + close.length; end < text.length; end++) {
    if (text[end] === '\\') end++;
    else if (text.startsWith(close, end)) return end + close.length;
  }
  return text.length;
}

/** The offset behind a `//` comment at `at`. */
export function commentEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end < 0 ? text.length : end;
}

/** The offset of the next character that is no white space. */
export function skipSpace(text: string, at: number): number {
  let end = at;
  while (end < text.length && /\s/.test(text[end])) end++;
  return end;
}
