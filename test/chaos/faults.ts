/**
 * Does to a system what a plan says, each fault for its time, and undoes it.
 *
 * Invariant: a fault whose target is under another one is passed over, and counted so; when `run` has ended, nothing is broken any more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { Fault, FaultKind } from './plan.ts';
import type { CoordinatorNode, Program, System } from './system.ts';

/** How a fault begins and ends, and what it needs for itself. */
interface Deed {
  readonly target: string;
  readonly does: () => Promise<void> | void;
  readonly undoes: () => Promise<void> | void;
}

/** Everything that goes wrong in one run. */
export class Faults {
  /** How often each kind happened. */
  readonly done = new Map<FaultKind, number>();
  /** Faults whose target was not to be had. */
  passedOver = 0;
  readonly #system: System;
  readonly #note: (line: string) => void;
  readonly #busy = new Set<string>();

  constructor(system: System, note: (line: string) => void) {
    this.#system = system;
    this.#note = note;
  }

  /** Runs them all; resolves when the last is undone. An aborted signal undoes them early. */
  async run(faults: readonly Fault[], untilMs: number, signal: AbortSignal): Promise<void> {
    const start = performance.now();
    const wait = (ms: number) => sleep(Math.max(0, ms), undefined, { signal }).catch(() => {});
    const under: Promise<void>[] = [];
    for (const fault of faults) {
      await wait(fault.at - (performance.now() - start));
      if (signal.aborted) break;
      under.push(this.#happen(fault, wait));
    }
    await wait(untilMs - (performance.now() - start));
    await Promise.all(under);
  }

  async #happen(fault: Fault, wait: (ms: number) => Promise<void>): Promise<void> {
    const deed = await this.#deedOf(fault);
    if (this.#busy.has(deed.target) || (deed.target === 'both' && (this.#busy.has('c1') || this.#busy.has('c2')))) {
      this.passedOver += 1;
      return;
    }
    const taken = deed.target === 'both' ? ['c1', 'c2'] : [deed.target];
    for (const target of taken) this.#busy.add(target);
    this.done.set(fault.kind, (this.done.get(fault.kind) ?? 0) + 1);
    this.#note(`${fault.kind}: ${deed.target} for ${fault.ms} ms`);
    await deed.does();
    await wait(fault.ms);
    await deed.undoes();
    this.#note(`${fault.kind}: ${deed.target} is over`);
    for (const target of taken) this.#busy.delete(target);
  }

  async #deedOf({ kind, target }: Fault): Promise<Deed> {
    const { postgres, redis, coordinators, workers } = this.#system;
    switch (kind) {
      case 'coordinator killed':
        return killed((await this.#coordinator(target)).program, 'SIGKILL');
      case 'coordinator ended':
        return killed((await this.#coordinator(target)).program, 'SIGTERM');
      case 'coordinator stands still':
      case 'coordinator stands still for longer than its lease':
        return frozen((await this.#coordinator(target)).program);
      case 'both coordinators killed': {
        const both = coordinators.map(({ program }) => killed(program, 'SIGKILL'));
        return {
          target: 'both',
          does: async () => void (await Promise.all(both.map(({ does }) => does()))),
          undoes: () => both.forEach(({ undoes }) => void undoes()),
        };
      }
      case 'worker killed':
        return killed(workers[target]!, 'SIGKILL');
      case 'worker stands still':
      case 'worker stands still for longer than its lease':
        return frozen(workers[target]!);
      case 'PostgreSQL killed':
        return { target: 'PostgreSQL', does: () => postgres.kill(), undoes: () => postgres.start() };
      case 'PostgreSQL stands still':
        return { target: 'PostgreSQL', does: () => postgres.suspend(), undoes: () => postgres.resume() };
      case 'Redis killed':
        return { target: 'Redis', does: () => redis.kill(), undoes: () => redis.start() };
      case 'Redis stands still':
        return { target: 'Redis', does: () => redis.suspend(), undoes: () => redis.resume() };
      case 'Redis emptied':
        return { target: 'Redis', does: () => empty(redis.url), undoes: () => {} };
      case 'database connections cut':
        return cutOff(await this.#coordinator(target), 'toDatabase', 'cut');
      case 'database connections half open':
        return cutOff(await this.#coordinator(target), 'toDatabase', 'freeze');
      case 'answers of the database lost':
        return cutOff(await this.#coordinator(target), 'toDatabase', 'mute');
      case 'worker connections cut':
        return cutOff(await this.#coordinator(target), 'toWorkers', 'cut');
      case 'worker connections half open':
        return cutOff(await this.#coordinator(target), 'toWorkers', 'freeze');
      case 'answers to workers lost':
        return cutOff(await this.#coordinator(target), 'toWorkers', 'mute');
      default:
        return kind satisfies never;
    }
  }

  /** 0: the active one, if one says that it is. */
  async #coordinator(target: number): Promise<CoordinatorNode> {
    const { coordinators } = this.#system;
    const active = (await this.#system.active()) ?? 0;
    return coordinators[(active + target) % coordinators.length]!;
  }
}

function killed(program: Program, signal: 'SIGKILL' | 'SIGTERM'): Deed {
  return { target: program.name, does: () => program.end(signal), undoes: () => program.start() };
}

function frozen(program: Program): Deed {
  return { target: program.name, does: () => program.suspend(), undoes: () => program.resume() };
}

function cutOff(node: CoordinatorNode, which: 'toDatabase' | 'toWorkers', how: 'cut' | 'freeze' | 'mute'): Deed {
  const proxy = node[which];
  return { target: `${node.program.name} ${which}`, does: () => proxy[how](), undoes: () => proxy.mend() };
}

async function empty(url: string): Promise<void> {
  const client = new Redis(url, { maxRetriesPerRequest: 0, retryStrategy: () => null });
  client.on('error', () => {});
  await client.flushall().catch(() => {});
  client.disconnect();
}
