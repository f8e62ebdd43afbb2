/** What every part of a run is given: time, chance, what goes wrong at the moment, and who writes down what happens. */

import type { Violation } from '../checkers/checkers.ts';
import type { HistoryEvent, HistoryWriter } from '../checkers/history.ts';
import type { Chance } from './chance.ts';
import type { Clock } from './clock.ts';
import type { SimNode } from './node.ts';
import type { Plan, Rates } from './plan.ts';

/** When every run begins, milliseconds since 1970. */
export const EPOCH_MS = 1_800_000_000_000;

export class Surroundings {
  readonly plan: Plan;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly history: HistoryWriter;
  /** What goes wrong at the moment. */
  rates: Rates;
  /** Whether a process of a coordinator runs and has the shard, as far as it knows. */
  isActive: (process: string) => boolean = () => false;
  /** Whether the faults have stopped. */
  isHealing = false;
  /** Requests of clients that have not arrived: what they ask for may still happen, whether or not anybody waits for it. */
  requestsUnderWay = 0;
  /** Found while it ran, beyond what checkers find. */
  readonly violations: Violation[] = [];
  /** How often each state was reached. */
  readonly states = new Map<string, number>();
  /** Until when nothing gets from one node to another. */
  readonly #blocked = new Map<string, number>();
  readonly #trace: ((line: string) => void) | null;

  /** `trace` is told what happens, for people. */
  constructor(plan: Plan, clock: Clock, chance: Chance, history: HistoryWriter, trace: ((line: string) => void) | null) {
    this.plan = plan;
    this.clock = clock;
    this.chance = chance;
    this.history = history;
    this.rates = plan.rates;
    this.#trace = trace;
  }

  reached(state: string): void {
    this.states.set(state, (this.states.get(state) ?? 0) + 1);
  }

  /** Writes what `node` saw. */
  record(
    node: Pick<SimNode, 'name' | 'incarnation' | 'skewMs'>,
    event: Omit<HistoryEvent, 't_mono' | 't_wall' | 'node' | 'incarnation'>,
  ): void {
    const { now } = this.clock;
    const stamp = { t_mono: now, t_wall: EPOCH_MS + now + node.skewMs, node: node.name, incarnation: node.incarnation };
    this.history.write(stamp, event);
    if (this.#trace !== null) this.#trace(`${at(now)} ${node.name.padEnd(8)} ${say(event)}`);
  }

  /** For people only: what was done to whom. */
  tell(text: string): void {
    this.#trace?.(`${at(this.clock.now)} ******** ${text}`);
  }

  /** Nothing gets from `from` to `to` for a while. */
  block(from: string, to: string, ms: number): void {
    const key = `${from} ${to}`;
    this.#blocked.set(key, Math.max(this.#blocked.get(key) ?? 0, this.clock.now + ms));
  }

  /** When what is sent now gets from one to the other at the earliest. */
  openAt(from: string, to: string): number {
    return this.isHealing ? this.clock.now : Math.max(this.clock.now, this.#blocked.get(`${from} ${to}`) ?? 0);
  }
}

function at(ms: number): string {
  return `${(ms / 1_000).toFixed(3).padStart(9)}`;
}

function say({
  f,
  type,
  op,
  workflow,
  job,
  attempt,
  epoch,
  seq,
  value,
}: Omit<HistoryEvent, 't_mono' | 't_wall' | 'node' | 'incarnation'>): string {
  const words = [`${f} ${type}`];
  if (op !== 0) words.push(`#${op}`);
  if (workflow !== undefined) words.push(`wf ${workflow.slice(-6)}`);
  if (job !== undefined) words.push(`${job}${attempt === undefined ? '' : ` attempt ${attempt}`}`);
  if (epoch !== undefined) words.push(`epoch ${epoch}`);
  if (seq !== undefined) words.push(`event ${seq}`);
  if (value !== undefined) words.push(JSON.stringify(value));
  return words.join(' ');
}
