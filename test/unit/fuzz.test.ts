/**
 * The fuzzer for some seconds: a short run of every target from a fixed seed, every input that once broke something, and the fuzzer itself.
 *
 * The machine of a test may be busy, so that only ten times the CPU time of a long run counts as too slow here: quadratic costs still show.
 */
import { readdirSync } from 'node:fs';
import t from 'tap';
import { seeded } from '../engine-support/random.ts';
import { Campaign, type CampaignOptions, type Finding, fixturesOf, readFixtures } from '../fuzz/campaign.ts';
import { bestCpuMs, cpuLimitMs, cpuMs, heldAfterCollection, heldNow, leastHeldBytes, memoryLimitBytes } from '../fuzz/measure.ts';
import { mutate } from '../fuzz/mutate.ts';
import { Broken, bytesOf, type Target, targetNames, textOf } from '../fuzz/target.ts';
import { openTarget } from '../fuzz/targets/open.ts';

const cpuFactor = 10;
/** Inputs of each target, those of its corpus included: about a second of work. */
const inputs = {
  definition: 140,
  expression: 300,
  schema: 200,
  'worker-frames': 300,
  'coordinator-frames': 300,
  http: 140,
  journal: 400,
} as const;

for (const name of targetNames) {
  t.test(`${name}: a run from a fixed seed finds nothing`, async (t) => {
    const target = await openTarget(name);
    const figures = await new Campaign(target, { seed: 20_261_126, cpuFactor, goesOn: (count) => count < inputs[name] }).run();
    await target.close();
    for (const { kind, message, input } of figures.findings) t.fail(`${kind}: ${message}`, { input: textOf(input).slice(0, 2_000) });
    t.ok(figures.features > 15, `${figures.features} different things happened`);
  });
}

for (const name of targetNames.filter((each) => readdirSync(fixturesOf('findings')).includes(each))) {
  t.test(`${name}: what once broke it does not any more`, async (t) => {
    const target = await openTarget(name);
    for (const { file, input } of readFixtures(`findings/${name}`)) {
      try {
        const heldBefore = heldAfterCollection();
        const cpuBefore = cpuMs();
        const outcome = await target.run(input);
        const firstMs = cpuMs() - cpuBefore;
        const mayHold = heldNow() - heldBefore;
        await outcome.check?.();
        const took = firstMs <= cpuLimitMs(input.length) ? firstMs : await bestCpuMs(() => target.run(input));
        const mostHeld = memoryLimitBytes(input.length);
        const held = mayHold <= mostHeld ? mayHold : await leastHeldBytes(async () => (await target.run(input)).kept, mostHeld);
        t.ok(held <= mostHeld, `${file}: ${held} bytes held`);
        t.ok(took <= cpuFactor * cpuLimitMs(input.length), `${file}: ${took.toFixed(0)} ms of CPU`);
      } catch (error) {
        t.fail(`${file}: ${(error as Error).stack}`);
      }
    }
    await target.close();
  });
}

/** A target that judges text by `run`. */
function planted(run: (text: string) => unknown): Target {
  return {
    name: 'definition',
    seeds: () => [bytesOf('abc'), bytesOf('x=1')],
    generate: (random) => bytesOf(`v${random.below(1_000)}`),
    words: ['bug'],
    isText: true,
    mostBytes: 2_000,
    run: (input) => ({ features: [textOf(input).slice(0, 2)], kept: run(textOf(input)) }),
    close: async () => {},
  };
}

const options = (over: Partial<CampaignOptions> = {}): CampaignOptions => ({
  seed: 1,
  cpuFactor: 1,
  goesOn: (count) => count < 1_200,
  ...over,
});

/** The first finding in what is planted. */
async function firstOf(run: (text: string) => unknown, over: CampaignOptions): Promise<Finding | undefined> {
  let first: Finding | undefined;
  const goesOn = (count: number) => first === undefined && count < 1_500;
  const found = (finding: Finding) => {
    first ??= finding;
  };
  await new Campaign(planted(run), { ...over, goesOn, found }).run();
  return first;
}

t.test('the fuzzer finds a crash and makes it small', async (t) => {
  const crash = await firstOf((text) => {
    if (text.includes('bug')) throw new TypeError('planted');
  }, options());
  t.match(crash, { kind: 'crash', message: /planted/ });
  t.equal(textOf(crash?.input ?? new Uint8Array()), 'bug');
});

t.test('the fuzzer finds what does not hold', async (t) => {
  const broken = await firstOf((text) => {
    if (/\d{3}/.test(text)) throw new Broken('three digits');
  }, options());
  t.match(broken, { kind: 'broken', message: 'three digits' });
  t.match(textOf(broken?.input ?? new Uint8Array()), /^\d{3}$/);
});

t.test('the fuzzer finds what takes long or holds much', async (t) => {
  const spin = (text: string) => {
    const end = cpuMs() + (text.length > 500 ? 60 : 0);
    while (cpuMs() < end);
  };
  t.match(await firstOf(spin, options()), { kind: 'slow' });
  const hoard = (text: string) => (text.length > 100 ? new Uint8Array(64 * 1024 * 1024) : null);
  t.match(await firstOf(hoard, options({ cpuFactor: 1_000 })), { kind: 'memory' });
});

t.test('a seed is the whole run', async (t) => {
  const runOf = async (seed: number): Promise<string[]> => {
    const seen: string[] = [];
    await new Campaign(
      planted(() => null),
      options({ seed, begins: (input) => seen.push(textOf(input)), goesOn: (count) => count < 300 }),
    ).run();
    return seen;
  };
  t.same(await runOf(7), await runOf(7));
  t.notSame(await runOf(7), await runOf(8));
  const material = { words: ['word'], isText: true, mostBytes: 100 };
  for (let seed = 0; seed < 300; seed++) {
    const mutant = mutate(bytesOf('one\ntwo: 2\n'), bytesOf('three: 3'), seeded(seed), material);
    if (mutant.length > material.mostBytes) t.fail(`${mutant.length} bytes`);
  }
});
