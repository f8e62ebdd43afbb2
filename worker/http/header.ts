/** What may be an HTTP header of a job's request. */

/** Whether a text may be the name of a header (RFC 9110 token). */
export function isHeaderName(name: string): boolean {
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/.test(name);
}

/** Whether a text may be the value of a header: no line breaks, so that nobody adds headers through it. */
export function isHeaderValue(value: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]{0,8192}$/.test(value);
}

const reserved = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'keep-alive',
  'upgrade',
  'te',
  'trailer',
  'expect',
  'proxy-authorization',
  'proxy-connection',
]);

/** Why a header cannot be set (it belongs to the connection, not to the request), or null. */
export function reservedHeader(name: string): string | null {
  return reserved.has(name.toLowerCase()) ? 'is set by the worker itself' : null;
}
