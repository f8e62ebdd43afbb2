/**
 * Definitions in Redis: texts by hash, and the order in which they were last registered.
 *
 * Invariant: the first text that was kept under a hash stays; the time of its registration only grows.
 */
import type { StoredDefinition } from '../store.ts';
import { type RedisConnection, readError, script } from './connection.ts';
import type { Keys } from './keys.ts';

/** KEYS: definitions, registered. ARGV: hash, text, time. Answers the text that is kept, and the time. */
const PUT = script(`
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] ~= '0' then redis.call('ZADD', KEYS[2], 'GT', ARGV[3], ARGV[1]) end
return {redis.call('HGET', KEYS[1], ARGV[1]), redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0'}
`);

/** Definitions that are read at once: each may have a MiB. */
const TEXTS = 16;
const HASHES = 500;

export class Definitions {
  readonly #redis: RedisConnection;
  readonly #keys: Keys;

  constructor(redis: RedisConnection, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  async put({ hash, name, yaml, registeredAt }: StoredDefinition): Promise<StoredDefinition> {
    const { definitions, registered } = this.#keys;
    try {
      const answer = await this.#redis.run(PUT, [definitions, registered], [hash, JSON.stringify([name, yaml]), registeredAt]);
      const [text, at] = answer as [string, string];
      return parse(hash, text, at);
    } catch (error) {
      throw readError(error);
    }
  }

  /** In the order of their registration. One that is registered anew meanwhile comes once, at its old place or its new one. */
  async *all(): AsyncIterable<StoredDefinition> {
    const seen = new Set<string>();
    let from = '-inf';
    let skip = 0;
    for (;;) {
      const page = await this.#page(from, skip);
      for (let at = 0; at < page.length; at += TEXTS) {
        const fresh = page.slice(at, at + TEXTS).filter(([hash]) => !seen.has(hash));
        for (const [hash] of fresh) seen.add(hash);
        yield* await this.#texts(fresh);
      }
      if (page.length < HASHES) return;
      const last = page.at(-1)![1];
      // Pages begin at a time, for ranks move; many may have the same.
      skip = last === from ? skip + HASHES : 0;
      from = last;
    }
  }

  async byHash(hashes: readonly string[]): Promise<ReadonlyMap<string, StoredDefinition>> {
    const found = new Map<string, StoredDefinition>();
    for (let at = 0; at < hashes.length; at += TEXTS) {
      const some = hashes.slice(at, at + TEXTS);
      const times = await this.#redis.call('ZMSCORE', this.#keys.registered, ...some).catch((error) => Promise.reject(readError(error)));
      const known = await this.#texts(some.map((hash, index) => [hash, (times as (string | null)[])[index] ?? '0']));
      for (const definition of known) found.set(definition.hash, definition);
    }
    return found;
  }

  async #page(from: string, skip: number): Promise<[string, string][]> {
    try {
      const flat = (await this.#redis.call(
        'ZRANGEBYSCORE',
        this.#keys.registered,
        from,
        '+inf',
        'WITHSCORES',
        'LIMIT',
        skip,
        HASHES,
      )) as string[];
      return Array.from({ length: flat.length / 2 }, (_, index) => [flat[2 * index], flat[2 * index + 1]]);
    } catch (error) {
      throw readError(error);
    }
  }

  async #texts(hashes: readonly (readonly [string, string])[]): Promise<StoredDefinition[]> {
    if (hashes.length === 0) return [];
    try {
      const texts = (await this.#redis.call('HMGET', this.#keys.definitions, ...hashes.map(([hash]) => hash))) as (string | null)[];
      return hashes.flatMap(([hash, at], index) => (texts[index] === null ? [] : [parse(hash, texts[index], at)]));
    } catch (error) {
      throw readError(error);
    }
  }
}

function parse(hash: string, text: string, at: string): StoredDefinition {
  const [name, yaml] = JSON.parse(text) as [string, string];
  return { hash, name, yaml, registeredAt: Number(at) };
}
