/**
 * Durations as people write them: `500ms`, `30s`, `5m`, `2h`, `1d`, several of them in falling order (`1h30m`), or ISO 8601 (`PT30S`, `P1DT12H`).
 *
 * Invariants
 * 1. A duration has a unit: a bare number is refused, with the right spelling.
 * 2. The result is whole milliseconds, from 0 to `limits.durationMs`.
 */
import { limits } from '@workflow-orchestrator/proto/limits';

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** A duration, or what is wrong with it and what would be right. */
export type DurationResult =
  | { readonly kind: 'ok'; readonly ms: number }
  | { readonly kind: 'bad'; readonly message: string; readonly hint: string };

const SPELLINGS = 'write for instance 500ms, 30s, 5m, 2h, 1d or PT30S';
const PART = /(\d{1,15}(?:\.\d{1,9})?)(ms|s|m|h|d)/y;
const ISO = /^P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,12})M)?(?:(\d{1,15}(?:[.,]\d{1,9})?)S)?)?$/;

/** Reads a duration. */
export function parseDuration(text: string): DurationResult {
  const trimmed = text.trim();
  if (/^[-+]?\d+(\.\d+)?$/.test(trimmed)) {
    const number = trimmed.replace(/^[-+]/, '');
    return bad(`the duration ${trimmed} has no unit`, `write ${number}s for seconds, ${number}ms for milliseconds, ${number}m for minutes`);
  }
  if (trimmed === '' || trimmed.length > 64) return bad('no duration', SPELLINGS);
  const ms = /^p/i.test(trimmed) ? isoMs(trimmed) : unitsMs(trimmed);
  if (ms === null) return bad(`'${trimmed}' is no duration`, hintFor(trimmed));
  const rounded = Math.round(ms);
  if (Math.abs(ms - rounded) > 1e-6) return bad(`'${trimmed}' is no whole number of milliseconds`, SPELLINGS);
  if (rounded > limits.durationMs) {
    return bad(`'${trimmed}' is longer than durationMs (${limits.durationMs} ms, 366 days)`, 'at most 366d');
  }
  return { kind: 'ok', ms: rounded };
}

/** A duration in the largest unit that keeps it whole: for messages. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's']) if (ms >= unitMs[unit] && ms % unitMs[unit] === 0) return `${ms / unitMs[unit]}${unit}`;
  return `${ms}ms`;
}

function bad(message: string, hint: string): DurationResult {
  return { kind: 'bad', message, hint };
}

/** `1h30m`: units fall and none is there twice. */
function unitsMs(text: string): number | null {
  let total = 0;
  let above = Number.POSITIVE_INFINITY;
  for (let at = 0; at < text.length; ) {
    PART.lastIndex = at;
    const part = PART.exec(text);
    if (part === null || unitMs[part[2]] >= above) return null;
    above = unitMs[part[2]];
    total += Number(part[1]) * above;
    at = PART.lastIndex;
  }
  return total;
}

function isoMs(text: string): number | null {
  const match = ISO.exec(text);
  if (match === null || text.endsWith('T') || text === 'P') return null;
  const [, weeks, days, hours, minutes, seconds] = match;
  const amount = (digits: string | undefined, unit: string): number => Number((digits ?? '0').replace(',', '.')) * unitMs[unit];
  return amount(weeks, 'w') + amount(days, 'd') + amount(hours, 'h') + amount(minutes, 'm') + amount(seconds, 's');
}

const words: Readonly<Record<string, string>> = {
  milliseconds: 'ms',
  millis: 'ms',
  seconds: 's',
  secs: 's',
  minutes: 'm',
  mins: 'm',
  hours: 'h',
  hrs: 'h',
  days: 'd',
};

/** `30 sec` means `30s`. */
function hintFor(text: string): string {
  if (text.includes('${{')) return 'a duration is fixed: expressions are for parameters, outputs and if';
  if (/^P.*[YM](?!.*T)/i.test(text) && !text.includes('T')) return 'years and months have no fixed length: write days';
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]+)\.?$/i.exec(text);
  if (match !== null) {
    const word = match[2].toLowerCase();
    const unit = unitMs[word] !== undefined && word !== 'w' ? word : Object.entries(words).find(([name]) => name.startsWith(word))?.[1];
    if (unit !== undefined) return `write ${match[1]}${unit}`;
    if (word.startsWith('w')) return `write ${Number(match[1]) * 7}d`;
  }
  return SPELLINGS;
}
