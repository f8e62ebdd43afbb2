/**
 * Brings the tables of a database to the form that this version wants: numbered SQL files, forward only, all that are missing in one transaction.
 *
 * Invariants
 * 1. Two that start at once do it once: a lock of the transaction keeps the second waiting, which then finds nothing to do.
 * 2. A database that is newer than this code is refused, and so is one to which another text of the same number was applied.
 * 3. A migration that was published is never changed.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Address, parseAddress } from './address.ts';
import { codeOf, messageOf } from './failure.ts';
import { Link, type Row } from './link.ts';
import { statement } from './statement.ts';

/** One file of `migrations/`. */
export interface Migration {
  readonly id: number;
  readonly name: string;
  readonly sql: string;
  /** SHA-256 of the text. */
  readonly checksum: string;
}

/** How the tables of a database are. */
export interface DatabaseStatus {
  /** The database, without its password. */
  readonly database: string;
  /** Number of the last migration that was applied; 0 for none. */
  readonly current: number;
  /** Number of the last one that this version knows. */
  readonly known: number;
  readonly applied: readonly { readonly id: number; readonly name: string; readonly appliedAt: Date }[];
  readonly missing: readonly { readonly id: number; readonly name: string }[];
}

/** The database cannot be used by this version; the message says what to do. */
export class SchemaError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SchemaError';
  }
}

const FOLDER = join(import.meta.dirname, 'migrations');
/** Locks and changes of tables may take a while. */
const MIGRATE_MS = 60_000;
const CONNECT_MS = 10_000;
const LOCK = 'select pg_advisory_xact_lock(7012330115)';
const TABLE = `create table if not exists migration (
  id integer primary key, name text not null, checksum text not null, applied_at timestamptz not null default now())`;
const insertMigration = statement('insert into migration (id, name, checksum) values ($1, $2, $3)');

/** The migrations of this version, in order. */
export async function knownMigrations(folder = FOLDER): Promise<readonly Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  return Promise.all(
    files.map(async (file, index) => {
      const parts = /^(\d{3})-(.+)\.sql$/.exec(file);
      if (Number(parts?.[1]) !== index + 1) throw new SchemaError(`migration ${file}: number ${index + 1} was expected`);
      const sql = await readFile(join(folder, file), 'utf8');
      return { id: index + 1, name: parts![2]!, sql, checksum: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

/** Applies what is missing. Rejects with `SchemaError` when the database is not one for this version, and with the error of PostgreSQL when it refuses. */
export async function migrate(url: string, known?: readonly Migration[]): Promise<DatabaseStatus> {
  return migrateAt(parseAddress(url), known ?? (await knownMigrations()));
}

/** Says what is applied and what is missing; changes nothing. Rejects as `migrate` does. */
export async function databaseStatus(url: string, known?: readonly Migration[]): Promise<DatabaseStatus> {
  return statusAt(parseAddress(url), known ?? (await knownMigrations()));
}

/** See `migrate`. */
export function migrateAt(address: Address, known: readonly Migration[]): Promise<DatabaseStatus> {
  return connected(address, async (link) => {
    await link.run('begin', CONNECT_MS);
    await link.run(LOCK, MIGRATE_MS);
    // Names are those of one schema from here on, also inside of the functions that migrations make: nobody's tables of the same name come in between.
    await link.run(`select set_config('search_path', quote_ident(coalesce(current_schema(), 'public')) || ', pg_temp', true)`, CONNECT_MS);
    const before = await readStatus(link, address, known);
    if (before.missing.length > 0) {
      await link.run(TABLE, MIGRATE_MS);
      for (const { id, name, sql, checksum } of known.slice(before.current)) {
        try {
          await link.run(sql, MIGRATE_MS);
        } catch (error) {
          throw new Error(`migration ${id} (${name}): ${messageOf(error)}`, { cause: error });
        }
        await link.run(insertMigration(id, name, checksum), MIGRATE_MS);
      }
    }
    const after = await readStatus(link, address, known);
    await link.run('commit', MIGRATE_MS);
    return after;
  });
}

/** See `databaseStatus`. */
export function statusAt(address: Address, known: readonly Migration[]): Promise<DatabaseStatus> {
  return connected(address, (link) => readStatus(link, address, known));
}

async function connected<T>(address: Address, work: (link: Link) => Promise<T>): Promise<T> {
  const link = await Link.open({ address, name: 'workflow-migrate' }, CONNECT_MS);
  try {
    return await work(link);
  } finally {
    // Closing takes back what was begun and not committed.
    await link.close();
  }
}

async function readStatus(link: Link, address: Address, known: readonly Migration[]): Promise<DatabaseStatus> {
  const rows = await appliedRows(link);
  const current = Number(rows.at(-1)?.id ?? 0);
  if (current > known.length) {
    throw new SchemaError(
      `the database is at migration ${current}, this version knows ${known.length}: run the newer version, or restore a copy from before the migration`,
    );
  }
  for (const [index, row] of rows.entries()) {
    const migration = known[index]!;
    if (row.id !== migration.id || row.checksum !== migration.checksum) {
      throw new SchemaError(
        `migration ${row.id} (${row.name}) was applied to the database with another text than ${migration.id} (${migration.name}) of this version: ` +
          'it was changed afterwards, or comes from another version. Run the version that applied it',
      );
    }
  }
  const applied = rows.map((row) => ({ id: row.id as number, name: row.name as string, appliedAt: row.applied_at as Date }));
  const missing = known.slice(current).map(({ id, name }) => ({ id, name }));
  return { database: address.shown, current, known: known.length, applied, missing };
}

async function appliedRows(link: Link): Promise<readonly Row[]> {
  const [found] = await link.run(`select to_regclass('migration') is not null as is_there`, CONNECT_MS);
  if (found?.is_there !== true) return [];
  return link.run('select id, name, checksum, applied_at from migration order by id', CONNECT_MS);
}

/** What to do about a database whose tables are behind, when this role may not change them itself. */
export function migrationAdvice(address: Address, error: unknown): SchemaError {
  const denied = codeOf(error) === '42501';
  return new SchemaError(
    `the tables of ${address.shown} are behind this version, and ${denied ? `the role '${address.user}' may not change them` : messageOf(error)}. ` +
      'Run `wf db init` once with DATABASE_URL=postgresql://OWNER:PASSWORD@HOST/NAME, as the role that owns the tables',
  );
}
