/**
 * All worker connections of this coordinator: does what the session machines ask, over any kind of link. Deterministic: time and identity are given,
 * so that the same code runs over sockets and in a simulated network.
 *
 * Invariants
 * 1. A worker id is in the roster from its attach to its lost, with exactly one session (R13).
 * 2. The shard is never called for a session that is not in the roster.
 */
import type { CoordinatorFrame, LogLine, WorkerFrame } from '@workflow-orchestrator/proto';
import type { WorkerInbox, WorkerOutbox } from './port.ts';
import { admit, evict, judge, refuse, replace } from './session/admission.ts';
import { assign } from './session/assignments.ts';
import { ack, cancel, drain, goAway, revoke, welcome } from './session/from-shard.ts';
import type { StreamLimits } from './session/limits.ts';
import { flush, observeFlow, receive, receiveUnreadable, socketClosed, tick } from './session/session.ts';
import { begin, type Introduction, openSession, type Session, type SessionOutput } from './session/state.ts';
import { describe, type WorkerInfo } from './worker-info.ts';

/** One connection, as the hub needs it. None of these calls back before it returns. */
export interface Link {
  send(frame: CoordinatorFrame): void;
  /** Closes after what was sent; `abrupt`: without waiting for the other end. `closed` may follow or not. */
  close(code: number, reason: string, abrupt: boolean): void;
  /** `tick` is to be called at this time, instead of the one before; null: not at all. */
  setAlarm(at: number | null): void;
  /** `flush` is to be called once, at the end of this turn. */
  wake(): void;
}

/** What a link tells the hub. */
export interface Connection {
  receive(frame: WorkerFrame): void;
  /** A message that is no frame, and why. */
  receiveUnreadable(problem: string): void;
  /** The alarm. */
  tick(): void;
  /** Sends what waits. */
  flush(): void;
  /** Bytes that wait to go out, and that went out in all. */
  observeFlow(bufferedBytes: number, flushedBytes: number): void;
  /** The link is gone. */
  closed(code: number): void;
}

/** What the hub needs. */
export interface HubOptions {
  readonly inbox: WorkerInbox;
  readonly coordinatorId: string;
  readonly limits: StreamLimits;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** Milliseconds since 1970. */
  readonly wallNow: () => number;
  readonly newSessionId: () => string;
  /** Addresses of other coordinators, for Welcome. */
  readonly coordinatorUrls: () => readonly string[];
  readonly onLogLines: (workerId: string, lines: readonly LogLine[]) => void;
  readonly note: (level: 'info' | 'warn', message: string) => void;
}

/** All connections. */
export interface Hub {
  connect(link: Link): Connection;
  /** Workers that are connected or within their grace, by id. */
  workers(): WorkerInfo[];
  worker(workerId: string): WorkerInfo | null;
  /** Asks a worker to take no more work and to end (R52). False when there is no such worker. */
  drain(workerId: string, reason: string): boolean;
  /** GoAway to all (R53). */
  goAway(reason: string, reconnectDelayMs: number): void;
  /** Forgets everything; the shard is not called any more. */
  stop(): void;
}

/** One connection with its session. */
interface Member {
  readonly session: Session;
  readonly link: Link;
  /** Empty until Hello was right. */
  workerId: string;
  /** Milliseconds since 1970. */
  readonly connectTimeMs: number;
}

