/**
 * Duties of stopping and moving: W37 to W40.
 */
import type { EntryOf } from '../history.ts';
import { type AttemptReading, type FrameIn, knew, type LinkReading, mayKnow, type Reading, stalledMs } from '../reading.ts';
import type { Checkers, Findings } from './checker.ts';
import { parametersOf, runningAt } from './work.ts';

/** How long a thing may take that is to happen at once, in milliseconds. */
const soonMs = 1_500;

/** Frames that a worker sends in one turn come within this time, in milliseconds. */
const sameTurnMs = 50;

export const stoppingCheckers: Checkers = {
  W37({ attempts, entries, links, drainAskedAt }, { shown, fault }) {
    for (const { token, assignment, cancels, losses, results, replies } of attempts.values()) {
      const first = results[0];
      const { case: outcome } = first?.result.outcome ?? {};
      if (outcome === 'cancelled' && !mayKnow(first!.entry, cancels)) {
        if (first!.entry.at < drainAskedAt) fault(first!.entry, `${token} ended as cancelled, and nobody had asked`);
        continue;
      }
      if (losses.length > 0 || !replies.some((reply) => reply.accepted)) continue;
      const told = cancels.find(({ knownFrom }) => knownFrom < Number.POSITIVE_INFINITY);
      if (told === undefined) continue;
      // What had ended in the same turn in which the cancel came is told as it ended.
      const wasKnown =
        first !== undefined && knew(first.entry, cancels, entries) && first.entry.at - entries[told.knownFrom]!.at > sameTurnMs;
      const ms = Number((parametersOf(assignment) as { ms?: number }).ms ?? 0);
      const link = links.find((candidate) => candidate.link === told.link);
      const overAt = first?.entry.at ?? entries.at(-1)!.at;
      const lateMs = overAt - told.at - stalledMs(entries, told.at, overAt);
      const isSlow = assignment.type === 'conformance.sleep' && ms > 10_000 && assignment.runTimeoutMs === 0n && lateMs > soonMs;
      if (isSlow && (link?.until ?? 0) > told.at + soonMs)
        fault(first?.entry ?? entries.at(-1), `${token} was to stop, and ran on for ${Math.round(lateMs)} ms`);
      else if (outcome === 'cancelled') shown();
      else if (first === undefined || !wasKnown) continue;
      else if (outcome === 'output' || assignment.runTimeoutMs > 0n) shown();
      else fault(first.entry, `${token} was to stop, and ended with ${outcome}, not with cancelled or its output`);
    }
  },

  W38(reading, findings) {
    const signal = reading.entries.find((entry) => entry.kind === 'signal');
    if (signal !== undefined) checkDrain(reading, signal, findings);
  },

  W39(reading, findings) {
    const drain = reading.entries.find((entry) => entry.kind === 'out' && entry.frame?.body.case === 'drain');
    if (drain?.kind === 'out') checkDrain(reading, drain, findings);
  },

  W40(reading, { shown, fault }) {
    for (const { goAway, link, closed, closingAt, frames } of reading.links) {
      if (goAway?.frame?.body.case !== 'goAway') continue;
      const delayMs = goAway.frame.body.value.reconnectDelayMs;
      const next = reading.entries.find((entry): entry is EntryOf<'request'> => entry.kind === 'request' && entry.link > link);
      const welcome = reading.links.find((other) => other.link > link && other.welcome !== null)?.welcome?.entry;
      const waitedMs = (next?.at ?? reading.endedAt) - goAway.at;
      const closedByWorker = closed !== null && closed.at < closingAt;
      // Cut before the worker said that it has it: it may never have come.
      const came = closingAt === Number.POSITIVE_INFINITY || frames.some(({ frame }) => frame.ack >= (goAway.frame?.seq ?? 0n));
      if (!came) continue;
      if (waitedMs > delayMs + soonMs + stalledMs(reading.entries, goAway.at, goAway.at + soonMs))
        fault(next ?? reading.entries.at(-1), `did not connect anew within ${Math.round(waitedMs)} ms after GoAway`);
      else if (next === undefined) continue;
      else if (waitedMs < delayMs - 20) fault(next, `connected ${Math.round(waitedMs)} ms after GoAway, not after ${delayMs} ms or more`);
      else if (closingAt < Number.POSITIVE_INFINITY) shown();
      else if (closedByWorker && (welcome === undefined || closed.at < welcome.at))
        fault(closed, 'closed the old connection before the new one had its Welcome');
      else if (closedByWorker && closed.code !== 1001) fault(closed, `closed the old connection with ${closed.code}, not with 1001`);
      else if (closed === null && welcome !== undefined && reading.endedAt > welcome.at + soonMs)
        fault(welcome, 'did not close the old connection');
      else if (closedByWorker && welcome !== undefined && closed.at > welcome.at + soonMs)
        fault(closed, `closed the old connection ${Math.round(closed.at - welcome.at)} ms after the new Welcome`);
      else if (closedByWorker) shown();
    }
  },
};

