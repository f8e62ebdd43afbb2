/**
 * Times and durations for people.
 */
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { timestampMs } from '@bufbuild/protobuf/wkt';

/** `2026-11-23 10:00:00` in UTC, or nothing. */
export function timeText(time: Timestamp | undefined): string {
  return time === undefined ? '' : new Date(timestampMs(time)).toISOString().slice(0, 19).replace('T', ' ');
}

/** `10:00:00.123`, local time: for lines that are read as they come. */
export function clockText(timeMs: number): string {
  const time = new Date(timeMs);
  const two = (number: number) => String(number).padStart(2, '0');
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, '0')}`;
}

/** `0.2s`, `12s`, `3m05s`, `2h03m`, `4d02h`. */
export function durationText(ms: number): string {
  const two = (number: number) => String(number).padStart(2, '0');
  if (ms < 10_000) return `${(Math.max(0, ms) / 1000).toFixed(1)}s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${two(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours}h${two(minutes % 60)}m` : `${Math.floor(hours / 24)}d${two(hours % 24)}h`;
}

/** How long something took, or has taken until `nowMs`; nothing before it began. */
export function elapsedText(start: Timestamp | undefined, end: Timestamp | undefined, nowMs: number): string {
  if (start === undefined) return '';
  return durationText((end === undefined ? nowMs : timestampMs(end)) - timestampMs(start));
}
