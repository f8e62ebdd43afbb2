/**
 * From histories to verdicts: each duty passed, failed, or was not shown.
 */
import type { Checkers } from './checkers/checker.ts';
import type { Duty } from './duties.ts';
import { type Entry, type History, sayEntry } from './history.ts';
import { readHistory } from './reading.ts';

/** A fault, with what led to it. */
export interface Fault {
  readonly session: string;
  readonly what: string;
  /** The last entries before it, as lines. */
  readonly frames: readonly string[];
}

/** What became of one duty. */
export interface Verdict {
  readonly duty: Duty;
  readonly kind: 'PASS' | 'FAIL' | 'NOT SHOWN';
  /** How often it was seen done. */
  readonly shown: number;
  readonly faults: readonly Fault[];
}

/** Entries that a fault is shown with. */
const framesShown = 12;

/** Judges all sessions. */
export function judge(histories: readonly History[], duties: readonly Duty[], checkers: Checkers): Verdict[] {
  const readings = histories.map(readHistory);
  return duties.map((duty) => {
    let shown = 0;
    const faults: Fault[] = [];
    for (const reading of readings) {
      checkers[duty.number]!(reading, {
        shown: () => (shown += 1),
        fault: (entry, what) => faults.push({ session: reading.history.name, what, frames: framesBefore(reading.entries, entry) }),
      });
    }
    const kind = faults.length > 0 ? 'FAIL' : shown > 0 ? 'PASS' : 'NOT SHOWN';
    return { duty, kind, shown, faults };
  });
}

function framesBefore(entries: readonly Entry[], entry: Entry | undefined): string[] {
  const end = (entry?.index ?? entries.length - 1) + 1;
  return entries.slice(Math.max(0, end - framesShown), end).map(sayEntry);
}
