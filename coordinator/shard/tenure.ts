/**
 * The time in which this coordinator owns a shard: keeps the lease, and says whether it is known to hold.
 *
 * Invariants
 * 1. `mayTell` is true only until the lease that was renewed last would end, counted from before its renewal was sent, less a margin for what is on its way.
 * 2. A lease that is lost is told once. One that cannot be renewed is asked for again, for as long as it takes: nobody else may want it.
 * 3. While the commits take the shard anew from oneself, a renewal that finds it taken has found that: the reclaim alone says whether it is lost.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Ownership, Store } from '../store/store.ts';
import type { CommitLoop } from './commit-loop.ts';
import type { ShardPorts } from './ports.ts';

/** What a tenure tells. */
export interface TenureEvents {
  readonly onLost: (reason: string) => void;
  /** The lease holds again, or longer. */
  readonly onRenewed: () => void;
  readonly onBroken: (error: unknown) => void;
}

export class Tenure {
  readonly #store: Store;
  readonly #ports: Pick<ShardPorts, 'now' | 'later'>;
  readonly #events: TenureEvents;
  readonly #commits: Pick<CommitLoop, 'committedSeq' | 'isFindingOut'>;
  #ownership: Ownership;
  #holdsUntil: number;
  #isOver = false;

  /** `acquiredAt`: when the acquisition was sent, by `ports.now`. */
  constructor(
    store: Store,
    ownership: Ownership,
    acquiredAt: number,
    ports: Pick<ShardPorts, 'now' | 'later'>,
    commits: Pick<CommitLoop, 'committedSeq' | 'isFindingOut'>,
    events: TenureEvents,
  ) {
    this.#store = store;
    this.#ownership = ownership;
    this.#ports = ports;
    this.#commits = commits;
    this.#events = events;
    this.#holdsUntil = this.#endOf(acquiredAt);
    if (store.leaseMs !== null) this.#plan();
  }

  /** Whether anything may be told at this moment. */
  mayTell(): boolean {
    return this.#holdsUntil === Number.POSITIVE_INFINITY || this.#ports.now() < this.#holdsUntil;
  }

  /** The ownership was taken anew from oneself. */
  reclaimed(ownership: Ownership): void {
    this.#ownership = ownership;
  }

  get ownership(): Ownership {
    return this.#ownership;
  }

  /** What it will do next depends on this alone: for those who look for worlds that are the same. */
  picture(): unknown {
    const { epoch, termId } = this.#ownership;
    return [epoch, termId, Math.max(0, this.#holdsUntil - this.#ports.now()), this.#isOver];
  }

  stop(): void {
    this.#isOver = true;
  }

  #endOf(sentAt: number): number {
    const { leaseMs } = this.#store;
    return leaseMs === null ? Number.POSITIVE_INFINITY : sentAt + leaseMs - limits.shardLeaseMarginMs;
  }

  #plan(): void {
    this.#ports.later(limits.shardRenewMs, () => {
      if (!this.#isOver) this.#renew();
    });
  }

  #renew(): void {
    const sentAt = this.#ports.now();
    const ownership = this.#ownership;
    this.#store.renew(ownership, this.#commits.committedSeq).then(
      (renewal) => {
        if (this.#isOver) return;
        // A renewal in the name of before a reclaim says nothing about now.
        if (renewal.kind === 'lost' && ownership === this.#ownership && !this.#commits.isFindingOut) {
          this.#isOver = true;
          this.#events.onLost(`lease: ${renewal.message}`);
          return;
        }
        this.#plan();
        if (renewal.kind !== 'renewed') return;
        this.#holdsUntil = this.#endOf(sentAt);
        this.#events.onRenewed();
      },
      (error: unknown) => this.#events.onBroken(error),
    );
  }
}
