/**
 * What must be so when the faults have stopped and everybody did their part: I5, I18, I19.
 */
import { hasEnded } from '@workflow-orchestrator/engine/machine';
import { describe, nextEvent } from '../../engine-support/next-event.ts';
import { fold } from '../../engine-support/snapshots.ts';
import type { Case } from '../evidence.ts';

/** I5: nothing is stuck: every job that has not ended has a next event, and after the faults stop everything ends. */
export function nothingIsStuck(run: Case): string[] {
  const found: string[] = [];
  for (const workflow of run.workflows()) {
    const facts = run.factsOf(workflow);
    if (facts.at(-1)?.event.kind === 'ended') continue;
    const state = fold(facts.map(({ event }) => event));
    if (run.evidence.isHealed) {
      found.push(`${workflow} never ended: ${describe(state)}`);
      continue;
    }
    try {
      if (!hasEnded(state.status)) for (const index of state.jobs.keys()) nextEvent(state, index);
    } catch (error) {
      found.push(`${workflow}: ${(error as Error).message}`);
    }
  }
  return found;
}

/** I18: whatever the live view does, the same seed ends in the same state. */
export function liveViewDecidesNothing(run: Case): string[] {
  const [first, ...others] = [...run.evidence.endings];
  return others.flatMap(([how, ending]) =>
    ending === first[1] ? [] : [`with the live view ${how} the run ended in another state than ${first[0]}`],
  );
}

/** I19: what was held goes back to its baseline. */
export function nothingIsLeft(run: Case): string[] {
  if (!run.evidence.isHealed) return [];
  return Object.entries(run.evidence.leftovers).flatMap(([what, count]) => (count === 0 ? [] : [`${count} ${what} are left`]));
}
