/**
 * Scripts about jobs: what they are given, how they end, and when they are to stop.
 */
import { json } from '../../stream-support/frames.ts';
import type { Script } from './script.ts';

/** A sleep that no session waits for. */
const forEverMs = 60_000;

export const workScripts: readonly Script[] = [
  {
    name: 'jobs',
    about: 'one job of each kind, a type that nobody offers, and a burst as large as the credit',
    async run(stage) {
      await stage.over(await stage.assign(stage.job('echo', { value: { a: [1, 'ü', null] } })));
      await stage.over(await stage.assign(stage.job('fail', { code: 'TOLD_TO', message: 'it was told to fail', retryable: false })));
      await stage.over(await stage.assign(stage.job('fail', { code: 'TRY_AGAIN', message: 'once more', retryable: true })));
      await stage.over(await stage.assign(stage.job('sleep', { ms: 50, log: 3 })));
      await stage.over(await stage.assign(stage.job('nobody-offers-this', {})));
      for (let round = 0; round < 3; round += 1) {
        await stage.over(await stage.assign(...[1, 2, 3, 4].map((value) => stage.job('echo', { value }))));
      }
      await stage.farewell();
    },
  },
  {
    name: 'input',
    about: 'parameters and inputs as the handler sees them: none, one, several',
    async run(stage) {
      const payload = (value: unknown) => ({ data: json(value) });
      const named = (jobId: string, value: unknown) => ({ jobId, payload: payload(value) });
      const give = async (inputs: { jobId: string; payload: { data?: Uint8Array; encoding?: string } }[]) =>
        stage.over(await stage.assign(stage.job('input', { a: 1, b: 'ü' }, { inputs, attempt: 2 })));
      await give([named('', { of: 'the workflow' })]);
      await give([named('one', [1, 2])]);
      await give([named('one', 1), named('two', { deep: { deeper: true } })]);
      // No data means null (R24); the encoding may be named.
      await give([{ jobId: 'one', payload: {} }]);
      await give([{ jobId: 'one', payload: { encoding: 'json', data: json('x') } }]);
      await stage.over(await stage.assign(stage.job('input', {}, { instance: 7, attempt: 3 })));
      await stage.farewell();
    },
  },
  {
    name: 'slots',
    about: 'as many jobs as there are slots, for as long as it takes: none beyond them, and credit for each that ends',
    async run(stage) {
      const long = await stage.assign(...[600, 650, 700, 750].map((ms) => stage.job('sleep', { ms })));
      await stage.answered(long);
      await stage.pause(2 * stage.timers.heartbeatIntervalMs);
      // Each of these waits for a slot that becomes free.
      for (let i = 0; i < 4; i += 1) await stage.assign(stage.job('echo', { value: i }));
      await stage.farewell();
    },
  },
  {
    name: 'limits',
    about: 'an output and a message that are too large, and results that only fit into several frames',
    async run(stage) {
      await stage.over(await stage.assign(stage.job('echo', { characters: 256 * 1024 + 1 })));
      const large = { code: 'LONG', retryable: false, message_characters: 6_000 };
      await stage.over(await stage.assign(stage.job('fail', large)));
      // Results that wait for the next connection: 4 of 30 KiB do not fit into one frame of 64 KiB.
      stage.habits.ack = false;
      const tokens = await stage.assign(...[1, 2, 3, 4].map(() => stage.job('echo', { characters: 30 * 1024 })));
      await stage.ended(tokens);
      const link = await stage.ready();
      link.cut();
      await stage.readyAfter(link);
      await stage.pause(300);
      await stage.farewell();
    },
  },
  {
    name: 'doubled-assignment',
    about: 'the same token twice: at once, while it runs, when its result waits, and after a reconnect',
    async run(stage) {
      const once = stage.job('echo', { value: 1 });
      await stage.over(await stage.assign(once, once));
      const running = stage.job('sleep', { ms: 500 });
      await stage.answered(await stage.assign(running));
      stage.habits.ack = false;
      await stage.assign(running);
      await stage.ended([running.leaseToken]);
      await stage.assign(running);
      await stage.pause(200);
      const link = await stage.ready();
      link.cut();
      await stage.readyAfter(link);
      await stage.assign(running);
      await stage.pause(200);
      await stage.farewell();
    },
  },
  {
    name: 'cancel',
    about: 'attempts are told to stop: a willing one, a stubborn one, by the reply to a heartbeat, and ones that nobody holds',
    async run(stage) {
      const [willing, stubborn, third] = await stage.assign(
        stage.job('sleep', { ms: forEverMs }),
        stage.job('stubborn', { ms: 800 }),
        stage.job('sleep', { ms: forEverMs }),
      );
      await stage.answered([willing!, stubborn!, third!]);
      stage.cancel([willing!, stubborn!, 'nobody-holds-this']);
      // Told in the replies alone, as if the message had been lost.
      stage.attempts.get(third!)!.cancelled = true;
      await stage.over([willing!, stubborn!, third!]);
      stage.cancel([willing!]);
      // One that is told to stop in the same breath as it is assigned.
      const [fourth] = await stage.assign(stage.job('sleep', { ms: forEverMs }));
      stage.cancel([fourth!]);
      await stage.over([fourth!]);
      await stage.farewell();
    },
  },
  {
    name: 'stale-lease',
    about: 'leases are revoked: by a heartbeat reply, and in the verdicts of a new connection; nothing more is heard of these attempts',
    async run(stage) {
      const [first, second, kept] = await stage.assign(
        stage.job('sleep', { ms: 400 }),
        stage.job('sleep', { ms: forEverMs }),
        stage.job('sleep', { ms: 900 }),
      );
      await stage.answered([first!, second!, kept!]);
      stage.lose([first!, 'nobody-holds-this']);
      await stage.pause(700);
      const link = await stage.ready();
      stage.loseQuietly([second!]);
      link.cut();
      await stage.readyAfter(link);
      await stage.over([kept!]);
      // A result that waits, and whose lease is gone meanwhile.
      stage.habits.ack = false;
      const [waiting] = await stage.assign(stage.job('echo', { value: 'late' }));
      await stage.ended([waiting!]);
      const next = await stage.ready();
      stage.loseQuietly([waiting!]);
      next.cut();
      await stage.readyAfter(next);
      await stage.pause(300);
      await stage.farewell();
    },
  },
  {
    name: 'timeout',
    about: 'a run timeout, kept by the worker',
    async run(stage) {
      await stage.over(await stage.assign(stage.job('sleep', { ms: forEverMs }, { runTimeoutMs: 400n })));
      await stage.over(await stage.assign(stage.job('sleep', { ms: 50 }, { runTimeoutMs: 5_000n })));
      await stage.farewell();
    },
  },
  {
    name: 'checkpoint',
    about: 'a checkpoint is told until it is known to have arrived, also over a reconnect, and given to the next attempt',
    async run(stage) {
      // Nothing is said, so nothing is acked, before the connection breaks.
      stage.habits.reply = false;
      const [token] = await stage.assign(stage.job('sleep', { ms: 2_500, checkpoint: { page: 3 } }));
      await stage.answered([token!]);
      const toldOf = (link: number) =>
        stage.said('heartbeat').some((entry) => {
          const { body } = entry.frame;
          return entry.link === link && body.case === 'heartbeat' && body.value.leases.some(({ checkpoint }) => checkpoint !== undefined);
        });
      const link = await stage.ready();
      for (let i = 0; i < 100 && !toldOf(link.number); i += 1) await stage.pause(10);
      link.cut();
      stage.habits.reply = true;
      await stage.readyAfter(link);
      await stage.over([token!]);
      await stage.over(await stage.assign(stage.job('input', {}, { attempt: 2, checkpoint: { data: json({ page: 3 }) } })));
      await stage.farewell();
    },
  },
];
