/**
 * The state of a worker's end of the stream, and what it asks of its shell.
 *
 * Invariants
 * 1. A phase owns its connections: each `Wire` is in exactly one phase, and what belongs to one connection (numbers, credit, timers) goes with it.
 *    Draining is beside the phase: a worker that drains may have to connect again to deliver results.
 * 2. No clock, no chance: every input brings `at`, milliseconds of a clock that never goes back; `random` is given.
 * 3. A token is held, and named in Hello (R10), while it is in `running` or `ended`, never in both. `lingering` is about slots only.
 * 4. There is one alarm for all deadlines, never later than the first of them.
 */
import type {
  Assignment,
  AssignReply,
  Capability,
  Numbering,
  Payload,
  ProtocolError,
  Result,
  ResultAck_Verdict,
  WorkerFrame,
} from '@workflow-orchestrator/proto';
import { newNumbering } from '@workflow-orchestrator/proto';
import { type LogBuffer, type LogTally, newLogBuffer } from './log-buffer.ts';
import type { WorkerLimits } from './worker-limits.ts';

/** What a worker says of itself in Hello. */
export interface Profile {
  readonly workerId: string;
  readonly instanceId: string;
  readonly build: string;
  readonly sdk: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly capabilities: readonly Capability[];
  readonly slots: number;
}

/** One connection. */
export interface Wire {
  /** Names it towards the shell. */
  readonly link: number;
  readonly url: string;
  readonly numbering: Numbering;
  /** When the other end was last heard. */
  heardAt: number;
  /** When the next Heartbeat is due. */
  beatAt: number;
  badFrames: number;
}

/** A welcomed connection. */
export interface Ready {
  readonly kind: 'ready';
  readonly wire: Wire;
  readonly sessionId: string;
  readonly coordinatorId: string;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly cancelGraceMs: number;
  readonly frameBytes: number;
  readonly logBytes: number;
  /** Assignments that came (R20). */
  received: number;
  /** The last Credit. */
  granted: number;
  drainSent: boolean;
  /** GoAway came: the next connection is on its way. */
  leaving: boolean;
}

/** Where the worker stands. `previous` is the connection still in use after GoAway (R53). */
export type Phase =
  | { readonly kind: 'idle' }
  | { readonly kind: 'waiting'; readonly until: number; readonly previous: Ready | null }
  | { readonly kind: 'connecting'; readonly wire: Wire; readonly until: number; readonly previous: Ready | null }
  | { readonly kind: 'greeting'; readonly wire: Wire; readonly until: number; readonly previous: Ready | null }
  | Ready
  | { readonly kind: 'closed'; readonly reason: string };

/** An attempt whose handler runs. */
export interface Running {
  readonly assignment: Assignment;
  readonly acceptedAt: number;
  /** When the handler last showed life by itself. */
  lifeAt: number;
  progress: number | null;
  progressMessage: string;
  /** What it stored and nobody is known to have; `frame` is the number of the Heartbeat that named it on this connection, 0 for none. */
  checkpoint: { readonly payload: Payload; frame: number } | null;
  /** When it has failed with TIMEOUT; infinite when it may run for ever. */
  readonly runUntil: number;
  /** When a cancelled one is given up; infinite while it is not to stop. */
  cancelUntil: number;
  readonly log: LogTally;
}

/** An attempt whose result waits for its ack. */
export interface Ended {
  readonly result: Result;
  readonly bytes: number;
  /** It failed with this checkpoint, which nobody is known to have (R26). */
  readonly checkpoint: Payload | null;
  /** When it was sent on the present connection; null when it was not. */
  sentAt: number | null;
}

/** Why a handler is told to stop. */
export type AbortReason =
  | { readonly kind: 'cancelled'; readonly reason: string }
  | { readonly kind: 'timeout'; readonly runTimeoutMs: number }
  | { readonly kind: 'lost' }
  | { readonly kind: 'stopping' };

/** What the machine asks of its shell, to be done in order. */
export type WorkerOutput =
  /** Open a connection; then `opened` or `closed` with this link. */
  | { readonly kind: 'connect'; readonly link: number; readonly url: string }
  | { readonly kind: 'send'; readonly link: number; readonly frame: WorkerFrame }
  | { readonly kind: 'close'; readonly link: number; readonly code: number; readonly reason: string }
  /** Start the handler; then `finish` with its token, once. */
  | { readonly kind: 'run'; readonly assignment: Assignment }
  /** Tell the handler to stop. */
  | { readonly kind: 'abort'; readonly leaseToken: string; readonly reason: AbortReason }
  /** Call `flush` at the end of this turn. */
  | { readonly kind: 'wake' }
  /** Call `tick` at this time, instead of the alarm before. */
  | { readonly kind: 'alarm'; readonly at: number }
  | { readonly kind: 'welcomed'; readonly url: string; readonly sessionId: string; readonly coordinatorId: string }
  | { readonly kind: 'disconnected'; readonly url: string; readonly reason: string }
  /** R41: what became of a result that this worker kept. */
  | { readonly kind: 'acknowledged'; readonly result: Result; readonly verdict: ResultAck_Verdict }
  /** The last output. */
  | { readonly kind: 'ended'; readonly reason: string }
  /** For the operator. */
  | { readonly kind: 'note'; readonly level: 'info' | 'warn' | 'error'; readonly message: string };

