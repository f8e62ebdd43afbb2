/**
 * How the database is, from what calls last found: nothing here asks it anything. Everything that is wrong is gone by itself when calls find it well again.
 */
import type { TierHealth } from '../store.ts';
import { codeOf, messageOf } from './failure.ts';

/** Commits that are looked at, and for how long. */
const SAMPLES = 200;
const SAMPLE_AGE_MS = 60_000;
/** Slower than this for one commit in a hundred, and health says so. */
const SLOW_COMMIT_MS = 500;
const LEAST_SAMPLES = 20;

interface Trouble {
  readonly sinceMs: number;
  readonly code: string;
  readonly message: string;
}

export class Health {
  readonly #shown: string;
  readonly #warning: string;
  /** What keeps commits from succeeding; null while they do. */
  #commit: Trouble | null = null;
  /** What keeps other calls from succeeding. */
  #call: Trouble | null = null;
  /** `[when, how long]`, the oldest overwritten first. */
  readonly #samples: (readonly [number, number])[] = [];
  #next = 0;

  /** `shown`: the database, for people. `warning`: what is wrong with its settings; empty when nothing is. */
  constructor(shown: string, warning: string) {
    this.#shown = shown;
    this.#warning = warning;
  }

  committed(tookMs: number): void {
    this.#commit = null;
    this.#call = null;
    this.#samples[this.#next] = [performance.now(), tookMs];
    this.#next = (this.#next + 1) % SAMPLES;
  }

  commitFailed(error: unknown): void {
    this.#commit = after(this.#commit, error);
  }

  answered(): void {
    this.#call = null;
    // Who reads and takes leases can reach it: what is left of a commit's trouble is what only a commit can find gone.
    if (this.#commit !== null && kindOf(this.#commit.code) === 'away') this.#commit = null;
  }

  callFailed(error: unknown): void {
    this.#call = after(this.#call, error);
  }

  /** A sentence for people. */
  tiers(): readonly TierHealth[] {
    const trouble = this.#commit ?? this.#call;
    if (trouble !== null) return [{ name: 'postgresql', ...describe(trouble, this.#shown) }];
    const p99 = this.#p99();
    if (p99 > SLOW_COMMIT_MS) {
      const detail = `${this.#shown} is slow: one commit in a hundred takes ${Math.round(p99)} ms or more; everything waits for it`;
      return [{ name: 'postgresql', health: 'DEGRADED', detail }];
    }
    if (this.#warning !== '') return [{ name: 'postgresql', health: 'DEGRADED', detail: `${this.#shown}: ${this.#warning}` }];
    return [{ name: 'postgresql', health: 'OK', detail: `${this.#shown} keeps the journal` }];
  }

  #p99(): number {
    const oldest = performance.now() - SAMPLE_AGE_MS;
    const times = this.#samples.filter(([at]) => at >= oldest).map(([, ms]) => ms);
    if (times.length < LEAST_SAMPLES) return 0;
    times.sort((a, b) => a - b);
    return times[Math.floor(times.length * 0.99)]!;
  }
}

function after(before: Trouble | null, error: unknown): Trouble {
  return { sinceMs: before?.sinceMs ?? Date.now(), code: codeOf(error), message: messageOf(error) };
}

function kindOf(code: string): 'full' | 'readOnly' | 'away' {
  if (code === '53100') return 'full';
  return code === '25006' ? 'readOnly' : 'away';
}

function describe({ sinceMs, code, message }: Trouble, shown: string): Pick<TierHealth, 'health' | 'detail'> {
  const since = `since ${new Date(sinceMs).toISOString()}`;
  const meaning = 'nothing new is taken, what runs goes on when it is back';
  switch (kindOf(code)) {
    case 'full':
      return { health: 'DOWN', detail: `${shown} has no room on its disk ${since}: ${meaning} (${message})` };
    case 'readOnly':
      return { health: 'DOWN', detail: `${shown} takes no writes ${since}: it is read-only, or a standby; ${meaning} (${message})` };
    default:
      return { health: 'DOWN', detail: `${shown} does not answer ${since}: ${meaning} (${message})` };
  }
}
