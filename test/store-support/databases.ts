/** Empty databases in a PostgreSQL of the tests, and stores opened on them. */
import client from 'postgres';
import { openPostgresStore, type PostgresOptions, type PostgresStore } from '../../coordinator/store/postgres/postgres.ts';
import type { StoreHarness } from '../store-contract/contract.ts';

let made = 0;

/** A connection of the test's own, beside the store. */
export type Sql = ReturnType<typeof connect>;

/** Connects as a person would. */
export function connect(url: string) {
  return client(url, {
    max: 4,
    onnotice: () => {},
    connect_timeout: 10,
    types: { bigint: { to: 20, from: [20], parse: Number, serialize: String } },
  });
}

/** Runs statements as whoever the URL names. */
export async function execute(url: string, ...statements: readonly string[]): Promise<void> {
  const sql = connect(url);
  try {
    for (const statement of statements) await sql.unsafe(statement);
  } finally {
    await sql.end({ timeout: 2 });
  }
}

/** The URL with another part. */
export function changed(
  url: string,
  parts: { readonly port?: number; readonly database?: string; readonly user?: string; readonly query?: string },
): string {
  const other = new URL(url);
  if (parts.port !== undefined) other.port = String(parts.port);
  if (parts.database !== undefined) other.pathname = `/${parts.database}`;
  if (parts.user !== undefined) other.username = parts.user;
  if (parts.query !== undefined) other.search = parts.query;
  return other.href;
}

/** A new database in the server; its URL, and how it is dropped. */
export async function emptyDatabase(server: string): Promise<{ readonly url: string; drop(): Promise<void> }> {
  const name = `store_${process.pid}_${++made}`;
  await execute(server, `create database ${name}`);
  return { url: changed(server, { database: name }), drop: () => execute(server, `drop database if exists ${name} with (force)`) };
}

const RESET = `
truncate journal, checkpoint, workflow, definition, payload;
update shard set epoch = 0, term_id = '00000000-0000-0000-0000-000000000000', last_seq = 0, chain = 0, lease_until = 'epoch', owner = '', address = '';
update checkpoint_state set epoch = 0, term_id = '00000000-0000-0000-0000-000000000000', seq = 0`;
/** Workflows of the contract have ids of a fixed day: however long ago that is, the clean-up at the start must not take them away in the middle of a case. */
const KEPT_DAYS = 10_000;
/** Databases that were emptied, by server: making one anew takes ten times as long. */
const spare = new Map<string, { readonly url: string; drop(): Promise<void> }[]>();

/** A journal in a database of its own. */
export interface PostgresHarness extends StoreHarness {
  readonly url: string;
  open(): Promise<PostgresStore>;
}

/** A journal for the contract of stores. `port`: another way to the same server. */
export async function postgresHarness(server: string, options: Partial<PostgresOptions> = {}, port?: number): Promise<PostgresHarness> {
  const database = spare.get(server)?.pop() ?? (await emptyDatabase(server));
  const opened: PostgresStore[] = [];
  let isOver = false;
  return {
    url: database.url,
    isShared: true,
    open: async () => {
      const url = changed(database.url, port === undefined ? {} : { port });
      const store = await openPostgresStore({ url, leaseMs: 300, retentionDays: KEPT_DAYS, ...options });
      opened.push(store);
      return store;
    },
    forget: (afterSeq) => execute(database.url, `delete from journal where seq_to > ${afterSeq}`),
    dispose: async () => {
      if (isOver) return;
      isOver = true;
      await Promise.all(opened.splice(0).map((store) => store.close()));
      await execute(database.url, RESET);
      spare.set(server, [...(spare.get(server) ?? []), database]);
    },
  };
}

/** Drops what `postgresHarness` made. */
export async function dropSpares(server: string): Promise<void> {
  for (const { drop } of spare.get(server)?.splice(0) ?? []) await drop();
}
