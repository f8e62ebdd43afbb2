/**
 * Both real ends of the worker stream, in one process and without a socket: a network that loses, doubles, delays, cuts and half-cuts,
 * workers that crash, a shard that is a model. Everything by chance comes from one seed.
 */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { CoordinatorFrameSchema, WorkerFrameSchema } from '@workflow-orchestrator/proto';
import { decodeFrame, encodeFrame } from '../../coordinator/gateway/frame-codec.ts';
import { type Connection, createHub, type Hub, type Link } from '../../coordinator/gateway/hub.ts';
import { streamLimits } from '../../coordinator/gateway/session/limits.ts';
import * as machine from '../../worker/session/session.ts';
import { newWorkerSession, type WorkerOutput, type WorkerSession } from '../../worker/session/state.ts';
import { workerLimits } from '../../worker/session/worker-limits.ts';
import { type Random, seeded } from '../engine-support/random.ts';
import { ModelShard, type ShardFaults } from './model-shard.ts';
import { Timeline } from './timeline.ts';
import { outcomes, profile } from './worker-story.ts';

/** How often things go wrong, 0 to 1 per frame or job. */
export interface Faults extends ShardFaults {
  readonly lose: number;
  readonly double: number;
  readonly cut: number;
  /** A connection that is much slower than the others, so that what is sent on it arrives after what was sent later. */
  readonly slowLink: number;
  readonly refuse: number;
  readonly crash: number;
  readonly cancel: number;
  readonly goAway: number;
  /** A worker drains in the middle of its work, and another takes its place. */
  readonly drain: number;
}

/** Nothing goes wrong. */
export const noFaults: Faults = {
  lose: 0,
  double: 0,
  cut: 0,
  slowLink: 0,
  refuse: 0,
  crash: 0,
  cancel: 0,
  goAway: 0,
  drain: 0,
  greed: 0,
  amnesia: 0,
};

interface Wire {
  readonly process: Process;
  readonly link: number;
  readonly upDelayMs: number;
  readonly downDelayMs: number;
  connection: Connection | null;
  upAt: number;
  downAt: number;
  /** Nothing arrives any more at the hub, at the worker. */
  isCutUp: boolean;
  isCutDown: boolean;
  /** Credit that the worker sent, assignments that came to it. */
  granted: number;
  assigned: number;
}

interface Process {
  readonly name: string;
  readonly session: WorkerSession;
  readonly wires: Map<number, Wire>;
  /** Handlers that have not returned, by token: how to make them return. */
  readonly handlers: Map<string, () => void>;
  cancelAlarm: () => void;
  isAwake: boolean;
  isAlive: boolean;
  hasEnded: boolean;
}

/** One run. */
export class StreamWorld {
  readonly timeline = new Timeline();
  readonly shard: ModelShard;
  readonly hub: Hub;
  readonly violations: string[] = [];
  /** What handlers gave, by token. */
  readonly produced = new Map<string, string>();
  readonly executions = new Map<string, number>();
  faults: Faults;
  readonly #random: Random;
  #isClosing = false;
  readonly #processes = new Map<string, Process>();
  /** Which connection of its process a session is. */
  readonly #linkOfSession = new Map<string, number>();
  #connecting = 0;
  #instances = 0;

