/**
 * A history, read once for all checkers: its connections and its attempts.
 *
 * Invariants
 * 1. What the worker knows is taken from what it acked (R6), never from when it was sent: a worker is not to blame for what was still on its way.
 * 2. A token that was assigned twice is one attempt.
 */
import type { Assignment, Hello, Result, Welcome, WorkerFrame } from '@workflow-orchestrator/proto';
import type { Entry, EntryOf, History } from './history.ts';

/** A message of the worker that is a frame. */
export type FrameIn = EntryOf<'in'> & { readonly frame: WorkerFrame };

/** One connection. */
export interface LinkReading {
  readonly link: number;
  readonly openedAt: number;
  readonly frames: readonly FrameIn[];
  readonly outs: readonly EntryOf<'out'>[];
  /** The frames of Hello, in order. */
  readonly hellos: readonly (FrameIn & { readonly hello: Hello })[];
  readonly welcome: { readonly entry: EntryOf<'out'>; readonly message: Welcome } | null;
  readonly goAway: EntryOf<'out'> | null;
  readonly mutedAt: number;
  /** When this side began to close or cut it, or said something fatal; infinite when it did not. */
  readonly closingAt: number;
  readonly closed: EntryOf<'closed'> | null;
  /** When the worker may be judged on this connection no longer: muted, ended, or the end of the session. */
  readonly until: number;
}

/** Something that the worker was told about an attempt. */
export interface Told {
  readonly link: number;
  readonly index: number;
  readonly at: number;
  /** Index of the first frame of the worker that acks it; infinite when none does. */
  readonly knownFrom: number;
}

/** One attempt. */
export interface AttemptReading {
  readonly token: string;
  readonly assignment: Assignment;
  readonly given: EntryOf<'out'>[];
  readonly replies: { readonly entry: FrameIn; readonly accepted: boolean; readonly reason: string }[];
  readonly results: { readonly entry: FrameIn; readonly result: Result }[];
  readonly acks: Told[];
  /** Lost or abandoned. */
  readonly losses: Told[];
  readonly cancels: Told[];
}

/** All of it. */
export interface Reading {
  readonly history: History;
  readonly entries: readonly Entry[];
  readonly links: readonly LinkReading[];
  readonly attempts: ReadonlyMap<string, AttemptReading>;
  readonly slots: number;
  readonly workerId: string;
  /** When SIGTERM came, or the coordinator's Drain was sent; infinite when neither. */
  readonly drainAskedAt: number;
  readonly endedAt: number;
  readonly exit: EntryOf<'exited'> | null;
}

/** Reads it. */
export function readHistory(history: History): Reading {
  const { entries } = history;
  const started = entries.find((entry) => entry.kind === 'started');
  // The kit kills what is left at the end: that is nobody's doing.
  const exit = entries.find((entry) => entry.kind === 'exited') ?? null;
  const stuck = entries.find((entry) => entry.kind === 'stuck');
  const endedAt = stuck?.at ?? exit?.at ?? entries.at(-1)?.at ?? 0;
  const links = entries
    .filter((entry) => entry.kind === 'request')
    .filter((entry) => entry.status === 101)
    .map((request) => readLink(entries, request, endedAt));
  const attempts = new Map<string, AttemptReading>();
  for (const entry of entries) if (entry.link > 0) readAttempts(entry, links, attempts);
  const asked = entries.find((entry) => entry.kind === 'signal' || (entry.kind === 'out' && entry.frame?.body.case === 'drain'));
  return {
    history,
    entries,
    links,
    attempts,
    slots: started?.slots ?? 0,
    workerId: started?.workerId ?? '',
    drainAskedAt: asked?.at ?? Number.POSITIVE_INFINITY,
    endedAt,
    exit,
  };
}

function readLink(entries: readonly Entry[], request: EntryOf<'request'>, endedAt: number): LinkReading {
  const own = entries.filter((entry) => entry.link === request.link);
  const frames = own.filter((entry): entry is FrameIn => entry.kind === 'in' && entry.frame !== null);
  const outs = own.filter((entry) => entry.kind === 'out');
  const hellos = frames.flatMap((entry) => (entry.frame.body.case === 'hello' ? [{ ...entry, hello: entry.frame.body.value }] : []));
  const bodyOf = (kind: string) => outs.find((entry) => entry.frame?.body.case === kind) ?? null;
  const welcomeEntry = bodyOf('welcome');
  const body = welcomeEntry?.frame?.body;
  const mutedAt = own.find((entry) => entry.kind === 'muted')?.at ?? Number.POSITIVE_INFINITY;
  const closing = own.find((entry) => entry.kind === 'closing' || (entry.kind === 'out' && breaks(entry)));
  const closingAt = closing?.at ?? Number.POSITIVE_INFINITY;
  const closed = own.find((entry) => entry.kind === 'closed') ?? null;
  return {
    link: request.link,
    openedAt: request.at,
    frames,
    outs,
    hellos,
    welcome: welcomeEntry !== null && body?.case === 'welcome' ? { entry: welcomeEntry, message: body.value } : null,
    goAway: bodyOf('goAway'),
    mutedAt,
    closingAt,
    closed,
    until: Math.min(mutedAt, closingAt, closed?.at ?? Number.POSITIVE_INFINITY, endedAt),
  };
}

