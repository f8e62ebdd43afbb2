/**
 * What a seed means: who is there, what clients do, what goes wrong and when. Plain data, drawn before the run, so that a failing run can be made smaller.
 *
 * Each seed draws a part of the faults only: with all of them at once, one hides what another would show.
 */
import type { GraphJob } from '@workflow-orchestrator/engine/definition';
import type { ShardBounds } from '../../coordinator/shard/shard.ts';
import { buildGraph, type GraphOptions, json } from '../engine-support/graphs.ts';
import type { Random } from '../engine-support/random.ts';
import { type AbstractGraph, type AbstractJob, type ConditionResult, isFinaliser } from '../reference/evaluator.ts';
import { Chance } from './chance.ts';

/** How often something happens to a single message, statement or handler, 0 to 1. */
export interface Rates {
  /** Statements of the database. */
  readonly requestLost: number;
  readonly requestHangs: number;
  readonly replyLost: number;
  readonly statementHangs: number;
  readonly aborted: number;
  readonly databaseSlow: number;
  /** Connections of workers, calls of clients. */
  readonly linkCut: number;
  readonly linkSlow: number;
  readonly linkRefused: number;
  readonly callLost: number;
  /** Handlers. */
  readonly handlerFails: number;
  readonly handlerFailsForGood: number;
  readonly handlerSlow: number;
  readonly handlerDeaf: number;
  readonly handlerCrashes: number;
  readonly handlerCheckpoints: number;
  /** A commit is refused, and would be for ever. */
  readonly refusedForGood: number;
}

/** Nothing goes wrong. */
export const calm: Rates = {
  requestLost: 0,
  requestHangs: 0,
  replyLost: 0,
  statementHangs: 0,
  aborted: 0,
  databaseSlow: 0,
  linkCut: 0,
  linkSlow: 0,
  linkRefused: 0,
  callLost: 0,
  handlerFails: 0,
  handlerFailsForGood: 0,
  handlerSlow: 0,
  handlerDeaf: 0,
  handlerCrashes: 0,
  handlerCheckpoints: 0,
  refusedForGood: 0,
};

/** How often, when a seed draws it. */
const ordinary: Rates = {
  requestLost: 0.01,
  requestHangs: 0.01,
  replyLost: 0.02,
  statementHangs: 0.02,
  aborted: 0.05,
  databaseSlow: 0.2,
  linkCut: 0.01,
  linkSlow: 0.2,
  linkRefused: 0.2,
  callLost: 0.1,
  handlerFails: 0.25,
  handlerFailsForGood: 0.1,
  handlerSlow: 0.2,
  handlerDeaf: 0.3,
  handlerCrashes: 0.03,
  handlerCheckpoints: 0.2,
  refusedForGood: 0.005,
};

/** Rates that are behaviour of handlers, not a fault of the system. */
export const behaviour: readonly (keyof Rates)[] = [
  'handlerFails',
  'handlerFailsForGood',
  'handlerSlow',
  'handlerDeaf',
  'handlerCheckpoints',
];

/** Something that goes wrong at a moment, for a while. */
export interface Fault {
  readonly kind: FaultKind;
  /** When, and for how long, in milliseconds from the beginning. */
  readonly at: number;
  readonly ms: number;
  /** Chooses whom it happens to. */
  readonly pick: number;
}

const faultKinds = [
  'coordinator crashes',
  'active coordinator crashes',
  'coordinator stands still',
  'active coordinator stands still',
  'coordinator is ended',
  'worker crashes',
  'worker stands still',
  'worker drains',
  'database restarts',
  'database reads only',
  'partition',
  'one-way partition',
  'slow loop',
  'live view away',
  'coordinator without database',
] as const;

/** The last one is drawn apart: with it, what was acknowledged may be lost. */
export const allFaultKinds = [...faultKinds, 'database goes back'] as const;

export type FaultKind = (typeof allFaultKinds)[number];

/** What a client does. */
export interface Action {
  readonly kind: 'submit' | 'submit later' | 'start' | 'cancel' | 'force' | 'pause' | 'resume' | 'read' | 'list' | 'watch';
  readonly at: number;
  readonly client: number;
  /** Chooses what it is about. */
  readonly pick: number;
  /** Idempotency key of a submit; empty: none. */
  readonly key: string;
  /** Workflows that a submit submits in one call. */
  readonly count: number;
}

