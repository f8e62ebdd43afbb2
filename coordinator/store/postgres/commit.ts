/**
 * The commit: one statement, one round trip, one at a time on a connection of its own.
 *
 * The statement moves the fence (`shard`) and writes the batch, or does neither. It is prepared; when a pooler in between gives each transaction another connection,
 * so that what was prepared is not where it was left, the rest goes out with the values written in: slower by 0.15 ms, and always right.
 *
 * Invariants
 * 1. `durable` only for an answer with the row of the batch and without a notice; `aborted` only where `proves` says so; everything else is `unknown`.
 * 2. Large values are written in the same transaction, in front of the batch that names them.
 * 3. A batch goes to the server that gave the shard, or nowhere: another one that has taken over may have each batch of before, and not a definition that this one names.
 * 4. After `unknown` the connection is given up: what may still run on it is for `reclaim` to fence.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { chainAfter, type EncodedEntries, encodeEntries } from '../journal.ts';
import type { Known } from '../known.ts';
import type { CommitOutcome, JournalBatch, Ownership } from '../store.ts';
import { type Database, SHARD } from './database.ts';
import { isPreparedLost, messageOf, NotSentError, proves } from './failure.ts';
import type { Link, Row } from './link.ts';
import { putPayloads } from './payload.ts';
import { hex, statement } from './statement.ts';
import { timelineOf } from './timeline.ts';

const COMMIT = `
with fence as (
  update shard set last_seq = $5::bigint, chain = $7::bigint
  where shard_id = $1::integer and epoch = $2::bigint and term_id = $3::text::uuid and last_seq = $4::bigint - 1
  returning 1
)
insert into journal (shard_id, seq_to, seq_from, epoch, codec, crc, chain, body, payloads, day)
select $1::integer, $5::bigint, $4::bigint, $2::bigint, $8::integer, $6::bigint, $7::bigint, decode($9::text, 'hex'),
  string_to_array(nullif($10::text, ''), ','), (clock_timestamp() at time zone 'utc')::date
from fence
returning seq_to`;
const commitStatement = statement(COMMIT);

const NONE: readonly Row[] = [];

/** Journals that went apart are told by their chains; one is remembered for each ownership. */
const CHAINS_KEPT = 16;

export class Committer {
  readonly #database: Database;
  readonly #known: Known;
  readonly #makePartitions: () => Promise<void>;
  readonly #chains = new Map<string, number>();
  #link: Link | null = null;
  #isPrepared = true;
  #noticed: string | null = null;

  /** `makePartitions`: makes those that the journal needs now. */
  constructor(database: Database, known: Known, makePartitions: () => Promise<void>) {
    this.#database = database;
    this.#known = known;
    this.#makePartitions = makePartitions;
  }

  /** The journal of an ownership goes on after this chain. */
  begin(termId: string, chain: number): void {
    this.#chains.set(termId, chain);
    for (const old of this.#chains.keys()) {
      if (this.#chains.size <= CHAINS_KEPT) break;
      this.#chains.delete(old);
    }
  }

  async commit(ownership: Ownership, batch: JournalBatch): Promise<CommitOutcome> {
    const startedAt = performance.now();
    // What cannot be written as bytes is nobody's outage: it rejects.
    const encoded = encodeEntries(batch.entries, true);
    try {
      const chain = chainAfter(this.#chains.get(ownership.termId) ?? 0, encoded.body);
      const rows = await this.#send(ownership, batch, encoded, chain, startedAt);
      if (this.#noticed !== null) throw new Error(`PostgreSQL noticed: ${this.#noticed}`);
      this.#database.health.committed(performance.now() - startedAt);
      if (rows.length === 0) return { kind: 'fenced' };
      this.#chains.set(ownership.termId, chain);
      this.#known.committed(ownership.termId, batch.lastSeq);
      return { kind: 'durable' };
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** Gives the connection up, with whatever is under way on it. */
  abandon(): void {
    this.#link?.destroy();
    this.#link = null;
  }

  async close(): Promise<void> {
    const link = this.#link;
    this.#link = null;
    await link?.close();
  }

  async #send(
    { epoch, termId }: Ownership,
    { firstSeq, lastSeq }: JournalBatch,
    { codec, crc, body, payloads }: EncodedEntries,
    chain: number,
    startedAt: number,
  ): Promise<readonly Row[]> {
    const leftMs = (): number => Math.max(1, limits.commitDeadlineMs - (performance.now() - startedAt));
    const hashes = [...payloads.keys()].join(',');
    const values = [SHARD, epoch, termId, firstSeq, lastSeq, crc, chain, codec, hex(body), hashes];
    const link = await this.#connection(leftMs());
    if (link === null) return NONE;
    this.#noticed = null;
    if (payloads.size > 0) return link.run(`${putPayloads(payloads)}; ${commitStatement(...values)}`, leftMs());
    if (!this.#isPrepared) return link.run(commitStatement(...values), leftMs());
    try {
      const rows = await link.runPrepared(COMMIT, values, leftMs());
      if (link.lostPrepared) this.#stopPreparing();
      return rows;
    } catch (error) {
      if (!isPreparedLost(error) || proves(error) === null) throw error;
      this.#stopPreparing();
      return link.run(commitStatement(...values), leftMs());
    }
  }

  /** The connection; null when it leads to another server than the one that gave the shard, which may lack what a batch names. */
  async #connection(deadlineMs: number): Promise<Link | null> {
    if (this.#link !== null && !this.#link.isBroken) return this.#link;
    this.abandon();
    const endsAt = performance.now() + deadlineMs;
    const note = (message: string): void => {
      this.#noticed = message;
    };
    const link = await this.#database.open('commit', deadlineMs, note);
    try {
      const timeline = await timelineOf((text) => link.run(text, Math.max(1, endsAt - performance.now())));
      if (timeline !== this.#known.source) {
        void link.close();
        return null;
      }
    } catch (error) {
      link.destroy();
      throw new NotSentError(`the server could not be asked who it is: ${messageOf(error)}`, { cause: error });
    }
    this.#link = link;
    return link;
  }

  #stopPreparing(): void {
    if (this.#isPrepared) this.#database.log('info', 'a pooler is between here and PostgreSQL: commits go out without prepared statements');
    this.#isPrepared = false;
  }

  async #failed(error: unknown): Promise<CommitOutcome> {
    const message = messageOf(error);
    this.#database.health.commitFailed(error);
    const proof = this.#noticed === null ? proves(error) : null;
    if (proof === null) {
      this.abandon();
      return { kind: 'unknown', message };
    }
    // A new day, and nobody had made its partition.
    if ((error as { code?: unknown }).code === '23514') await this.#makePartitions().catch(() => {});
    return { kind: 'aborted', ...proof, message };
  }
}
