/**
 * How large a value is when it is written out, shared parts counted each time they appear: `[x, x]` holds x twice.
 * Expressions can build values that share parts and would take for ever to compare or print.
 *
 * Invariants
 * 1. Each container is walked once; its weight is remembered as long as it lives. Containers do not change after they were weighed.
 */

import { JobValue } from './value.ts';

const weights = new WeakMap<object, number>();
/** Characters of text that weigh as much as one number. */
const CHARS_PER_UNIT = 32;
const MAX_DEPTH = 500;

/** Values inside of a value, itself included; text counts by its length. Infinity for what nests without end. */
export function weigh(value: unknown, depth = 0): number {
  if (typeof value === 'string') return 1 + Math.floor(value.length / CHARS_PER_UNIT);
  if (typeof value !== 'object' || value === null) return 1;
  if (value instanceof Uint8Array) return 1 + Math.floor(value.length / CHARS_PER_UNIT);
  if (value instanceof JobValue) return 4 + weigh(value.output, depth + 1);
  const known = weights.get(value);
  if (known !== undefined) return known;
  if (depth > MAX_DEPTH) return Number.POSITIVE_INFINITY;
  let sum = 1;
  if (Array.isArray(value)) for (const item of value) sum += weigh(item, depth + 1);
  else if (value instanceof Map) for (const item of value.values()) sum += 1 + weigh(item, depth + 1);
  else for (const key of Object.keys(value)) sum += 1 + weigh((value as Record<string, unknown>)[key], depth + 1);
  weights.set(value, sum);
  return sum;
}
