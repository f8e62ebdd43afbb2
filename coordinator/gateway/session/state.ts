/**
 * The state of one worker connection, seen from the coordinator, and what a session asks of its shell.
 *
 * Invariants
 * 1. A phase owns what is valid only in it. A session goes greeting -> introduced -> attaching -> ready -> detached -> ended, and may skip to a later one, never back.
 * 2. Sessions know no clock: every input brings `at`, milliseconds of a clock that never goes back. All times kept here are session time: `at - stalledMs`.
 * 3. There is one alarm for all deadlines of a session. It is never later than the first of them.
 * 4. Per session the shard hears: attach, then capacity, replies, beats and results, then at most one detach, then at most one lost. After takeover nothing.
 */
import type { AssignReply, Hello, LeaseBeat, LogLine, Numbering, Result } from '@workflow-orchestrator/proto';
import { newNumbering } from '@workflow-orchestrator/proto';
import type { AttachedWorker } from '../port.ts';
import type { StreamLimits } from './limits.ts';
import { newOutgoing, type Outgoing } from './outgoing.ts';
import { newTold, type Told } from './told.ts';

/** A worker as its Hello presents it. */
export interface Introduction {
  readonly worker: AttachedWorker;
  /** Number of this connection of its process; 0 when the worker does not count them. */
  readonly connection: number;
  readonly build: string;
  readonly sdk: string;
}

/** What a welcomed session counts. */
export interface Work {
  /** Assignments that the worker can take in all, as it says (R20). */
  granted: number;
  /** Assignments that were sent. Never more than `granted` (R21). */
  sent: number;
  /** Tokens without an answer, in the order sent, and when each is taken back (R22). */
  readonly unanswered: Map<string, number>;
  /** Attempts that the worker runs, as far as its replies, results and beats tell. */
  running: number;
  /** Beats of the parts of a Heartbeat whose last has not come (R30). */
  readonly partialBeats: Map<string, LeaseBeat>;
}

export type Phase =
  /** Connected; `parts` are Hello frames whose last has not come. */
  | { readonly kind: 'greeting'; readonly helloBy: number; readonly parts: Hello[] }
  /** Hello was right; the roster decides who has the worker id. */
  | { readonly kind: 'introduced'; readonly who: Introduction }
  /** The shard was told and has not answered. */
  | { readonly kind: 'attaching'; readonly who: Introduction }
  | { readonly kind: 'ready'; readonly who: Introduction; readonly work: Work }
  /** The connection is gone; leases hold until `graceUntil`. */
  | { readonly kind: 'detached'; readonly who: Introduction; readonly graceUntil: number }
  | { readonly kind: 'ended' };

/** How the connection takes what it is sent. */
export interface Flow {
  /** More than `outboundPauseBytes` wait. */
  congested: boolean;
  bufferedBytes: number;
  flushedBytes: number;
  /** When bytes last went out, or nothing waited. */
  progressAt: number;
}

/** One connection. */
export interface Session {
  readonly id: string;
  readonly coordinatorId: string;
  readonly limits: StreamLimits;
  phase: Phase;
  readonly numbering: Numbering;
  readonly outgoing: Outgoing;
  readonly told: Told;
  readonly flow: Flow;
  /** When the last frame came. */
  heardAt: number;
  /** Silent for `suspectMs`. */
  suspect: boolean;
  /** One end said Drain: no more work. */
  draining: boolean;
  /** The coordinator has asked for it (R52), and says so again after a takeover. */
  drainReason: string | null;
  /** GoAway was sent: no more work on this connection (R53). */
  leaving: boolean;
  /** How late the worker's timers are. */
  loopLagMs: number;
  badFrames: number;
  /** How long this process itself stood still since the session began: nobody's silence. */
  stalledMs: number;
  /** The last alarm fired late, because this process had stood still. */
  isStalled: boolean;
  /** When the armed alarm fires, in session time; infinite when none is armed. */
  alarmAt: number;
}

