/**
 * The store in PostgreSQL: what it answers `durable` is on its disk, any number of coordinators may be open on it, and one of them owns the shard.
 *
 * How it is made: `commit.ts` the one statement on the hot path, `tenure.ts` who owns the shard, `checkpoint.ts` slices and the reading of everything, `archive.ts`
 * workflows for people, `upkeep.ts` partitions and retention, `migrate.ts` the tables; below them `link.ts` a connection with deadlines.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { EntryReader } from '../journal.ts';
import { Known } from '../known.ts';
import {
  type Acquisition,
  type CheckpointSlice,
  type CommitOutcome,
  type DurabilityLevel,
  type JournalBatch,
  type Kept,
  type LoadedPart,
  type Owner,
  type Ownership,
  type Reclaim,
  type Renewal,
  type Store,
  type StoredDefinition,
  StoreUnavailable,
  type TierHealth,
} from '../store.ts';
import { parseAddress } from './address.ts';
import { PostgresArchive } from './archive.ts';
import { readAll, writeSlice } from './checkpoint.ts';
import { Committer } from './commit.ts';
import { Database, type Log } from './database.ts';
import { definitionsByHash, putDefinition, registeredDefinitions } from './definition.ts';
import { codeOf, messageOf, NotSentError } from './failure.ts';
import { Health } from './health.ts';
import { knownMigrations, migrateAt, migrationAdvice, SchemaError, statusAt } from './migrate.ts';
import { readPayloads } from './payload.ts';
import { Tenure } from './tenure.ts';
import { Upkeep } from './upkeep.ts';

export { type DatabaseStatus, databaseStatus, migrate, SchemaError } from './migrate.ts';

/** How a store is opened. */
export interface PostgresOptions {
  /** `postgresql://user:password@host:5432/name?sslmode=...`; `postgresql+driver://` is taken as the same. */
  readonly url: string;
  /** How long an ownership lasts without a renewal. */
  readonly leaseMs?: number;
  /** Days for which ended workflows, and the journal behind the checkpoint, are kept. */
  readonly retentionDays?: number;
  readonly log?: Log;
}

const RETENTION_DAYS = 30;
/** Wrong user, password or database, or no right to it: waiting does not help. */
const NEEDS_SOMEBODY: ReadonlySet<string> = new Set(['28000', '28P01', '3D000', '42501']);

/**
 * Connects, brings the tables to the form of this version where the role may, and opens the store.
 * Rejects with `StoreUnavailable` when the database does not answer, with `SchemaError` when it is not one for this version; an `Error` says what is wrong with the URL.
 */
export async function openPostgresStore(options: PostgresOptions): Promise<PostgresStore> {
  const address = parseAddress(options.url);
  const log: Log = options.log ?? (() => {});
  const known = await knownMigrations();
  try {
    const status = await statusAt(address, known);
    if (status.missing.length > 0) {
      const after = await migrateAt(address, known).catch((error: unknown) => {
        throw error instanceof SchemaError || error instanceof NotSentError ? error : migrationAdvice(address, error);
      });
      log('info', `PostgreSQL: ${address.shown} brought from migration ${status.current} to ${after.current}`);
    }
    const settings = new Database(address, new Health(address.shown, ''), log);
    try {
      const [row] = await settings.ask(`
        select (select value from setting where name = 'shards') as shards,
          current_setting('synchronous_commit') as synchronous_commit, current_setting('fsync') as fsync`);
      if (row?.shards !== '1') {
        throw new SchemaError(
          `the database keeps ${row?.shards ?? 'no number of'} shards, and this version runs one: run the version that made it`,
        );
      }
      const warning = warningOf(row.synchronous_commit as string, row.fsync as string);
      if (warning !== '') log('warn', `PostgreSQL: ${warning}`);
      const store = new PostgresStore(new Database(address, new Health(address.shown, warning), log), {
        leaseMs: options.leaseMs ?? limits.shardLeaseMs,
        retentionDays: options.retentionDays ?? RETENTION_DAYS,
        durability: warning === '' ? 'DURABLE' : 'REPLICATED_VOLATILE',
      });
      await store.upkeep.start().catch(async (error: unknown) => {
        await store.close();
        throw error;
      });
      return store;
    } finally {
      await settings.close();
    }
  } catch (error) {
    if (error instanceof SchemaError) throw error;
    if (NEEDS_SOMEBODY.has(codeOf(error))) throw new SchemaError(`${address.shown}: ${messageOf(error)}`);
    throw new StoreUnavailable(`${address.shown}: ${messageOf(error)}`, { cause: error });
  }
}

