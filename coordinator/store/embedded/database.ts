/**
 * One connection to `journal.db`: opened and brought to the format of this version, with transactions that end one way or the other.
 *
 * Invariants
 * 1. A file of another program, a damaged one or one of a newer version is not touched, and the error says so in one line.
 * 2. `commit` of a DURABLE transaction returns after the disk has it; of any other it may be lost in a power failure, yet never before what came before it.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { CommitFailed, failureOf, NotNow } from './failure.ts';
import { APPLICATION_ID, MIGRATIONS } from './schema.ts';

/** Time to wait for a lock that another program holds: well below a commit's deadline. */
const BUSY_MS = 500;
/** Bytes of the write-ahead log that are kept for reuse once it has been written back. */
const LOG_KEPT_BYTES = 64 * 1024 * 1024;

export class Database {
  readonly path: string;
  #db: DatabaseSync;
  #statements = new Map<string, StatementSync>();
  #isSynced = true;

  constructor(path: string) {
    this.path = path;
    this.#db = connect(path);
  }

  /** The statement of this text, prepared once. */
  sql(text: string): StatementSync {
    const known = this.#statements.get(text);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(text);
    this.#statements.set(text, statement);
    return statement;
  }

  /** Runs in a transaction that holds the write lock from its beginning. `DURABLE`: synced to the disk before it returns. */
  transaction<T>(durability: 'DURABLE' | 'LATER', run: () => T): T {
    this.#sync(durability === 'DURABLE');
    this.sql('begin immediate').run();
    let value: T;
    try {
      value = run();
    } catch (error) {
      this.#rollback();
      throw error;
    }
    try {
      this.sql('commit').run();
    } catch (error) {
      this.#rollback();
      throw new CommitFailed(error);
    }
    return value;
  }

  /** Brings the file to the format of this version. Throws with one clear line when that cannot be. */
  prepare(): void {
    const number = (pragma: string): number => Number(Object.values(this.sql(`pragma ${pragma}`).get() ?? {})[0]);
    const version = number('user_version');
    const id = number('application_id');
    const isEmpty = number('schema_version') === 0;
    if (id !== APPLICATION_ID && !(id === 0 && isEmpty)) throw new Error(`${this.path} is a database of another program`);
    if (version > MIGRATIONS.length) {
      throw new Error(
        `${this.path} was written by a newer version (format ${version}; this one knows ${MIGRATIONS.length}): start that version, or name another data folder`,
      );
    }
    // Before the first table, and before the log is switched to: later it would take a VACUUM.
    if (isEmpty) this.#db.exec('pragma auto_vacuum = incremental');
    const { journal_mode } = this.sql('pragma journal_mode = wal').get() as { journal_mode: string };
    if (journal_mode !== 'wal') throw new Error(`${this.path} cannot have a write-ahead log here (journal_mode stays ${journal_mode})`);
    if (version === MIGRATIONS.length) return;
    this.transaction('DURABLE', () => {
      this.#db.exec(`pragma application_id = ${APPLICATION_ID}`);
      for (const step of MIGRATIONS.slice(version)) this.#db.exec(step);
      this.#db.exec(`pragma user_version = ${MIGRATIONS.length}`);
    });
  }

  /** Writes the log back into the file. `truncate`: waits for readers, and leaves an empty log. Says how many of its pages are not written back yet. */
  writeBack(truncate: boolean): number {
    const found = this.sql(`pragma wal_checkpoint(${truncate ? 'truncate' : 'passive'})`).get() as Record<
      'busy' | 'log' | 'checkpointed',
      number
    >;
    return Math.max(0, found.log - found.checkpointed) + (truncate ? found.busy : 0);
  }

  /** Pages of the log, and how many of them are written back; changes nothing. */
  log(): { readonly pages: number; readonly writtenBack: number } {
    const { log, checkpointed } = this.sql('pragma wal_checkpoint(noop)').get() as Record<'log' | 'checkpointed', number>;
    return { pages: Math.max(0, log), writtenBack: Math.max(0, checkpointed) };
  }

  /** Gives free pages at the end of the file back to the disk. */
  shrink(pages: number): void {
    this.#db.exec(`pragma incremental_vacuum(${pages})`);
  }

  /** Starts afresh, as after an error of the disk: what the log holds is in the file before anything else is written. Throws while it cannot. */
  reopen(): void {
    this.close();
    this.#db = connect(this.path);
    this.#isSynced = true;
    if (this.writeBack(true) > 0) throw new NotNow('what was written before the disk error is not in the file yet');
  }

  close(): void {
    this.#statements.clear();
    if (this.#db.isOpen) this.#db.close();
  }

  #sync(isSynced: boolean): void {
    if (isSynced === this.#isSynced) return;
    this.sql(`pragma synchronous = ${isSynced ? 'full' : 'normal'}`).run();
    this.#isSynced = isSynced;
  }

  #rollback(): void {
    try {
      if (this.#db.isTransaction) this.sql('rollback').run();
    } catch {
      // SQLite has ended the transaction itself.
    }
  }
}

function connect(path: string): DatabaseSync {
  let db: DatabaseSync | null = null;
  try {
    db = new DatabaseSync(path, { timeout: BUSY_MS, enableForeignKeyConstraints: false });
    // Writing back is done by the other thread, so that no commit pays for it.
    db.exec(
      `pragma synchronous = full; pragma wal_autocheckpoint = 0; pragma journal_size_limit = ${LOG_KEPT_BYTES}; pragma cache_size = -16384`,
    );
    return db;
  } catch (error) {
    db?.close();
    throw new Error(`${path} cannot be opened: ${failureOf(error).message}`, { cause: error });
  }
}
