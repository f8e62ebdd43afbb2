/**
 * What a seed means: which graphs are submitted, what goes wrong and when. Plain data, drawn before the run. What the load does in between is drawn from the seed too,
 * but follows what is answered.
 */
import { type Random, seeded } from '../engine-support/random.ts';
import { type ChaosGraph, graphsOf } from './graphs.ts';

/** What may go wrong. `ms` of a fault is for how long; then it is undone. */
export const faultKinds = {
  'coordinator killed': { weight: 5, targets: 2, ms: [300, 6_000] },
  'coordinator ended': { weight: 1, targets: 2, ms: [100, 3_000] },
  'coordinator stands still': { weight: 3, targets: 2, ms: [200, 2_000] },
  'coordinator stands still for longer than its lease': { weight: 3, targets: 2, ms: [3_500, 10_000] },
  'both coordinators killed': { weight: 2, targets: 1, ms: [200, 5_000] },
  'worker killed': { weight: 4, targets: 3, ms: [200, 5_000] },
  'worker stands still': { weight: 2, targets: 3, ms: [300, 4_000] },
  'worker stands still for longer than its lease': { weight: 2, targets: 3, ms: [8_500, 13_000] },
  'PostgreSQL killed': { weight: 2, targets: 1, ms: [100, 5_000] },
  'PostgreSQL stands still': { weight: 2, targets: 1, ms: [300, 6_000] },
  'Redis killed': { weight: 2, targets: 1, ms: [300, 8_000] },
  'Redis stands still': { weight: 2, targets: 1, ms: [300, 8_000] },
  'Redis emptied': { weight: 2, targets: 1, ms: [0, 1] },
  'database connections cut': { weight: 2, targets: 2, ms: [50, 4_000] },
  'database connections half open': { weight: 2, targets: 2, ms: [500, 8_000] },
  'answers of the database lost': { weight: 3, targets: 2, ms: [20, 3_000] },
  'worker connections cut': { weight: 2, targets: 2, ms: [50, 5_000] },
  'worker connections half open': { weight: 2, targets: 2, ms: [500, 12_000] },
  'answers to workers lost': { weight: 2, targets: 2, ms: [100, 4_000] },
} as const satisfies Record<string, { readonly weight: number; readonly targets: number; readonly ms: readonly [number, number] }>;

export type FaultKind = keyof typeof faultKinds;

/** Something that goes wrong. */
export interface Fault {
  readonly kind: FaultKind;
  /** From the beginning of the load, in milliseconds. */
  readonly at: number;
  readonly ms: number;
  /** Of a coordinator: 0 the active one, 1 the other. Of a worker its number. */
  readonly target: number;
}

/** What a run is told. */
export interface Settings {
  readonly seed: number;
  /** For how long things go wrong. */
  readonly faultyMs: number;
  /** Submissions a second. */
  readonly rate: number;
  /** PostgreSQL acknowledges what is not on its disk, and is killed: the run must find it out. */
  readonly isCanary: boolean;
}

/** One run. */
export interface Plan extends Settings {
  readonly graphs: readonly ChaosGraph[];
  readonly faults: readonly Fault[];
}

/** Definitions of a run. */
const GRAPHS = 60;
/** Nothing goes wrong before the first of them is under way. */
const FIRST_MS = 2_000;
/** Pause between the beginnings of two faults. */
const GAP_MS = [300, 4_500] as const;

/** What a seed means. */
export function planOf(settings: Settings): Plan {
  return {
    ...settings,
    graphs: graphsOf(seeded(settings.seed), GRAPHS),
    faults: settings.isCanary ? canaryFaults(settings) : faultsOf(seeded(settings.seed + 1), settings),
  };
}

function faultsOf(random: Random, { faultyMs }: Settings): Fault[] {
  const faults: Fault[] = [];
  const words = Object.entries(faultKinds).flatMap(([kind, { weight }]) => Array.from({ length: weight }, () => kind as FaultKind));
  for (let at = FIRST_MS; at < faultyMs; at += between(random, GAP_MS)) {
    const kind = random.pick(words);
    const { targets, ms } = faultKinds[kind];
    faults.push({ kind, at, ms: between(random, ms), target: random.below(targets) });
  }
  return faults;
}

function canaryFaults({ faultyMs }: Settings): Fault[] {
  const faults: Fault[] = [];
  for (let at = 6_000; at < faultyMs; at += 8_000) faults.push({ kind: 'PostgreSQL killed', at, ms: 200, target: 0 });
  return faults;
}

function between(random: Random, [least, most]: readonly [number, number]): number {
  return least + random.below(most - least + 1);
}
