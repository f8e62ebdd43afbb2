/**
 * One coordinator of a run: terms, shard, gateway and what the faces call, put together as `coordinator/coordinator.ts` does, over the ports of the simulator.
 * Whatever leaves the shard is recorded as it leaves: assignments, acks, replies.
 */
import { Durability } from '@workflow-orchestrator/proto';
import { monotonicFactory } from 'ulid';
import { OpenStreams } from '../../coordinator/api/services/open-streams.ts';
import { Reader } from '../../coordinator/api/services/reader.ts';
import { Watches } from '../../coordinator/api/services/watch.ts';
import type { Gateway } from '../../coordinator/gateway/gateway.ts';
import { type Connection, createHub, type Hub, type Link } from '../../coordinator/gateway/hub.ts';
import { streamLimits } from '../../coordinator/gateway/session/limits.ts';
import type { ShardObserver, ShardPorts } from '../../coordinator/shard/ports.ts';
import { ShardSeat } from '../../coordinator/shard/seat.ts';
import type { Shard } from '../../coordinator/shard/shard.ts';
import type { LiveView } from '../../coordinator/store/store.ts';
import { Terms } from '../../coordinator/terms.ts';
import type { ThroughBytes } from './bytes.ts';
import type { Database } from './database.ts';
import { effectsOf } from './effects.ts';
import { SimNode } from './node.ts';
import { SimStore } from './store.ts';
import { EPOCH_MS, type Surroundings } from './surroundings.ts';

const nobodyCounts: ShardObserver = {
  workflowSubmitted() {},
  workflowEnded() {},
  jobEnded() {},
  attemptFailed() {},
  jobAssigned() {},
  resultRefused() {},
  committed() {},
  trouble() {},
};

/** A connection as its worker's end knows it. */
export interface ServedLink extends Link {
  /** The coordinator's process is gone. */
  broken(): void;
}

/** What faces call while a process lives. */
export interface Faces {
  readonly seat: ShardSeat;
  readonly reader: Reader;
  readonly watches: Watches;
  readonly newId: () => string;
}

export class SimCoordinator {
  readonly node: SimNode;
  faces: Faces | null = null;
  terms: Terms | null = null;
  shard: Shard | null = null;
  /** Effects that have left. */
  effects = 0;
  readonly #world: Surroundings;
  readonly #database: Database;
  readonly #liveView: LiveView | null;
  readonly #written: ThroughBytes;
  #store: SimStore | null = null;
  #hub: Hub | null = null;
  readonly #links = new Set<ServedLink>();
  /** How to end the calls, and the streams, that are open. */
  readonly #calls = new Set<() => void>();
  readonly #streams = new Set<() => void>();

  constructor(name: string, world: Surroundings, database: Database, liveView: LiveView | null, written: ThroughBytes) {
    this.#world = world;
    this.#database = database;
    this.#liveView = liveView;
    this.#written = written;
    this.node = new SimNode(name, world.clock);
  }

  get isActive(): boolean {
    return this.node.isUp && this.terms?.role === 'ACTIVE';
  }

