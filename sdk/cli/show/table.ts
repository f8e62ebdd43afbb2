/**
 * Rows as columns. Widths count what people see, not the codes of colours.
 */
import { stripVTControlCharacters } from 'node:util';

/** Lines of a table with a head; the last column is not padded. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => width(row[column] ?? ''))));
  return all.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell + ' '.repeat(widths[column] - width(cell))))
      .join('  ')
      .trimEnd(),
  );
}

/** Columns that a text takes on a terminal, near enough: one for each code point. */
export function width(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}

/** A text of at most `columns` columns; only for text without colours. */
export function cut(text: string, columns: number): string {
  const letters = [...text];
  return letters.length <= columns ? text : `${letters.slice(0, Math.max(0, columns - 3)).join('')}...`;
}
