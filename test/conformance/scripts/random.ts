/**
 * Random sessions: what scripts do one at a time, in any order and all at once. The same seed gives the same steps; what the worker makes of them is its own.
 */
import { type Random, seeded } from '../../engine-support/random.ts';
import type { Stage } from '../stage.ts';
import type { Script } from './script.ts';

const forEverMs = 60_000;

/** A session of about a dozen steps. */
export function randomScript(seed: number): Script {
  return {
    name: `seed-${seed}`,
    about: 'a random session',
    async run(stage) {
      const random = seeded(seed);
      for (let left = 10 + random.below(8); left > 0; left -= 1) {
        await stage.ready();
        await random.pick(steps)(stage, random);
      }
      // What would run for ever is told to stop.
      await stage.ready();
      const running = tokensIn(stage, 'running').concat(tokensIn(stage, 'given'));
      if (running.length > 0) stage.cancel(running);
      await stage.farewell();
    },
  };
}

type Step = (stage: Stage, random: Random) => Promise<void>;

const steps: readonly Step[] = [
  // Jobs twice: half of what happens should be work.
  giveJobs,
  giveJobs,
  giveJobs,
  async (stage, random) => stage.pause(20 + random.below(300)),
  async (stage, random) => {
    stage.habits.ack = random.chance(0.5);
    if (stage.habits.ack) stage.ackAll();
  },
  async (stage) => stage.ackAll(),
  async (stage, random) => {
    const link = await stage.ready();
    if (random.chance(0.3)) stage.loseQuietly(some(tokensIn(stage, 'running'), random));
    stage.habits.verdicts = random.chance(0.7);
    if (random.chance(0.5)) link.cut();
    else link.close(1012);
    await stage.readyAfter(link);
  },
  async (stage, random) => {
    const held = [...tokensIn(stage, 'running'), ...tokensIn(stage, 'ended')];
    if (held.length === 0 || stage.granted <= stage.assigned) return;
    stage.assignNow(stage.attempts.get(random.pick(held))!.assignment);
  },
  async (stage, random) => stage.cancel(some(tokensIn(stage, 'running'), random)),
  async (stage, random) => {
    const tokens = some(tokensIn(stage, 'running'), random);
    if (tokens.length > 0) stage.lose(tokens);
  },
  async (stage, random) => {
    const link = await stage.ready();
    link.send({ case: 'goAway', value: { reason: 'random', reconnectDelayMs: random.below(200) } });
    if (random.chance(0.3)) link.cut();
    await stage.readyAfter(link);
  },
  async (stage) => {
    const link = await stage.ready();
    link.sendBytes(Uint8Array.from([0xff, 0xff]), 'bytes that are no frame', 1);
    link.send({ case: 'cancel', value: { leaseTokens: ['nobody-holds-this'] } });
  },
];

async function giveJobs(stage: Stage, random: Random): Promise<void> {
  await stage.ready();
  const room = stage.granted - stage.assigned;
  if (room <= 0) return stage.pause(20);
  const jobs = Array.from({ length: 1 + random.below(room) }, () => {
    const kind = random.below(6);
    if (kind <= 1) return stage.job('echo', { value: random.below(1_000) });
    if (kind === 2) return stage.job('fail', { code: 'TOLD_TO', message: 'random', retryable: random.chance(0.5) });
    if (kind === 3) return stage.job('stubborn', { ms: 50 + random.below(300) });
    if (kind === 4) return stage.job('sleep', { ms: random.chance(0.3) ? forEverMs : 30 + random.below(600) });
    return stage.job('sleep', { ms: forEverMs }, { runTimeoutMs: BigInt(100 + random.below(400)) });
  });
  const tokens = stage.assignNow(...jobs);
  if (random.chance(0.5)) await stage.answered(tokens);
}

function tokensIn(stage: Stage, state: string): string[] {
  return [...stage.attempts].filter(([, attempt]) => attempt.state === state && !attempt.revoked).map(([token]) => token);
}

function some(tokens: readonly string[], random: Random): string[] {
  return tokens.filter(() => random.chance(0.5));
}
