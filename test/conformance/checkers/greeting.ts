/**
 * Duties of the greeting: W11 to W16.
 */
import { isWorkerId } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import { type AttemptReading, acrossLinksMs, knew, type LinkReading, mayKnow, type Reading } from '../reading.ts';
import type { Checkers, Findings } from './checker.ts';

export const greetingCheckers: Checkers = {
  W11(reading, { shown, fault }) {
    let previous: { instanceId: string; connection: bigint } | null = null;
    let session = '';
    for (const link of reading.links) {
      const first = link.frames[0];
      const hello = link.hellos[0]?.hello;
      if (first === undefined) {
        if (link.until - link.openedAt > limits.helloTimeoutMs)
          fault(
            reading.entries.find((entry) => entry.link === link.link),
            `no Hello within ${limits.helloTimeoutMs} ms`,
          );
        continue;
      }
      if (hello === undefined || first.index !== link.hellos[0]!.index) {
        fault(first, `the first frame was ${first.frame.body.case ?? 'unknown'}, not hello`);
        continue;
      }
      const problem = helloProblem(hello, reading, previous, session);
      if (first.at - link.openedAt > limits.helloTimeoutMs) fault(first, `Hello came after ${Math.round(first.at - link.openedAt)} ms`);
      else if (problem !== null) fault(first, problem);
      else shown();
      previous = hello;
      session = link.welcome?.message.sessionId ?? session;
    }
  },

  W12(reading, findings) {
    for (const link of reading.links) {
      const last = link.hellos.at(-1);
      if (last === undefined || last.hello.partial) continue;
      for (const attempt of reading.attempts.values()) checkNamed(reading, link, attempt, findings);
      for (const hello of link.hellos) {
        for (const { leaseToken } of hello.hello.inFlight) {
          if (!reading.attempts.has(leaseToken)) findings.fault(hello, `Hello names ${leaseToken}, which was never assigned`);
        }
      }
    }
  },

  W13({ links }, { shown, fault }) {
    for (const { frames, hellos, welcome } of links) {
      const helloEnd = hellos.at(-1)?.index ?? Number.POSITIVE_INFINITY;
      const early = frames.filter(({ index, frame }) => index > helloEnd && (welcome === null || frame.ack < 1n));
      const wrong = early.find(({ frame }) => frame.body.case !== 'heartbeat');
      if (wrong !== undefined) fault(wrong, `sent ${wrong.frame.body.case} before Welcome`);
      else if (welcome !== null && frames.length > hellos.length) shown();
    }
  },

  W14({ links, endedAt }, { shown, fault }) {
    for (const { hellos, welcome, closed, closingAt, mutedAt } of links) {
      const helloAt = hellos.at(-1)?.at;
      if (helloAt === undefined || welcome !== null || mutedAt < Number.POSITIVE_INFINITY) continue;
      const waitedMs = (closed?.at ?? endedAt) - helloAt;
      if (closingAt < helloAt + limits.welcomeTimeoutMs + 3_000) continue;
      if (waitedMs > limits.welcomeTimeoutMs + 3_000)
        fault(closed ?? hellos[0], `waited ${Math.round(waitedMs)} ms for Welcome, not ${limits.welcomeTimeoutMs}`);
      else if (closed !== null && closed.code === 4004 && waitedMs > limits.welcomeTimeoutMs - 200) shown();
      else if (closed !== null && closed.code !== 1000)
        fault(closed, `gave up after ${Math.round(waitedMs)} ms with ${closed.code}, not after ${limits.welcomeTimeoutMs} ms with 4004`);
    }
  },

  W15({ links, attempts, entries }, { shown, fault }) {
    for (const { welcome, link } of links) {
      for (const { leaseToken, verdict } of welcome?.message.verdicts ?? []) {
        if (verdict !== 2) continue;
        const attempt = attempts.get(leaseToken);
        const told = attempt?.losses.filter((loss) => loss.link === link) ?? [];
        const late = attempt?.results.find(({ entry }) => knew(entry, told, entries));
        if (late !== undefined) fault(late.entry, `sent the result of ${leaseToken}, which was to be abandoned`);
        else if (told.some(({ knownFrom }) => knownFrom < Number.POSITIVE_INFINITY)) shown();
      }
    }
  },

  W16(reading, { shown, fault }) {
    const stuck = reading.entries.find((entry) => entry.kind === 'stuck');
    for (const { token, replies, results, losses } of reading.attempts.values()) {
      const accepted = replies.some((reply) => reply.accepted);
      if (!accepted || losses.length > 0) continue;
      const named = reading.links.some(({ hellos }) =>
        hellos.some(({ hello }) => hello.inFlight.some((held) => held.leaseToken === token && !held.resultWaiting)),
      );
      if (results.length > 0) {
        if (named) shown();
      } else if (stuck?.kind === 'stuck' && stuck.what.split(' ').includes(token))
        fault(stuck, `${token} was accepted, and no result of it came`);
    }
  },
};

