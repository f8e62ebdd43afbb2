/**
 * What all parts of the store share: the connections, who is told how the database is, and the deadlines.
 *
 * Invariant: commits and leases have a connection each, so that neither ever waits for a read.
 */
import { randomBytes } from 'node:crypto';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Address } from './address.ts';
import { isRefusal } from './failure.ts';
import type { Health } from './health.ts';
import { Link, type Row } from './link.ts';
import { Pool } from './pool.ts';

/** Writes to the program's log. */
export type Log = (level: 'info' | 'warn', message: string) => void;

/** The shard that this version keeps, of one. */
export const SHARD = 0;
const POOL_LINKS = 4;

export class Database {
  readonly address: Address;
  readonly health: Health;
  readonly log: Log;
  /** Names all connections of this store, and nobody else's. */
  readonly tag = `workflow-${randomBytes(6).toString('hex')}`;
  readonly #pool: Pool;
  readonly #leases: Pool;

  constructor(address: Address, health: Health, log: Log) {
    this.address = address;
    this.health = health;
    this.log = log;
    this.#pool = new Pool((deadlineMs) => this.open('pool', deadlineMs), POOL_LINKS);
    this.#leases = new Pool((deadlineMs) => this.open('lease', deadlineMs), 1);
  }

  /** A new connection. Rejects with `NotSentError`. */
  open(use: string, deadlineMs: number, onNotice?: (message: string) => void): Promise<Link> {
    return Link.open({ address: this.address, name: `${this.tag}/${use}`, ...(onNotice === undefined ? {} : { onNotice }) }, deadlineMs);
  }

  /** Asks something that may take its time. PostgreSQL gives up a little before the deadline: then it is known that it is there, and its connection stays. */
  ask(text: string, deadlineMs: number = limits.storeCallMs): Promise<readonly Row[]> {
    return this.#told(
      (error) => !isRefusal(error),
      this.#pool.run(`set local statement_timeout = ${Math.ceil(0.9 * deadlineMs)}; ${text}`, deadlineMs),
    );
  }

  /** Asks something about the lease. It waits a moment for whoever has the row. */
  askLease(text: string): Promise<readonly Row[]> {
    const deadlineMs = limits.shardLeaseMs;
    const settings = `set local lock_timeout = ${deadlineMs / 2}; set local statement_timeout = ${deadlineMs}`;
    return this.#told(() => true, this.#leases.run(`${settings}; ${text}`, deadlineMs));
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool.close(), this.#leases.close()]);
  }

  /** Tells health what became of it. `isTrouble`: whether an error says something of the database, and not of what was asked. */
  async #told(isTrouble: (error: unknown) => boolean, answer: Promise<readonly Row[]>): Promise<readonly Row[]> {
    try {
      const rows = await answer;
      this.health.answered();
      return rows;
    } catch (error) {
      if (isTrouble(error)) this.health.callFailed(error);
      else this.health.answered();
      throw error;
    }
  }
}
