/**
 * What a script is: a story told to the worker. It makes things happen; the checkers say what the worker made of them.
 */
import type { Stage, Timers } from '../stage.ts';

/** One script. */
export interface Script {
  /** For `--only` and the report. */
  readonly name: string;
  /** What it is about, in a line. */
  readonly about: string;
  /** Takes longer than a few seconds: runs with `--slow` only. */
  readonly slow?: boolean;
  /** Timers that differ from the quick ones. */
  readonly timers?: Partial<Timers>;
  run(stage: Stage): Promise<void>;
}
