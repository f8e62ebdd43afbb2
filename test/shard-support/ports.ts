/**
 * Time, chance and turns of the event loop as values that a test moves: nothing happens by itself.
 */
import type { ShardObserver, ShardPorts } from '../../coordinator/shard/ports.ts';

/** Where the clock of every test begins: any moment that is not 0 will do. */
export const epochMs = 1_800_000_000_000;

export class VirtualPorts implements ShardPorts {
  time: number;
  /** When the shard wants to be woken up; null when it does not. */
  alarmAt: number | null = null;
  /** Why the shard stopped; null while it goes on. */
  stopped: string | null = null;
  #turns: (() => void)[] = [];
  #later: { readonly at: number; readonly turn: () => void }[] = [];
  #alarm: (() => void) | null = null;
  #nonces = 0;

  constructor(time = epochMs) {
    this.time = time;
  }

  readonly now = (): number => this.time;

  readonly nonce = (): string => `nonce-${++this.#nonces}`;

  readonly soon = (turn: () => void): void => {
    this.#turns.push(turn);
  };

  readonly alarm = (at: number | null, turn: () => void): void => {
    this.alarmAt = at;
    this.#alarm = at === null ? null : turn;
  };

  readonly later = (delayMs: number, turn: () => void): void => {
    this.#later.push({ at: this.time + delayMs, turn });
  };

  readonly stop = (reason: string): void => {
    this.stopped = reason;
  };

  /** Whether turns wait. */
  get isBusy(): boolean {
    return this.#turns.length > 0;
  }

  /** Runs the turns that wait, and those that they ask for. */
  run(): void {
    for (let turn = this.#turns.shift(); turn !== undefined; turn = this.#turns.shift()) turn();
  }

  /** Moves the clock and fires what is due, once each. */
  advance(ms: number): void {
    this.time += ms;
    const due = this.#later.filter(({ at }) => at <= this.time).sort((a, b) => a.at - b.at);
    this.#later = this.#later.filter(({ at }) => at > this.time);
    for (const { turn } of due) turn();
    if (this.alarmAt === null || this.alarmAt > this.time) return;
    const alarm = this.#alarm;
    this.alarmAt = null;
    this.#alarm = null;
    alarm?.();
  }
}

/** Counts what the shard tells metrics. */
export class Counts implements ShardObserver {
  submitted = 0;
  readonly workflowsEnded: string[] = [];
  readonly jobsEnded: string[] = [];
  readonly failures: string[] = [];
  readonly refused: string[] = [];
  readonly waits: number[] = [];
  readonly batches: number[] = [];
  readonly troubles: (string | null)[] = [];

  workflowSubmitted(): void {
    this.submitted++;
  }

  workflowEnded(status: string): void {
    this.workflowsEnded.push(status);
  }

  jobEnded(_type: string, phase: string): void {
    this.jobsEnded.push(phase);
  }

  attemptFailed(_type: string, code: string): void {
    this.failures.push(code);
  }

  jobAssigned(_type: string, waitedMs: number): void {
    this.waits.push(waitedMs);
  }

  resultRefused(verdict: string): void {
    this.refused.push(verdict);
  }

  committed(events: number): void {
    this.batches.push(events);
  }

  trouble(message: string | null): void {
    this.troubles.push(message);
  }
}
