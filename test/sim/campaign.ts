/** Many seeds, one after the other: what failed, and what was reached. */
import type { Violation } from '../checkers/checkers.ts';
import { judge } from './judging.ts';
import { planOf } from './plan.ts';

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
  const { violations, result } = await judge(planOf(seed));
  tally.seeds += 1;
  if (result !== null) {
    tally.steps += result.steps;
    tally.virtualMs += result.virtualMs;
    tally.workflows += result.workflows;
    for (const state of result.states.keys()) tally.states.set(state, (tally.states.get(state) ?? 0) + 1);
  }
  return violations.length === 0 ? null : { seed, violations };
}
