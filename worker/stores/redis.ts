/**
 * A store of Redis keys, all under one prefix: a string for a value that was put, a list for values that were appended.
 *
 * Invariants
 * 1. No key outside the prefix is ever named.
 * 2. An append and the note of its idempotency key are one script: both happen or neither does.
 * 3. No command waits for ever: a frozen server answers `CONNECTION_FAILED`.
 */

import { limits } from '@workflow-orchestrator/proto/limits';
import { Redis } from 'ioredis';
import type { RedisStoreConnection } from '../connections/connections.ts';
import { PermanentError, RetryableError } from '../errors.ts';
import type { Json } from '../handler.ts';
import { abortable } from './abortable.ts';
import type { KeyStore, StoreCall } from './store.ts';

const commandMs = 5_000;

/** KEYS: list, hash of idempotency keys. ARGV: idempotency key, value, time to live in ms or 0. Answers 1 when the value was added. */
const appendOnce = `
if redis.call('HSETNX', KEYS[2], ARGV[1], '') == 0 then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[2])
if ARGV[3] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return 1`;

/** Opens a Redis store. Connects at the first command; `onError` hears of connection problems. */
export function openRedisStore(connection: RedisStoreConnection, onError: (error: Error) => void): KeyStore {
  const redis = new Redis(connection.url, {
    lazyConnect: true,
    maxRetriesPerRequest: 1,
    commandTimeout: commandMs,
    connectTimeout: commandMs,
    retryStrategy: (times) => Math.min(100 * 2 ** times, 5_000),
    connectionName: 'workflow-worker',
  });
  redis.on('error', onError);

  const run = async <T>(key: string, call: StoreCall, command: (name: string) => Promise<T>): Promise<T> => {
    checkKey(key);
    try {
      return await abortable(command(connection.prefix + key), call.signal);
    } catch (error) {
      call.signal.throwIfAborted();
      throw asJobError(error, call.target);
    }
  };
  // In a cluster both must be on one node: what is in braces decides.
  const keysOf = (name: string) => `{${name}}:keys`;

  return {
    kind: 'redis',
    get: (key, call) =>
      run(key, call, async (name) => {
        const kind = await redis.type(name);
        if (kind === 'none') return { found: false, value: null };
        if (kind === 'list') return { found: true, value: parseValues(await redis.lrange(name, 0, -1)) };
        const text = await redis.get(name);
        return text === null ? { found: false, value: null } : { found: true, value: parseValues([text])[0] };
      }),
    put: (key, value, ttlMs, call) =>
      run(key, call, async (name) => {
        const text = JSON.stringify(value);
        await (ttlMs === null ? redis.set(name, text) : redis.set(name, text, 'PX', ttlMs));
      }),
    append: (key, value, ttlMs, call) =>
      run(key, call, async (name) => {
        const added = await redis.eval(appendOnce, 2, name, keysOf(name), call.idempotencyKey, JSON.stringify(value), ttlMs ?? 0);
        return added === 1;
      }),
    delete: (key, call) =>
      run(key, call, async (name) => {
        const removed = await redis.del(name);
        await redis.del(keysOf(name));
        return removed > 0;
      }),
    close: async () => redis.disconnect(),
  };
}

/** What other programs wrote there may be no JSON: then it is a text. */
function parseValues(texts: readonly string[]): Json[] {
  const size = texts.reduce((sum, text) => sum + text.length, 0);
  if (size > limits.outputBytes)
    throw new PermanentError(`the value has ${size} characters, more than a job's output may have (${limits.outputBytes} bytes)`, {
      code: 'OUTPUT_TOO_LARGE',
    });
  return texts.map((text) => {
    try {
      return JSON.parse(text) as Json;
    } catch {
      return text;
    }
  });
}

function checkKey(key: string): void {
  if (key.length <= limits.storeKeyLength && /^[\x21-\x7a\x7c\x7e]+$/.test(key)) return;
  throw new PermanentError(`key ${JSON.stringify(key.slice(0, 100))} must be printable ASCII without spaces and braces`, {
    code: 'INVALID_KEY',
  });
}

/** Replies of the server begin with a word in capitals; everything else is the connection. */
function asJobError(error: unknown, target: string): Error {
  if (error instanceof PermanentError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const word = /^([A-Z]{3,})\b/.exec(message)?.[1];
  const passing = ['LOADING', 'BUSY', 'TRYAGAIN', 'MASTERDOWN', 'CLUSTERDOWN', 'READONLY', 'OOM', 'NOREPLICAS', 'UNKILLABLE'];
  if (word === undefined || word.startsWith('ECONN'))
    return new RetryableError(`${target}: ${message}`, { code: 'CONNECTION_FAILED', cause: error });
  if (passing.includes(word)) return new RetryableError(`${target}: ${message}`, { code: 'STORE_BUSY', cause: error });
  return new PermanentError(`${target}: ${message}`, { code: 'STORE_REJECTED', cause: error });
}
