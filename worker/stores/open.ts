/** The stores of a worker: each is opened when a job first names it, and stays open. */
import type { Connections, StoreConnection } from '../connections/connections.ts';
import { findConnection } from '../connections/connections.ts';
import type { Logger } from '../logger.ts';
import { AppendedFiles, openFileStore } from './file.ts';
import { openPostgresStore } from './postgres.ts';
import { openRedisStore } from './redis.ts';
import type { Store } from './store.ts';

/** Stores by name. */
export interface Stores {
  /**
   * The store.
   * @throws PermanentError `UNKNOWN_CONNECTION`
   */
  get(name: string): Store;
  /** Closes those that are open. */
  close(): Promise<void>;
}

/** The stores that the connections file names. */
export function openStores(connections: Connections, log: Logger): Stores {
  const open = new Map<string, Store>();
  const appended = new AppendedFiles();

  const openStore = (connection: StoreConnection): Store => {
    switch (connection.kind) {
      case 'file':
        return openFileStore(connection, appended);
      case 'postgres':
        return openPostgresStore(connection);
      case 'redis':
        return openRedisStore(connection, (error) =>
          log.warn('a store is not reachable', { store: connection.name, error: connections.redactor.text(error.message) }),
        );
      default:
        return connection satisfies never;
    }
  };

  return {
    get(name) {
      const known = open.get(name);
      if (known !== undefined) return known;
      const store = openStore(findConnection(connections, 'store', name));
      open.set(name, store);
      return store;
    },
    async close() {
      await Promise.all([...open.values()].map((store) => store.close()));
      open.clear();
    },
  };
}
