/**
 * Duties of results: W31 to W36, and of log lines: W41.
 */
import { toBinary } from '@bufbuild/protobuf';
import { type Result, ResultSchema } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import { type AttemptReading, knew, type LinkReading, type Reading, stalledMs } from '../reading.ts';
import type { Checkers, Findings } from './checker.ts';
import { parametersOf } from './work.ts';

/** How long after Welcome the results that wait may take, in milliseconds. */
const soonMs = 1_000;

export const resultCheckers: Checkers = {
  W31(reading, findings) {
    for (const link of reading.links) {
      for (const attempt of reading.attempts.values()) checkDelivery(reading, link, attempt, findings);
    }
  },

  W32({ attempts, links }, { shown, fault }) {
    for (const { token, results, acks, losses } of attempts.values()) {
      for (const { entry } of results) {
        const link = links.find((candidate) => candidate.link === entry.link);
        const overAt = Math.min(link?.until ?? 0, ...[...acks, ...losses].map(({ at }) => at));
        const again = results.find((other) => other.entry.index > entry.index && other.entry.link === entry.link);
        const dueAt = entry.at + limits.resultResendMs + 2_000;
        if (again !== undefined && again.entry.at < dueAt) shown();
        else if (overAt > dueAt)
          fault(again?.entry ?? entry, `the result of ${token} was not acked for ${limits.resultResendMs} ms, and was not sent again`);
      }
    }
  },

  W33({ attempts, entries }, { shown, fault }) {
    for (const { token, results, acks } of attempts.values()) {
      const late = results.find(({ entry }) => knew(entry, acks, entries));
      if (late !== undefined) fault(late.entry, `sent the result of ${token} again, which was acked`);
      else if (acks.some(({ knownFrom }) => knownFrom < Number.POSITIVE_INFINITY)) shown();
    }
  },

  W34({ attempts }, { shown, fault }) {
    for (const { token, assignment, results, replies } of attempts.values()) {
      const first = results[0];
      for (const { entry, result } of results) {
        const { workflowId, jobId, instance, attempt } = assignment;
        if (result.workflowId !== workflowId || result.jobId !== jobId || result.instance !== instance || result.attempt !== attempt) {
          fault(entry, `the result of ${token} names another job than it was assigned with`);
        } else if (result.outcome.case === undefined) fault(entry, `the result of ${token} has no outcome`);
        else if (!replies.some((reply) => reply.accepted) && replies.length > 0)
          fault(entry, `sent a result of ${token}, which it rejected`);
        else if (first !== undefined && !isSame(first.result, result))
          fault(entry, `the result of ${token} changed from one sending to the next`);
        else shown();
      }
    }
  },

  W35({ attempts }, { shown, fault }) {
    for (const { token, assignment, results } of attempts.values()) {
      const first = results[0];
      if (first === undefined) continue;
      const { outcome } = first.result;
      const parameters = parametersOf(assignment) as { characters?: number; message_characters?: number };
      const isTooLarge = Number(parameters.characters) > limits.outputBytes;
      if (isTooLarge && (outcome.case !== 'error' || outcome.value.code !== 'OUTPUT_TOO_LARGE' || outcome.value.retryable)) {
        fault(first.entry, `an output of more than ${limits.outputBytes} bytes is the error OUTPUT_TOO_LARGE, not retryable`);
      } else if (outcome.case === 'output' && outcome.value.data.length > limits.outputBytes) {
        fault(first.entry, `the output of ${token} has ${outcome.value.data.length} bytes, more than ${limits.outputBytes}`);
      } else if (outcome.case === 'error' && Buffer.byteLength(outcome.value.message) > limits.errorMessageBytes) {
        fault(first.entry, `the message of ${token} has more than ${limits.errorMessageBytes} bytes`);
      } else if (outcome.case === 'error' && Buffer.byteLength(outcome.value.stack) > limits.errorStackBytes) {
        fault(first.entry, `the stack of ${token} has more than ${limits.errorStackBytes} bytes`);
      } else if (isTooLarge || parameters.message_characters !== undefined) shown();
    }
  },

  W36({ attempts }, { shown, fault }) {
    for (const { token, assignment, results, cancels } of attempts.values()) {
      const first = results[0];
      if (assignment.type !== 'conformance.fail' || first === undefined || cancels.length > 0) continue;
      const parameters = parametersOf(assignment) as { code: string; message?: string; retryable: boolean };
      const { outcome } = first.result;
      if (outcome.case !== 'error') fault(first.entry, `${token} failed and was told as ${outcome.case}`);
      else if (outcome.value.code !== parameters.code)
        fault(first.entry, `the code of ${token} is ${outcome.value.code}, not ${parameters.code}`);
      else if (outcome.value.retryable !== parameters.retryable) fault(first.entry, `retryable of ${token} is ${outcome.value.retryable}`);
      else if (parameters.message !== undefined && outcome.value.message !== parameters.message)
        fault(first.entry, `the message of ${token} is '${outcome.value.message.slice(0, 80)}'`);
      else shown();
    }
  },

  W41({ links, attempts }, { shown, fault }) {
    const numbers = new Map<string, number>();
    for (const { frames } of links) {
      for (const entry of frames) {
        if (entry.frame.body.case !== 'logLines') continue;
        for (const line of entry.frame.body.value.lines) {
          const assignment = attempts.get(line.leaseToken)?.assignment;
          const last = numbers.get(line.leaseToken) ?? 0;
          if (assignment === undefined) fault(entry, `a line is of ${line.leaseToken}, which was never assigned`);
          else if (line.workflowId !== assignment.workflowId || line.jobId !== assignment.jobId)
            fault(entry, `a line of ${line.leaseToken} names another job`);
          else if (Buffer.byteLength(line.message) > limits.logLineBytes)
            fault(entry, `a line of ${line.leaseToken} has more than ${limits.logLineBytes} bytes`);
          else if (line.number <= last) fault(entry, `a line of ${line.leaseToken} has the number ${line.number} after ${last}`);
          else shown();
          numbers.set(line.leaseToken, line.number);
        }
      }
    }
  },
};

