/** Redis alone as the store of a shard: the contract of stores. */
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import t from 'tap';
import { openRedisStore } from '../../coordinator/store/redis/store.ts';
import type { Store } from '../../coordinator/store/store.ts';
import { redis } from '../services/services.ts';
import { storeContract } from '../store-contract/contract.ts';

const quiet = { info: () => {}, warn: () => {} };

const server = await redis(t);

t.test('the contract', { skip: server.skip }, async (t) => {
  storeContract(t, 'redis', async () => {
    const prefix = `test-${randomUUID()}`;
    const stores: Store[] = [];
    return {
      isShared: true,
      open: async () => {
        const store = await openRedisStore({ url: server.url, log: quiet, leaseMs: 300, prefix });
        stores.push(store);
        return store;
      },
      dispose: async () => {
        await Promise.all(stores.map((store) => store.close()));
        const admin = new Redis(server.url);
        for await (const keys of admin.scanStream({ match: `${prefix}*`, count: 500 })) if (keys.length > 0) await admin.unlink(...keys);
        admin.disconnect();
      },
    };
  });
});
