/** Real servers for tests: see `service.ts`. */
export { postgres } from './postgres.ts';
export { redis } from './redis.ts';
export type { Service } from './service.ts';
