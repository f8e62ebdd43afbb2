/**
 * All checkers, by the number of their invariant. Each is a small program over what a run leaves behind and knows nothing of how it was made.
 *
 * I15 (one workflow per schedule and tick, never early) has no checker: there are no schedules in this version.
 */
import { Case, type Evidence } from './evidence.ts';
import { liveViewDecidesNothing, nothingIsLeft, nothingIsStuck } from './invariants/ends.ts';
import {
  executionsAreCounted,
  nothingAfterACancel,
  rulesOfTheLanguage,
  startsAfterItsSources,
  successWasSeen,
  withinSlots,
} from './invariants/jobs.ts';
import { judgedByItsAttempt, neverAgain, oneWriter, wellFormed } from './invariants/journal.ts';
import {
  durableBeforeTold,
  oneWorkflowPerKey,
  overloadIsHonest,
  readable,
  refusedIsNothing,
  resultsAreKept,
  submitsAreKept,
} from './invariants/promises.ts';

/** Says what is wrong; nothing when all is well. */
export type Checker = (run: Case) => string[];

/** In the order in which they are asked: a journal that is not well formed makes the others guess. */
export const checkers: Readonly<Record<string, Checker>> = {
  I0: wellFormed,
  I1: submitsAreKept,
  I2: resultsAreKept,
  I3: startsAfterItsSources,
  I4: judgedByItsAttempt,
  I5: nothingIsStuck,
  I6: oneWriter,
  I7: oneWorkflowPerKey,
  I8: durableBeforeTold,
  I9: neverAgain,
  I10: successWasSeen,
  I11: executionsAreCounted,
  I12: rulesOfTheLanguage,
  I13: nothingAfterACancel,
  I14: withinSlots,
  I16: readable,
  I17: refusedIsNothing,
  I18: liveViewDecidesNothing,
  I19: nothingIsLeft,
  I20: overloadIsHonest,
};

/** Something that must never happen, and did. */
export interface Violation {
  /** `I4`. */
  readonly invariant: string;
  readonly message: string;
}

/** Asks every checker, or those of `only`. */
export function check(evidence: Evidence, only: readonly string[] = Object.keys(checkers)): Violation[] {
  const run = new Case(evidence);
  return only.flatMap((invariant) => checkers[invariant](run).map((message) => ({ invariant, message })));
}