  /** A process starts. */
  start(): void {
    const { node } = this;
    const world = this.#world;
    const random = world.chance.of(node.name);
    node.start();
    const { clockJumpMs } = world.plan;
    if (clockJumpMs > 0) {
      node.skewMs = random.below(2 * clockJumpMs + 1) - clockJumpMs;
      if (node.incarnation > 1) world.reached('a wall clock jumped');
    }
    const { process } = node;
    const store = this.#openStore(process);
    const ports = this.#ports(process);
    const seat = new ShardSeat(Durability.DURABLE, ports.now, 'this coordinator is starting');
    const reader = new Reader(seat);
    const watches = new Watches({ shard: seat, reader, streams: new OpenStreams() });
    const ulid = monotonicFactory(() => random.below(2 ** 30) / 2 ** 30);
    this.faces = { seat, reader, watches, newId: () => ulid(seat.now()) };
    const { incarnation } = node;
    const leave = (): Gateway | null => {
      // What a process that is gone still thinks of takes nothing from the one after it.
      if (node.incarnation !== incarnation) return null;
      const gateway = this.#gateway;
      this.#gateway = null;
      return gateway;
    };
    this.terms = new Terms({
      store,
      owner: { coordinatorId: process, address: node.name },
      ports,
      observer: nobodyCounts,
      bounds: world.plan.bounds,
      definitions: { load: async () => {}, vacate: () => {} },
      seat,
      gatewaySeat: {
        take: (gateway) => {
          this.#gateway = gateway;
        },
        vacate: leave,
      },
      gatewayOf: (shard) => this.#gatewayOf(shard, ports, process),
      endStreams: () => endAll(this.#streams),
      log: { info: () => {}, warn: () => {}, error: () => {} },
      onFatal: (reason) => world.violations.push({ invariant: 'fatal', message: `${process}: ${reason}` }),
    });
  }

  #gateway: Gateway | null = null;

  /** The process is gone. */
  crash(): void {
    const { node } = this;
    if (!node.isUp) return;
    if (this.#store?.isInRound) this.#world.reached('a round of checkpoints was crossed by a crash');
    node.crash();
    for (const link of [...this.#links]) link.broken();
    this.#forget();
  }

  /** It is asked to end, and ends; `then` comes after it. False when nobody hears it. */
  end(then: () => void): boolean {
    const { node, terms } = this;
    if (terms === null || !node.isUp || node.isPaused) return false;
    this.#world.reached('a planned handover');
    const after = node.ofThisProcess();
    void terms.close(1_000).then(() => {
      after(0, () => {
        node.crash();
        for (const link of [...this.#links]) link.broken();
        this.#forget();
        then();
      });
    });
    return true;
  }

  /** A worker's connection; null when it is refused. */
  connect(link: ServedLink): Connection | null {
    if (this.#gateway === null || this.#hub === null) return null;
    this.#links.add(link);
    return this.#hub.connect(link);
  }

  /** A link is gone. */
  disconnected(link: ServedLink): void {
    this.#links.delete(link);
  }

  /** A call or a stream is open; `end` is called when the process dies, or, for a stream, ends its streams. What is returned takes it back. */
  opened(kind: 'call' | 'stream', end: () => void): () => void {
    const open = kind === 'call' ? this.#calls : this.#streams;
    open.add(end);
    return () => void open.delete(end);
  }

  /** Calls and streams that are open. */
  get openCalls(): number {
    return this.#calls.size + this.#streams.size;
  }

  /** What it holds, for the end of a run. */
  holds(): Record<string, number> {
    const stats = this.shard?.stats();
    return {
      'open workflows in memory': stats?.openWorkflows ?? 0,
      'ready jobs': stats?.readyJobs ?? 0,
      'running jobs': stats?.runningJobs ?? 0,
      'commands in the inbox': stats?.inbox ?? 0,
      'events without a commit': stats?.uncommittedEvents ?? 0,
      'workflows to archive': stats?.unarchived ?? 0,
      'calls and streams': this.openCalls,
    };
  }

  #forget(): void {
    endAll(this.#calls);
    endAll(this.#streams);
    this.#links.clear();
    this.faces = null;
    this.terms = null;
    this.shard = null;
    this.#hub = null;
    this.#gateway = null;
  }

  #openStore(process: string): SimStore {
    const world = this.#world;
    const random = world.chance.of(`terms of ${this.node.name}`);
    const store = new SimStore({
      database: this.#database,
      node: this.node,
      leaseMs: 3_000,
      hasArchive: world.plan.hasArchive,
      liveView: this.#liveView,
      written: this.#written,
      newTerm: () => `${process}-${random.below(2 ** 30).toString(36)}`,
      reached: (state) => world.reached(state),
      isActive: (process) => world.isActive(process),
      onUnsureLease: () => {
        world.reached('an unsure lease was renewed');
        const { effects } = this;
        // What was held back leaves at once, in the same turn.
        this.node.after(0, () => {
          if (this.effects > effects) world.reached('effects were held back by an unsure lease');
        });
      },
      onOwned: ({ epoch, termId, lastSeq }) => world.record(this.node, { op: 0, f: 'own', type: 'ok', epoch, term: termId, seq: lastSeq }),
    });
    this.#store = store;
    return store;
  }

  /** The clock of a process begins at the wall clock and never goes back, whatever is done to that. */
  #ports(process: string): Omit<ShardPorts, 'stop'> {
    const { node } = this;
    const { clock } = this.#world;
    const { skewMs } = node;
    const after = node.ofThisProcess();
    const now = () => Math.round(EPOCH_MS + clock.now + skewMs);
    let nonces = 0;
    let cancel = (): void => {};
    return {
      now,
      nonce: () => {
        nonces += 1;
        return `${process}-${String(nonces).padStart(6, '0')}`;
      },
      soon: (turn) => void after(0, turn),
      later: (delayMs, turn) => void after(Math.max(1, delayMs), turn),
      alarm: (at, turn) => {
        cancel();
        cancel = at === null ? () => {} : after(Math.max(1, at - now()), turn);
      },
    };
  }

  #gatewayOf(shard: Shard, ports: Omit<ShardPorts, 'stop'>, process: string): Gateway {
    const { node } = this;
    const world = this.#world;
    this.shard = shard;
    let sessions = 0;
    const hub = createHub({
      inbox: effectsOf(shard, node, world, () => {
        this.effects += 1;
      }),
      coordinatorId: process,
      limits: streamLimits(),
      now: () => world.clock.now,
      wallNow: ports.now,
      newSessionId: () => {
        sessions += 1;
        return `${process}-${shard.ownership.epoch}-s${sessions}`;
      },
      coordinatorUrls: () => [],
      onLogLines: () => {},
      note: () => {},
    });
    this.#hub = hub;
    return {
      handleUpgrade: () => {
        throw new Error('there are no sockets here');
      },
      workers: hub.workers,
      worker: hub.worker,
      drain: hub.drain,
      close: async ({ reason, withinMs = 2_000 }) => {
        hub.goAway(reason, 0);
        await new Promise<void>((resolve) => ports.later(withinMs, resolve));
        for (const link of [...this.#links]) link.close(1012, reason, false);
        hub.stop();
        if (this.#hub === hub) this.#hub = null;
        if (this.shard === shard) this.shard = null;
      },
    };
  }
}

function endAll(open: Set<() => void>): void {
  for (const end of [...open]) end();
  open.clear();
}
