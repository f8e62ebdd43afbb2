/** Deadlines as callers write them, and what becomes of them. Pure. All results are milliseconds from now. */
import { limits } from '@workflow-orchestrator/proto/limits';
import { fieldError } from './errors.ts';

const grpcUnitsMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 };
const restUnitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 };

/** `Connect-Timeout-Ms`: up to ten digits. Throws `invalid_argument` for anything else; null without the header. */
export function parseConnectTimeout(header: string | null): number | null {
  if (header === null) return null;
  if (!/^\d{1,10}$/.test(header)) throw badHeader('Connect-Timeout-Ms', header, 'milliseconds, such as 1500');
  return Number(header);
}

/** `grpc-timeout`: up to eight digits and a unit. Throws `invalid_argument` for anything else; null without the header. */
export function parseGrpcTimeout(header: string | null): number | null {
  if (header === null) return null;
  const match = /^(\d{1,8})([HMSmun])$/.exec(header);
  if (match === null) throw badHeader('grpc-timeout', header, 'digits and one of H M S m u n, such as 1500m');
  return Math.ceil(Number(match[1]) * grpcUnitsMs[match[2]]);
}

/** `Request-Timeout` of REST: a number with a unit. Throws `invalid_argument` for anything else; null without the header. */
export function parseRequestTimeout(header: string | null): number | null {
  if (header === null) return null;
  const match = /^(\d{1,9})(ms|s|m)$/.exec(header.trim());
  if (match === null) throw badHeader('Request-Timeout', header, 'a number with a unit, such as 500ms, 5s or 1m');
  return Number(match[1]) * restUnitsMs[match[2]];
}

/** The deadline of a unary call: what was asked, the default without it, never more than the most there is. */
export function unaryDeadlineMs(askedMs: number | null): number {
  return Math.min(askedMs ?? limits.unaryDeadlineMs, limits.unaryDeadlineMaxMs);
}

function badHeader(name: string, value: string, right: string): Error {
  return fieldError([{ field: name, description: `${JSON.stringify(value.slice(0, 64))} is not ${right}`, rule: 'header' }]);
}
