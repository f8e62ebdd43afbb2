/**
 * What a checker is: one duty of the worker, looked for in one history. Checkers know nothing of scripts, and nothing of how the worker is made.
 */
import type { Entry } from '../history.ts';
import type { Reading } from '../reading.ts';

/** What a checker found. `shown`: the worker was in the situation, and did right. */
export interface Findings {
  shown(): void;
  /** The worker did wrong; `entry` is where, `what` says what it did and what would have been right. */
  fault(entry: Entry | undefined, what: string): void;
}

/** Looks for one duty. Calls nothing when the history does not show it either way. */
export type Checker = (reading: Reading, findings: Findings) => void;

/** Checkers by the number of the duty (proto/PROTOCOL.md). */
export type Checkers = Readonly<Record<string, Checker>>;
