/**
 * Words of a command line as values: inputs, labels, durations, times. Pure; a word that does not fit becomes a `CommandError`.
 */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { nearest } from '@workflow-orchestrator/proto/nearest';
import { CommandError } from './exit.ts';

/** `k=v` pairs. Throws for a word without a key. */
export function pairs(option: string, words: readonly string[]): [string, string][] {
  return words.map((word) => {
    const equals = word.indexOf('=');
    if (equals < 1) throw new CommandError(`${option} ${JSON.stringify(word)}: write it as key=value`);
    return [word.slice(0, equals), word.slice(equals + 1)];
  });
}

/** Labels, each key once. */
export function labelsOf(option: string, words: readonly string[]): Record<string, string> {
  return Object.fromEntries(pairs(option, words));
}

/** Inputs: a value that parses as JSON is that value (`3`, `true`, `[1]`, `"3"`), any other is text. */
export function inputsOf(option: string, words: readonly string[]): JsonObject {
  return Object.fromEntries(pairs(option, words).map(([key, value]) => [key, jsonOrText(value)]));
}

function jsonOrText(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return text;
  }
}

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `30s`, `5m`, `2h`, `1d` in milliseconds. */
export function durationMs(option: string, word: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(word.trim());
  if (match === null)
    throw new CommandError(`${option} ${JSON.stringify(word)}: write a duration with its unit, such as 500ms, 30s, 5m, 2h or 1d`);
  return Number(match[1]) * unitsMs[match[2]];
}

/** A point in time: ISO 8601, or a duration for "that long ago" as seen from `nowMs`. */
export function timeOf(option: string, word: string, nowMs: number): Date {
  if (/^\d+(\.\d+)?(ms|s|m|h|d)$/.test(word)) return new Date(nowMs - durationMs(option, word));
  const time = /^\d{4}-\d{2}-\d{2}/.test(word) ? new Date(word) : new Date(Number.NaN);
  if (Number.isNaN(time.getTime())) {
    throw new CommandError(`${option} ${JSON.stringify(word)}: write a time as 2026-11-23T10:00:00Z, or as 2h for two hours ago`);
  }
  return time;
}

/** A whole number from `min` to `max`. */
export function wholeNumber(option: string, word: string, min: number, max: number): number {
  const number = /^\d{1,15}$/.test(word) ? Number(word) : Number.NaN;
  if (!(number >= min && number <= max))
    throw new CommandError(`${option} ${JSON.stringify(word)}: must be a whole number from ${min} to ${max}`);
  return number;
}

/** One of `choices`, whatever the case. */
export function oneOf<T extends string>(option: string, word: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice.toLowerCase() === word.toLowerCase());
  if (found !== undefined) return found;
  const near = nearest(word, choices);
  throw new CommandError(
    `${option} ${JSON.stringify(word)}: must be one of ${choices.join(', ')}${near === null ? '' : `; did you mean ${near}?`}`,
  );
}
