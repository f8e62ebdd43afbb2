/**
 * One run of a target: inputs by grammar and by mutation, the oracles, what joins the corpus, and the figures.
 *
 * Invariants
 * 1. Target, seed and number give the input: chance comes from the seed, and what joins the corpus depends on results alone, never on time.
 * 2. A finding is told once, by its kind, with its bytes made small.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Random, seeded } from '../engine-support/random.ts';
import { bestCpuMs, cpuLimitMs, cpuMs, heldNow, leastHeldBytes, memoryLimitBytes } from './measure.ts';
import { mutate } from './mutate.ts';
import { Broken, type Outcome, shapeOf, type Target } from './target.ts';

/** What is wrong with an input. */
export interface Finding {
  readonly kind: 'crash' | 'broken' | 'slow' | 'memory';
  readonly message: string;
  readonly input: Uint8Array;
}

/** How far a run goes, and how strictly it judges. */
export interface CampaignOptions {
  readonly seed: number;
  /** Whether to go on, asked before each input. */
  readonly goesOn: (inputs: number) => boolean;
  /** CPU beyond `cpuLimitMs` times this is a finding. */
  readonly cpuFactor: number;
  /** Told of each input before it runs, so that one that hangs is known. */
  readonly begins?: (input: Uint8Array) => void;
  readonly found?: (finding: Finding) => void;
}

/** The figures of a run. */
export interface Figures {
  readonly inputs: number;
  readonly seconds: number;
  readonly worstCpuMs: number;
  readonly worstCpuBytes: number;
  /** Bytes held for each byte of an input of 4 KiB or more. */
  readonly worstMemoryRatio: number;
  readonly features: number;
  readonly corpus: number;
  readonly findings: readonly Finding[];
}

/** Folder of the inputs that a target begins with, and of those that once broke it. */
export const fixturesOf = (name: string): string => join(import.meta.dirname, '../fixtures/fuzz', name);

/** The files of a folder below `test/fixtures/fuzz/`, by name. */
export function readFixtures(name: string): { readonly file: string; readonly input: Uint8Array }[] {
  const folder = fixturesOf(name);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((file) => ({ file, input: readFileSync(join(folder, file)) }));
}

/** Inputs that are kept for mutation at most, and their size. */
const mostCorpus = 4_000;
const mostCorpusBytes = 6_000;
/** Memory is looked at after each so many inputs, and measured by turn or when more than this is in use than may be: some of that is garbage. */
const lookEvery = 8;
const memoryEvery = 63 * lookEvery;
const garbageBytes = 24 * 1024 * 1024;
/** Runs that making an input small may take. */
const mostShrinks = 300;

/** One target under fire. */
export class Campaign {
  readonly #target: Target;
  readonly #options: CampaignOptions;
  readonly #random: Random;
  readonly #corpus: Uint8Array[] = [];
  readonly #features = new Set<string>();
  readonly #findings = new Map<string, Finding>();
  #inputs = 0;
  #worstCpuMs = 0;
  #worstCpuBytes = 0;
  #worstMemoryRatio = 0;

  constructor(target: Target, options: CampaignOptions) {
    this.#target = target;
    this.#options = options;
    this.#random = seeded(options.seed);
  }

