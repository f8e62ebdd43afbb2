/**
 * How long to wait before connecting again (R54).
 */
import type { WorkerLimits } from './worker-limits.ts';

/**
 * Milliseconds before the next try, after `failures` tries in a row that failed (0: a connection that worked broke). `random` is in 0 to 1.
 * `isUrgent`: leases may still hold (R33), so the pause stays a small part of the grace.
 */
export function reconnectDelayMs(failures: number, random: number, isUrgent: boolean, limits: WorkerLimits): number {
  const mostMs = isUrgent ? Math.max(limits.reconnectMinMs, limits.reconnectGraceMs / 10) : limits.reconnectMaxMs;
  const longestMs = Math.min(mostMs, limits.reconnectMinMs * 2 ** Math.min(failures, 30));
  // Half of it is certain, so that nobody hammers; half is chance, so that a thousand workers do not come at once.
  return Math.round(longestMs * (0.5 + random / 2));
}