function helloProblem(
  hello: NonNullable<LinkReading['hellos'][number]>['hello'],
  { workerId, slots }: Reading,
  previous: { readonly instanceId: string; readonly connection: bigint } | null,
  session: string,
): string | null {
  if (!isWorkerId(hello.workerId)) return `worker_id '${hello.workerId}' is none`;
  if (hello.workerId !== workerId) return `worker_id is '${hello.workerId}', not '${workerId}' as it was told`;
  if (hello.slots !== slots) return `slots are ${hello.slots}, not ${slots} as it was told`;
  if (hello.instanceId.length < 1 || hello.instanceId.length > 64) return 'instance_id has 1 to 64 characters';
  if (hello.minProtocol > 1 || hello.maxProtocol < 1) return `speaks protocol ${hello.minProtocol} to ${hello.maxProtocol}, not 1`;
  if (hello.lastSessionId !== session) return `last_session_id is '${hello.lastSessionId}', not '${session}'`;
  const types = hello.capabilities.map(({ type }) => type);
  if (new Set(types).size !== types.length) return 'names a capability twice';
  if (previous === null) return null;
  if (hello.instanceId !== previous.instanceId) return 'instance_id changed within one process';
  return hello.connection > previous.connection ? null : `connection is ${hello.connection} after ${previous.connection}`;
}

/** One attempt in one Hello: named if it is held, left out if it is not. */
function checkNamed({ entries }: Reading, link: LinkReading, attempt: AttemptReading, { shown, fault }: Findings): void {
  const last = link.hellos.at(-1)!;
  const { token, replies, results, acks, losses, given } = attempt;
  const held = link.hellos.flatMap(({ hello }) => hello.inFlight).find(({ leaseToken }) => leaseToken === token);
  const wasAccepted = replies.some(({ entry, accepted }) => accepted && entry.index < last.index);
  if (held === undefined) {
    const gone = mayKnow(last, acks) || mayKnow(last, losses);
    if (wasAccepted && !gone) fault(last, `Hello does not name ${token}, which the worker holds`);
    return;
  }
  const { workflowId, jobId, instance, attempt: number } = attempt.assignment;
  const resultBefore = results.find(({ entry }) => entry.at + acrossLinksMs < last.at);
  if (held.workflowId !== workflowId || held.jobId !== jobId || held.instance !== instance || held.attempt !== number) {
    fault(last, `Hello names ${token} with another job than it was assigned with`);
  } else if (knew(last, acks, entries)) fault(last, `Hello names ${token}, whose result was acked`);
  else if (knew(last, losses, entries)) fault(last, `Hello names ${token}, whose lease is gone`);
  else if (!given.some(({ index }) => index < last.index)) fault(last, `Hello names ${token} before it was assigned`);
  else if (resultBefore !== undefined && !held.resultWaiting) fault(last, `Hello says that ${token} runs; its result had come before`);
  else shown();
}
