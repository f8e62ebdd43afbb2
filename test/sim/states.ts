/** States worth reaching: a campaign that never met one of them has shown nothing about it, and fails. */
import { allFaultKinds } from './plan.ts';

/** Rarely reached ones need many seeds: a campaign of fewer does not count them as missing. */
export const states: Readonly<Record<string, number>> = {
  'a call or its answer was lost': 100,
  'a cancel that raced an end': 100,
  'a commit that was aborted and tried again': 100,
  'a commit that was refused for good': 1_000,
  'a connection was cut by chance': 200,
  'a connection was refused by chance': 100,
  'a connection was slow': 100,
  'a key was found in the archive after memory had forgotten it': 200,
  'a lease that expired was renewed without a takeover': 200,
  'a planned handover': 100,
  'a process stood still for longer than its lease': 100,
  'a recovery from checkpoint and tail': 200,
  'a reply met a separation from the database': 500,
  'a reply of the database was lost': 100,
  'a result was answered DUPLICATE': 200,
  'a result was answered STALE': 1_000,
  'a result was answered WORKFLOW_ENDED': 1_000,
  'a result was sent three times': 10_000,
  'a round of checkpoints was crossed by a crash': 1_000,
  'a round of checkpoints was finished': 100,
  'a statement hung': 100,
  'a statement met a separation from the database': 100,
  'a statement of before was fenced': 1_000,
  'a statement took effect after it was given up': 1_000,
  'a statement was long on its way': 100,
  'a statement was lost': 100,
  'a submit found its workflow under its key': 100,
  'a submit was refused for overload': 200,
  'a takeover': 100,
  'a takeover from an owner that still runs': 200,
  'a takeover while a statement of the old owner hangs': 2_000,
  'a wall clock jumped': 100,
  'a watch was resumed': 200,
  'a worker came back with what is no longer its own': 2_000,
  'a worker came back with what it runs, and kept it': 500,
  'a worker crashed in a handler': 500,
  'a worker drained': 100,
  'a worker was given up': 100,
  'an unknown commit had committed': 500,
  'an unknown commit had not committed': 200,
  'an unsure lease was renewed': 100,
  'another body under a key was refused': 100,
  'effects were held back by an unsure lease': 500,
  'the database was slow': 100,
  'workflows were submitted in one call': 100,
  ...Object.fromEntries(allFaultKinds.map((kind) => [`fault: ${kind}`, kind === 'database goes back' ? 1_000 : 100])),
};

/** The states that `seeds` seeds should have reached and did not. */
export function missing(reached: ReadonlyMap<string, number>, seeds: number): string[] {
  return Object.entries(states).flatMap(([state, within]) => (seeds >= within && !reached.has(state) ? [state] : []));
}
