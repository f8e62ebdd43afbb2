/** Unguessable names in plenty: chance is fetched from the system for many at once, for one by one it costs more than deciding a job. */
import { randomFillSync } from 'node:crypto';

/** 72 bits: twelve characters. */
const NONCE_BYTES = 9;
const POOL_BYTES = NONCE_BYTES * 512;

/** Gives unguessable text of twelve characters, never the same twice. */
export function nonces(): () => string {
  const pool = Buffer.alloc(POOL_BYTES);
  let used = POOL_BYTES;
  return () => {
    if (used === POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    used += NONCE_BYTES;
    return pool.toString('base64url', used - NONCE_BYTES, used);
  };
}

/** Gives chance for ids: a number from 0 to below 1 of eight random bits, which is more than the five that a character of a ULID takes. */
export function fractions(): () => number {
  const pool = Buffer.alloc(POOL_BYTES);
  let used = POOL_BYTES;
  return () => {
    if (used === POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    return pool[used++]! / 256;
  };
}
