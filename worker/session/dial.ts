/**
 * Getting a connection, and another one, without limit (R53, R54).
 *
 * Invariants
 * 1. At most one connection is being made at a time; after GoAway the old one stays in use beside it.
 * 2. Addresses are tried in turn: those of the program first, then those that a coordinator named.
 */
import { closeCodes } from '@workflow-orchestrator/proto';
import { reconnectDelayMs } from './backoff.ts';
import { newWire, type Ready, type WorkerOutput, type WorkerSession } from './state.ts';

/** Starts to connect, now. */
export function dial(session: WorkerSession, previous: Ready | null, at: number, outputs: WorkerOutput[]): void {
  const urls = addresses(session);
  const url = urls[session.urlIndex % urls.length]!;
  session.links += 1;
  const wire = newWire(session.links, url, at);
  session.phase = { kind: 'connecting', wire, until: at + session.limits.connectTimeoutMs, previous };
  outputs.push({ kind: 'connect', link: wire.link, url });
}

/** A try failed, or a connection broke: the next one comes after a pause, at the next address. `retryAfterMs`: the coordinator asks for at least this pause. */
export function dialLater(
  session: WorkerSession,
  previous: Ready | null,
  what: string,
  retryAfterMs: number,
  at: number,
  outputs: WorkerOutput[],
): void {
  const { running, ended, brokenAt, limits } = session;
  const isUrgent = running.size + ended.size > 0 && at - brokenAt < limits.reconnectGraceMs;
  const random = session.random();
  const delayMs = Math.max(reconnectDelayMs(session.failures, random, isUrgent, limits), Math.round(retryAfterMs * (1 + random)));
  session.urlIndex += 1;
  session.phase = { kind: 'waiting', until: at + delayMs, previous };
  // What is new, and of the same again the first, second, fourth, eighth ...: enough to see, not enough to fill a disk.
  const worthSaying = what !== session.lastFailure || Math.log2(session.failures + 1) % 1 === 0;
  session.lastFailure = what;
  if (worthSaying) outputs.push({ kind: 'note', level: 'warn', message: `${what}; connecting again in ${delayMs} ms` });
  session.failures += 1;
}

/** GoAway came: connects anew, elsewhere if there is an elsewhere (R53). */
export function dialElsewhere(session: WorkerSession, previous: Ready, delayMs: number, at: number): void {
  session.urlIndex += 1;
  session.phase = { kind: 'waiting', until: at + delayMs, previous };
}

/** The connection being made is given up; the old one, if any, goes on. */
export function giveUpDial(session: WorkerSession, code: number, what: string, at: number, outputs: WorkerOutput[]): void {
  const { phase } = session;
  if (phase.kind !== 'connecting' && phase.kind !== 'greeting') return;
  outputs.push({ kind: 'close', link: phase.wire.link, code, reason: what });
  dialLater(session, phase.previous, `${phase.wire.url}: ${what}`, 0, at, outputs);
}

/** The connection in use is given up. */
export function giveUpReady(session: WorkerSession, ready: Ready, code: number, what: string, at: number, outputs: WorkerOutput[]): void {
  outputs.push({ kind: 'close', link: ready.wire.link, code, reason: what });
  readyGone(session, ready, what, at, outputs);
}

/** The connection in use is gone. */
export function readyGone(session: WorkerSession, ready: Ready, what: string, at: number, outputs: WorkerOutput[]): void {
  outputs.push({ kind: 'disconnected', url: ready.wire.url, reason: what });
  const { phase } = session;
  if (phase.kind === 'ready') {
    session.brokenAt = at;
    dialLater(session, null, `${ready.wire.url}: ${what}`, 0, at, outputs);
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

function addresses(session: WorkerSession): readonly string[] {
  const learned = session.learnedUrls.filter((url) => !session.configuredUrls.includes(url));
  return [...session.configuredUrls, ...learned];
}