  /** Fires until it may not go on. */
  async run(): Promise<Figures> {
    const startedAt = performance.now();
    const own = [...this.#target.seeds(), ...readFixtures(this.#target.name).map(({ input }) => input)];
    for (const input of own) {
      this.#corpus.push(input);
      // Warms up: the first runs of code are its slowest.
      await this.#judge(input, false);
    }
    while (this.#options.goesOn(this.#inputs)) {
      await this.#judge(this.#next(), true);
      // Timers and sockets of the process have their turn.
      if (this.#inputs % 256 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    return {
      inputs: this.#inputs,
      seconds: (performance.now() - startedAt) / 1_000,
      worstCpuMs: this.#worstCpuMs,
      worstCpuBytes: this.#worstCpuBytes,
      worstMemoryRatio: this.#worstMemoryRatio,
      features: this.#features.size,
      corpus: this.#corpus.length,
      findings: [...this.#findings.values()],
    };
  }

  #next(): Uint8Array {
    const random = this.#random;
    if (this.#corpus.length === 0 || random.chance(0.35)) return this.#target.generate(random);
    return mutate(random.pick(this.#corpus), random.pick(this.#corpus), random, this.#target);
  }

  async #judge(input: Uint8Array, isWarm: boolean): Promise<void> {
    this.#inputs++;
    this.#options.begins?.(input);
    const looksAtMemory = this.#inputs % lookEvery === 0;
    const heldBefore = looksAtMemory ? heldNow() : 0;
    const before = cpuMs();
    let outcome: Outcome;
    let tookMs = 0;
    try {
      outcome = await this.#target.run(input);
      tookMs = cpuMs() - before;
      await outcome.check?.();
    } catch (error) {
      await this.#tell(error instanceof Broken ? 'broken' : 'crash', error, input);
      return;
    }
    if (this.#isNew(outcome.features) && input.length <= mostCorpusBytes && this.#corpus.length < mostCorpus) this.#corpus.push(input);
    if (!isWarm) return;
    const share = tookMs / cpuLimitMs(input.length);
    // What is a little more than the worst so far is mostly noise, and measuring it again costs collections.
    const isWorst = tookMs > 5 && share > (1.5 * this.#worstCpuMs) / cpuLimitMs(this.#worstCpuBytes);
    if (isWorst || share > this.#options.cpuFactor) await this.#judgeCpu(input);
    if (!looksAtMemory) return;
    if (heldNow() - heldBefore > memoryLimitBytes(input.length) + garbageBytes || this.#inputs % memoryEvery === 0)
      await this.#judgeMemory(input);
  }

  #isNew(features: readonly string[]): boolean {
    const before = this.#features.size;
    for (const feature of features) this.#features.add(feature);
    return this.#features.size > before;
  }

  async #judgeCpu(input: Uint8Array): Promise<void> {
    const tookMs = await bestCpuMs(() => this.#target.run(input));
    const limitMs = cpuLimitMs(input.length);
    if (tookMs / limitMs > this.#worstCpuMs / cpuLimitMs(this.#worstCpuBytes)) {
      this.#worstCpuMs = tookMs;
      this.#worstCpuBytes = input.length;
    }
    if (tookMs <= limitMs * this.#options.cpuFactor) return;
    const message = `${tookMs.toFixed(1)} ms of CPU for ${input.length} bytes, more than ${limitMs.toFixed(1)}`;
    await this.#tell('slow', new Broken(message), input);
  }

  async #judgeMemory(input: Uint8Array): Promise<void> {
    const held = await leastHeldBytes(async () => (await this.#target.run(input)).kept);
    if (input.length >= 4_096) this.#worstMemoryRatio = Math.max(this.#worstMemoryRatio, held / input.length);
    if (held <= memoryLimitBytes(input.length)) return;
    await this.#tell('memory', new Broken(`${held} bytes are held after ${input.length} bytes`), input);
  }

  async #tell(kind: Finding['kind'], error: unknown, input: Uint8Array): Promise<void> {
    const message = error instanceof Error ? (kind === 'crash' ? (error.stack ?? error.message) : error.message) : String(error);
    const identity = kind === 'slow' || kind === 'memory' ? `${kind} ${this.#findings.size}` : `${kind} ${shapeOf(message.split('\n')[0])}`;
    const ofKind = [...this.#findings.values()].filter((one) => one.kind === kind).length;
    if (this.#findings.has(identity) || ofKind >= 20) return;
    const small = kind === 'crash' || kind === 'broken' ? await this.#shrink(input, identity) : input;
    const finding = { kind, message, input: small };
    this.#findings.set(identity, finding);
    this.#options.found?.(finding);
  }

  /** Smaller bytes that break the same: halves, quarters and so on are left out as long as that helps. */
  async #shrink(input: Uint8Array, identity: string): Promise<Uint8Array> {
    let small = input;
    let runs = 0;
    for (let size = Math.ceil(small.length / 2); size >= 1 && runs < mostShrinks; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let start = 0; start < small.length && runs < mostShrinks; runs++) {
        const candidate = Buffer.concat([small.subarray(0, start), small.subarray(start + size)]);
        if ((await this.#identityOf(candidate)) === identity) small = candidate;
        else start += size;
      }
    }
    return small;
  }

  async #identityOf(input: Uint8Array): Promise<string | null> {
    try {
      await (await this.#target.run(input)).check?.();
      return null;
    } catch (error) {
      const message = error instanceof Error ? (error instanceof Broken ? error.message : (error.stack ?? error.message)) : String(error);
      return `${error instanceof Broken ? 'broken' : 'crash'} ${shapeOf(message.split('\n')[0])}`;
    }
  }
}
