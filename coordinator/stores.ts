/**
 * Which store a coordinator has, by its settings. Only the code of the store that is used is loaded.
 *
 * | settings | tiers | acks |
 * | --- | --- | --- |
 * | DATABASE_URL and REDIS_URL | memory, Redis as live view, PostgreSQL | DURABLE |
 * | DATABASE_URL | memory, PostgreSQL | DURABLE |
 * | REDIS_URL | memory, Redis | REPLICATED_VOLATILE |
 * | DATA_DIR | memory, a journal in a file | DURABLE |
 * | none | memory | VOLATILE |
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { MemoryStore } from './store/memory/memory.ts';
import { type Store, StoreUnavailable } from './store/store.ts';

/** What decides. */
export interface StoreSettings {
  readonly databaseUrl: string | null;
  readonly redisUrl: string | null;
  /** What the names of all keys in Redis begin with. */
  readonly redisPrefix: string;
  readonly dataDir: string | null;
  readonly retentionDays: number;
}

/** Pause before a server that is not there yet is asked again. */
const RETRY_MS = 1_000;
/** How long a data folder may still be held by a process that has just ended. */
const FOLDER_RETRIES = 10;
const FOLDER_RETRY_MS = 300;

/** Opens the store. A server that does not answer yet is waited for; anything else that is wrong rejects with one clear line. */
export async function openStore(settings: StoreSettings, log: Logger): Promise<Store> {
  const { databaseUrl, redisUrl, redisPrefix: prefix, dataDir, retentionDays } = settings;
  const storeLog = {
    info: (message: string) => log.info(message),
    warn: (message: string) => log.warn(message),
  };
  if (databaseUrl !== null) {
    const { openPostgresStore } = await import('./store/postgres/postgres.ts');
    const store = await whenThere(
      () => openPostgresStore({ url: databaseUrl, retentionDays, log: (level, message) => log[level](message) }),
      log,
    );
    if (redisUrl === null) return store;
    const [{ openLiveView }, { TieredStore }] = await Promise.all([
      import('./store/redis/live-view.ts'),
      import('./store/tiered/tiered.ts'),
    ]);
    return new TieredStore(store, await openLiveView({ url: redisUrl, prefix, log: storeLog }));
  }
  if (redisUrl !== null) {
    const { openRedisStore } = await import('./store/redis/store.ts');
    return openRedisStore({ url: redisUrl, prefix, retentionMs: retentionDays * 86_400_000, log: storeLog });
  }
  if (dataDir === null) return new MemoryStore();
  const { FolderInUse, openEmbeddedStore } = await import('./store/embedded/embedded.ts');
  for (let tries = 0; ; tries++) {
    try {
      return await openEmbeddedStore({ dataDir, archivedMs: retentionDays * 86_400_000, log: storeLog });
    } catch (error) {
      if (!(error instanceof FolderInUse) || tries === FOLDER_RETRIES) throw error;
      await pause(FOLDER_RETRY_MS);
    }
  }
}

async function whenThere<T>(open: () => Promise<T>, log: Logger): Promise<T> {
  for (;;) {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      log.warn(`waiting for the database: ${error.message}`);
      await pause(RETRY_MS);
    }
  }
}
