/**
 * Large values, kept once by their hash.
 *
 * Invariants
 * 1. A value is there before anything that names it: its statement stands in front, in the same transaction.
 * 2. A value that something new names is one of today's, so that it is not deleted though nothing old names it any more.
 */
import type { Database } from './database.ts';
import { SHARD } from './database.ts';
import { statement } from './statement.ts';

const put = statement(`
insert into payload (shard_id, hash, body, used_on) values ($1, $2, $3, (clock_timestamp() at time zone 'utc')::date)
on conflict (shard_id, hash) do update set used_on = excluded.used_on where payload.used_on < excluded.used_on`);

const byHashes = statement(`
select hash, body from payload where shard_id = $1 and hash = any (string_to_array($2, ','))`);

/** The journal has no index by value, which every commit would pay for: it is read once for each piece. In small pieces: whatever names a value that is deleted has written it anew, and waits for a moment at most. */
const deleteUnused = statement(`
with journalled as materialized (
  select unnest(payloads) as hash from journal where payloads is not null
), old as (
  select hash from payload p
  where shard_id = $1 and used_on < (clock_timestamp() at time zone 'utc')::date - $2
    and not exists (select from workflow where payloads is not null and payloads @> array[p.hash])
    and not exists (select from checkpoint where payloads is not null and payloads @> array[p.hash])
    and not exists (select from journalled where journalled.hash = p.hash)
  order by used_on limit $3
)
delete from payload where shard_id = $1 and hash in (select hash from old) and used_on < (clock_timestamp() at time zone 'utc')::date - $2
returning hash`);

/** Values fetched, and looked at to be deleted, at once. */
const FETCHED = 16;
const DELETED = 500;

/** The statements that write values, sorted so that two that write the same ones wait for each other in order. */
export function putPayloads(payloads: ReadonlyMap<string, Uint8Array>): string {
  return [...payloads]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([hash, body]) => put(SHARD, hash, body))
    .join('; ');
}

/** Values by their hashes. */
export async function readPayloads(database: Database, hashes: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  for (let at = 0; at < hashes.length; at += FETCHED) {
    const rows = await database.ask(byHashes(SHARD, hashes.slice(at, at + FETCHED).join(',')));
    for (const { hash, body } of rows) found.set(hash as string, body as Uint8Array);
  }
  return found;
}

/** Deletes values that nothing names and that nothing has used for `keepDays`; how many. */
export async function deletePayloads(database: Database, keepDays: number): Promise<number> {
  let deleted = 0;
  for (;;) {
    const rows = await database.ask(deleteUnused(SHARD, keepDays, DELETED));
    deleted += rows.length;
    if (rows.length < DELETED) return deleted;
  }
}
