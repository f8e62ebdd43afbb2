/**
 * How the embedded store is, from what its calls last found.
 *
 * Invariant: what is wrong is said until the same kind of call has worked again.
 */
import type { TierHealth } from '../store.ts';

/** What can be wrong, the worst first, with what it means for people. */
const AREAS = {
  commits: 'nothing is accepted until it works again',
  reads: 'workflows at rest cannot be read',
  archive: 'ended workflows stay in memory until it works again',
  checkpoint: 'a restart will take longer than it should',
  upkeep: 'the file grows',
} as const;
export type Area = keyof typeof AREAS;

export class HealthOfTier {
  readonly #path: string;
  readonly #clock: () => number;
  readonly #troubles = new Map<Area, { readonly message: string; readonly since: number }>();

  constructor(path: string, clock: () => number) {
    this.#path = path;
    this.#clock = clock;
  }

  /** A call of this kind has ended; `trouble` says what was wrong, null that nothing was. */
  note(area: Area, trouble: string | null): void {
    if (trouble === null) this.#troubles.delete(area);
    else this.#troubles.set(area, { message: trouble, since: this.#troubles.get(area)?.since ?? this.#clock() });
  }

  get(): readonly TierHealth[] {
    const found = (Object.keys(AREAS) as Area[]).filter((area) => this.#troubles.has(area));
    const details = found.map((area) => {
      const { message, since } = this.#troubles.get(area)!;
      return `${area}: ${message}, since ${new Date(since).toISOString()}; ${AREAS[area]}`;
    });
    if (details.length === 0) return [{ name: 'embedded', health: 'OK', detail: `the journal is ${this.#path}` }];
    return [{ name: 'embedded', health: found.includes('commits') ? 'DOWN' : 'DEGRADED', detail: `${this.#path}: ${details.join('. ')}` }];
  }
}
