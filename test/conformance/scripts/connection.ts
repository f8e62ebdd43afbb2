/**
 * Scripts about the connection: lost, half open, refused, full of nonsense, moved elsewhere, and the end of the worker.
 */
import { ResultAck_Verdict } from '@workflow-orchestrator/proto';
import type { Stage } from '../stage.ts';
import type { Script } from './script.ts';

/** A frame with a body that no protocol has yet: seq, then field 1000. */
function unknownBody(seq: number): Uint8Array {
  return Uint8Array.from([0x08, seq, 0xc2, 0x3e, 0x02, 0x08, 0x01]);
}

/** A HeartbeatReply with one field that nobody knows: seq, body 5 with the field 99. */
function unknownField(seq: number): Uint8Array {
  return Uint8Array.from([0x08, seq, 0x2a, 0x03, 0x98, 0x06, 0x01]);
}

/** Sleeps that end while nobody acks. */
async function resultsWaiting(stage: Stage): Promise<readonly string[]> {
  stage.habits.ack = false;
  const tokens = await stage.assign(stage.job('echo', { value: 1 }), stage.job('echo', { value: 2 }));
  await stage.ended(tokens);
  return tokens;
}

export const connectionScripts: readonly Script[] = [
  {
    name: 'lost-ack',
    about: 'acks are lost with the connection, three times over; one attempt runs on meanwhile',
    async run(stage) {
      const [running] = await stage.assign(stage.job('sleep', { ms: 1_500 }));
      await resultsWaiting(stage);
      for (const how of ['cut', 'close', 'cut'] as const) {
        const link = await stage.ready();
        if (how === 'cut') link.cut();
        else link.close(1012);
        await stage.readyAfter(link);
        await stage.pause(300);
      }
      // Without verdicts, what waits is sent all the same (R15).
      stage.habits.verdicts = false;
      const link = await stage.ready();
      link.cut();
      await stage.readyAfter(link);
      await stage.pause(1_300);
      await stage.ended([running!]);
      await stage.farewell();
    },
  },
  {
    name: 'ack-verdicts',
    about: 'each verdict of an ack ends the duty to keep the result; an ack for a token that nobody knows is nothing',
    async run(stage) {
      const link = await stage.ready();
      const { DUPLICATE, STALE, WORKFLOW_ENDED, ACCEPTED } = ResultAck_Verdict;
      for (const verdict of [DUPLICATE, STALE, WORKFLOW_ENDED]) {
        const [token] = await resultsWaiting(stage);
        link.send({ case: 'resultAcks', value: { acks: [{ leaseToken: 'nobody-knows-this', verdict: ACCEPTED }] } });
        link.send({ case: 'resultAcks', value: { acks: [{ leaseToken: token!, verdict }] } });
        stage.attempts.get(token!)!.state = 'over';
        stage.ackAll();
      }
      await stage.pause(2 * stage.timers.heartbeatIntervalMs);
      link.cut();
      await stage.readyAfter(link);
      await stage.pause(200);
      await stage.farewell();
    },
  },
  {
    name: 'half-open',
    about: 'the connection stays and nothing comes back any more; attempts run and results wait',
    async run(stage) {
      const [running] = await stage.assign(stage.job('sleep', { ms: 3_000 }));
      await resultsWaiting(stage);
      const link = await stage.ready();
      link.mute();
      await stage.readyAfter(link, 3 * stage.timers.leaseMs + 5_000);
      link.unmute();
      await stage.pause(1_300);
      stage.ackAll();
      stage.habits.ack = true;
      await stage.over([running!]);
      await stage.farewell();
    },
  },
  {
    name: 'go-away',
    about: 'GoAway in a burst of assignments; the new Welcome takes its time while attempts end on the old connection',
    async run(stage) {
      const link = await stage.ready();
      await stage.until('credit for a burst', () => stage.granted - stage.assigned >= 4);
      stage.habits.ack = false;
      stage.habits.greet = false;
      stage.assignNow(stage.job('sleep', { ms: 2_000 }));
      stage.assignNow(stage.job('sleep', { ms: 700 }), stage.job('echo', { value: 1 }));
      stage.assignNow(stage.job('echo', { value: 2 }));
      link.send({ case: 'goAway', value: { reason: 'the coordinator restarts', reconnectDelayMs: 300 } });
      await stage.until('a Hello on a new connection', () => stage.waitingForWelcome > 0);
      // One of the sleeps ends in this time; the old connection is in use until Welcome (R53).
      await stage.pause(800);
      stage.greet();
      await stage.readyAfter(link);
      await stage.until('the end of the old connection', () => !link.isOpen);
      await stage.pause(200);
      await stage.farewell();
    },
  },
  {
    name: 'go-away-cut',
    about: 'GoAway, and the old connection is cut before the new one is there',
    async run(stage) {
      const link = await stage.ready();
      const tokens = await stage.assign(stage.job('sleep', { ms: 900 }), stage.job('echo', { value: 1 }));
      await stage.answered(tokens);
      link.send({ case: 'goAway', value: { reason: 'gone soon', reconnectDelayMs: 0 } });
      link.cut();
      await stage.readyAfter(link);
      await stage.over(tokens);
      await stage.farewell();
    },
  },
  {
    name: 'refused',
    about: 'no room (503 with Retry-After), then a fatal error instead of Welcome, then connections that break at once',
    async run(stage) {
      const [running] = await stage.assign(stage.job('sleep', { ms: 3_000 }));
      await stage.answered([running!]);
      const link = await stage.ready();
      stage.server.refusals.push({ retryAfterS: 1 });
      link.cut();
      const next = await stage.readyAfter(link);
      stage.habits.greet = false;
      next.cut();
      for (let i = 0; i < 3; i += 1) {
        await stage.until('a Hello', () => stage.waitingForWelcome > 0);
        const waiting = stage.server.links.at(-1)!;
        if (i === 1) {
          waiting.send({ case: 'error', value: { code: 'WORKER_ID_TAKEN', message: 'another process has it', fatal: true } });
          waiting.close(1008);
        } else waiting.cut();
        await stage.until('the end of it', () => !waiting.isOpen);
      }
      stage.greet();
      await stage.over([running!], 20_000);
      await stage.farewell();
    },
  },
  {
    name: 'nonsense',
    about: 'unknown fields, unknown messages, bytes that are no frame, text, a doubled frame, an error: the session goes on',
    async run(stage) {
      const link = await stage.ready();
      const [running] = await stage.assign(stage.job('sleep', { ms: 1_000 }));
      await stage.answered([running!]);
      stage.habits.reply = false;
      const errors = () => stage.said('error').length;
      const answered = async (count: number) => {
        // A worker that does not answer is judged by the checkers; the script goes on.
        for (let i = 0; i < 100 && errors() < count; i += 1) await stage.pause(10);
      };
      link.sendBytes(unknownField(link.sent + 1), 'a HeartbeatReply with an unknown field', 1);
      link.sendBytes(unknownBody(link.sent + 1), 'a message that protocol 1 does not know', 1);
      await answered(1);
      link.sendBytes(Uint8Array.from([0xff, 0xff, 0xff]), 'bytes that are no frame', 1);
      await answered(2);
      link.sendBytes('hello?', 'a text message', 1);
      await answered(3);
      link.send({ case: 'error', value: { code: 'BAD_FRAME', message: 'something earlier was wrong', fatal: false } });
      const echo = stage.job('echo', { value: 'doubled frame' });
      await stage.until('credit', () => stage.granted > stage.assigned);
      stage.assignNow(echo);
      const sent = stage.entries.findLast((entry) => entry.kind === 'out' && entry.frame?.body.case === 'assignments');
      if (sent?.kind === 'out' && sent.frame !== null) link.sendAgain(sent.frame, ' (again, with the same number)');
      stage.habits.reply = true;
      await stage.over([echo.leaseToken, running!]);
      await stage.farewell();
    },
  },
  {
    name: 'gap',
    about: 'a frame number is skipped: the worker gives the connection up and comes again',
    async run(stage) {
      stage.habits.ack = false;
      const tokens = await stage.assign(stage.job('echo', { value: 1 }));
      await stage.ended(tokens);
      const link = await stage.ready();
      link.send({ case: 'heartbeatReply', value: {} }, { seq: link.sent + 5, what: ' (numbers were skipped)' });
      await stage.readyAfter(link);
      await stage.farewell();
    },
  },
  {
    name: 'false-ack',
    about: 'a frame acks what was never sent: the worker gives the connection up and comes again',
    async run(stage) {
      const link = await stage.ready();
      link.send({ case: 'heartbeatReply', value: {} }, { ack: 1_000_000n, what: ' (acks what was never sent)' });
      await stage.readyAfter(link);
      await stage.farewell();
    },
  },
  {
    name: 'too-large',
    about: 'a frame larger than 1 MiB: the connection ends with 1009, and the worker comes again',
    async run(stage) {
      const [running] = await stage.assign(stage.job('sleep', { ms: 1_000 }));
      await stage.answered([running!]);
      const link = await stage.ready();
      link.sendBytes(new Uint8Array(1024 * 1024 + 1), 'a frame of 1 MiB and 1 byte', 1);
      await stage.readyAfter(link);
      await stage.over([running!]);
      await stage.farewell();
    },
  },
  {
    name: 'terminate',
    about: 'SIGTERM while jobs run: they end, their results are delivered, also over a new connection, and nothing new is taken',
    async run(stage) {
      stage.habits.ack = false;
      const tokens = await stage.assign(stage.job('echo', { value: 1 }), stage.job('sleep', { ms: 800 }));
      await stage.answered(tokens);
      const link = await stage.ready();
      stage.terminate();
      await stage.until('Drain', () => stage.said('drain').length > 0);
      // Was under way when the worker began to drain: there is still credit for it.
      stage.assignNow(stage.job('echo', { value: 'too late' }));
      await stage.ended(tokens);
      link.cut();
      await stage.readyAfter(link);
      await stage.pause(700);
      stage.ackAll();
      await stage.exit();
    },
  },
  {
    name: 'drain',
    about: 'the coordinator asks the worker to drain',
    async run(stage) {
      stage.habits.ack = false;
      const tokens = await stage.assign(stage.job('echo', { value: 1 }), stage.job('sleep', { ms: 500 }));
      await stage.answered(tokens);
      const link = await stage.ready();
      link.send({ case: 'drain', value: { reason: 'the operator asked for it' } });
      await stage.ended(tokens);
      await stage.pause(500);
      stage.ackAll();
      await stage.exit();
    },
  },
  {
    name: 'idle-end',
    about: 'SIGTERM when there is nothing to do',
    async run(stage) {
      await stage.ready();
      await stage.settle();
      stage.terminate();
      await stage.exit();
    },
  },
  {
    name: 'no-welcome',
    about: 'Welcome does not come within 10 s',
    slow: true,
    async run(stage) {
      stage.habits.greet = false;
      await stage.until('a Hello', () => stage.waitingForWelcome > 0, 30_000);
      const first = stage.server.links.at(-1)!;
      await stage.until('another connection', () => stage.server.links.at(-1) !== first, 20_000);
      stage.greet();
      await stage.ready();
      await stage.farewell();
    },
  },
  {
    name: 'ack-late',
    about: 'the connection holds, and a result is not acked for more than 15 s',
    slow: true,
    async run(stage) {
      await resultsWaiting(stage);
      const sent = () => stage.said('results').length;
      const first = sent();
      await stage.until('a result that is sent again', () => sent() > first, 25_000);
      await stage.pause(500);
      await stage.farewell();
    },
  },
  {
    name: 'silence',
    about: 'the coordinator is silent for 30 s, twice as long as its lease of 15 s',
    slow: true,
    timers: { leaseMs: 15_000, heartbeatIntervalMs: 2_000 },
    async run(stage) {
      const [running] = await stage.assign(stage.job('sleep', { ms: 25_000 }));
      await stage.answered([running!]);
      const link = await stage.ready();
      stage.habits.greet = false;
      link.mute();
      await stage.pause(30_000);
      link.unmute();
      stage.greet();
      await stage.readyAfter(link);
      await stage.over([running!], 30_000);
      await stage.farewell();
    },
  },
];
