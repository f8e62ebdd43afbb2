/**
 * `decide`: what a command leads to.
 *
 * Invariants
 * 1. Pure: it changes nothing it is given, and knows no clock, no chance, no IO. Time comes with the command, jitter is hashed, ids are given.
 * 2. Total: a late, doubled or foreign command is ignored with a reason. It never throws on input.
 * 3. A workflow or job that has ended never changes.
 */
import { decideAttempt } from './attempt.ts';
import type { Command, Decision } from './command.ts';
import { Draft, ignored } from './draft.ts';
import type { DurableEvent } from './event.ts';
import { evolve } from './evolve.ts';
import type { WorkflowState } from './state.ts';
import { decideSteer, start } from './steer.ts';

/** Decides `command`. `state` is null for a workflow that does not exist yet; only `submit` makes one. */
export function decide(state: WorkflowState | null, command: Command): Decision {
  if (command.kind === 'submit') {
    return state === null ? submit(command) : ignored('duplicate', 'a workflow with this id was submitted before');
  }
  if (state === null) return ignored('invalid', 'there is no such workflow');
  switch (command.kind) {
    case 'start':
    case 'pause':
    case 'resume':
    case 'cancel':
    case 'tick':
      return decideSteer(state, command);
    default:
      return decideAttempt(state, command);
  }
}

function submit(command: Extract<Command, { kind: 'submit' }>): Decision {
  const { start: startNow, kind: _, ...facts } = command;
  const event: DurableEvent = { kind: 'submitted', ...facts };
  const draft = new Draft(evolve(null, event), [event]);
  if (startNow) start(draft, command.at);
  return draft.decision();
}