/** R51, from the moment the worker was asked to drain. */
function checkDrain(reading: Reading, asked: EntryOf<'signal'> | EntryOf<'out'>, { shown, fault }: Findings): void {
  const { links, attempts, entries, exit } = reading;
  const last = links.findLast(({ welcome }) => welcome !== null);
  if (last === undefined) return;
  for (const link of links) if (link.until > asked.at && link.welcome !== null) checkDrainSaid(reading, link, asked.at, fault);
  const saidAt = links.flatMap(drainsOf).map(({ index }) => index)[0] ?? Number.POSITIVE_INFINITY;
  for (const { token, given, replies } of attempts.values()) {
    const taken = replies.find((reply) => reply.accepted && given[0]!.index > saidAt);
    if (taken !== undefined) fault(taken.entry, `accepted ${token} after it had said Drain`);
  }
  if (last.closed === null) {
    fault(entries.at(-1), 'did not close its connection');
    return;
  }
  const { index } = last.closed;
  const isFinal = last.closed.code === 1000;
  const undelivered = [...attempts.values()].find((attempt) => !isDone(attempt, index));
  if (!isFinal) fault(last.closed, `closed with ${last.closed.code} when it ended, not with 1000`);
  else if (undelivered !== undefined) fault(last.closed, `ended before the result of ${undelivered.token} was acked`);
  else if (exit === null) fault(entries.at(-1), 'the program did not end');
  else if (exit.code !== 0) fault(exit, `the program ended with ${exit.code ?? exit.signal}, not with 0`);
  else shown();
}

/** Drain is said on each connection, and no credit after it. */
function checkDrainSaid({ entries, attempts }: Reading, link: LinkReading, askedAt: number, fault: Findings['fault']): void {
  const from = Math.max(askedAt, link.welcome!.entry.at);
  const drain = drainsOf(link)[0];
  const dueAt = from + soonMs + stalledMs(entries, from, from + soonMs);
  if (drain === undefined) {
    if (link.until > dueAt)
      fault(link.frames.find(({ at }) => at > dueAt) ?? link.frames.at(-1), `did not say Drain on connection ${link.link}`);
    else if (link.closed !== null && runningAt(attempts, link.closed).length > 0 && link.closingAt > link.closed.at)
      fault(link.closed, 'ended without Drain while attempts ran');
    return;
  }
  const credit = link.frames.findLast(({ index, frame }) => index > drain.index && frame.body.case === 'credit');
  const before = link.frames.findLast(({ index, frame }) => index < drain.index && frame.body.case === 'credit');
  const grantedBy = (entry: FrameIn | undefined) => (entry?.frame.body.case === 'credit' ? entry.frame.body.value.granted : 0n);
  if (credit !== undefined && grantedBy(credit) > grantedBy(before)) fault(credit, 'granted credit after Drain');
}

function drainsOf({ frames }: LinkReading): FrameIn[] {
  return frames.filter(({ frame }) => frame.body.case === 'drain');
}

/** Whether a worker that ends at `index` owes nothing for an attempt. */
function isDone({ replies, acks, losses }: AttemptReading, index: number): boolean {
  const wasAccepted = replies.some((reply) => reply.accepted && reply.entry.index < index);
  return !wasAccepted || [...acks, ...losses].some((told) => told.index < index);
}
