/**
 * The worker's duties by their numbers, read from proto/PROTOCOL.md, and the checker of each.
 *
 * Invariant: each duty has one checker, and each checker a duty; a test holds this.
 */
import { readFileSync } from 'node:fs';
import type { Checkers } from './checkers/checker.ts';
import { frameCheckers } from './checkers/frames.ts';
import { greetingCheckers } from './checkers/greeting.ts';
import { livenessCheckers } from './checkers/liveness.ts';
import { resultCheckers } from './checkers/results.ts';
import { stoppingCheckers } from './checkers/stopping.ts';
import { workCheckers } from './checkers/work.ts';

/** Every checker. */
export const checkers: Checkers = {
  ...frameCheckers,
  ...greetingCheckers,
  ...workCheckers,
  ...livenessCheckers,
  ...resultCheckers,
  ...stoppingCheckers,
};

/** A duty in a line. */
export interface Duty {
  readonly number: string;
  readonly text: string;
}

/** The rows `| W1 | R1 | ... |` of the page. */
export function readDuties(): Duty[] {
  const page = readFileSync(new URL('../../proto/PROTOCOL.md', import.meta.url), 'utf8');
  return [...page.matchAll(/^\| (W\d+) \| [^|]+ \| (.+) \|$/gm)].map(([, number, text]) => ({ number: number!, text: text! }));
}
