/** The embedded store holds the contract of stores. */
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t from 'tap';
import { type EmbeddedStore, openEmbeddedStore } from '../../coordinator/store/embedded/embedded.ts';
import { storeContract } from '../store-contract/contract.ts';

const quiet = { info: () => {}, warn: () => {} };

storeContract(t, 'embedded', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'wf-embedded-'));
  const opened: EmbeddedStore[] = [];
  return {
    isShared: false,
    open: async () => {
      const store = await openEmbeddedStore({ dataDir, log: quiet });
      opened.push(store);
      return store;
    },
    forget: async (afterSeq) => {
      const db = new DatabaseSync(join(dataDir, 'journal.db'));
      db.prepare('delete from journal where last_seq > ?').run(afterSeq);
      db.close();
    },
    dispose: async () => {
      for (const store of opened) await store.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
});
