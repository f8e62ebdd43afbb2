/**
 * SQL texts with `$1`, `$2`, ... and their values as one message of the simple protocol: one round trip with nothing prepared, so that it works through any pooler,
 * and settings can be made for its one transaction in front (`set local`).
 *
 * Invariant: no value can end its literal, whatever the server's settings. Numbers are digits; text of plain letters stands in quotes, text without a `$` between
 * `$w$` and `$w$`; all other text and bytes are written in hex.
 */

/** What may be given for a parameter. */
export type Value = number | string | Uint8Array | null;

/** A statement whose values are written into it. */
export type Statement = (...values: readonly Value[]) => string;

/** Text that means the same with quotes around it, whatever the server's settings. */
const PLAIN = /^[\w .:/@+-]*$/;

/** Reads a text once. Each parameter may stand anywhere, more than once. */
export function statement(sql: string): Statement {
  const parts = sql.trim().split(/\$(\d+)/);
  return (...values) => {
    let text = parts[0]!;
    for (let at = 1; at < parts.length; at += 2) {
      const value = values[Number(parts[at]) - 1];
      if (value === undefined) throw new Error(`the statement has no value for $${parts[at]}`);
      text += literal(value) + parts[at + 1];
    }
    return text;
  };
}

function literal(value: Value): string {
  if (value === null) return 'null';
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new Error(`${value} is no number for a statement`);
    return value < 0 ? `(${value})` : String(value);
  }
  if (typeof value !== 'string') return `decode('${hex(value)}', 'hex')`;
  if (PLAIN.test(value)) return `'${value}'`;
  if (!value.includes('$') && !value.includes('\0')) return `$w$${value}$w$`;
  return `convert_from(decode('${hex(Buffer.from(value))}', 'hex'), 'UTF8')`;
}

/** Bytes in hex. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** JSON that PostgreSQL takes: it knows neither NUL nor half of a surrogate pair, which become U+FFFD. */
export function cleanJson(value: unknown): string {
  const text = JSON.stringify(value);
  if (!text.includes('\\u')) return text;
  return text.replace(/\\(?:u0000|u[dD][89a-fA-F][0-9a-fA-F]{2}|[\s\S])/g, (pair) => (/^\\u(0000|d)/i.test(pair) ? '\\ufffd' : pair));
}
