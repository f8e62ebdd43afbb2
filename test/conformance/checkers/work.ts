/**
 * Duties of work: W17 to W23.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Assignment, Payload } from '@workflow-orchestrator/proto';
import type { Entry } from '../history.ts';
import { type AttemptReading, acrossLinksMs, type Reading, stalledMs } from '../reading.ts';
import type { Checkers } from './checker.ts';

export const workCheckers: Checkers = {
  W17({ entries, links, attempts, slots }, { shown, fault }) {
    for (const { link, frames, outs, welcome } of links) {
      if (welcome === null) continue;
      let last = 0;
      for (const entry of frames) {
        if (entry.frame.body.case !== 'credit') continue;
        const granted = Number(entry.frame.body.value.granted);
        const assigned = assignedBefore(outs, entry.index);
        const running = runningAt(attempts, entry);
        const most = assigned + slots - running.length;
        if (granted < last) fault(entry, `granted ${granted} after ${last}: it never falls`);
        else if (granted > most)
          fault(
            entry,
            `granted ${granted}: ${assigned} were assigned, and ${running.length} of ${slots} slots are taken, so at most ${most}`,
          );
        else shown();
        last = granted;
      }
      for (const entry of entries) {
        if (entry.kind !== 'quiet' || entry.link !== link) continue;
        const granted = frames.reduce(
          (most, { index, frame }) => (index < entry.index && frame.body.case === 'credit' ? Number(frame.body.value.granted) : most),
          0,
        );
        const right = assignedBefore(outs, entry.index) + slots;
        if (granted < right) fault(entry, `granted ${granted} with nothing to do; ${right} would be all that came and all slots`);
      }
    }
  },

  W18({ entries, attempts, slots }, { shown, fault }) {
    for (const entry of entries) {
      if (entry.kind !== 'in' || entry.frame?.body.case !== 'assignReplies') continue;
      const running = runningAt(attempts, { ...entry, index: entry.index + 1 });
      if (running.length > slots)
        fault(entry, `holds ${running.length} attempts that run, with ${slots} slots: ${running.map(({ token }) => token).join(' ')}`);
      else if (running.length === slots) shown();
    }
  },

  W19({ links, attempts, entries }, { shown, fault }) {
    for (const { token, given, replies, assignment } of attempts.values()) {
      for (const [place, out] of given.entries()) {
        if (out.what.includes('again')) continue;
        const link = links.find((candidate) => candidate.link === out.link);
        const withinMs = (link?.welcome?.message.assignReplyMs ?? 0) + stalledMs(entries, out.at, out.at + 2_000);
        const earlier = given.filter((other, index) => index < place && other.link === out.link).length;
        const reply = replies.filter(({ entry }) => entry.link === out.link)[earlier];
        if (reply === undefined) {
          if (link !== undefined && link.until > out.at + withinMs)
            fault(out, `did not answer the assignment ${token} within ${withinMs} ms`);
        } else if (reply.entry.at - out.at > withinMs)
          fault(reply.entry, `answered ${token} after ${Math.round(reply.entry.at - out.at)} ms`);
        else if (!assignment.type.startsWith('conformance.')) {
          if (reply.accepted) fault(reply.entry, `accepted ${token} of a type that it does not offer`);
          else if (reply.reason === '') fault(reply.entry, `rejected ${token} without a reason`);
          else shown();
        } else shown();
      }
      for (const { link } of links) {
        const answers = replies.filter(({ entry }) => entry.link === link);
        const count = given.filter((out) => out.link === link && !out.what.includes('again')).length;
        if (answers.length > count)
          fault(answers.at(-1)!.entry, `answered ${token} ${answers.length} times; it was assigned ${count} times`);
      }
    }
  },

  W20({ attempts, entries }, { shown, fault }) {
    const runs = new Map<number, string>();
    let accepted = 0;
    for (const { token, replies, results, given } of attempts.values()) {
      // One whose answer was lost with a connection may have begun too.
      if (results.length > 0 || replies.length === 0 || replies.some((reply) => reply.accepted)) accepted += 1;
      const run = runOf(results[0]?.result);
      if (run !== null) {
        const other = runs.get(run);
        if (other !== undefined) fault(results[0]!.entry, `${token} and ${other} have the same run ${run}`);
        runs.set(run, token);
      }
      if (given.length < 2) continue;
      const refused = replies.find(
        (reply) => !reply.accepted && replies.some((earlier) => earlier.accepted && earlier.entry.index <= reply.entry.index),
      );
      const others = results.filter(({ result }) => runOf(result) !== run);
      if (refused !== undefined) fault(refused.entry, `rejected ${token}, which it holds`);
      else if (others.length > 0) fault(others[0]!.entry, `ran ${token} twice: runs ${run} and ${runOf(others[0]!.result)}`);
      else if (results.length > 0) shown();
    }
    const last = Math.max(0, ...runs.keys());
    if (last > accepted)
      fault(
        entries.findLast((entry) => entry.kind === 'in'),
        `began ${last} handlers for ${accepted} attempts: something ran twice`,
      );
  },

  W21({ attempts }, { shown, fault }) {
    for (const { token, assignment, results } of attempts.values()) {
      const first = results[0];
      if (first?.result.outcome.case !== 'output') continue;
      const output = readPayload(first.result.outcome.value) as Record<string, unknown>;
      const parameters = parametersOf(assignment);
      if (assignment.type === 'conformance.echo') {
        const right = parameters.characters === undefined ? parameters.value : 'x'.repeat(Number(parameters.characters));
        if (isDeepStrictEqual(output?.value, right)) shown();
        else
          fault(
            first.entry,
            `${token} gave back ${JSON.stringify(output?.value)?.slice(0, 80)}, not ${JSON.stringify(right).slice(0, 80)}`,
          );
      }
      if (assignment.type === 'conformance.input') {
        const right = { parameters, input: inputOf(assignment), attempt: assignment.attempt, instance: assignment.instance };
        const { run: _, checkpoint: __, ...seen } = output;
        if (isDeepStrictEqual(seen, right)) shown();
        else fault(first.entry, `the handler of ${token} saw ${JSON.stringify(seen)}, not ${JSON.stringify(right)}`);
      }
    }
  },

  W22({ attempts, entries }, { shown, fault }) {
    for (const { token, assignment, results, replies, cancels, losses } of attempts.values()) {
      const limitMs = Number(assignment.runTimeoutMs);
      const takesMs = Number((parametersOf(assignment) as { ms?: number }).ms ?? 0);
      const accepted = replies.find((reply) => reply.accepted);
      if (limitMs === 0 || takesMs <= limitMs || accepted === undefined || cancels.length > 0 || losses.length > 0) continue;
      const first = results[0];
      if (first === undefined) continue;
      const { outcome } = first.result;
      const ranMs = Number(first.result.runningMs);
      const tookMs = first.entry.at - accepted.entry.at - stalledMs(entries, accepted.entry.at, first.entry.at);
      const moved = first.entry.link !== accepted.entry.link;
      if (outcome.case !== 'error' || outcome.value.code !== 'TIMEOUT')
        fault(
          first.entry,
          `${token} ran into its time limit and ended with ${outcome.case === 'error' ? outcome.value.code : outcome.case}, not with TIMEOUT`,
        );
      else if (ranMs > 0 && ranMs < limitMs - 50) fault(first.entry, `${token} timed out after ${ranMs} ms of ${limitMs}`);
      else if (!moved && tookMs > limitMs + 1_500)
        fault(first.entry, `${token} timed out after ${Math.round(tookMs)} ms, not after ${limitMs}`);
      else shown();
    }
  },

  W23({ attempts, links }, { shown, fault }) {
    for (const { token, results, replies, given } of attempts.values()) {
      const first = results[0]?.entry;
      if (first === undefined) continue;
      const reply = replies[0]?.entry;
      const lines = links
        .find(({ link }) => link === first.link)
        ?.frames.filter(
          ({ frame, index }) =>
            index > first.index && frame.body.case === 'logLines' && frame.body.value.lines.some(({ leaseToken }) => leaseToken === token),
        );
      if (given[0]?.link === first.link && (reply === undefined || reply.index > first.index))
        fault(first, `sent the result of ${token} before the answer to its assignment`);
      else if (lines !== undefined && lines.length > 0) fault(lines[0], `sent log lines of ${token} after its result`);
      else shown();
    }
  },
};

/** Attempts that run for all that is known before `place`: accepted, no result, not revoked. */
export function runningAt(attempts: ReadonlyMap<string, AttemptReading>, place: Pick<Entry, 'index' | 'at' | 'link'>): AttemptReading[] {
  return [...attempts.values()].filter(({ replies, results, losses }) => {
    if (!replies.some(({ entry, accepted }) => accepted && entry.index < place.index)) return false;
    if (results.some(({ entry }) => wasBefore(entry, place))) return false;
    return !losses.some((loss) => loss.index < place.index);
  });
}

