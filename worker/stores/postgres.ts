/**
 * A store of PostgreSQL tables.
 *
 * Invariants
 * 1. Only tables and columns of the connections file are named, always quoted; values travel as one JSON parameter, which the server
 *    itself turns into the columns' types. No SQL text comes from a job.
 * 2. Each operation is one statement: it happens as a whole or not at all, and needs no transaction to be left open.
 * 3. An insert into a table with an idempotency column adds each row once, whatever number of attempts.
 */
import postgres from 'postgres';
import type { PostgresStoreConnection, TableConnection } from '../connections/connections.ts';
import { PermanentError, RetryableError } from '../errors.ts';
import type { Json } from '../handler.ts';
import { abortable } from './abortable.ts';
import type { Row, StoreCall, TableStore } from './store.ts';

/** Opens a PostgreSQL store. Connects at the first operation. */
export function openPostgresStore(connection: PostgresStoreConnection): TableStore {
  const sql = postgres(connection.url, {
    max: connection.maxConnections,
    connect_timeout: 10,
    idle_timeout: 60,
    fetch_types: false,
    onnotice: () => {},
    connection: { application_name: 'workflow-worker' },
  });

  const run = async (text: string, parameters: string[], call: StoreCall) => {
    const query = sql.unsafe(text, parameters);
    try {
      return await abortable(query.execute(), call.signal, () => query.cancel());
    } catch (error) {
      call.signal.throwIfAborted();
      throw asJobError(error, call.target);
    }
  };
  const table = (name: string): TableConnection => {
    const found = connection.tables.get(name);
    if (found !== undefined) return found;
    throw new PermanentError(`no table '${name}' in store '${connection.name}'; known: ${[...connection.tables.keys()].join(', ')}`, {
      code: 'UNKNOWN_CONNECTION',
    });
  };

  return {
    kind: 'postgres',
    keyOf: (name) => table(name).key,
    async get(name, key, call) {
      const rows = await run(selectStatement(table(name), key), [JSON.stringify(key)], call);
      if (rows.length === 0) return { found: false, value: null };
      const row = JSON.parse(rows[0].row as string) as { [key: string]: Json };
      const shown = Object.entries(row).filter(([column]) => table(name).columns.includes(column));
      return { found: true, value: Object.fromEntries(shown) };
    },
    async insert(name, rows, call) {
      const target = table(name);
      const parameters = [JSON.stringify(rows), ...(target.idempotencyColumn === null ? [] : [call.idempotencyKey])];
      return (await run(insertStatement(target, columnsOf(target, rows)), parameters, call)).count;
    },
    async upsert(name, rows, call) {
      return (await run(upsertStatement(table(name), columnsOf(table(name), rows)), [JSON.stringify(rows)], call)).count;
    },
    async delete(name, key, call) {
      return (await run(deleteStatement(table(name), key), [JSON.stringify(key)], call)).count > 0;
    },
    close: () => sql.end({ timeout: 2 }),
  };
}

/** `"sales"."orders"` */
function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function quoteTable(table: TableConnection): string {
  return table.name.split('.').map(quote).join('.');
}

/** The rows' columns: the same in each, all known. */
function columnsOf(table: TableConnection, rows: readonly Row[]): string[] {
  const columns = Object.keys(rows[0] ?? {});
  const problems: string[] = [];
  for (const column of columns)
    if (!table.columns.includes(column))
      problems.push(`'${column}' is no column of '${table.name}' that jobs may set; known: ${table.columns.join(', ')}`);
  if (columns.length === 0) problems.push('there must be at least one row with at least one column');
  const odd = rows.findIndex((row) => Object.keys(row).length !== columns.length || columns.some((column) => !Object.hasOwn(row, column)));
  if (odd >= 0) problems.push(`row ${odd} has other columns than row 0; all rows of one operation must have the same`);
  if (problems.length > 0) throw new PermanentError(`data: ${problems.join('; ')}`, { code: 'INVALID_INPUT', details: { problems } });
  return columns;
}

