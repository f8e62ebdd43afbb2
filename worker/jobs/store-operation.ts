/** What jobs do with stores. */
import { limits } from '@workflow-orchestrator/proto/limits';
import type { StoreEndpoint } from '../connections/connections.ts';
import { PermanentError, RetryableError } from '../errors.ts';
import { describe, isObject } from '../fields/describe.ts';
import { formatDuration } from '../fields/duration.ts';
import type { Fields } from '../fields/fields.ts';
import type { JobContext, Json } from '../handler.ts';
import type { Row, Store, StoreCall, TableStore } from '../stores/store.ts';

/** All operations, those of key stores and those of tables. */
export const storeOperations = ['get', 'put', 'append', 'insert', 'upsert', 'delete'] as const;

/** One operation, as a job asks for it. */
export interface StoreRequest {
  readonly operation: (typeof storeOperations)[number];
  /** Key of a key store, or table. */
  readonly target: string;
  /** Value or rows; of `get` and `delete` in a table the row's key. */
  readonly data: Json;
  readonly ttlMs: number | null;
  readonly timeoutMs: number;
}

/** Which operations and fields a store has. */
const forms = {
  file: { operations: ['get', 'put', 'append', 'delete'], target: 'key' },
  redis: { operations: ['get', 'put', 'append', 'delete'], target: 'key' },
  postgres: { operations: ['get', 'insert', 'upsert', 'delete'], target: 'table' },
} as const satisfies Record<Store['kind'], { operations: readonly (typeof storeOperations)[number][]; target: string }>;

/** Reads the parameters of an operation on a store. */
export function readStoreRequest(fields: Fields, kind: Store['kind'], input: Json): StoreRequest {
  const form = forms[kind];
  const operation = fields.requiredChoice('operation', form.operations);
  const target = fields.requiredText(form.target, { max: limits.storeKeyLength });
  const timeoutMs = fields.durationMs('timeout', { min: 1, max: limits.storeTimeoutMaxMs }) ?? limits.storeTimeoutMs;
  const writes = operation !== 'get' && operation !== 'delete';
  let data: Json = null;
  if (writes) {
    const given = fields.json('data');
    data = given === undefined ? input : given;
  } else if (kind === 'postgres') {
    data = fields.json('key') ?? null;
    if (data === null) fields.problem('key', 'is required: the value of the key column, or an object of key columns and values');
  }
  const ttlMs = kind === 'redis' && writes ? (fields.durationMs('ttl', { min: 1, max: limits.durationMs }) ?? null) : null;
  fields.close(`the operation ${operation} of a ${kind} store`);
  return { operation, target, data, ttlMs, timeoutMs };
}

/** The operation that sending data to an endpoint is. */
export function requestToStoreEndpoint(endpoint: StoreEndpoint, data: Json, timeoutMs: number | null): StoreRequest {
  return { operation: endpoint.operation, target: endpoint.target, data, ttlMs: null, timeoutMs: timeoutMs ?? limits.storeTimeoutMs };
}

/**
 * Carries an operation out; answers with the job's output.
 * @throws what the store throws, `STORE_TIMEOUT`, `INVALID_INPUT`, or the signal's reason
 */
export async function operate(store: Store, name: string, request: StoreRequest, context: JobContext): Promise<Json> {
  const deadline = AbortSignal.timeout(request.timeoutMs);
  const call: StoreCall = {
    signal: AbortSignal.any([context.signal, deadline]),
    idempotencyKey: context.idempotencyKey,
    target: `store '${name}'`,
  };
  try {
    return { store: name, operation: request.operation, ...(await perform(store, request, call)) };
  } catch (error) {
    context.signal.throwIfAborted();
    if (!deadline.aborted) throw error;
    throw new RetryableError(`store '${name}' did not answer within ${formatDuration(request.timeoutMs)}`, { code: 'STORE_TIMEOUT' });
  }
}

async function perform(store: Store, request: StoreRequest, call: StoreCall): Promise<{ [key: string]: Json }> {
  const { operation, target, data, ttlMs } = request;
  if (store.kind === 'postgres') {
    switch (operation) {
      case 'get':
        return { table: target, ...(await store.get(target, rowKey(store, target, data), call)) };
      case 'insert':
        return { table: target, rows: await store.insert(target, rowsOf(data), call) };
      case 'upsert':
        return { table: target, rows: await store.upsert(target, rowsOf(data), call) };
      case 'delete':
        return { table: target, deleted: await store.delete(target, rowKey(store, target, data), call) };
      default:
        throw new PermanentError(`a postgres store has no ${operation}`, { code: 'INVALID_INPUT' });
    }
  }
  switch (operation) {
    case 'get':
      return { key: target, ...(await store.get(target, call)) };
    case 'put':
      await store.put(target, data, ttlMs, call);
      return { key: target, written: true };
    case 'append':
      // A repeated attempt finds its value there: for whoever comes next that is the same.
      return { key: target, written: true, repeated: !(await store.append(target, data, ttlMs, call)) };
    case 'delete':
      return { key: target, deleted: await store.delete(target, call) };
    default:
      throw new PermanentError(`a ${store.kind} store has no ${operation}`, { code: 'INVALID_INPUT' });
  }
}

/** Data as rows: an object, or a list of objects. */
function rowsOf(data: Json): Row[] {
  const rows = Array.isArray(data) ? data : [data];
  const odd = rows.findIndex((row) => !isObject(row));
  if (odd >= 0)
    throw new PermanentError(`data: rows must be objects of columns and values; row ${odd} is ${describe(rows[odd])}`, {
      code: 'INVALID_INPUT',
    });
  if (rows.length > limits.storeRows)
    throw new PermanentError(`data: ${rows.length} rows, at most ${limits.storeRows} go into one operation`, { code: 'INVALID_INPUT' });
  return rows as unknown as Row[];
}

/** A row's key: an object of key columns, or the value of the only one. */
function rowKey(store: TableStore, table: string, key: Json): Row {
  if (isObject(key)) return key as Row;
  const columns = store.keyOf(table);
  if (columns.length === 1) return { [columns[0]]: key };
  throw new PermanentError(`key: must be an object with ${columns.join(', ') || 'key columns'}, is ${describe(key)}`, {
    code: 'INVALID_INPUT',
  });
}
