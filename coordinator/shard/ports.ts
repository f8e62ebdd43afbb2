/**
 * What the shard needs from outside, as arguments: time, chance and turns of the event loop. A simulator gives its own.
 */
export interface ShardPorts {
  /** Milliseconds since 1970. Never goes back within a process. */
  readonly now: () => number;
  /** Unguessable text of at least 8 characters, never the same twice. */
  readonly nonce: () => string;
  /** Runs `turn` soon, once, after what is going on now. */
  readonly soon: (turn: () => void) => void;
  /** Runs `turn` at `at` (milliseconds since 1970) or a little later. Replaces the alarm before; null cancels it. */
  readonly alarm: (at: number | null, turn: () => void) => void;
  /** Runs `turn` once, `delayMs` from now or a little later. */
  readonly later: (delayMs: number, turn: () => void) => void;
  /** A broken invariant (`broken`) or a lost shard (`lost`): nothing may go on. */
  readonly stop: (reason: string, cause: StopCause) => void;
}

/** Why a shard stopped: `broken` memory must not be trusted by anybody, a `lost` shard is with another owner or must be read anew. */
export type StopCause = 'broken' | 'lost';

/** Counts for metrics and health. */
export interface ShardStats {
  readonly openWorkflows: number;
  readonly readyJobs: number;
  readonly runningJobs: number;
  readonly inbox: number;
  readonly uncommittedEvents: number;
  readonly committedSeq: number;
  /** What keeps commits from succeeding at the moment; null when nothing does. */
  readonly trouble: string | null;
  /** Ended workflows that the archive has yet to take. */
  readonly unarchived: number;
}

/** What the shard tells metrics. All of it is cheap. */
export interface ShardObserver {
  workflowSubmitted(): void;
  workflowEnded(status: string, durationMs: number): void;
  jobEnded(type: string, phase: string): void;
  attemptFailed(type: string, code: string): void;
  /** From READY to the moment a worker was chosen. */
  jobAssigned(type: string, waitedMs: number): void;
  resultRefused(verdict: string): void;
  committed(events: number): void;
  /** What keeps commits from succeeding; null when nothing does any more. */
  trouble(message: string | null): void;
}
