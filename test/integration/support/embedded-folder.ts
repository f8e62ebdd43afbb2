/** Data folders for tests of the embedded store. */
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type EmbeddedOptions, type EmbeddedStore, openEmbeddedStore } from '../../../coordinator/store/embedded/embedded.ts';

/** Says nothing. */
export const quiet = { info: () => {}, warn: () => {} };

/** A folder, and stores on it. */
export interface EmbeddedFolder {
  readonly dataDir: string;
  readonly open: (options?: Partial<EmbeddedOptions>) => Promise<EmbeddedStore>;
}

/** A folder of the test's own: after it, the stores are closed and everything is removed. */
export async function folder(t: Test): Promise<EmbeddedFolder> {
  const dataDir = await mkdtemp(join(tmpdir(), 'wf-embedded-'));
  const opened: EmbeddedStore[] = [];
  t.teardown(async () => {
    for (const store of opened) await store.close();
    rmSync(dataDir, { recursive: true, force: true });
  });
  return {
    dataDir,
    open: async (options = {}) => {
      const store = await openEmbeddedStore({ dataDir, log: quiet, ...options });
      opened.push(store);
      return store;
    },
  };
}