/** Whether a message of this side ends the connection by the rules: a gap, a false ack, a frame that is too large, a fatal error. */
export function breaks({ frame, what }: EntryOf<'out'>): boolean {
  if (/numbers were skipped|acks what was never sent|1 MiB and 1 byte/.test(what)) return true;
  return frame?.body.case === 'error' && frame.body.value.fatal;
}

function readAttempts(entry: Entry, links: readonly LinkReading[], attempts: Map<string, AttemptReading>): void {
  if (entry.kind === 'out' && entry.frame !== null) {
    const { body } = entry.frame;
    const told = toldBy(entry, links);
    if (body.case === 'assignments') for (const assignment of body.value.assignments) attemptOf(attempts, assignment).given.push(entry);
    if (body.case === 'resultAcks') for (const { leaseToken } of body.value.acks) attempts.get(leaseToken)?.acks.push(told);
    if (body.case === 'cancel') for (const token of body.value.leaseTokens) attempts.get(token)?.cancels.push(told);
    if (body.case === 'heartbeatReply') {
      for (const token of body.value.lost) attempts.get(token)?.losses.push(told);
      for (const token of body.value.cancel) attempts.get(token)?.cancels.push(told);
    }
    if (body.case === 'welcome') {
      for (const { leaseToken, verdict } of body.value.verdicts) if (verdict === 2) attempts.get(leaseToken)?.losses.push(told);
    }
  }
  if (entry.kind === 'in' && entry.frame !== null) {
    const frameIn = entry as FrameIn;
    const { body } = entry.frame;
    if (body.case === 'assignReplies') {
      for (const { leaseToken, accepted, reason } of body.value.replies) {
        attempts.get(leaseToken)?.replies.push({ entry: frameIn, accepted, reason });
      }
    }
    if (body.case === 'results')
      for (const result of body.value.results) attempts.get(result.leaseToken)?.results.push({ entry: frameIn, result });
  }
}

function attemptOf(attempts: Map<string, AttemptReading>, assignment: Assignment): AttemptReading {
  const token = assignment.leaseToken;
  const known = attempts.get(token);
  if (known !== undefined) return known;
  const attempt: AttemptReading = { token, assignment, given: [], replies: [], results: [], acks: [], losses: [], cancels: [] };
  attempts.set(token, attempt);
  return attempt;
}

function toldBy(entry: EntryOf<'out'>, links: readonly LinkReading[]): Told {
  const link = links.find((candidate) => candidate.link === entry.link);
  const seq = entry.frame?.seq ?? 0n;
  const acking = link?.frames.find((frame) => frame.index > entry.index && frame.frame.ack >= seq);
  return { link: entry.link, index: entry.index, at: entry.at, knownFrom: acking?.index ?? Number.POSITIVE_INFINITY };
}

/** How much later a frame of another connection must have come to be judged by what was said on the first: two sockets are read in no order. In milliseconds. */
export const acrossLinksMs = 150;

/** Whether the worker knew one of `told` for sure when it sent `entry`. */
export function knew(entry: FrameIn, told: readonly Told[], entries: readonly Entry[]): boolean {
  return told.some(({ link, knownFrom }) => {
    if (knownFrom > entry.index) return false;
    return link === entry.link || entry.at - entries[knownFrom]!.at > acrossLinksMs;
  });
}

/** Whether the worker may have known one of `told` when it sent `entry`: it had been sent. */
export function mayKnow(entry: Entry, told: readonly Told[]): boolean {
  return told.some(({ index }) => index < entry.index);
}

/** Time in `from` to `to` in which the kit itself stood still, in milliseconds. */
export function stalledMs(entries: readonly Entry[], from: number, to: number): number {
  let ms = 0;
  for (const entry of entries) if (entry.kind === 'stalled' && entry.at > from && entry.at - entry.ms < to) ms += entry.ms;
  return ms;
}
