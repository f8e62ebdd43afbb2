/**
 * The terms of a coordinator: waits for the shard, reads it, serves it until it is lost, and waits again.
 *
 * Invariants
 * 1. Nobody is served while the shard is not here; whoever calls is told why, and by whom it is served as far as that is known.
 * 2. What a term held in memory is dropped with it. The next one reads everything anew.
 * 3. A shard that is damaged, or a broken invariant, ends the process: nothing goes on from a memory or a journal that may be wrong.
 * 4. Time comes from the ports alone.
 */
import type { Logger } from 'pino';
import type { Definitions } from './api/services/definitions.ts';
import type { Gateway } from './gateway/gateway.ts';
import type { GatewaySeat } from './gateway/seat.ts';
import type { ShardObserver, ShardPorts, StopCause } from './shard/ports.ts';
import { ShardStopped } from './shard/requests.ts';
import type { ShardSeat } from './shard/seat.ts';
import { Shard, type ShardBounds } from './shard/shard.ts';
import { type Owner, type Ownership, type Store, StoreUnavailable } from './store/store.ts';

/** What a coordinator does at the moment. */
export type Role = 'ACTIVE' | 'STANDBY' | 'RECOVERING';

/** What terms are made of. */
export interface TermParts {
  readonly store: Store;
  readonly owner: Owner;
  readonly ports: Omit<ShardPorts, 'stop'>;
  readonly observer: ShardObserver;
  /** Those that differ from the limits. */
  readonly bounds?: Partial<ShardBounds>;
  readonly definitions: Pick<Definitions, 'load' | 'vacate'>;
  readonly seat: ShardSeat;
  readonly gatewaySeat: Pick<GatewaySeat, 'take' | 'vacate'>;
  /** Makes the gateway of a term. */
  readonly gatewayOf: (shard: Shard) => Gateway;
  /** Streams of calls that rest on the shard end: those who called go elsewhere. */
  readonly endStreams: () => void;
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** Nothing can go on; the process must end. */
  readonly onFatal: (reason: string) => void;
}

/** Longest pause before the shard is asked for again: of an owner that is there, which may end its lease at any time, and of a store that is not. */
const HELD_POLL_MS = 150;
const POLL_MS = 500;
/** Time for the archive to take what it lacks when this coordinator ends. */
const ARCHIVE_MS = 1_000;
/** Time for workers to be told that this coordinator has lost the shard. */
const STEP_DOWN_MS = 200;

export class Terms {
  readonly #parts: TermParts;
  #role: Role = 'STANDBY';
  #activeAddress = '';
  #isOver = false;
  #shard: Shard | null = null;
  /** Ends a pause early. */
  #wake: () => void = () => {};
  #endTerm: (end: { readonly reason: string; readonly cause: StopCause }) => void = () => {};
  readonly #over: Promise<void>;
  #settled: () => void = () => {};
  #failed: (error: Error) => void = () => {};

  /** Resolves when it is known for the first time whether this coordinator is the active one. */
  readonly settled: Promise<void>;
  /** Rejects when nothing can go on; never resolves. */
  readonly failed: Promise<never>;

