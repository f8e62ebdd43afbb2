/**
 * Who owns the shard. Leases end by the clock of the database alone; `epoch` and a term that is drawn anew tell owners apart.
 *
 * Invariant: what takes the shard changes both fences, `shard` and `checkpoint_state`, in one statement. It waits for whatever holds their rows,
 * so that nothing of the owner before can take effect after it.
 */
import { randomUUID } from 'node:crypto';
import type { Known } from '../known.ts';
import type { Acquisition, Owner, Ownership, Reclaim, Renewal } from '../store.ts';
import { type Database, SHARD } from './database.ts';
import { codeOf, messageOf } from './failure.ts';
import type { Link, Row } from './link.ts';
import { statement } from './statement.ts';
import { timelineOf } from './timeline.ts';

const until = `clock_timestamp() + make_interval(secs => $2 / 1000.0)`;

const acquireStatement = statement(`
with taken as (
  update shard set epoch = epoch + 1, term_id = $3, owner = $4, address = $5, lease_until = ${until}
  where shard_id = $1 and (lease_until <= clock_timestamp() or owner = $4)
  returning epoch, term_id, last_seq, chain
), fenced as (
  update checkpoint_state c set epoch = taken.epoch, term_id = taken.term_id from taken where c.shard_id = $1
  returning round
)
select epoch, last_seq, chain, (select round from fenced) as slice from taken`);

const holderStatement = statement(`
select owner, address, ceil(extract(epoch from lease_until - clock_timestamp()) * 1000)::integer as left_ms, epoch, last_seq from shard where shard_id = $1`);

const renewStatement = statement(`
update shard set lease_until = ${until} where shard_id = $1 and epoch = $3 and term_id = $4 and last_seq >= $5 returning epoch`);

const releaseStatement = statement(`
update shard set lease_until = 'epoch' where shard_id = $1 and epoch = $2 and term_id = $3 returning epoch`);

/** The second predicate is for one whose answer was lost: it was done, and is done again with the same outcome. */
const reclaimStatement = statement(`
with taken as (
  update shard set epoch = $3 + 1, term_id = $5, lease_until = ${until}
  where shard_id = $1 and ((epoch = $3 and term_id = $4) or (epoch = $3 + 1 and term_id = $5))
  returning epoch, term_id, last_seq, chain
), fenced as (
  update checkpoint_state c set epoch = taken.epoch, term_id = taken.term_id from taken where c.shard_id = $1
  returning round
)
select epoch, last_seq, chain, (select round from fenced) as slice from taken`);

/** Ends the backends of our own that may hold what a reclaim waits for. */
const terminateStatement = statement(`
select pg_terminate_backend(pid) from pg_stat_activity
where application_name in ($1 || '/commit', $1 || '/pool', $1 || '/lease') and pid <> pg_backend_pid() and datname = current_database()`);

/** Time for a reclaim to connect, to wait for what is under way, and to be answered. */
const RECLAIM_CONNECT_MS = 2_000;
const RECLAIM_LOCK_MS = 1_000;
const RECLAIM_MS = 2_000;

export class Tenure {
  readonly #database: Database;
  readonly #leaseMs: number;
  readonly #known: Known;
  /** Told of each ownership, with the chain that its journal goes on after. */
  readonly #onTaken: (termId: string, chain: number) => void;
  /** Terms of reclaims that were not answered, by the term that they take over from. */
  readonly #asked = new Map<string, string>();

  constructor(database: Database, known: Known, leaseMs: number, onTaken: (termId: string, chain: number) => void) {
    this.#database = database;
    this.#known = known;
    this.#leaseMs = leaseMs;
    this.#onTaken = onTaken;
  }

