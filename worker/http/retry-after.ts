/** The `Retry-After` header of a reply. */

/** Longest pause that a server may ask for: a hostile one must not park a job for years. */
const longestMs = 3_600_000;

/**
 * Milliseconds that the server asks to wait, from whole seconds or an HTTP date; 0 when it asks for none or for nonsense.
 * @param nowMs since 1970, by the wall clock that the date is compared with
 */
export function parseRetryAfterMs(header: string | undefined, nowMs: number): number {
  if (header === undefined) return 0;
  const text = header.trim();
  if (/^\d{1,12}$/.test(text)) return Math.min(Number(text) * 1_000, longestMs);
  // A date has letters; `Date.parse` would also read `-5` or `1.5` as one.
  const date = /[A-Za-z]/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? 0 : Math.min(Math.max(date - nowMs, 0), longestMs);
}