/** A worker as it introduces itself. */
export interface WorkerPlan {
  readonly slots: number;
  readonly capabilities: Readonly<Record<string, number>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** How the live view behaves. */
export const liveViews = ['none', 'there', 'away', 'slow'] as const;

/** One run. */
export interface Plan {
  readonly seed: number;
  readonly coordinators: number;
  readonly workers: readonly WorkerPlan[];
  readonly clients: number;
  readonly graphs: number;
  readonly bounds: Partial<ShardBounds>;
  readonly hasArchive: boolean;
  readonly liveView: (typeof liveViews)[number];
  readonly rates: Rates;
  readonly faults: readonly Fault[];
  readonly actions: readonly Action[];
  /** When the faults stop. */
  readonly faultyMs: number;
  /** Most that a wall clock jumps between two processes of a node. */
  readonly clockJumpMs: number;
}

/** Whether nothing at all goes wrong in a plan. */
export function isFaultless({ rates, faults, clockJumpMs }: Plan): boolean {
  const names = Object.keys(rates) as (keyof Rates)[];
  return (
    faults.length === 0 &&
    clockJumpMs === 0 &&
    names.every((name) => rates[name] === 0 || behaviour.includes(name) || name === 'databaseSlow')
  );
}

/** Whether what was acknowledged may be lost: the database itself lost it. */
export function losesData({ faults }: Plan): boolean {
  return faults.some(({ kind }) => kind === 'database goes back');
}

/** A plan that was written down, perhaps before there was all that plans have now: what it does not name does not happen. */
export function planFrom(text: string): Plan {
  const plan = JSON.parse(text) as Plan;
  return { ...plan, rates: { ...calm, ...plan.rates }, actions: plan.actions.map((action) => ({ ...action, count: action.count ?? 1 })) };
}

/** What a seed means. */
export function planOf(seed: number): Plan {
  const random = new Chance(seed).of('plan');
  const isCalm = random.chance(0.06);
  const goesBack = !isCalm && random.chance(0.04);
  const faultyMs = 4_000 + random.below(random.chance(0.2) ? 36_000 : 12_000);
  const clients = 1 + random.below(3);
  return {
    seed,
    coordinators: random.chance(0.75) ? 2 : 1,
    workers: workersOf(random),
    clients,
    graphs: 1 + random.below(4),
    ...boundsOf(random, random.chance(0.8)),
    liveView: random.pick(liveViews),
    rates: ratesOf(random, isCalm),
    faults: isCalm ? [] : faultsOf(random, faultyMs, goesBack),
    actions: actionsOf(random, faultyMs, clients),
    faultyMs,
    clockJumpMs: !isCalm && random.chance(0.2) ? random.pick([50, 2_000, 20_000]) : 0,
  };
}

function workersOf(random: Random): WorkerPlan[] {
  const workers: WorkerPlan[] = [{ slots: 1 + random.below(3), capabilities: { work: 0, other: 0 }, labels: { region: 'eu' } }];
  if (random.chance(0.7)) workers.push({ slots: 1 + random.below(4), capabilities: { work: 1, other: 0 }, labels: {} });
  if (random.chance(0.4)) workers.push({ slots: 1 + random.below(4), capabilities: { work: 0, other: 2 }, labels: { region: 'us' } });
  return workers;
}

/** Small limits make rare states frequent. */
function boundsOf(random: Random, hasArchive: boolean): Pick<Plan, 'bounds' | 'hasArchive'> {
  const bounds: { -readonly [K in keyof ShardBounds]?: number } = { checkpointMs: random.pick([2_000, 10_000, 300_000]) };
  if (random.chance(0.6)) bounds.checkpointEvents = random.pick([5, 20, 60]);
  if (random.chance(0.4)) bounds.checkpointSliceWorkflows = random.pick([1, 2]);
  // Without an archive what memory forgets is gone.
  if (random.chance(0.4) && hasArchive) bounds.endedWorkflowsKept = random.pick([0, 1, 3]);
  if (random.chance(0.4)) bounds.commitEvents = random.pick([1, 3, 10]);
  if (random.chance(0.1)) bounds.openWorkflows = random.pick([1, 3]);
  if (random.chance(0.1)) bounds.inboxCommands = random.pick([2, 8]);
  if (random.chance(0.1)) bounds.unarchivedWorkflows = random.pick([1, 4]);
  return { bounds, hasArchive };
}

function ratesOf(random: Random, isCalm: boolean): Rates {
  const names = Object.keys(calm) as (keyof Rates)[];
  const scale = random.pick([0.3, 1, 1, 3]);
  return Object.fromEntries(
    names.map((name) => {
      const isDrawn = random.chance(behaviour.includes(name) ? 0.5 : 0.3);
      const isAllowed = !isCalm || behaviour.includes(name);
      return [name, isDrawn && isAllowed ? Math.min(0.5, ordinary[name] * (behaviour.includes(name) ? 1 : scale)) : 0];
    }),
  ) as unknown as Rates;
}

function faultsOf(random: Random, faultyMs: number, goesBack: boolean): Fault[] {
  const faults: Fault[] = [];
  for (const kind of faultKinds) {
    if (!random.chance(0.25)) continue;
    for (let count = 1 + random.below(3); count > 0; count--) faults.push(faultOf(random, kind, faultyMs));
  }
  if (goesBack) faults.push(faultOf(random, 'database goes back', faultyMs));
  return faults.sort((a, b) => a.at - b.at);
}

function faultOf(random: Random, kind: FaultKind, faultyMs: number): Fault {
  const ms = random.chance(0.5) ? 100 + random.below(1_500) : 1_500 + random.below(9_000);
  return { kind, at: random.below(faultyMs), ms, pick: random.below(1_000) };
}

const actionWeights: readonly (readonly [Action['kind'], number])[] = [
  ['submit', 30],
  ['submit later', 3],
  ['start', 3],
  ['cancel', 5],
  ['force', 2],
  ['pause', 4],
  ['resume', 5],
  ['read', 10],
  ['list', 4],
  ['watch', 8],
];
const actionWords = actionWeights.flatMap(([kind, weight]) => Array.from({ length: weight }, () => kind));

function actionsOf(random: Random, faultyMs: number, clients: number): Action[] {
  const keys = 1 + random.below(6);
  const count = 6 + random.below(random.chance(0.1) ? 80 : 26);
  const actions = Array.from({ length: count }, (): Action => {
    const kind = random.pick(actionWords);
    const key = random.chance(0.5) ? `k${random.below(keys)}` : '';
    const together = random.chance(0.12) ? 2 + random.below(2) : 1;
    return { kind, at: random.below(faultyMs), client: random.below(clients), pick: random.below(1_000), key, count: together };
  });
  return actions.sort((a, b) => a.at - b.at);
}

/** The graphs of a plan. */
export function graphsOf({ seed, graphs }: Plan) {
  const random = new Chance(seed).of('graphs');
  // Every so many-th seed has failures that meet again further down.
  const shape = seed % 10 === 7 ? merging : plain;
  return Array.from({ length: graphs }, (_, index) => {
    const graph = graphOf(random, shape);
    // Two may have the same jobs, with other labels and limits: what names a graph must tell them apart, as the hash of a definition does.
    return { ...graph, hash: `${graph.hash.slice(0, 60)}-${index}` };
  });
}

/** What kind of graphs there are: the most jobs, and the shares of success edges, of flags, and of conditions that fail their job. */
interface Shape {
  readonly most: number;
  readonly success: number;
  readonly flags: number;
  readonly conditions: readonly ConditionResult[];
}

const plain: Shape = { most: 5, success: 0.8, flags: 1, conditions: ['none', 'none', 'none', 'none', 'none', 'true', 'false', 'error'] };
const merging: Shape = { most: 7, success: 0.6, flags: 0.2, conditions: ['none', 'error'] };

function graphOf(random: Random, { most, success, flags, conditions }: Shape) {
  const size = 1 + random.below(most);
  const jobs = Array.from({ length: size }, (_, index): AbstractJob => {
    return {
      id: `j${index}`,
      join: random.pick(['all', 'all', 'all', 'any', 'all_done']),
      alwaysRun: random.chance(0.15 * flags),
      allowFailure: random.chance(0.2 * flags),
      recover: random.chance(0.2 * flags),
      condition: random.pick(conditions),
    };
  });
  const edges = new Map<string, { source: number; target: number; kind: 'success' | 'failure' }>();
  for (let target = 1; target < size; target++) {
    for (let count = random.below(3); count >= 0; count--) {
      const source = random.below(target);
      const kind = random.chance(success) ? 'success' : 'failure';
      edges.set(`${source} ${target} ${kind}`, { source, target, kind });
    }
  }
  const graph: AbstractGraph = { jobs, edges: [...edges.values()] };
  // A finaliser with out-edges would wait for its own targets: the validator refuses it.
  const opens = (index: number): boolean => graph.edges.some(({ source }) => source === index);
  const named = { ...graph, jobs: jobs.map((job, at) => (opens(at) && isFinaliser(graph, at) ? { ...job, alwaysRun: false } : job)) };
  return buildGraph(named, optionsOf(random, size));
}

function optionsOf(random: Random, size: number): GraphOptions {
  const seconds = (chance: number, least: number, most: number): number | null => {
    return random.chance(chance) ? 1_000 * (least + random.below(most - least + 1)) : null;
  };
  const job = (): Partial<GraphJob> => {
    const maxAttempts = 1 + random.below(4);
    return {
      ...random.pick<Partial<GraphJob>>([{}, {}, {}, { type: 'other' }, { requiredLabels: new Map([['region', 'eu']]) }, { priority: 9 }]),
      timeouts: {
        queueMs: seconds(0.1, 5, 30),
        runMs: seconds(0.2, 1, 20),
        heartbeatMs: seconds(0.1, 3, 10),
        totalMs: seconds(0.1, 10, 60),
      },
      retry: {
        maxAttempts,
        maxAttemptsWhenLost: maxAttempts + random.below(4),
        initialDelayMs: random.pick([0, 200, 1_000]),
        factor: random.pick([1, 2]),
        maxDelayMs: 3_000,
        jitter: random.pick([0, 0.2]),
        on: [],
        notOn: [],
      },
    };
  };
  const ids = Array.from({ length: size }, (_, index) => `j${index}`);
  return {
    timeoutMs: seconds(0.15, 5, 60),
    cleanupTimeoutMs: random.pick([1_000, 20_000]),
    // No two are the same: whoever is given those of another job is found out.
    jobs: Object.fromEntries(ids.map((id) => [id, { ...job(), parameters: { kind: 'static', payload: json({ of: id }) } }])),
  };
}
