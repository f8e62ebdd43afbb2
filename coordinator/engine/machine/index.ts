/**
 * The state machine of one workflow: `decide(state, command)` says what happens, `evolve(state, event)` what that changes.
 * Nothing here knows a clock, chance, IO or anything outside this package.
 */
export type { AttemptOutcome, Command, Decision, IgnoredReason } from './command.ts';
export { decide } from './decide.ts';
export { type DurableEvent, isDurable, type VolatileEvent, type WorkflowEvent } from './event.ts';
export { evolve, recovered, stripLeases } from './evolve.ts';
export { type Ending, endingOf } from './finish.ts';
export { JournalDamaged, replay } from './replay.ts';
export { derivedFraction, retryDelayMs, WORKER_LOST } from './retry.ts';
export * from './state.ts';
export { isToStop, jobTimer, nextWake, readyJobs, workflowTimer } from './timers.ts';