/** Whether it came before, or may have been sent before: two connections are read in no order. */
function wasBefore(entry: Entry, place: Pick<Entry, 'index' | 'at' | 'link'>): boolean {
  return entry.index < place.index || (entry.link !== place.link && entry.at < place.at + acrossLinksMs);
}

/** The input as R24 tells it. */
function inputOf({ inputs }: Assignment): unknown {
  if (inputs.length === 1) return readPayload(inputs[0]!.payload);
  return Object.fromEntries(inputs.map(({ jobId, payload }) => [jobId, readPayload(payload)]));
}

/** The parameters of a job. */
export function parametersOf({ parameters }: Assignment): Record<string, unknown> {
  return (readPayload(parameters) ?? {}) as Record<string, unknown>;
}

/** A payload of JSON text; undefined when it is none. */
export function readPayload(payload: Payload | undefined): unknown {
  if (payload === undefined || payload.data.length === 0) return null;
  try {
    return JSON.parse(new TextDecoder().decode(payload.data));
  } catch {
    return undefined;
  }
}

function runOf(result: AttemptReading['results'][number]['result'] | undefined): number | null {
  if (result?.outcome.case !== 'output') return null;
  const output = readPayload(result.outcome.value);
  return typeof output === 'object' && output !== null && 'run' in output ? Number(output.run) : null;
}

function assignedBefore(outs: Reading['links'][number]['outs'], index: number): number {
  let count = 0;
  for (const { index: at, frame, what } of outs) {
    if (at < index && frame?.body.case === 'assignments' && !what.includes('again')) count += frame.body.value.assignments.length;
  }
  return count;
}