/** $1: rows as JSON; $2: the idempotency key, where there is a column for it. */
function insertStatement(table: TableConnection, columns: readonly string[]): string {
  const names = columns.map(quote).join(', ');
  const rows = `from jsonb_populate_recordset(null::${quoteTable(table)}, $1::text::jsonb)`;
  if (table.idempotencyColumn === null) return `insert into ${quoteTable(table)} (${names}) select ${names} ${rows}`;
  const once = quote(table.idempotencyColumn);
  return (
    `insert into ${quoteTable(table)} (${names}, ${once}) ` +
    `select ${names}, $2::text || '/' || "ordinality" ${rows} with ordinality ` +
    `on conflict (${once}) do nothing`
  );
}

/** $1: rows as JSON. */
function upsertStatement(table: TableConnection, columns: readonly string[]): string {
  if (table.key.length === 0)
    throw new PermanentError(`table '${table.name}' has no key in the connections file; upsert needs one`, { code: 'INVALID_INPUT' });
  const missing = table.key.filter((column) => !columns.includes(column));
  if (missing.length > 0) throw new PermanentError(`data: the rows lack the key ${missing.join(', ')}`, { code: 'INVALID_INPUT' });
  const names = columns.map(quote).join(', ');
  const changes = columns.filter((column) => !table.key.includes(column)).map((column) => `${quote(column)} = excluded.${quote(column)}`);
  return (
    `insert into ${quoteTable(table)} (${names}) select ${names} from jsonb_populate_recordset(null::${quoteTable(table)}, $1::text::jsonb) ` +
    `on conflict (${table.key.map(quote).join(', ')}) do ${changes.length === 0 ? 'nothing' : `update set ${changes.join(', ')}`}`
  );
}

/** $1: the key as a JSON object. */
function selectStatement(table: TableConnection, key: Row): string {
  return `select to_jsonb(target)::text as "row" from ${quoteTable(table)} as target, ${keyJoin(table, key)} limit 1`;
}

/** $1: the key as a JSON object. */
function deleteStatement(table: TableConnection, key: Row): string {
  return `delete from ${quoteTable(table)} as target using ${keyJoin(table, key)}`;
}

function keyJoin(table: TableConnection, key: Row): string {
  const given = Object.keys(key);
  if (table.key.length === 0 || given.length !== table.key.length || table.key.some((column) => !given.includes(column)))
    throw new PermanentError(
      `key: must have the columns ${table.key.join(', ') || '(none: the table has no key in the connections file)'}`,
      {
        code: 'INVALID_INPUT',
      },
    );
  const equal = table.key.map((column) => `target.${quote(column)} = wanted.${quote(column)}`).join(' and ');
  return `jsonb_populate_record(null::${quoteTable(table)}, $1::text::jsonb) as wanted where ${equal}`;
}

/** By SQLSTATE: what can pass, what the data is to blame for. Errors without one are the connection's. */
function asJobError(error: unknown, target: string): Error {
  if (error instanceof PermanentError) return error;
  const { code = '', message, constraint_name: constraint, column_name: column } = error as postgres.PostgresError;
  const isState = /^[0-9A-Z]{5}$/.test(code) && !/^E[A-Z]{4}$/.test(code);
  if (!isState || /^(08|53|57P)/.test(code))
    return new RetryableError(`${target}: ${message}`, { code: 'CONNECTION_FAILED', cause: error, details: { reason: code } });
  if (['40001', '40P01', '55P03', '57014', '25006'].includes(code))
    return new RetryableError(`${target}: ${message}`, { code: 'STORE_BUSY', cause: error, details: { sqlstate: code } });
  return new PermanentError(`${target}: ${message}`, {
    code: 'STORE_REJECTED',
    cause: error,
    details: { sqlstate: code, constraint: constraint ?? null, column: column ?? null },
  });
}