  async acquire({ coordinatorId, address }: Owner): Promise<Acquisition> {
    const termId = randomUUID();
    try {
      const [row] = await this.#database.askLease(acquireStatement(SHARD, this.#leaseMs, termId, coordinatorId, address));
      if (row !== undefined) {
        const ownership = this.#taken(row, termId);
        this.#known.acquired(ownership, row.slice as number, await timelineOf((text) => this.#database.askLease(text)));
        return { kind: 'acquired', ownership };
      }
      const [holder] = await this.#database.askLease(holderStatement(SHARD));
      if (holder === undefined) return { kind: 'unavailable', message: `the table shard has no row ${SHARD}` };
      const by = { coordinatorId: holder.owner as string, address: holder.address as string };
      return { kind: 'held', by, expiresInMs: Math.min(Math.max(1, holder.left_ms as number), this.#leaseMs) };
    } catch (error) {
      return { kind: 'unavailable', message: messageOf(error) };
    }
  }

  async renew({ epoch, termId }: Ownership, lastSeq: number): Promise<Renewal> {
    try {
      const rows = await this.#database.askLease(renewStatement(SHARD, this.#leaseMs, epoch, termId, lastSeq));
      if (rows.length > 0) return { kind: 'renewed' };
      return { kind: 'lost', message: await this.#lossOf(epoch, lastSeq) };
    } catch (error) {
      return { kind: 'unavailable', message: messageOf(error) };
    }
  }

  async release({ epoch, termId }: Ownership): Promise<void> {
    // Whoever cannot say that the lease has ended lets it run out.
    await this.#database.askLease(releaseStatement(SHARD, epoch, termId)).catch(() => {});
  }

  /** Takes the shard anew from oneself, on a new connection. */
  async reclaim(ownership: Ownership): Promise<Reclaim> {
    let link: Link | null = null;
    const termId = this.#asked.get(ownership.termId) ?? randomUUID();
    this.#asked.set(ownership.termId, termId);
    try {
      link = await this.#database.open('reclaim', RECLAIM_CONNECT_MS);
      const [row] = await this.#takeAnew(link, ownership, termId);
      const timeline = await timelineOf((text) => link!.run(text, RECLAIM_MS));
      this.#asked.delete(ownership.termId);
      this.#database.health.answered();
      if (row !== undefined) {
        if (timeline !== this.#known.source) return { kind: 'lost', message: 'another server has taken over: what it has is read anew' };
        const taken = this.#taken(row, termId);
        this.#known.reclaimed(ownership.termId, taken);
        return { kind: 'reclaimed', ownership: taken };
      }
      return { kind: 'lost', message: await this.#lossOf(ownership.epoch, 0) };
    } catch (error) {
      this.#database.health.callFailed(error);
      return { kind: 'unavailable', message: messageOf(error) };
    } finally {
      void link?.close();
    }
  }

  async #takeAnew(link: Link, { epoch, termId }: Ownership, fresh: string): Promise<readonly Row[]> {
    const settings = `set local lock_timeout = ${RECLAIM_LOCK_MS}; set local statement_timeout = ${RECLAIM_MS}`;
    const take = () => link.run(`${settings}; ${reclaimStatement(SHARD, this.#leaseMs, epoch, termId, fresh)}`, RECLAIM_MS + 500);
    try {
      return await take();
    } catch (error) {
      if (codeOf(error) !== '55P03') throw error;
      await link.run(terminateStatement(this.#database.tag), RECLAIM_MS);
      return take();
    }
  }

  #taken({ epoch, last_seq, chain }: Row, termId: string): Ownership {
    this.#onTaken(termId, chain as number);
    return { epoch: epoch as number, termId, lastSeq: last_seq as number };
  }

  /** Why an ownership is no longer one. */
  async #lossOf(epoch: number, lastSeq: number): Promise<string> {
    const [row] = await this.#database.askLease(holderStatement(SHARD)).catch(() => []);
    if (row === undefined) return 'another owner has the shard';
    if (row.epoch === epoch && (row.last_seq as number) < lastSeq) {
      return `the journal ends at event ${row.last_seq}, and ${lastSeq} were committed: the database went back in time`;
    }
    return `the shard is at epoch ${row.epoch} and this is ${epoch}: ${row.owner === '' ? 'another owner' : row.owner} has taken it`;
  }
}