/** A result that waits when a connection is welcomed is sent on it, once. */
function checkDelivery({ entries }: Reading, link: LinkReading, attempt: AttemptReading, { shown, fault }: Findings): void {
  const { token, results, acks, losses } = attempt;
  const here = results.filter(({ entry }) => entry.link === link.link);
  for (let i = 1; i < here.length; i += 1) {
    const gapMs = here[i]!.entry.at - here[i - 1]!.entry.at;
    if (gapMs < limits.resultResendMs - 500) {
      fault(here[i]!.entry, `sent the result of ${token} twice on one connection within ${Math.round(gapMs)} ms`);
      return;
    }
  }
  if (link.welcome === null) return;
  const waits = link.hellos.some(({ hello }) => hello.inFlight.some((held) => held.leaseToken === token && held.resultWaiting));
  const wasSent = results.some(({ entry }) => entry.index < link.welcome!.entry.index);
  if (!waits && !wasSent) return;
  // One that is acked right after Welcome, for what came before, need not be sent again.
  if (acks.some(({ index, at }) => index < link.welcome!.entry.index || at < link.welcome!.entry.at + soonMs)) return;
  if (losses.some(({ link: at, index }) => at === link.link || index < link.welcome!.entry.index)) return;
  const dueAt = link.welcome.entry.at + soonMs + stalledMs(entries, link.welcome.entry.at, link.welcome.entry.at + soonMs);
  if (here.length > 0) shown();
  else if (link.until > dueAt)
    fault(
      link.frames.find(({ at }) => at > dueAt) ?? link.welcome.entry,
      `the result of ${token} waits for its ack, and was not sent within ${soonMs} ms after Welcome`,
    );
}

function isSame(a: Result, b: Result): boolean {
  const bytes = (result: Result) => toBinary(ResultSchema, { ...result, runningMs: 0n });
  return Buffer.from(bytes(a)).equals(bytes(b));
}