/** Makes a hub without connections. */
export function createHub(options: HubOptions): Hub {
  const { inbox, limits, now } = options;
  const roster = new Map<string, Member>();

  function perform(member: Member, outputs: readonly SessionOutput[]): void {
    const { session, link } = member;
    for (const output of outputs) {
      switch (output.kind) {
        case 'introduce':
          introduce(member, output.who);
          break;
        case 'attach':
          inbox.attach(output.worker, outboxOf(member));
          break;
        case 'capacity':
          inbox.capacity(member.workerId, session.id, output.available, output.open);
          break;
        case 'replies':
          inbox.replies(member.workerId, session.id, output.replies);
          break;
        case 'beats':
          inbox.beats(member.workerId, session.id, output.beats, output.whole);
          break;
        case 'results':
          inbox.results(member.workerId, session.id, output.results);
          break;
        case 'lines':
          options.onLogLines(member.workerId, output.lines);
          break;
        case 'detach':
          inbox.detach(member.workerId, session.id);
          break;
        case 'lost':
          if (roster.get(member.workerId) === member) roster.delete(member.workerId);
          inbox.lost(member.workerId, session.id, output.reason);
          break;
        case 'wake':
          link.wake();
          break;
        case 'close':
          sendAll(member);
          link.close(output.code, output.reason, output.abrupt);
          break;
        case 'alarm':
          link.setAlarm(output.at);
          break;
        case 'note':
          options.note(output.level, output.message);
          break;
        default:
          output satisfies never;
      }
    }
    if (session.phase.kind === 'ended') link.setAlarm(null);
  }

  function introduce(member: Member, who: Introduction): void {
    const { workerId } = who.worker;
    const current = roster.get(workerId);
    const admission = judge(current?.session, who, roster.size, limits.workers);
    if (admission.kind === 'refuse') {
      perform(member, refuse(member.session, admission.code, admission.message, now()));
      return;
    }
    member.workerId = workerId;
    if (current !== undefined) perform(current, admission.kind === 'take over' ? replace(current.session) : evict(current.session));
    roster.set(workerId, member);
    const old = admission.kind === 'take over' && current !== undefined ? current.session : null;
    perform(member, admit(member.session, old, now()));
  }

  function outboxOf(member: Member): WorkerOutbox {
    const { session } = member;
    return {
      welcome: (verdicts) => perform(member, welcome(session, verdicts, options.coordinatorUrls(), now())),
      assign: (assignments) => perform(member, assign(session, assignments, now())),
      ack: (acks) => perform(member, ack(session, acks)),
      cancel: (leaseTokens, reason) => perform(member, cancel(session, leaseTokens, reason)),
      revoke: (leaseTokens) => perform(member, revoke(session, leaseTokens)),
    };
  }

  function sendAll(member: Member): void {
    for (const frame of flush(member.session)) member.link.send(frame);
  }

  function infoOf(member: Member): WorkerInfo | null {
    return describe(member.session, member.connectTimeMs, now(), options.wallNow());
  }

  return {
    connect(link) {
      const session = openSession(options.newSessionId(), options.coordinatorId, limits, now());
      const member: Member = { session, link, workerId: '', connectTimeMs: options.wallNow() };
      perform(member, begin(session));
      return {
        receive: (frame) => perform(member, receive(session, frame, now())),
        receiveUnreadable: (problem) => perform(member, receiveUnreadable(session, problem, now())),
        tick: () => perform(member, tick(session, now())),
        flush: () => sendAll(member),
        observeFlow: (buffered, flushed) => perform(member, observeFlow(session, buffered, flushed, now())),
        closed: (code) => perform(member, socketClosed(session, code, now())),
      };
    },
    workers() {
      const infos: WorkerInfo[] = [];
      for (const member of roster.values()) {
        const info = infoOf(member);
        if (info !== null) infos.push(info);
      }
      return infos.sort((a, b) => (a.id < b.id ? -1 : 1));
    },
    worker(workerId) {
      const member = roster.get(workerId);
      return member === undefined ? null : infoOf(member);
    },
    drain(workerId, reason) {
      const member = roster.get(workerId);
      if (member === undefined) return false;
      perform(member, drain(member.session, reason));
      return true;
    },
    goAway(reason, reconnectDelayMs) {
      for (const member of roster.values()) perform(member, goAway(member.session, reason, reconnectDelayMs));
    },
    stop() {
      for (const { session, link } of roster.values()) {
        session.phase = { kind: 'ended' };
        link.setAlarm(null);
      }
      roster.clear();
    },
  };
}
