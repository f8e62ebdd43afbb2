/**
 * Duties of liveness and of the way back: W24 to W30.
 */
import type { LeaseBeat } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { EntryOf } from '../history.ts';
import { type FrameIn, knew, type LinkReading, mayKnow, type Reading, stalledMs } from '../reading.ts';
import type { Checkers, Findings } from './checker.ts';
import { parametersOf, readPayload, runningAt } from './work.ts';

/** What a busy machine may add to an interval, in milliseconds. */
const slackMs = 800;
/** How long a worker that holds attempts may take to come back: some pauses of 200 ms at most, and the way. */
const urgentReturnMs = 1_500;
/** The longest pause between tries (R54), and the way. */
const returnMs = limits.reconnectMaxMs + 1_500;

export const livenessCheckers: Checkers = {
  W24(reading, findings) {
    for (const link of reading.links) {
      const moved =
        reading.links.find((other) => other.link > link.link && other.welcome !== null)?.welcome?.entry.at ?? Number.POSITIVE_INFINITY;
      const until = Math.min(link.until, moved);
      const helloAt = link.hellos.at(-1)?.at;
      if (helloAt === undefined) continue;
      const welcomeAt = link.welcome?.entry.at ?? until;
      const times = link.frames.filter(({ frame }) => frame.body.case === 'heartbeat' && !frame.body.value.partial).map(({ at }) => at);
      checkGaps(reading, link, times, helloAt, Math.min(welcomeAt, until), limits.heartbeatIntervalMs, findings);
      if (link.welcome !== null) checkGaps(reading, link, times, welcomeAt, until, link.welcome.message.heartbeatIntervalMs, findings);
    }
  },

  W25(reading, { shown, fault }) {
    for (const link of reading.links) {
      for (const { entry, beats } of wholeHeartbeats(link)) {
        const named = new Set(beats.map(({ leaseToken }) => leaseToken));
        const problem = beatProblem(reading, entry, named);
        if (problem !== null) fault(entry, problem);
        else if (named.size > 0) shown();
      }
    }
  },

  W26({ attempts, links }, { shown, fault }) {
    for (const { token, assignment, results } of attempts.values()) {
      const asked = parametersOf(assignment) as { checkpoint?: unknown };
      const beatsOf = (link: LinkReading) =>
        link.frames.filter(
          ({ frame, index }) => index < (results[0]?.entry.index ?? Number.POSITIVE_INFINITY) && namesCheckpoint(frame.body, token),
        );
      if (asked?.checkpoint !== undefined) {
        for (const [place, link] of links.entries()) {
          const told = beatsOf(link)[0];
          if (told === undefined) continue;
          const acked = link.outs.some(({ index, frame }) => index > told.index && frame !== null && frame.ack >= told.frame.seq);
          const next = links.slice(place + 1).find(({ welcome }) => welcome !== null);
          const lived = next?.welcome && next.until - next.welcome.entry.at > 3 * next.welcome.message.heartbeatIntervalMs + slackMs;
          if (acked || !lived || next === undefined) shown();
          else if (beatsOf(next).length === 0)
            fault(next.welcome?.entry, `the checkpoint of ${token} was not acked, and is not named again on connection ${next.link}`);
          else shown();
        }
      }
      const outcome = results[0]?.result.outcome;
      if (assignment.type === 'conformance.input' && assignment.checkpoint !== undefined && outcome?.case === 'output') {
        const { checkpoint } = readPayload(outcome.value) as { checkpoint?: unknown };
        const right = readPayload(assignment.checkpoint);
        if (checkpoint !== undefined && checkpoint !== null && JSON.stringify(checkpoint) !== JSON.stringify(right)) {
          fault(
            results[0]!.entry,
            `the handler of ${token} saw the checkpoint ${JSON.stringify(checkpoint)}, not ${JSON.stringify(right)}`,
          );
        }
      }
    }
  },

  W27({ attempts, entries }, { shown, fault }) {
    for (const { token, losses, results } of attempts.values()) {
      const late = results.find(({ entry }) => knew(entry, losses, entries));
      if (late !== undefined) fault(late.entry, `sent a result of ${token}, whose lease is gone`);
      else if (losses.some(({ knownFrom }) => knownFrom < Number.POSITIVE_INFINITY)) shown();
    }
  },

  W28({ links, entries, endedAt }, { shown, fault }) {
    for (const { link, mutedAt, outs, welcome, closed } of links) {
      if (mutedAt === Number.POSITIVE_INFINITY || welcome === null) continue;
      const heardAt = outs.at(-1)?.at ?? mutedAt;
      const { leaseMs } = welcome.message;
      const next = entries.find((entry): entry is EntryOf<'request'> => entry.kind === 'request' && entry.link > link);
      const waitedMs = (next?.at ?? endedAt) - heardAt;
      if (next === undefined && waitedMs < leaseMs + 2_500) continue;
      if (next === undefined)
        fault(entries.at(-1), `heard nothing for ${Math.round(waitedMs)} ms and did not connect again; lease_ms is ${leaseMs}`);
      else if (waitedMs < leaseMs - 100) fault(next, `gave the connection up after ${Math.round(waitedMs)} ms; lease_ms is ${leaseMs}`);
      else if (waitedMs > leaseMs + 2_500 + stalledMs(entries, heardAt, next.at))
        fault(next, `connected again after ${Math.round(waitedMs)} ms of silence; lease_ms is ${leaseMs}`);
      else if (closed !== null && closed.code !== 4002 && closed.code !== 1006)
        fault(closed, `closed the silent connection with ${closed.code}, not with 4002`);
      else shown();
    }
  },

  W29(reading, { shown, fault }) {
    for (const place of lostAt(reading)) {
      const { at, link } = place;
      const next = reading.entries.find((entry) => entry.kind === 'request' && entry.link > link);
      const pauseMs = retryAfter(reading, link);
      const isUrgent = pauseMs === 0 && runningAt(reading.attempts, place).length > 0;
      const mostMs = (isUrgent ? urgentReturnMs : returnMs) + 2 * pauseMs + stalledMs(reading.entries, at, at + returnMs);
      const waitedMs = (next?.at ?? reading.endedAt) - at;
      if (waitedMs > mostMs)
        fault(
          next ?? reading.entries.at(-1),
          `took ${Math.round(waitedMs)} ms to come back${isUrgent ? ' while it holds attempts' : ''}, more than ${Math.round(mostMs)}`,
        );
      else if (next !== undefined) shown();
      else if (reading.exit !== null && reading.drainAskedAt === Number.POSITIVE_INFINITY)
        fault(reading.exit, 'ended instead of coming back');
    }
  },

  W30({ entries }, { shown, fault }) {
    for (const entry of entries) {
      if (entry.kind !== 'request' || entry.retryAfterMs === 0) continue;
      const next = entries.find((other) => other.kind === 'request' && other.index > entry.index);
      if (next === undefined) continue;
      if (next.at - entry.at < entry.retryAfterMs - 20)
        fault(next, `came again after ${Math.round(next.at - entry.at)} ms, though Retry-After was ${entry.retryAfterMs} ms`);
      else shown();
    }
  },
};