function warningOf(synchronousCommit: string, fsync: string): string {
  if (fsync === 'off') return 'fsync is off: what was acknowledged may be lost, and the database damaged, when its machine stops';
  if (synchronousCommit === 'off') return 'synchronous_commit is off: what was acknowledged may be lost when the server stops';
  return '';
}

/** See `openPostgresStore`. */
export class PostgresStore implements Store {
  readonly durability: DurabilityLevel;
  readonly leaseMs: number;
  readonly needsCheckpoints = true;
  readonly archive: PostgresArchive;
  readonly liveView = null;
  /** Partitions and retention; runs by itself. */
  readonly upkeep: Upkeep;
  readonly #database: Database;
  readonly #known = new Known();
  readonly #committer: Committer;
  readonly #tenure: Tenure;

  constructor(
    database: Database,
    {
      leaseMs,
      retentionDays,
      durability,
    }: { readonly leaseMs: number; readonly retentionDays: number; readonly durability: DurabilityLevel },
  ) {
    this.#database = database;
    this.leaseMs = leaseMs;
    this.durability = durability;
    this.upkeep = new Upkeep(database, retentionDays);
    this.#committer = new Committer(database, this.#known, () => this.upkeep.makeAhead());
    this.#tenure = new Tenure(database, this.#known, leaseMs, (termId, chain) => this.#committer.begin(termId, chain));
    this.archive = new PostgresArchive(
      database,
      this.#known,
      () => this.#reader(),
      (days, isSure) => this.upkeep.makeWorkflowDays(days, isSure),
    );
  }

  acquire(owner: Owner): Promise<Acquisition> {
    return this.#tenure.acquire(owner);
  }

  renew(ownership: Ownership, lastSeq: number): Promise<Renewal> {
    return this.#tenure.renew(ownership, lastSeq);
  }

  release(ownership: Ownership): Promise<void> {
    return this.#tenure.release(ownership);
  }

  commit(ownership: Ownership, batch: JournalBatch): Promise<CommitOutcome> {
    return this.#committer.commit(ownership, batch);
  }

  reclaim(ownership: Ownership): Promise<Reclaim> {
    this.#committer.abandon();
    return this.#tenure.reclaim(ownership);
  }

  load(): AsyncIterable<LoadedPart> {
    return readAll(this.#database, this.#reader());
  }

  checkpoint(ownership: Ownership, slice: CheckpointSlice): Promise<Kept> {
    return writeSlice(this.#database, this.#known, ownership, slice);
  }

  putDefinition(definition: StoredDefinition): Promise<StoredDefinition> {
    return putDefinition(this.#database, definition);
  }

  definitions(): AsyncIterable<StoredDefinition> {
    return registeredDefinitions(this.#database);
  }

  definitionsByHash(hashes: readonly string[]): Promise<ReadonlyMap<string, StoredDefinition>> {
    return definitionsByHash(this.#database, hashes);
  }

  health(): readonly TierHealth[] {
    return this.#database.health.tiers();
  }

  async close(): Promise<void> {
    this.upkeep.stop();
    await Promise.all([this.#committer.close(), this.#database.close()]);
  }

  /** Compiled definitions are remembered by each reader. */
  #reader(): EntryReader {
    return new EntryReader({
      definitions: (hashes) => definitionsByHash(this.#database, hashes),
      payloads: (hashes) => readPayloads(this.#database, hashes),
    });
  }
}
