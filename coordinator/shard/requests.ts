/** What clients ask of a shard, and what they are answered. */
import type { Graph, Payload } from '@workflow-orchestrator/engine/definition';
import type { IgnoredReason, WorkflowState } from '@workflow-orchestrator/engine/machine';

/** A workflow to accept. `inputs` are prepared; `workflowId` is new and greater than every one before. */
export interface Submission {
  readonly workflowId: string;
  readonly graph: Graph;
  readonly inputs: Payload;
  readonly labels: Readonly<Record<string, string>>;
  /** Empty: none. */
  readonly idempotencyKey: string;
  readonly requestHash: string;
  readonly start: boolean;
}

/** What became of a submission. `existed`: an earlier one with the same key made it. */
export type SubmitReply =
  | { readonly kind: 'accepted'; readonly state: WorkflowState; readonly existed: boolean; readonly at: number }
  | { readonly kind: 'key-reused'; readonly workflowId: string }
  | { readonly kind: 'overloaded'; readonly message: string; readonly retryAfterMs: number };

/** A command of a client about one workflow. */
export type ClientCommand =
  | { readonly kind: 'start' | 'pause' | 'resume' }
  | { readonly kind: 'cancel'; readonly reason: string; readonly force: boolean };

/** What became of it. `ignored` carries the state as it stands. */
export type CommandReply =
  | { readonly kind: 'done'; readonly state: WorkflowState; readonly at: number }
  | {
      readonly kind: 'ignored';
      readonly reason: IgnoredReason;
      readonly message: string;
      readonly state: WorkflowState;
      readonly at: number;
    }
  | { readonly kind: 'not-found' };

/** The shard takes no more input: this coordinator ends, or has lost the shard. Nothing was done. */
export class ShardStopped extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'ShardStopped';
  }
}

/** The shard stopped between the decision about a call and the answer of its commit: nobody here can know any more whether it was done. */
export class OutcomeUnknown extends Error {
  constructor(reason: string) {
    super(`${reason}; whether this call took effect is not known`);
    this.name = 'OutcomeUnknown';
  }
}

/** This coordinator does not have the shard, or not yet. Nothing was done. */
export class ShardAway extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'ShardAway';
  }
}
