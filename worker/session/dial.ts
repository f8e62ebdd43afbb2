/**
 * Getting a connection, and another one, without limit (R53, R54).
 *
 * Invariants
 * 1. At most one connection is being made at a time; after GoAway the old one stays in use beside it.
 * 2. Addresses are tried in rounds: each once, one straight after the other; there is a pause after a round, not within it.
 * 3. A round begins with the addresses that a coordinator named in its Welcome, then the one that welcomed last, then those of the program in their
 *    order. After GoAway the one that goes away comes last.
 */
import { create } from '@bufbuild/protobuf';
import { closeCodes, type ProtocolErrorCode, ProtocolErrorSchema } from '@workflow-orchestrator/proto';
import { reconnectDelayMs } from './backoff.ts';
import { sendFrame } from './outgoing.ts';
import { newWire, type Ready, type Wire, type WorkerOutput, type WorkerSession } from './state.ts';

/** Starts to connect, now. */
export function dial(session: WorkerSession, previous: Ready | null, at: number, outputs: WorkerOutput[]): void {
  const [url, ...later] = session.round.length > 0 ? session.round : addresses(session);
  session.round = later;
  session.links += 1;
  const wire = newWire(session.links, url, at);
  session.phase = { kind: 'connecting', wire, until: at + session.limits.connectTimeoutMs, previous };
  outputs.push({ kind: 'connect', link: wire.link, url });
}

/** A try failed: the next address of the round comes at once, the next round after a pause. `retryAfterMs`: the coordinator asks for at least this pause. */
export function dialFailed(
  session: WorkerSession,
  previous: Ready | null,
  url: string,
  why: string,
  retryAfterMs: number,
  at: number,
  outputs: WorkerOutput[],
): void {
  session.roundRetryAfterMs = Math.max(session.roundRetryAfterMs, retryAfterMs);
  if (session.round.length === 0) {
    pauseAfterRound(session, previous, url, why, at, outputs);
    return;
  }
  session.phase = { kind: 'waiting', until: at, previous };
  note(session, url, why, `trying ${session.round[0]}`, outputs);
}

/** A round is over, or a connection broke: the next round comes after a pause. */
function pauseAfterRound(
  session: WorkerSession,
  previous: Ready | null,
  url: string,
  why: string,
  at: number,
  outputs: WorkerOutput[],
): void {
  const { running, ended, brokenAt, limits, roundRetryAfterMs } = session;
  const isUrgent = running.size + ended.size > 0 && at - brokenAt < limits.reconnectGraceMs;
  const random = session.random();
  const delayMs = Math.max(reconnectDelayMs(session.failures, random, isUrgent, limits), Math.round(roundRetryAfterMs * (1 + random)));
  session.round = [];
  session.roundRetryAfterMs = 0;
  session.phase = { kind: 'waiting', until: at + delayMs, previous };
  note(session, url, why, `connecting again in ${delayMs} ms`, outputs);
  session.failures += 1;
}

/** What is new, and of the same again the first, second, fourth, eighth ...: enough to see, not enough to fill a disk. */
function note(session: WorkerSession, url: string, why: string, next: string, outputs: WorkerOutput[]): void {
  const worthSaying = why !== session.lastFailures.get(url) || Math.log2(session.failures + 1) % 1 === 0;
  session.lastFailures.set(url, why);
  if (worthSaying) outputs.push({ kind: 'note', level: 'warn', message: `${url}: ${why}; ${next}` });
}

/** GoAway came: connects anew, elsewhere if there is an elsewhere (R53). */
export function dialElsewhere(session: WorkerSession, previous: Ready, delayMs: number, at: number): void {
  const here = previous.wire.url;
  session.round = [...addresses(session).filter((url) => url !== here), here];
  session.phase = { kind: 'waiting', until: at + delayMs, previous };
}

/** The connection being made is given up; the old one, if any, goes on. */
export function giveUpDial(session: WorkerSession, code: number, what: string, at: number, outputs: WorkerOutput[]): void {
  const { phase } = session;
  if (phase.kind !== 'connecting' && phase.kind !== 'greeting') return;
  outputs.push({ kind: 'close', link: phase.wire.link, code, reason: what });
  dialFailed(session, phase.previous, phase.wire.url, what, 0, at, outputs);
}

/** The connection in use is given up. */
export function giveUpReady(session: WorkerSession, ready: Ready, code: number, what: string, at: number, outputs: WorkerOutput[]): void {
  outputs.push({ kind: 'close', link: ready.wire.link, code, reason: what });
  readyGone(session, ready, what, at, outputs);
}

/** Says what was wrong, as the last frame of a connection that is given up for it (R5, R6, R8). */
export function accuse(wire: Wire, code: ProtocolErrorCode, message: string, outputs: WorkerOutput[]): void {
  const error = create(ProtocolErrorSchema, { code, message, frameSeq: BigInt(wire.numbering.handled), fatal: true });
  sendFrame(wire, { case: 'error', value: error }, outputs);
}

/** The connection in use is gone. */
export function readyGone(session: WorkerSession, ready: Ready, what: string, at: number, outputs: WorkerOutput[]): void {
  outputs.push({ kind: 'disconnected', url: ready.wire.url, reason: what });
  const { phase } = session;
  if (phase.kind === 'ready') {
    session.brokenAt = at;
    pauseAfterRound(session, null, ready.wire.url, what, at, outputs);
  } else if ('previous' in phase) {
    session.phase = { ...phase, previous: null };
  }
}

/** Closes what is open: the worker ends. */
export function closeAll(session: WorkerSession, reason: string, outputs: WorkerOutput[]): void {
  const { phase } = session;
  if (phase.kind === 'connecting' || phase.kind === 'greeting') {
    outputs.push({ kind: 'close', link: phase.wire.link, code: closeCodes.done, reason });
  }
  const ready = phase.kind === 'ready' ? phase : 'previous' in phase ? phase.previous : null;
  if (ready !== null) outputs.push({ kind: 'close', link: ready.wire.link, code: closeCodes.done, reason });
  session.phase = { kind: 'closed', reason };
  outputs.push({ kind: 'ended', reason });
}

/** All addresses in the order of a round, each once. */
function addresses(session: WorkerSession): readonly string[] {
  const { learnedUrls, welcomedUrl, configuredUrls } = session;
  return [...new Set([...learnedUrls, ...(welcomedUrl === null ? [] : [welcomedUrl]), ...configuredUrls])];
}
