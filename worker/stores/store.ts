/**
 * Stores as jobs see them: values under keys (`file`, `redis`) or rows of tables (`postgres`).
 * The implementations are beside this file, a file each.
 */
import type { Json } from '../handler.ts';

/** What every operation is given. */
export interface StoreCall {
  /** Ends the operation: the job was cancelled, or its time is over. */
  readonly signal: AbortSignal;
  /** The same on every attempt of a job: an append or insert that was made under it is not made again. */
  readonly idempotencyKey: string;
  /** What people are told of in errors: `store 'files'`. */
  readonly target: string;
}

/** A value that may not be there. */
export interface Found {
  readonly found: boolean;
  /** Null when it is not there. */
  readonly value: Json;
}

/**
 * Values under keys. All methods throw job errors: `INVALID_KEY`, `STORE_REJECTED` (not retryable), `CONNECTION_FAILED`, `STORE_FAILED`.
 */
export interface KeyStore {
  readonly kind: 'file' | 'redis';
  /** The value that was put there; of a key that values were appended to, the list of them. */
  get(key: string, call: StoreCall): Promise<Found>;
  /** Keeps the value; one that was there before is gone. `ttlMs` null: for ever. */
  put(key: string, value: Json, ttlMs: number | null, call: StoreCall): Promise<void>;
  /** Adds the value to the end of a list, once for each idempotency key; false when it had been added before. */
  append(key: string, value: Json, ttlMs: number | null, call: StoreCall): Promise<boolean>;
  /** Removes the key; false when it was not there. */
  delete(key: string, call: StoreCall): Promise<boolean>;
  close(): Promise<void>;
}

/** A row, as column names to values. */
export type Row = Readonly<Record<string, Json>>;

/**
 * Rows of tables. All methods throw job errors: `UNKNOWN_CONNECTION` (no such table), `INVALID_INPUT`, `STORE_REJECTED` (not retryable),
 * `CONNECTION_FAILED`, `STORE_BUSY`.
 */
export interface TableStore {
  readonly kind: 'postgres';
  /** The row with this key. */
  get(table: string, key: Row, call: StoreCall): Promise<Found>;
  /** Adds rows, once for each idempotency key where the table has a column for it; answers how many were added now. */
  insert(table: string, rows: readonly Row[], call: StoreCall): Promise<number>;
  /** Adds rows, or changes those that have the same key. */
  upsert(table: string, rows: readonly Row[], call: StoreCall): Promise<number>;
  /** Removes the row with this key; false when it was not there. */
  delete(table: string, key: Row, call: StoreCall): Promise<boolean>;
  /** Names of the columns that are a row's key. */
  keyOf(table: string): readonly string[];
  close(): Promise<void>;
}

/** A store of either kind. */
export type Store = KeyStore | TableStore;