  constructor(seed: number, jobs: number, workers: number, faults: Faults) {
    this.#random = seeded(seed);
    this.faults = faults;
    this.shard = new ModelShard(jobs, this.timeline, this.#random, faults);
    const attach = this.shard.attach.bind(this.shard);
    const newest = new Map<string, number>();
    this.shard.attach = (worker, outbox) => {
      const link = this.#linkOfSession.get(worker.sessionId) ?? 0;
      if (link <= (newest.get(worker.instanceId) ?? 0))
        this.violations.push(`${worker.instanceId} was taken over by its older connection ${link}`);
      newest.set(worker.instanceId, link);
      attach(worker, outbox);
    };
    let sessions = 0;
    this.hub = createHub({
      inbox: this.shard,
      coordinatorId: 'c1',
      limits: streamLimits(),
      now: () => this.timeline.now,
      wallNow: () => this.timeline.now,
      newSessionId: () => {
        sessions += 1;
        this.#linkOfSession.set(`s${sessions}`, this.#connecting);
        return `s${sessions}`;
      },
      coordinatorUrls: () => [],
      onLogLines: () => {},
      note: () => {},
    });
    for (let i = 0; i < workers; i += 1) this.#spawn(`w${i}`);
  }

  /** Until every job is done; faults stop after `faultyMs`. False when it takes too long. */
  run(faultyMs: number): boolean {
    this.timeline.run(() => this.shard.isDone && this.#isQuiet(), faultyMs);
    this.faults = noFaults;
    this.shard.faults = noFaults;
    return this.timeline.run(() => this.shard.isDone && this.#isQuiet(), 300_000);
  }

  /** Until every worker has ended. */
  drain(): boolean {
    this.#isClosing = true;
    for (const process of this.#processes.values()) this.#do(process, machine.drain(process.session, 'the end', this.timeline.now));
    const ended = () => [...this.#processes.values()].every((process) => process.hasEnded) && this.hub.workers().length === 0;
    return this.timeline.run(ended, 120_000);
  }

  #isQuiet(): boolean {
    return [...this.#processes.values()].every(
      ({ session, isAlive, hasEnded }) => isAlive && !hasEnded && session.running.size === 0 && session.ended.size === 0,
    );
  }

  #spawn(name: string): void {
    this.#instances += 1;
    const self = { ...profile, workerId: name, instanceId: `i${this.#instances}`, slots: 1 + this.#random.below(4) };
    const session = newWorkerSession(self, ['ws://c1/workers'], workerLimits(), () => this.#random.below(1_000) / 1_000);
    const process: Process = {
      name,
      session,
      wires: new Map(),
      handlers: new Map(),
      cancelAlarm: () => {},
      isAwake: false,
      isAlive: true,
      hasEnded: false,
    };
    this.#processes.set(name, process);
    this.#do(process, machine.start(session, this.timeline.now));
  }

  /** The process is gone, with everything that it held; another one starts in its place. */
  #crash(process: Process): void {
    if (!process.isAlive || process.hasEnded || this.faults.crash === 0) return;
    process.isAlive = false;
    process.cancelAlarm();
    for (const wire of process.wires.values()) this.#cut(wire);
    this.timeline.after(this.#random.below(12_000), () => this.#spawn(process.name));
  }

  #do(process: Process, outputs: readonly WorkerOutput[]): void {
    for (const output of outputs) this.#perform(process, output);
    const { session } = process;
    if (session.running.size + session.lingering.size > session.profile.slots)
      this.violations.push(`${process.name} runs more than its slots`);
  }

  #perform(process: Process, output: WorkerOutput): void {
    const { timeline } = this;
    const { session } = process;
    switch (output.kind) {
      case 'connect':
        this.#connect(process, output.link);
        break;
      case 'send': {
        const wire = process.wires.get(output.link);
        if (wire === undefined) break;
        if (output.frame.body.case === 'credit') {
          wire.granted = Number(output.frame.body.value.granted);
          const free = session.profile.slots - process.handlers.size;
          if (wire.granted - sizeOf(session, output.link) > free)
            this.violations.push(`${process.name} grants more than its ${free} free slots`);
        }
        this.#sendUp(wire, toBinary(WorkerFrameSchema, output.frame));
        break;
      }
      case 'close': {
        const wire = process.wires.get(output.link);
        process.wires.delete(output.link);
        if (wire !== undefined) this.#closeUp(wire, output.code);
        break;
      }
      case 'run':
        this.#handle(process, output.assignment.leaseToken, output.assignment.jobId);
        break;
      case 'abort': {
        // Some handlers do not listen.
        const stop = process.handlers.get(output.leaseToken);
        if (stop !== undefined && this.#random.chance(0.7)) timeline.after(this.#random.below(200), stop);
        break;
      }
      case 'wake':
        if (process.isAwake) break;
        process.isAwake = true;
        timeline.after(0, () => {
          process.isAwake = false;
          if (!process.isAlive) return;
          const isCongested = this.#random.chance(0.05);
          this.#do(process, machine.flush(session, timeline.now, isCongested));
          if (isCongested) timeline.after(50, () => this.#perform(process, { kind: 'wake' }));
        });
        break;
      case 'alarm':
        process.cancelAlarm();
        process.cancelAlarm = timeline.after(output.at - timeline.now, () => {
          if (process.isAlive) this.#do(process, machine.tick(session, timeline.now));
        });
        break;
      case 'ended':
        process.hasEnded = true;
        process.cancelAlarm();
        if (session.ended.size > 0 || session.running.size > 0) this.violations.push(`${process.name} ended with work in its hands`);
        if (!this.#isClosing) timeline.after(1_000, () => this.#spawn(process.name));
        break;
      case 'welcomed':
      case 'disconnected':
      case 'acknowledged':
      case 'note':
        break;
      default:
        output satisfies never;
    }
  }

  #handle(process: Process, token: string, jobId: string): void {
    this.executions.set(jobId, (this.executions.get(jobId) ?? 0) + 1);
    let hasReturned = false;
    const finish = (how: keyof typeof outcomes) => () => {
      if (hasReturned || !process.isAlive) return;
      hasReturned = true;
      process.handlers.delete(token);
      if (process.session.running.has(token)) this.produced.set(token, how);
      this.#do(process, machine.finish(process.session, token, outcomes[how], this.timeline.now));
    };
    process.handlers.set(token, finish('error'));
    const durationMs = this.#random.chance(0.3) ? this.#random.below(15_000) : this.#random.below(300);
    this.timeline.after(durationMs, finish(this.#random.chance(0.8) ? 'ok' : 'error'));
    if (this.#random.chance(this.faults.crash)) this.timeline.after(this.#random.below(500), () => this.#crash(process));
    if (this.#random.chance(this.faults.drain)) {
      this.timeline.after(this.#random.below(500), () => {
        if (process.isAlive) this.#do(process, machine.drain(process.session, 'by chance', this.timeline.now));
      });
    }
    if (this.#random.chance(this.faults.cancel)) this.timeline.after(this.#random.below(500), () => this.shard.cancelSome());
    if (this.#random.chance(this.faults.goAway)) this.timeline.after(this.#random.below(500), () => this.hub.goAway('by chance', 100));
  }

  #connect(process: Process, link: number): void {
    const delayMs = () => this.#random.below(this.#random.chance(this.faults.slowLink) ? 25_000 : 30);
    const wire: Wire = {
      process,
      link,
      upDelayMs: delayMs(),
      downDelayMs: delayMs(),
      connection: null,
      upAt: 0,
      downAt: 0,
      isCutUp: false,
      isCutDown: false,
      granted: 0,
      assigned: 0,
    };
    process.wires.set(link, wire);
    this.timeline.after(this.#random.below(30), () => {
      if (!process.wires.has(link) || !process.isAlive) return;
      if (this.#random.chance(this.faults.refuse)) {
        process.wires.delete(link);
        this.#do(process, machine.closed(process.session, link, 'refused with HTTP 503', 1_000, this.timeline.now));
        return;
      }
      this.#connecting = link;
      wire.connection = this.hub.connect(this.#linkOf(wire));
      this.#do(process, machine.opened(process.session, link, this.timeline.now));
    });
  }

  /** The hub's end of a wire. */
  #linkOf(wire: Wire): Link {
    const { timeline } = this;
    let cancelAlarm = () => {};
    let isAwake = false;
    return {
      send: (frame) => this.#sendDown(wire, encodeFrame(frame)),
      close: (code) => this.#deliverDown(wire, () => this.#closedDown(wire, `closed with ${code}`)),
      setAlarm: (at) => {
        cancelAlarm();
        cancelAlarm = at === null ? () => {} : timeline.after(at - timeline.now, () => wire.connection?.tick());
      },
      wake: () => {
        if (isAwake) return;
        isAwake = true;
        timeline.after(0, () => {
          isAwake = false;
          wire.connection?.flush();
        });
      },
    };
  }

  #sendUp(wire: Wire, bytes: Uint8Array): void {
    for (const copy of this.#copies(wire)) {
      if (copy) this.#deliverUp(wire, () => this.#arriveUp(wire, bytes));
    }
  }

  #sendDown(wire: Wire, bytes: Uint8Array): void {
    for (const copy of this.#copies(wire)) {
      if (copy) this.#deliverDown(wire, () => this.#arriveDown(wire, bytes));
    }
  }

  /** What becomes of a frame on its way. */
  #copies(wire: Wire): boolean[] {
    const { lose, double, cut } = this.faults;
    if (this.#random.chance(cut)) this.timeline.after(this.#random.below(100), () => this.#cut(wire));
    if (this.#random.chance(lose)) return [];
    return this.#random.chance(double) ? [true, true] : [true];
  }

  #arriveUp(wire: Wire, bytes: Uint8Array): void {
    const decoded = decodeFrame(bytes, streamLimits());
    if (decoded.kind === 'bad') this.violations.push(`a frame could not be read: ${decoded.message}`);
    else wire.connection?.receive(decoded.frame);
  }

  #arriveDown(wire: Wire, bytes: Uint8Array): void {
    const { process, link } = wire;
    if (!process.isAlive || !process.wires.has(link)) return;
    const frame = fromBinary(CoordinatorFrameSchema, bytes);
    const { session } = process;
    const waiting = [...session.ended.keys()];
    const received = sizeOf(session, link);
    this.#do(process, machine.receive(session, link, frame, this.timeline.now));
    wire.assigned += sizeOf(session, link) - received;
    if (wire.assigned > wire.granted)
      this.violations.push(`${process.name} got ${wire.assigned} assignments on a credit of ${wire.granted}`);
    const acked = new Set(frame.body.case === 'resultAcks' ? frame.body.value.acks.map(({ leaseToken }) => leaseToken) : []);
    for (const token of waiting) {
      if (session.ended.has(token) || acked.has(token)) continue;
      // Given up without an ack: only when the shard had given the lease up before.
      if (this.shard.holder(token) !== undefined) this.violations.push(`the result of ${token} was given up while its lease held`);
    }
  }

  #closedDown(wire: Wire, reason: string): void {
    const { process, link } = wire;
    if (!process.isAlive || !process.wires.delete(link)) return;
    this.#do(process, machine.closed(process.session, link, reason, 0, this.timeline.now));
  }

  /** The worker closes: what it sent before arrives before. */
  #closeUp(wire: Wire, code: number): void {
    const { connection } = wire;
    if (connection === null) return;
    this.#deliverUp(wire, () => connection.closed(code));
  }

  /**
   * The connection breaks, and each end learns it some time later, perhaps much later. What is on its way to the worker is lost;
   * what is on its way to the hub is lost too, or still arrives, perhaps after what the worker says on its next connection.
   */
  #cut(wire: Wire): void {
    if (wire.isCutDown) return;
    wire.isCutDown = true;
    wire.isCutUp = this.#random.chance(0.5);
    const lateMs = () => (this.#random.chance(0.2) ? this.#random.below(20_000) : this.#random.below(500));
    const closeHub = () => wire.connection?.closed(1006);
    if (wire.isCutUp) this.timeline.after(lateMs(), closeHub);
    else this.#deliverUp(wire, closeHub);
    this.timeline.after(lateMs(), () => this.#closedDown(wire, 'broken'));
  }

  /** Slow connections get well with the rest: over them every answer would come too late for ever. */
  #delayOf(delayMs: number): number {
    return this.faults.slowLink > 0 ? delayMs : Math.min(delayMs, 30);
  }

  #deliverUp(wire: Wire, event: () => void): void {
    wire.upAt = Math.max(wire.upAt, this.timeline.now + this.#delayOf(wire.upDelayMs) + this.#random.below(10));
    this.timeline.after(wire.upAt - this.timeline.now, () => {
      if (!wire.isCutUp) event();
    });
  }

  #deliverDown(wire: Wire, event: () => void): void {
    wire.downAt = Math.max(wire.downAt, this.timeline.now + this.#delayOf(wire.downDelayMs) + this.#random.below(10));
    this.timeline.after(wire.downAt - this.timeline.now, () => {
      if (!wire.isCutDown) event();
    });
  }
}

/** Assignments that the worker counts on a connection. */
function sizeOf(session: WorkerSession, link: number): number {
  const { phase } = session;
  const ready = phase.kind === 'ready' ? phase : 'previous' in phase ? phase.previous : null;
  return ready?.wire.link === link ? ready.received : 0;
}
