/**
 * What an error of the driver or of PostgreSQL means for whoever asked.
 *
 * Invariant: `proves` an abort only for errors that PostgreSQL raises before it commits, and answers itself (severity ERROR). Whatever ends the connection proves nothing.
 */

/** No answer within the deadline; the connection is given up. */
export class DeadlineError extends Error {
  constructor(deadlineMs: number) {
    super(`no answer within ${Math.ceil(deadlineMs)} ms`);
    this.name = 'DeadlineError';
  }
}

/** What was asked was never sent: there is no connection. */
export class NotSentError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'NotSentError';
  }
}

/** Code of PostgreSQL (SQLSTATE), or of the network; empty when it has none. */
export function codeOf(error: unknown): string {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown };
  if (typeof code === 'string') return code;
  return cause === undefined ? '' : codeOf(cause);
}

/** What is wrong, on one line. */
export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const code = codeOf(error);
  const line = message.split('\n')[0]!;
  return code === '' || line.includes(code) ? line : `${line} (${code})`;
}

/** Codes and classes of errors that may be gone when the same is tried again. */
const TRANSIENT = new Set([
  '40001', // serialization failure
  '40P01', // deadlock
  '55P03', // lock not available
  '25006', // read-only
  '53100', // disk full
  '53200', // out of memory
  '53300', // too many connections
  '53400', // configuration limit exceeded
  '26000', // the prepared statement does not exist: a pooler is in between
  '42P05', // the prepared statement exists: likewise
  '23514', // no partition for the row
]);

/** Whether the statement certainly had no effect; null when that is not proven. */
export function proves(error: unknown): { readonly isTransient: boolean } | null {
  if (error instanceof NotSentError) return { isTransient: true };
  const { severity, severity_local } = (error ?? {}) as { severity?: unknown; severity_local?: unknown };
  if ((severity ?? severity_local) !== 'ERROR') return null;
  const code = codeOf(error);
  if (TRANSIENT.has(code)) return { isTransient: true };
  return /^(22|23|42)/.test(code) ? { isTransient: false } : null;
}

/** Whether PostgreSQL is there and answered, and only this it did not do: a question that took too long, a value that it does not keep. */
export function isRefusal(error: unknown): boolean {
  const { severity, severity_local } = (error ?? {}) as { severity?: unknown; severity_local?: unknown };
  const code = codeOf(error);
  return (severity ?? severity_local) === 'ERROR' && !code.startsWith('53') && code !== '25006';
}

/** Whether a prepared statement was not where it was left: what is in between gives each transaction another connection. */
export function isPreparedLost(error: unknown): boolean {
  const code = codeOf(error);
  return code === '26000' || code === '42P05';
}
