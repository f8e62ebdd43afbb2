/**
 * A decision in the making: a snapshot of the state that every event is folded into as it is decided, so that a cascade sees its own consequences.
 *
 * Invariant: the state that `decide` was given is never touched; the events, folded onto it, give the draft's state.
 */

import type { Decision, IgnoredReason } from './command.ts';
import type { WorkflowEvent } from './event.ts';
import { evolve, fork } from './evolve.ts';
import type { WorkflowState } from './state.ts';

export class Draft {
  readonly state: WorkflowState;
  readonly events: WorkflowEvent[];

  constructor(state: WorkflowState, events: WorkflowEvent[] = []) {
    this.state = fork(state);
    this.events = events;
  }

  /** Decides one event. */
  emit(event: WorkflowEvent): void {
    evolve(this.state, event);
    this.events.push(event);
  }

  /** The decision so far. Call it once, at the end. */
  decision(): Decision {
    return { kind: 'events', events: this.events, state: this.state };
  }
}

/** A command that changes nothing. */
export function ignored(reason: IgnoredReason, message: string): Decision {
  return { kind: 'ignored', reason, message };
}