/** What a session asks of its shell, to be done in order. */
export type SessionOutput =
  /** Find out whether this worker may have its id, then call `admit` or `refuse`. */
  | { readonly kind: 'introduce'; readonly who: Introduction }
  | { readonly kind: 'attach'; readonly worker: AttachedWorker }
  | { readonly kind: 'capacity'; readonly available: number; readonly open: boolean }
  | { readonly kind: 'replies'; readonly replies: readonly AssignReply[] }
  | { readonly kind: 'beats'; readonly beats: readonly LeaseBeat[]; readonly whole: boolean }
  | { readonly kind: 'results'; readonly results: readonly Result[] }
  | { readonly kind: 'detach' }
  | { readonly kind: 'lost'; readonly reason: string }
  | { readonly kind: 'lines'; readonly lines: readonly LogLine[] }
  /** Entries wait: call `flush` at the end of this turn. */
  | { readonly kind: 'wake' }
  /** Send what `flush` gives, then close. `abrupt`: without waiting for the other end. */
  | { readonly kind: 'close'; readonly code: number; readonly reason: string; readonly abrupt: boolean }
  /** Call `tick` at this time, instead of the alarm before. */
  | { readonly kind: 'alarm'; readonly at: number }
  /** For the operator. */
  | { readonly kind: 'note'; readonly level: 'info' | 'warn'; readonly message: string };

/** A connection that has just been made. */
export function openSession(id: string, coordinatorId: string, limits: StreamLimits, at: number): Session {
  return {
    id,
    coordinatorId,
    limits,
    phase: { kind: 'greeting', helloBy: at + limits.helloTimeoutMs, parts: [] },
    numbering: newNumbering(),
    outgoing: newOutgoing(),
    told: newTold(),
    flow: { congested: false, bufferedBytes: 0, flushedBytes: 0, progressAt: at },
    heardAt: at,
    suspect: false,
    draining: false,
    drainReason: null,
    leaving: false,
    loopLagMs: 0,
    badFrames: 0,
    stalledMs: 0,
    isStalled: false,
    alarmAt: Number.POSITIVE_INFINITY,
  };
}

/** The worker behind a session, once it is known. */
export function whoIs(session: Session): Introduction | null {
  return 'who' in session.phase ? session.phase.who : null;
}

/** Assignments that may be sent now (R20, R21). A worker's open credit never exceeds its slots. */
export function available(work: Work, slots: number): number {
  return Math.min(Math.max(0, work.granted - work.sent), slots);
}

/** Whether work may be sent at all. */
export function isOpen(session: Session): boolean {
  return session.phase.kind === 'ready' && !session.suspect && !session.draining && !session.leaving && !session.flow.congested;
}

/** Tells the shard how much room there is. */
export function tellCapacity(session: Session, outputs: SessionOutput[]): void {
  if (session.phase.kind !== 'ready') return;
  const { who, work } = session.phase;
  outputs.push({ kind: 'capacity', available: available(work, who.worker.slots), open: isOpen(session) });
}

/** The first deadline, in session time. */
export function nextDeadline(session: Session): number {
  const { phase, limits } = session;
  switch (phase.kind) {
    case 'greeting':
      return phase.helloBy;
    case 'introduced':
    case 'ended':
      return Number.POSITIVE_INFINITY;
    case 'detached':
      return phase.graceUntil;
    case 'attaching':
    case 'ready': {
      let first = session.heardAt + (session.suspect ? limits.leaseMs : limits.suspectMs);
      if (session.flow.bufferedBytes > 0) first = Math.min(first, session.flow.progressAt + limits.outboundStallMs);
      if (phase.kind === 'ready') for (const takeBackAt of phase.work.unanswered.values()) return Math.min(first, takeBackAt);
      return first;
    }
    default:
      return phase satisfies never;
  }
}

/** Asks for an earlier alarm when there is an earlier deadline. A later deadline waits until the armed alarm has fired: most deadlines never come. */
export function arm(session: Session, outputs: SessionOutput[]): void {
  const deadline = nextDeadline(session);
  if (deadline >= session.alarmAt) return;
  session.alarmAt = deadline;
  outputs.push({ kind: 'alarm', at: deadline + session.stalledMs });
}

/** Arms the first alarm of a new session. */
export function begin(session: Session): SessionOutput[] {
  const outputs: SessionOutput[] = [];
  arm(session, outputs);
  return outputs;
}