/** One worker. */
export interface WorkerSession {
  readonly profile: Profile;
  /** Slots by type. */
  readonly capabilities: ReadonlyMap<string, number>;
  readonly limits: WorkerLimits;
  readonly random: () => number;
  phase: Phase;
  readonly running: Map<string, Running>;
  /** In the order in which they were last sent; those not sent on this connection come last. */
  readonly ended: Map<string, Ended>;
  /** Forgotten attempts whose handlers have not returned, with their types: they take a slot. */
  readonly lingering: Map<string, string>;
  /** Slots taken, by type. */
  readonly taken: Map<string, number>;
  endedBytes: number;
  /** Replies, results by token, and errors that wait. */
  replies: AssignReply[];
  unsent: Set<string>;
  errors: ProtocolError[];
  readonly logs: LogBuffer;
  /** Not before this time is any of the running attempts overdue. */
  overdueAt: number;
  /** Why it drains; null while it does not. */
  draining: string | null;
  /** When a stop no longer waits for handlers; infinite while there is no such time. */
  stopAt: number;
  readonly configuredUrls: readonly string[];
  learnedUrls: readonly string[];
  /** The address that welcomed this worker last, or null. */
  welcomedUrl: string | null;
  /** Addresses that are still to be tried before the next pause; empty between rounds. */
  round: readonly string[];
  /** The longest pause that a coordinator asked for in this round, in milliseconds. */
  roundRetryAfterMs: number;
  /** When the last connection that worked broke. */
  brokenAt: number;
  /** Rounds in a row that failed. */
  failures: number;
  /** Why the last try failed, by address. */
  readonly lastFailures: Map<string, string>;
  /** Links so far; the number of the newest. */
  links: number;
  lastSessionId: string;
  /** How late alarms were since the last Heartbeat. */
  lagMs: number;
  alarmAt: number;
}

/** A worker that has not started. */
export function newWorkerSession(profile: Profile, urls: readonly string[], limits: WorkerLimits, random: () => number): WorkerSession {
  return {
    profile,
    capabilities: new Map(profile.capabilities.map(({ type, slots }) => [type, slots === 0 ? profile.slots : slots])),
    limits,
    random,
    phase: { kind: 'idle' },
    running: new Map(),
    ended: new Map(),
    lingering: new Map(),
    taken: new Map(),
    endedBytes: 0,
    replies: [],
    unsent: new Set(),
    errors: [],
    logs: newLogBuffer(),
    overdueAt: Number.POSITIVE_INFINITY,
    draining: null,
    stopAt: Number.POSITIVE_INFINITY,
    configuredUrls: urls,
    learnedUrls: [],
    welcomedUrl: null,
    round: [],
    roundRetryAfterMs: 0,
    brokenAt: Number.NEGATIVE_INFINITY,
    failures: 0,
    lastFailures: new Map(),
    links: 0,
    lastSessionId: '',
    lagMs: 0,
    alarmAt: Number.POSITIVE_INFINITY,
  };
}

/** A connection that nothing was sent on. */
export function newWire(link: number, url: string, at: number): Wire {
  return { link, url, numbering: newNumbering(), heardAt: at, beatAt: Number.POSITIVE_INFINITY, badFrames: 0 };
}

/** The welcomed connection in use, or null. */
export function live(session: WorkerSession): Ready | null {
  const { phase } = session;
  if (phase.kind === 'ready') return phase;
  return 'previous' in phase ? phase.previous : null;
}

/** Slots taken, by handlers that run or linger. */
export function occupied(session: WorkerSession): number {
  return session.running.size + session.lingering.size;
}

/** Slots that may be granted (R20): none while it drains, or while too many results wait (R40). */
export function freeSlots(session: WorkerSession): number {
  const { limits, profile, ended, endedBytes } = session;
  if (session.draining !== null) return 0;
  if (ended.size >= limits.workerResultsKept || endedBytes >= limits.workerResultBytesKept) return 0;
  return Math.max(0, profile.slots - occupied(session));
}

/** Arms an earlier alarm when there is an earlier deadline. */
export function arm(session: WorkerSession, outputs: WorkerOutput[]): void {
  const deadline = nextDeadline(session);
  if (deadline >= session.alarmAt) return;
  session.alarmAt = deadline;
  outputs.push({ kind: 'alarm', at: deadline });
}

/** The first deadline. */
export function nextDeadline(session: WorkerSession): number {
  const { phase } = session;
  if (phase.kind === 'idle' || phase.kind === 'closed') return Number.POSITIVE_INFINITY;
  let first = Math.min(session.overdueAt, session.stopAt);
  if (phase.kind !== 'ready') first = Math.min(first, phase.until);
  if (phase.kind === 'greeting') first = Math.min(first, phase.wire.beatAt);
  const ready = live(session);
  if (ready !== null) {
    first = Math.min(first, ready.wire.beatAt, ready.wire.heardAt + ready.leaseMs);
    for (const { sentAt } of session.ended.values()) {
      if (sentAt !== null) first = Math.min(first, sentAt + session.limits.resultResendMs);
      break;
    }
  }
  return first;
}
