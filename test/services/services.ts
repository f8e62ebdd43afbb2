/**
 * Real servers for tests: see `service.ts`.
 *
 *     const [store, cache] = await Promise.all([postgres(t), redis(t)]);   // before the first t.test: tap ends a file that has none left
 *     t.test('keeps what it is given', { skip: store.skip }, async (t) => { ... store.url ... });
 */
export { pgbouncer } from './pgbouncer.ts';
export { postgres } from './postgres.ts';
export { redis } from './redis.ts';
export type { Service } from './service.ts';