  constructor(parts: TermParts) {
    this.#parts = parts;
    this.settled = new Promise((resolve) => {
      this.#settled = resolve;
    });
    this.failed = new Promise((_, reject) => {
      this.#failed = reject;
    });
    this.failed.catch(() => {});
    this.#over = this.#run().catch((error: unknown) =>
      this.#fatal(error instanceof Error ? (error.stack ?? error.message) : String(error)),
    );
  }

  get role(): Role {
    return this.#role;
  }

  /** Where the active coordinator is when it is another one; empty when that is not known. */
  get activeAddress(): string {
    return this.#activeAddress;
  }

  /** Ends: workers are told to go elsewhere within `graceMs`, the shard is released to whoever waits for it. */
  async close(graceMs: number): Promise<void> {
    this.#isOver = true;
    const reason = 'this coordinator is ending';
    await this.#parts.gatewaySeat.vacate(reason)?.close({ reason, withinMs: graceMs });
    const shard = this.#shard;
    // Whoever reads the archive should find how things ended; nothing is lost where that takes too long.
    if (shard !== null) await Promise.race([shard.written(), this.#pause(ARCHIVE_MS)]);
    this.#wake();
    this.#endTerm({ reason, cause: 'lost' });
    await this.#over;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      const sentAt = this.#parts.ports.now();
      const acquisition = await this.#parts.store.acquire(this.#parts.owner);
      if (acquisition.kind === 'acquired') {
        this.#activeAddress = '';
        if (this.#isOver) await this.#parts.store.release(acquisition.ownership);
        else await this.#serve(acquisition.ownership, sentAt);
        continue;
      }
      if (acquisition.kind === 'held') {
        const { coordinatorId, address } = acquisition.by;
        this.#stand(`this coordinator is a standby; the active one is ${coordinatorId}${address === '' ? '' : ` at ${address}`}`, address);
        await this.#pause(Math.min(acquisition.expiresInMs + 1, HELD_POLL_MS));
      } else {
        this.#stand(`the store cannot be reached: ${acquisition.message}`, '');
        await this.#pause(POLL_MS);
      }
    }
  }

  /** Nobody is served here, for this reason. */
  #stand(reason: string, activeAddress: string): void {
    const { seat, log } = this.#parts;
    if (seat.vacancy !== reason) log.info({ reason }, 'standing by');
    this.#role = 'STANDBY';
    this.#activeAddress = activeAddress;
    this.#vacate(reason);
    this.#settled();
  }

  async #serve(ownership: Ownership, acquiredAt: number): Promise<void> {
    const { log } = this.#parts;
    this.#role = 'RECOVERING';
    this.#vacate('this coordinator has taken over and reads what is there');
    const startedAt = this.#parts.ports.now();
    const end = new Promise<{ readonly reason: string; readonly cause: StopCause }>((resolve) => {
      this.#endTerm = resolve;
    });
    const opened = await this.#open(ownership, acquiredAt);
    if (opened !== null) {
      log.info(
        { epoch: ownership.epoch, openWorkflows: opened.stats().openWorkflows, readMs: this.#parts.ports.now() - startedAt },
        'this coordinator is the active one',
      );
      this.#settled();
      const { reason, cause } = await end;
      this.#shard = null;
      if (this.#isOver) {
        opened.stop(reason);
        await Promise.all([this.#stepDown(reason), this.#parts.store.release(opened.ownership)]);
        return;
      }
      await this.#stepDown(reason);
      log.error({ reason }, 'the shard is lost');
      if (cause === 'broken') return this.#fatal(reason);
    }
    if (!this.#isOver) await this.#pause(POLL_MS);
  }

  /** Reads the shard and takes its place; null when it was lost, or the store went away, before that was done. */
  async #open(ownership: Ownership, acquiredAt: number): Promise<Shard | null> {
    const { store, observer, bounds = {}, definitions, seat, gatewaySeat, gatewayOf, log } = this.#parts;
    const ports: ShardPorts = { ...this.#parts.ports, stop: (reason, cause) => this.#endTerm({ reason, cause }) };
    try {
      const shard = await Shard.open({ store, ownership, acquiredAt, ports, observer, bounds });
      this.#shard = shard;
      await definitions.load();
      if (this.#isOver) return shard;
      this.#role = 'ACTIVE';
      seat.take(shard);
      gatewaySeat.take(gatewayOf(shard));
      return shard;
    } catch (error) {
      this.#shard?.stop();
      this.#shard = null;
      if (!(error instanceof StoreUnavailable) && !(error instanceof ShardStopped)) throw error;
      log.warn({ reason: error.message }, 'the shard could not be read');
      this.#stand(`the shard could not be read: ${error.message}`, '');
      return null;
    }
  }

  async #stepDown(reason: string): Promise<void> {
    const { gatewaySeat, endStreams } = this.#parts;
    this.#role = 'STANDBY';
    const why = `this coordinator has lost the shard: ${reason}`;
    const gateway = gatewaySeat.vacate(why);
    this.#vacate(why);
    if (!this.#isOver) endStreams();
    await gateway?.close({ reason: 'this coordinator has lost the shard', withinMs: STEP_DOWN_MS });
  }

  #fatal(reason: string): void {
    this.#isOver = true;
    this.#failed(new Error(reason));
    this.#parts.onFatal(reason);
  }

  #vacate(reason: string): void {
    this.#parts.seat.vacate(reason);
    this.#parts.gatewaySeat.vacate(reason);
    this.#parts.definitions.vacate(reason);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#parts.ports.later(ms, resolve);
    });
  }
}
