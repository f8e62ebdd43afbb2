/** Definitions, by the hash of their content: kept for ever, each once, with the text that came first. */
import { type StoredDefinition, StoreUnavailable } from '../store.ts';
import type { Database } from './database.ts';
import { messageOf } from './failure.ts';
import type { Row } from './link.ts';
import { cleanJson, statement } from './statement.ts';

const columns = `hash, name, yaml, coalesce((extract(epoch from registered_at) * 1000)::bigint, 0) as registered_at`;

const putStatement = statement(`
insert into definition as d (hash, name, yaml, registered_at)
values ($1, $2, $3, to_timestamp(nullif($4::bigint, 0) / 1000.0))
on conflict (hash) do update set registered_at = greatest(d.registered_at, excluded.registered_at)
returning ${columns}`);

const registeredPage = statement(`
select ${columns} from definition where registered_at is not null and (registered_at, hash) > (to_timestamp($1 / 1000.0), $2)
order by definition.registered_at, hash limit $3`);

const byHashStatement = statement(`
select ${columns} from definition where hash in (select json_array_elements_text($1::json))`);

/** A text has up to 1 MiB. */
const PAGE = 50;

/** See `Store.putDefinition`. */
export async function putDefinition(database: Database, { hash, name, yaml, registeredAt }: StoredDefinition): Promise<StoredDefinition> {
  const [row] = await asked(database, putStatement(hash, name, yaml, registeredAt));
  return definitionOf(row!);
}

/** See `Store.definitions`. */
export async function* registeredDefinitions(database: Database): AsyncIterable<StoredDefinition> {
  let last: StoredDefinition | null = null;
  for (;;) {
    const rows: readonly Row[] = await asked(database, registeredPage(last?.registeredAt ?? 0, last?.hash ?? '', PAGE));
    for (const row of rows) {
      last = definitionOf(row);
      yield last;
    }
    if (rows.length < PAGE) return;
  }
}

/** See `Store.definitionsByHash`. */
export async function definitionsByHash(database: Database, hashes: readonly string[]): Promise<ReadonlyMap<string, StoredDefinition>> {
  const found = new Map<string, StoredDefinition>();
  for (let at = 0; at < hashes.length; at += PAGE) {
    const rows = await asked(database, byHashStatement(cleanJson(hashes.slice(at, at + PAGE))));
    for (const row of rows) found.set(row.hash as string, definitionOf(row));
  }
  return found;
}

async function asked(database: Database, text: string): Promise<readonly Row[]> {
  try {
    return await database.ask(text);
  } catch (error) {
    throw new StoreUnavailable(`definitions: ${messageOf(error)}`, { cause: error });
  }
}

function definitionOf({ hash, name, yaml, registered_at }: Row): StoredDefinition {
  return { hash: hash as string, name: name as string, yaml: yaml as string, registeredAt: registered_at as number };
}
