/** The store that the simulator runs on keeps the contract of all stores: what is found on it is no fantasy. */
import t from 'tap';
import { asTheyAre } from '../sim/bytes.ts';
import { Chance } from '../sim/chance.ts';
import { Database } from '../sim/database.ts';
import { SimNode } from '../sim/node.ts';
import { calm } from '../sim/plan.ts';
import { PumpedClock } from '../sim/pump.ts';
import { SimStore } from '../sim/store.ts';
import { storeContract } from '../store-contract/contract.ts';

storeContract(t, 'simulated', async () => {
  const clock = new PumpedClock();
  const database = new Database(clock, new Chance(1).of('database'), calm);
  let opened = 0;
  let terms = 0;
  return {
    isShared: true,
    open: async () => {
      opened += 1;
      const node = new SimNode(`c${opened}`, clock);
      node.start();
      return new SimStore({
        database,
        node,
        leaseMs: 300,
        hasArchive: true,
        liveView: null,
        written: asTheyAre,
        newTerm: () => {
          terms += 1;
          return `term ${terms}`;
        },
        reached: () => {},
        isActive: () => false,
        onUnsureLease: () => {},
        onOwned: () => {},
      });
    },
    forget: async (afterSeq) => {
      database.batches = database.batches.filter(({ lastSeq }) => lastSeq <= afterSeq);
    },
    dispose: async () => clock.stop(),
  };
});
