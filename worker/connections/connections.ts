/**
 * The named things that jobs speak of: schemas, endpoints, channels and stores, as the connections file describes them.
 * Descriptions only; what is open because of them belongs to the job types.
 */
import { nearest } from '@workflow-orchestrator/proto/nearest';
import { PermanentError } from '../errors.ts';
import type { Json } from '../handler.ts';
import type { NetworkRules } from '../http/address.ts';
import { Redactor } from './redactor.ts';

/** An HTTP address with everything that a workflow need not know. */
export interface HttpEndpoint {
  readonly kind: 'http';
  readonly name: string;
  readonly url: URL;
  readonly method: string;
  /** Lower-case names. */
  readonly headers: ReadonlyMap<string, string>;
  readonly timeoutMs: number;
}

/** A place in a store: data that is sent to it is kept there. */
export interface StoreEndpoint {
  readonly kind: 'store';
  readonly name: string;
  readonly store: string;
  readonly operation: 'append' | 'put' | 'insert' | 'upsert';
  /** Key in a file or Redis store, table in a PostgreSQL store. */
  readonly target: string;
}

/** Where data goes. */
export type Endpoint = HttpEndpoint | StoreEndpoint;

/** A channel that posts messages to an address. */
export interface WebhookChannel {
  readonly kind: 'webhook';
  readonly name: string;
  readonly url: URL;
  readonly headers: ReadonlyMap<string, string>;
  /** What is posted: the whole message as an object, or the shape that the service reads. */
  readonly format: 'json' | 'slack' | 'discord';
  readonly timeoutMs: number;
}

/** A channel that writes messages to the log. */
export interface LogChannel {
  readonly kind: 'log';
  readonly name: string;
  readonly level: 'info' | 'warn' | 'error';
}

/** Where messages for people go. */
export type Channel = WebhookChannel | LogChannel;

/** Files below a folder of the data folder: a JSON file a key, a file of JSON lines where values are appended. */
export interface FileStoreConnection {
  readonly kind: 'file';
  readonly name: string;
  /** Absolute. */
  readonly folder: string;
}

/** A table that jobs may write. */
export interface TableConnection {
  readonly name: string;
  /** Columns that jobs may set. */
  readonly columns: readonly string[];
  /** Columns that name a row; what `upsert`, `get` and `delete` go by. */
  readonly key: readonly string[];
  /** A column with a unique index that takes the idempotency key, so that a second attempt inserts nothing. */
  readonly idempotencyColumn: string | null;
}

/** Tables of a PostgreSQL database. */
export interface PostgresStoreConnection {
  readonly kind: 'postgres';
  readonly name: string;
  readonly url: string;
  readonly tables: ReadonlyMap<string, TableConnection>;
  readonly maxConnections: number;
}

/** Keys of a Redis database. */
export interface RedisStoreConnection {
  readonly kind: 'redis';
  readonly name: string;
  readonly url: string;
  /** Before every key, so that workflows reach only their own. */
  readonly prefix: string;
}

/** Where data is kept. */
export type StoreConnection = FileStoreConnection | PostgresStoreConnection | RedisStoreConnection;

/** Everything that the connections file names. */
export interface Connections {
  /** As people gave it; null when there is none. */
  readonly file: string | null;
  /** Folder below which jobs may keep and remove files, absolute; null when there is none. */
  readonly dataFolder: string | null;
  readonly schemas: ReadonlyMap<string, Json>;
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  readonly channels: ReadonlyMap<string, Channel>;
  readonly stores: ReadonlyMap<string, StoreConnection>;
  readonly network: NetworkRules;
  readonly redactor: Redactor;
}

/** No named things at all: what a worker without a connections file has. */
export function noConnections(dataFolder: string | null): Connections {
  return {
    file: null,
    dataFolder,
    schemas: new Map(),
    endpoints: new Map(),
    channels: new Map(),
    stores: new Map(),
    network: { allow: [] },
    redactor: new Redactor(),
  };
}

/** What the file can name. */
interface Named {
  schema: Json;
  endpoint: Endpoint;
  channel: Channel;
  store: StoreConnection;
}

/**
 * The named thing.
 * @throws PermanentError `UNKNOWN_CONNECTION`, with the names that there are.
 */
export function findConnection<K extends keyof Named>(connections: Connections, what: K, name: string): Named[K] {
  const maps: { [K in keyof Named]: ReadonlyMap<string, Named[K]> } = {
    schema: connections.schemas,
    endpoint: connections.endpoints,
    channel: connections.channels,
    store: connections.stores,
  };
  const found = maps[what].get(name);
  if (found !== undefined) return found;
  const names = [...maps[what].keys()];
  const known = names.length === 0 ? 'none' : names.slice(0, 20).join(', ') + (names.length > 20 ? ', ...' : '');
  const near = nearest(name, names);
  const noFile = connections.file === null ? '; this worker has no connections file (CONNECTIONS_FILE)' : '';
  throw new PermanentError(`no ${what} '${name}'; known: ${known}${near === null ? noFile : `; did you mean '${near}'?`}`, {
    code: 'UNKNOWN_CONNECTION',
    details: { [what]: name, known: names.slice(0, 100) },
  });
}