function checkGaps(
  reading: Reading,
  link: LinkReading,
  times: readonly number[],
  from: number,
  to: number,
  intervalMs: number,
  { shown, fault }: Findings,
): void {
  const within = times.filter((at) => at >= from && at <= to);
  const points = [from, ...within, to];
  const mostMs = 2 * intervalMs + slackMs;
  for (let i = 1; i < points.length; i += 1) {
    const gapMs = points[i]! - points[i - 1]!;
    const where = link.frames.find(({ at }) => at >= points[i]!) ?? link.frames.at(-1);
    if (gapMs > mostMs + stalledMs(reading.entries, points[i - 1]!, points[i]!)) {
      fault(where, `no Heartbeat for ${Math.round(gapMs)} ms; the interval is ${intervalMs}`);
      return;
    }
  }
  if (within.length > (2 * (to - from)) / intervalMs + 5)
    fault(link.frames.at(-1), `sent ${within.length} Heartbeats in ${Math.round(to - from)} ms; the interval is ${intervalMs}`);
  else if (within.length >= 2) shown();
}

/** Heartbeats after Welcome, each with its parts. */
function wholeHeartbeats({ frames, welcome }: LinkReading): { readonly entry: FrameIn; readonly beats: readonly LeaseBeat[] }[] {
  const whole: { entry: FrameIn; beats: LeaseBeat[] }[] = [];
  let parts: LeaseBeat[] = [];
  for (const entry of frames) {
    const { body } = entry.frame;
    if (body.case !== 'heartbeat' || welcome === null || entry.index < welcome.entry.index || entry.frame.ack < 1n) continue;
    parts.push(...body.value.leases);
    if (body.value.partial) continue;
    whole.push({ entry, beats: parts });
    parts = [];
  }
  return whole;
}

function beatProblem({ attempts, entries }: Reading, entry: FrameIn, named: ReadonlySet<string>): string | null {
  for (const token of named) {
    const attempt = attempts.get(token);
    if (attempt === undefined) return `names ${token}, which was never assigned`;
    if (knew(entry, attempt.losses, entries)) return `names ${token}, whose lease is gone`;
    if (attempt.results.some((result) => result.entry.index < entry.index && result.entry.link === entry.link))
      return `names ${token}, which has ended`;
    if (knew(entry, attempt.acks, entries)) return `names ${token}, whose result was acked`;
  }
  const missing = runningAt(attempts, entry).find((attempt) => !named.has(attempt.token) && !mayKnow(entry, attempt.losses));
  return missing === undefined ? null : `does not name ${missing.token}, which runs`;
}

function namesCheckpoint(body: FrameIn['frame']['body'], token: string): boolean {
  return (
    body.case === 'heartbeat' && body.value.leases.some(({ leaseToken, checkpoint }) => leaseToken === token && checkpoint !== undefined)
  );
}

/** Where the worker was left without a connection that it still needs. */
function lostAt(reading: Reading): { readonly at: number; readonly index: number; readonly link: number }[] {
  const newest = (link: number) =>
    !reading.links.some((other) => other.link > link && other.openedAt < (reading.links.find((own) => own.link === link)?.closed?.at ?? 0));
  return reading.entries.flatMap((entry) => {
    if (entry.kind === 'request' && entry.status === 503) return [{ at: entry.at, index: entry.index, link: entry.link }];
    // A muted connection is W28; one that the worker ended with 1000 was its last.
    if (entry.kind !== 'closed' || entry.code === 1000 || !newest(entry.link)) return [];
    const link = reading.links.find((own) => own.link === entry.link);
    if (link === undefined || link.mutedAt < Number.POSITIVE_INFINITY || link.goAway !== null) return [];
    return [{ at: entry.at, index: entry.index, link: entry.link }];
  });
}

function retryAfter({ entries }: Reading, link: number): number {
  const request = entries.find((entry) => entry.kind === 'request' && entry.link === link);
  return request?.kind === 'request' ? request.retryAfterMs : 0;
}
