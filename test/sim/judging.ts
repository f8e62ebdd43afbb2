/**
 * One plan judged as a campaign judges it, wherever it is run: alone, with another live view, again, and when it throws. What a campaign reports a replay
 * reports too.
 */
import type { Violation } from '../checkers/checkers.ts';
import type { Plan } from './plan.ts';
import { type RunResult, run } from './run.ts';

/** What became of a plan. */
export interface Judged {
  readonly violations: readonly Violation[];
  /** Null: it threw. */
  readonly result: RunResult | null;
}

/** Plans of every so many-th seed are run again, and must give the same trace. */
const AGAIN_EVERY = 100;
/** Those of every so many-th seed are run with each behaviour of the live view, and must end in the same state. */
const COMPARED_EVERY = 100;

/** Plays a plan, as often as its seed says. `trace` is told what happens in the first of the runs, for people. */
export async function judge(plan: Plan, trace?: (line: string) => void): Promise<Judged> {
  // A coordinator that is asked to end waits a moment for the live view: then a slow one moves what follows, and journals cannot be compared.
  const isCompared = plan.seed % COMPARED_EVERY === 50 && plan.faults.every(({ kind }) => kind !== 'coordinator is ended');
  try {
    const result = await run(plan, { isCompared, ...(trace === undefined ? {} : { trace }) });
    const violations = [...result.violations];
    if (plan.seed % AGAIN_EVERY === 0) {
      const again = await run(plan);
      if (again.hash() !== result.hash())
        violations.push({ invariant: 'seed', message: `the same seed gave another trace: ${result.hash()}, ${again.hash()}` });
    }
    return { violations, result };
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { violations: [{ invariant: 'crash', message }], result: null };
  }
}
