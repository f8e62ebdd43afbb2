/**
 * Duties of every frame: W1 to W10.
 */
import type { WorkerFrame } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { EntryOf } from '../history.ts';
import { breaks, type LinkReading, stalledMs } from '../reading.ts';
import type { Checkers, Findings } from './checker.ts';

/** How long an answer may take where no rule says so, in milliseconds. */
const soonMs = 1_500;

export const frameCheckers: Checkers = {
  W1({ entries }, { shown, fault }) {
    for (const entry of entries) {
      if (entry.kind !== 'request') continue;
      if (entry.path !== '/workers') fault(entry, `asked for ${entry.path}, not for /workers`);
      else if (!entry.protocols.includes('workflow.worker.v1')) fault(entry, 'did not name the subprotocol workflow.worker.v1');
      else shown();
    }
  },

  W2({ entries }, { shown, fault }) {
    for (const entry of entries) {
      if (entry.kind !== 'in') continue;
      if (entry.frame === null) fault(entry, `sent ${entry.problem}`);
      else shown();
    }
  },

  W3({ links }, { shown, fault }) {
    for (const { frames, welcome } of links) {
      for (const entry of frames) {
        const most = welcome !== null && entry.index > welcome.entry.index ? welcome.message.maxFrameBytes : limits.frameBytes;
        const count = entriesOf(entry.frame);
        if (entry.bytes > most) fault(entry, `sent a frame of ${entry.bytes} bytes, more than ${most}`);
        else if (count > limits.frameEntries) fault(entry, `sent a frame of ${count} entries, more than ${limits.frameEntries}`);
        else shown();
      }
    }
  },

  W4({ links }, { shown, fault }) {
    for (const { frames } of links) {
      let expected = 1n;
      for (const entry of frames) {
        if (entry.frame.seq !== expected) fault(entry, `numbered a frame ${entry.frame.seq} where ${expected} was next`);
        else shown();
        expected = entry.frame.seq + 1n;
      }
    }
  },

  W5({ links, entries }, { shown, fault }) {
    for (const { frames, outs } of links) {
      let highest = 0n;
      for (const entry of frames) {
        const { ack } = entry.frame;
        const before = outs.filter((out) => out.index < entry.index);
        const sent = before.reduce((most, { frame }) => (frame !== null && frame.seq > most ? frame.seq : most), BigInt(before.length));
        const due = before.findLast(
          (out) => out.frame !== null && !breaks(out) && out.at + soonMs + stalledMs(entries, out.at, entry.at) < entry.at,
        );
        if (ack < highest) fault(entry, `acked ${ack} after it had acked ${highest}`);
        else if (ack > sent) fault(entry, `acked ${ack}, but only ${sent} were sent`);
        else if (due?.frame && ack < due.frame.seq) fault(entry, `acked ${ack}; frame ${due.frame.seq} had come ${soonMs} ms before`);
        else if (ack > 0n) shown();
        highest = ack > highest ? ack : highest;
      }
    }
  },

  W6({ links, attempts }, { shown, fault }) {
    for (const { outs, link, until } of links) {
      for (const out of outs) {
        if (!out.what.includes('again, with the same number') || until < out.at + soonMs / 2) continue;
        const body = out.frame?.body;
        for (const { leaseToken } of body?.case === 'assignments' ? body.value.assignments : []) {
          const replies = attempts.get(leaseToken)!.replies.filter(({ entry }) => entry.link === link);
          if (replies.length > 1)
            fault(replies[1]!.entry, `handled frame ${out.frame?.seq} twice: ${leaseToken} was answered ${replies.length} times`);
          else shown();
        }
      }
    }
  },

  W7({ links }, { shown, fault }) {
    for (const { outs, frames, closed } of links) {
      const bad = outs.find((out) => /numbers were skipped|acks what was never sent/.test(out.what));
      if (bad === undefined) continue;
      const error = frames.find(({ index, frame }) => index > bad.index && frame.body.case === 'error' && frame.body.value.fatal);
      if (error?.frame.body.case !== 'error' || error.frame.body.value.code !== 'BAD_FRAME')
        fault(closed ?? bad, 'did not say a fatal BAD_FRAME before it gave the connection up');
      else if (closed?.code !== 1002) fault(closed ?? error, `closed with ${closed?.code ?? 'nothing'}, not with 1002`);
      else shown();
    }
  },

  W8({ links }, findings) {
    for (const reading of links) {
      const unknown = reading.outs.filter(({ what }) => what === 'a message that protocol 1 does not know');
      const fields = reading.outs.filter(({ what }) => what === 'a HeartbeatReply with an unknown field');
      answersBad(reading, unknown, 'UNEXPECTED_FRAME', findings);
      for (const out of fields) if (goesOn(reading, out, findings)) findings.shown();
    }
  },

  W9({ links }, findings) {
    for (const reading of links) {
      const bad = reading.outs.filter(({ what }) => what === 'bytes that are no frame' || what === 'a text message');
      answersBad(reading, bad, 'BAD_FRAME', findings);
    }
  },

  W10({ links }, { shown, fault }) {
    for (const { outs, closed } of links) {
      const out = outs.find(({ what }) => what.includes('1 MiB and 1 byte'));
      if (out === undefined) continue;
      if (closed?.code === 1009) shown();
      else
        fault(
          closed ?? out,
          `${closed === null ? 'did not close' : `closed with ${closed.code}`} after a frame that was too large, not with 1009`,
        );
    }
  },
};

/** One error with this code for each bad message, and none without. */
function answersBad(reading: LinkReading, bad: readonly EntryOf<'out'>[], code: string, findings: Findings): void {
  const errors = reading.frames.filter(
    ({ frame }) => frame.body.case === 'error' && frame.body.value.code === code && !frame.body.value.fatal,
  );
  if (errors.length > bad.length) findings.fault(errors.at(-1), `said ${code} ${errors.length} times; ${bad.length} messages were so`);
  for (const [place, out] of bad.entries()) {
    if (!goesOn(reading, out, findings)) continue;
    if (errors[place] !== undefined) findings.shown();
    else if (reading.until > out.at + soonMs) findings.fault(out, `did not answer ${out.what} with ${code}`);
  }
}

/** Whether the session went on after a message, unless this side ended it. */
function goesOn({ closed, closingAt }: LinkReading, out: EntryOf<'out'>, { fault }: Findings): boolean {
  const broke = closed !== null && closingAt > closed.at && closed.code !== 1000 && closed.code !== 1001 && closed.at < out.at + soonMs;
  if (broke) fault(closed, `the connection ended with ${closed.code} after ${out.what}`);
  return !broke;
}

function entriesOf({ body }: WorkerFrame): number {
  switch (body.case) {
    case 'hello':
      return body.value.inFlight.length;
    case 'assignReplies':
      return body.value.replies.length;
    case 'heartbeat':
      return body.value.leases.length;
    case 'results':
      return body.value.results.length;
    case 'logLines':
      return body.value.lines.length;
    default:
      return 0;
  }
}
