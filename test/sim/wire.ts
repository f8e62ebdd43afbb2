/**
 * One connection between a worker and a coordinator, as TCP is: in order, delayed, held up by a partition, cut, half open.
 *
 * Invariants
 * 1. What arrives arrives in the order in which it was sent.
 * 2. After a cut each end learns of it some time later, perhaps much later, and nothing of before arrives at the worker.
 */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { type CoordinatorFrame, CoordinatorFrameSchema, type WorkerFrame, WorkerFrameSchema } from '@workflow-orchestrator/proto';
import { decodeFrame, encodeFrame } from '../../coordinator/gateway/frame-codec.ts';
import type { Connection } from '../../coordinator/gateway/hub.ts';
import { streamLimits } from '../../coordinator/gateway/session/limits.ts';
import type { ServedLink, SimCoordinator } from './coordinator.ts';
import type { SimNode } from './node.ts';
import type { Surroundings } from './surroundings.ts';

/** What the worker's end is told. */
export interface WireEnd {
  opened(): void;
  received(frame: CoordinatorFrame): void;
  closed(reason: string, retryAfterMs: number): void;
}

/** A way of one direction: keeps the order, whatever the delays. */
class Way {
  readonly #world: Surroundings;
  readonly #from: string;
  readonly #to: SimNode;
  readonly #delayMs: number;
  #arrivesAt = 0;
  #events: (() => void)[] = [];
  isCut = false;

  constructor(world: Surroundings, from: string, to: SimNode, delayMs: number) {
    this.#world = world;
    this.#from = from;
    this.#to = to;
    this.#delayMs = delayMs;
  }

  send(event: () => void): void {
    const world = this.#world;
    // Slow connections get well with the rest: over them every answer would come too late for ever.
    const delayMs = (world.isHealing ? Math.min(this.#delayMs, 20) : this.#delayMs) + world.chance.of('wires').below(5);
    this.#arrivesAt = Math.max(this.#arrivesAt, world.openAt(this.#from, this.#to.name) + delayMs);
    world.clock.after(this.#arrivesAt - world.clock.now, () => {
      if (this.isCut) return;
      this.#events.push(event);
      this.#to.after(0, () => this.#events.shift()?.());
    });
  }
}

export class Wire {
  readonly #world: Surroundings;
  readonly #worker: SimNode;
  readonly #coordinator: SimCoordinator;
  readonly #end: WireEnd;
  readonly #up: Way;
  readonly #down: Way;
  readonly #isEncoded: boolean;
  #connection: Connection | null = null;
  #link: ServedLink | null = null;
  /** By which process of the coordinator. */
  #served = 0;
  #isOver = false;

  constructor(world: Surroundings, worker: SimNode, coordinator: SimCoordinator, end: WireEnd) {
    const random = world.chance.of('wires');
    const delayMs = (): number => {
      const isSlow = random.chance(world.rates.linkSlow);
      if (isSlow) world.reached('a connection was slow');
      return random.below(isSlow ? 6_000 : 20);
    };
    this.#world = world;
    this.#worker = worker;
    this.#coordinator = coordinator;
    this.#end = end;
    this.#up = new Way(world, worker.name, coordinator.node, delayMs());
    this.#down = new Way(world, coordinator.node.name, worker, delayMs());
    this.#isEncoded = world.plan.seed % 8 === 0;
    this.#dial();
  }

  /** The worker sends. */
  send(frame: WorkerFrame): void {
    const bytes = this.#isEncoded ? toBinary(WorkerFrameSchema, frame) : null;
    this.#mayBreak();
    this.#up.send(() => {
      const decoded = bytes === null ? { kind: 'frame' as const, frame } : decodeFrame(bytes, streamLimits());
      if (this.#coordinator.node.incarnation !== this.#served) return;
      if (decoded.kind === 'bad') this.#world.violations.push({ invariant: 'frames', message: decoded.message });
      else this.#connection?.receive(decoded.frame);
    });
  }

  /** The worker closes. */
  close(code: number): void {
    this.#isOver = true;
    this.#up.send(() => this.#closedAbove(code));
  }

  /** The worker's process is gone; the coordinator learns it at once, later, or by silence. */
  abandon(): void {
    if (this.#isOver) return;
    this.#cut(true);
  }

  #dial(): void {
    const world = this.#world;
    const { node } = this.#coordinator;
    const refuse = (reason: string, retryAfterMs: number): void => this.#down.send(() => this.#closedBelow(reason, retryAfterMs));
    // To a machine that is not there nobody answers from this process: refused by its system.
    if (!node.isUp) {
      this.#worker.arrival(5, () => this.#closedBelow('connection refused', 0));
      return;
    }
    this.#up.send(() => {
      if (world.chance.of('wires').chance(world.rates.linkRefused)) {
        world.reached('a connection was refused by chance');
        return refuse('refused with HTTP 503', 1_000);
      }
      const link = this.#makeLink();
      const connection = this.#coordinator.connect(link);
      if (connection === null) return refuse('refused with HTTP 503', 1_000);
      this.#connection = connection;
      this.#link = link;
      this.#down.send(() => {
        if (!this.#isOver) this.#end.opened();
      });
    });
  }

  #makeLink(): ServedLink {
    const { node } = this.#coordinator;
    this.#served = node.incarnation;
    let cancelAlarm = (): void => {};
    let isAwake = false;
    return {
      send: (frame) => {
        const bytes = this.#isEncoded ? encodeFrame(frame) : null;
        this.#mayBreak();
        this.#down.send(() => {
          if (!this.#isOver) this.#end.received(bytes === null ? frame : fromBinary(CoordinatorFrameSchema, bytes));
        });
      },
      close: (code, reason) => {
        this.#down.send(() => this.#closedBelow(`closed with ${code} ${reason}`, 0));
        this.#forget();
      },
      setAlarm: (at) => {
        cancelAlarm();
        cancelAlarm = at === null ? () => {} : node.after(Math.max(1, at - this.#world.clock.now), () => this.#connection?.tick());
      },
      wake: () => {
        if (isAwake) return;
        isAwake = true;
        node.after(0, () => {
          isAwake = false;
          this.#connection?.flush();
        });
      },
      broken: () => this.#cut(false),
    };
  }

  #mayBreak(): void {
    const random = this.#world.chance.of('wires');
    if (!random.chance(this.#world.rates.linkCut)) return;
    this.#world.reached('a connection was cut by chance');
    this.#world.clock.after(random.below(100), () => this.#cut(false));
  }

  #cut(isWorkerGone: boolean): void {
    if (this.#down.isCut) return;
    const random = this.#world.chance.of('wires');
    this.#down.isCut = true;
    const lateMs = () => (random.chance(0.2) ? random.below(15_000) : random.below(300));
    // What was on its way to the coordinator is lost, or still arrives.
    this.#up.isCut = random.chance(0.5);
    this.#coordinator.node.arrival(lateMs(), () => this.#closedAbove(1006));
    if (!isWorkerGone) this.#worker.arrival(lateMs(), () => this.#closedBelow('broken', 0));
  }

  #closedAbove(code: number): void {
    const connection = this.#connection;
    this.#forget();
    if (this.#coordinator.node.incarnation === this.#served) connection?.closed(code);
  }

  #closedBelow(reason: string, retryAfterMs: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#end.closed(reason, retryAfterMs);
  }

  #forget(): void {
    this.#connection = null;
    if (this.#link !== null) this.#coordinator.disconnected(this.#link);
    this.#link = null;
  }
}
