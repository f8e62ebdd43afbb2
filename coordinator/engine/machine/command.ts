/**
 * What a workflow can be asked. Every command carries `at`, the time of the shell in milliseconds since 1970.
 * `decide` is total: a command that does not apply is ignored with a reason, never an exception.
 */
import type { Graph, Payload } from '../definition/graph.ts';
import type { WorkflowEvent } from './event.ts';
import type { JobError, WorkflowState } from './state.ts';

/** How a handler ended. `released`: given back before the handler did anything; burns no attempt. */
export type AttemptOutcome =
  | { readonly kind: 'succeeded'; readonly output: Payload }
  | { readonly kind: 'failed'; readonly error: JobError }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'released' };

export type Command =
  /** The first command of a workflow; `inputs` are prepared (defaults filled in, checked). The state before it is null. */
  | {
      readonly kind: 'submit';
      readonly at: number;
      readonly workflowId: string;
      readonly graph: Graph;
      readonly inputs: Payload;
      readonly labels: Readonly<Record<string, string>>;
      readonly idempotencyKey: string;
      readonly requestHash: string;
      readonly start: boolean;
    }
  | { readonly kind: 'start'; readonly at: number }
  | { readonly kind: 'pause'; readonly at: number }
  | { readonly kind: 'resume'; readonly at: number }
  | { readonly kind: 'cancel'; readonly at: number; readonly reason: string; readonly force: boolean }
  /** The shell gives a READY job to a worker. */
  | {
      readonly kind: 'assign';
      readonly at: number;
      readonly job: number;
      readonly token: string;
      readonly workerId: string;
      readonly fencingToken: number;
    }
  /** The worker took it. */
  | { readonly kind: 'accept'; readonly at: number; readonly job: number; readonly token: string }
  /** The worker did not take it, or did not answer in time: burns no attempt. */
  | { readonly kind: 'release'; readonly at: number; readonly job: number; readonly token: string; readonly reason: string }
  /** The worker still has it. `idleMs`: how long ago the handler last showed life. */
  | {
      readonly kind: 'beat';
      readonly at: number;
      readonly job: number;
      readonly token: string;
      readonly idleMs: number;
      readonly progress: number | null;
      readonly progressMessage: string;
      readonly checkpoint: Payload | null;
    }
  /** The worker says how the attempt ended. `attempt` is its number and `runningMs` its age, for a coordinator that did not assign it. */
  | {
      readonly kind: 'result';
      readonly at: number;
      readonly job: number;
      readonly token: string;
      readonly attempt: number;
      readonly workerId: string;
      readonly runningMs: number;
      readonly outcome: AttemptOutcome;
    }
  /** The worker is gone: the lease is revoked. */
  | { readonly kind: 'workerLost'; readonly at: number; readonly job: number; readonly token: string; readonly message: string }
  /** After a recovery: a worker holds this attempt since `runningMs`. */
  | {
      readonly kind: 'reattach';
      readonly at: number;
      readonly job: number;
      readonly token: string;
      readonly attempt: number;
      readonly workerId: string;
      readonly runningMs: number;
      readonly fencingToken: number;
    }
  /** Time has passed: fires every timer that is due. */
  | { readonly kind: 'tick'; readonly at: number };

/**
 * Why a command changed nothing. `duplicate`: this very thing was recorded before. `stale`: the token is not the lease's.
 * `ended`: the workflow has ended. `invalid`: it makes no sense in this state (start of an ended workflow, assign of a job that is not ready).
 */
export type IgnoredReason = 'duplicate' | 'stale' | 'ended' | 'invalid' | 'nothing-due';

/** What a command leads to: events in order (never none) and the state after them, or why nothing. */
export type Decision =
  | { readonly kind: 'events'; readonly events: readonly WorkflowEvent[]; readonly state: WorkflowState }
  | { readonly kind: 'ignored'; readonly reason: IgnoredReason; readonly message: string };
