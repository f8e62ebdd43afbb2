/** Deadlines as callers write them, and what becomes of them. Pure. All results are milliseconds from now. */
import { limits } from '@workflow-orchestrator/proto/limits';
import { fieldError } from './errors.ts';

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 };

/** `Request-Timeout` of REST: a number with a unit. Throws `invalid_argument` for anything else; null without the header. */
export function parseRequestTimeout(header: string | null): number | null {
  if (header === null) return null;
  const match = /^(\d{1,9})(ms|s|m)$/.exec(header.trim());
  if (match === null) throw badHeader('Request-Timeout', header, 'a number with a unit, such as 500ms, 5s or 1m');
  return Number(match[1]) * unitsMs[match[2]];
}

/** `Connect-Timeout-Ms` of Connect: milliseconds. Throws and answers as `parseRequestTimeout`. */
export function parseConnectTimeout(header: string | null): number | null {
  if (header === null) return null;
  if (!/^\d{1,10}$/.test(header)) throw badHeader('Connect-Timeout-Ms', header, 'a number of milliseconds of at most ten digits');
  return Number(header);
}

/** The deadline of a unary call: what was asked, the default without it, never more than the most there is. */
export function unaryDeadlineMs(askedMs: number | null): number {
  return Math.min(askedMs ?? limits.unaryDeadlineMs, limits.unaryDeadlineMaxMs);
}

function badHeader(name: string, value: string, right: string): Error {
  return fieldError([{ field: name, description: `${JSON.stringify(value.slice(0, 64))} is not ${right}`, rule: 'header' }]);
}
