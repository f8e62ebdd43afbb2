/** Redis in front of PostgreSQL: the contract of stores, with everything that is archived shown in the view too, so that reads meet both. */
import { randomUUID } from 'node:crypto';
import t from 'tap';
import { openLiveView } from '../../coordinator/store/redis/live-view.ts';
import { TieredStore } from '../../coordinator/store/tiered/tiered.ts';
import { postgres, redis } from '../services/services.ts';
import { storeContract } from '../store-contract/contract.ts';
import { dropSpares, postgresHarness } from '../store-support/databases.ts';

const [database, cache] = await Promise.all([postgres(t), redis(t)]);
t.teardown(() => dropSpares(database.url));
const skip = database.skip || cache.skip;

if (skip !== false) t.test('Redis in front of PostgreSQL', { skip }, async () => {});
else {
  storeContract(t, 'redis, postgres', async () => {
    const harness = await postgresHarness(database.url);
    const prefix = `test-${randomUUID()}`;
    const open: TieredStore[] = [];
    return {
      isShared: harness.isShared,
      open: async () => {
        const view = await openLiveView({ url: cache.url, log: { info: () => {}, warn: () => {} }, prefix });
        const store = new TieredStore(await harness.open(), view);
        open.push(store);
        const archive = store.archive!;
        const write: typeof archive.write = async (workflows) => {
          await view.show({ epoch: 1, termId: '', lastSeq: 0 }, workflows);
          return archive.write(workflows);
        };
        return Object.assign(store, { archive: { ...archive, write } });
      },
      forget: harness.forget,
      dispose: async () => {
        await Promise.all(open.map((store) => store.close()));
        await harness.dispose();
      },
    };
  });
}
