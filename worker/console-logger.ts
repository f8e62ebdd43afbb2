/**
 * Lines for the operator of a worker that was given no logger: warnings and errors on stderr.
 */
import { fieldsText } from './attempt/context.ts';
import type { Logger } from './logger.ts';

/** A logger that writes from `warn` on. */
export function consoleLogger(): Logger {
  const write = (level: string) => (message: string, fields?: Record<string, unknown>) => {
    process.stderr.write(`${new Date().toISOString()} ${level} ${message}${fields === undefined ? '' : ` ${fieldsText(fields)}`}\n`);
  };
  return { debug() {}, info() {}, warn: write('warn'), error: write('error') };
}
