/** A real Redis for tests. */
import { inContainer } from './container.ts';
import { startRedis } from './redis-process.ts';
import { firstOf, type Service, type Started, type TestScope } from './service.ts';

/**
 * Redis: the one that `TEST_REDIS_URL` names, else a container, else a `redis-server` of this machine on a free port.
 * Keys in a server that is not the test's own (`isOwn`) must have a prefix of the test's own.
 */
export function redis(t: TestScope): Promise<Service> {
  return firstOf(t, 'Redis', [
    { name: 'TEST_REDIS_URL', start: async () => named(process.env.TEST_REDIS_URL) },
    {
      name: 'a container',
      start: () =>
        inContainer(
          'redis:7-alpine',
          6379,
          {},
          { pattern: /Ready to accept connections/, times: 1 },
          (host, port) => `redis://${host}:${port}`,
        ),
    },
    // Its data is in memory, and on disk only when it is stopped.
    { name: 'redis-server of this machine', start: () => startRedis('save') },
  ]);
}

function named(url: string | undefined): Started | { readonly why: string } {
  if (url === undefined || url === '') return { why: 'is not set' };
  return { url, close: async () => {}, stop: null, start: null };
}
