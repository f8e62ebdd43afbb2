/** Headers of plain HTTP, as requests bring them and as every answer of the API carries them. */
import type { IncomingHttpHeaders } from 'node:http';

/** A header as one text; null without it. `name` in small letters. */
export function headerOf(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name];
  return value === undefined ? null : Array.isArray(value) ? value.join(', ') : value;
}

/** What every answer of the API says: it is data, no page, and nobody may put it into one. One constant, since a hook for each header costs half a call. */
export const apiHeaders: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
};
