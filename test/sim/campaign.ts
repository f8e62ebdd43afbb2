/** Many seeds, one after the other: what failed, what was reached, and whether the same seed gives the same run. */
import type { Violation } from '../checkers/checkers.ts';
import { planOf } from './plan.ts';
import { run } from './run.ts';

/** A seed that failed. */
export interface Failure {
  readonly seed: number;
  readonly violations: readonly Violation[];
}

/** What a campaign has seen. */
export interface Tally {
  seeds: number;
  steps: number;
  virtualMs: number;
  workflows: number;
  readonly failures: Failure[];
  /** In how many seeds each state was reached. */
  readonly states: Map<string, number>;
}

/** Which seeds, and when to stop. */
export interface CampaignOptions {
  readonly from: number;
  /** Every so many-th seed: several processes share the seeds. */
  readonly step: number;
  readonly goesOn: (tally: Tally) => boolean;
  readonly onFailure?: (failure: Failure) => void;
}

/** Every so many-th seed is run again, and must give the same trace. */
const AGAIN_EVERY = 100;
/** Every so many-th seed is run with each behaviour of the live view, and must end in the same state. */
const COMPARED_EVERY = 100;

/** Runs seeds until it is to stop. */
export async function campaign({ from, step, goesOn, onFailure = () => {} }: CampaignOptions): Promise<Tally> {
  // Where an expected error was made says nothing, and looking for it takes a tenth of the time; a replay shows it.
  Error.stackTraceLimit = 0;
  const tally: Tally = { seeds: 0, steps: 0, virtualMs: 0, workflows: 0, failures: [], states: new Map() };
  for (let seed = from; goesOn(tally); seed += step) {
    const failure = await one(seed, tally);
    if (failure === null) continue;
    tally.failures.push(failure);
    onFailure(failure);
  }
  return tally;
}

async function one(seed: number, tally: Tally): Promise<Failure | null> {
  const plan = planOf(seed);
  // A coordinator that is asked to end waits a moment for the live view: then a slow one moves what follows, and journals cannot be compared.
  const isCompared = seed % COMPARED_EVERY === 50 && plan.faults.every(({ kind }) => kind !== 'coordinator is ended');
  try {
    const result = await run(plan, { isCompared });
    tally.seeds += 1;
    tally.steps += result.steps;
    tally.virtualMs += result.virtualMs;
    tally.workflows += result.workflows;
    for (const state of result.states.keys()) tally.states.set(state, (tally.states.get(state) ?? 0) + 1);
    const violations = [...result.violations];
    if (seed % AGAIN_EVERY === 0) {
      const again = await run(plan);
      if (again.hash() !== result.hash())
        violations.push({ invariant: 'seed', message: `the same seed gave another trace: ${result.hash()}, ${again.hash()}` });
    }
    return violations.length === 0 ? null : { seed, violations };
  } catch (error) {
    tally.seeds += 1;
    return { seed, violations: [{ invariant: 'crash', message: error instanceof Error ? (error.stack ?? error.message) : String(error) }] };
  }
}
