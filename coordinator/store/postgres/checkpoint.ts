/**
 * Checkpoints, and the reading of all that was committed: the workflows of the checkpoint, then the journal after it.
 *
 * Invariants
 * 1. A slice is written by the owner or not at all: it holds the row of `checkpoint_state` for as long as it writes, and whoever takes the shard changes that row.
 *    It never changes `shard`, which commits do.
 * 2. Whoever knows of an event, or a slice, that is not there writes nothing: see `Known`.
 * 3. What is read is whole and in order, as of one moment: it ends at the event, and with the chain, that `shard` had then.
 */
import { JournalDamaged } from '@workflow-orchestrator/engine/machine';
import { chainAfter, type EncodedEntries, type EntryReader, encodeEntries } from '../journal.ts';
import type { Known } from '../known.ts';
import { type CheckpointSlice, type Kept, type LoadedPart, type Ownership, StoreUnavailable } from '../store.ts';
import { type Database, SHARD } from './database.ts';
import { messageOf } from './failure.ts';
import type { Row } from './link.ts';
import { putPayloads } from './payload.ts';
import { cleanJson, statement } from './statement.ts';

/** $1 shard, $2 epoch, $3 term, $4 number of this slice (the table calls it `round`), $5 the last slice and $6 the last event that must be there. */
const FENCE = `where shard_id = $1 and epoch = $2 and term_id = $3 and round between $5 and $4
    and $6 <= (select last_seq from shard where shard_id = $1)`;

/**
 * Rows come as JSON, `[workflow_id, seq, crc, payloads, offset, length]`, with one value for all bodies. A slice that comes late finds a later one there.
 */
const sliceStatement = statement(`
with fence as (
  update checkpoint_state set round = $4 ${FENCE} returning 1
), written as (
  insert into checkpoint (shard_id, workflow_id, seq, codec, crc, body, payloads)
  select $1, r->>0, (r->>1)::bigint, $7, (r->>2)::bigint, substring($8 from (r->>4)::integer for (r->>5)::integer), string_to_array(r->>3, ',')
  from fence, json_array_elements($9::json) as rows (r)
  on conflict (shard_id, workflow_id) do update set seq = excluded.seq, codec = excluded.codec, crc = excluded.crc, body = excluded.body, payloads = excluded.payloads
)
select 1 from fence`);

const finishStatement = statement(`
with finished as (
  update checkpoint_state set seq = greatest(seq, $7), round = $4 ${FENCE} returning 1
), dropped as (
  delete from checkpoint using finished
  where shard_id = $1 and workflow_id in (select json_array_elements_text($8::json))
)
select 1 from finished`);

/** From which event on the journal is needed, and where it ends. */
const rangeStatement = statement('select seq, last_seq, chain from shard join checkpoint_state using (shard_id) where shard_id = $1');

/** Rows up to so many bytes together, and always one. How long a body is is known without reading it. */
const page = (table: string, key: string, columns: string, range = ''): string => `
select ${columns} from (
  select *, sum(octet_length(body)) over (order by ${key}) - octet_length(body) as before
  from (select * from ${table} where shard_id = $1 and ${key} > $2 ${range} order by ${key} limit $3) as following
) as sized where before < $4 order by ${key}`;
const checkpointPage = statement(page('checkpoint', 'workflow_id', 'workflow_id, codec, crc, body'));
const journalPage = statement(page('journal', 'seq_to', 'seq_to, seq_from, codec, crc, chain, body', 'and seq_to <= $5'));
const PAGE_ROWS = 2_000;
const PAGE_BYTES = 8 * 1024 * 1024;
const PAGE_MS = 60_000;

/** Writes a slice. */
export async function writeSlice(
  database: Database,
  known: Known,
  { epoch, termId }: Ownership,
  { number, entries, finish }: CheckpointSlice,
): Promise<Kept> {
  const fence = [SHARD, epoch, termId, known.sliceOf(number), known.slice, Math.max(known.seq, finish?.seq ?? 0)] as const;
  try {
    const parts: string[] = [];
    if (entries.length > 0) {
      const { payloads, bodies, rows } = encodeSlice(entries);
      if (payloads.size > 0) parts.push(putPayloads(payloads));
      parts.push(sliceStatement(...fence, rows.codec, bodies, cleanJson(rows.list)));
    }
    if (finish !== null) parts.push(finishStatement(...fence, finish.seq, cleanJson(finish.ended)));
    if (parts.length === 0) return { kind: 'kept' };
    // Both are one transaction. The fence cannot be lost between them: the first holds its row.
    const answer = await database.ask(parts.join('; '));
    if (answer.length === 0) return { kind: 'fenced' };
    known.kept(termId, number);
    return { kind: 'kept' };
  } catch (error) {
    return { kind: 'unavailable', message: messageOf(error) };
  }
}

function encodeSlice(entries: CheckpointSlice['entries']) {
  const latest = new Map(entries.map((entry) => [entry.workflowId, entry]));
  const payloads = new Map<string, Uint8Array>();
  const bodies: Uint8Array[] = [];
  const list: unknown[] = [];
  let codec = 0;
  let offset = 1;
  for (const workflowId of [...latest.keys()].sort()) {
    const entry = latest.get(workflowId)!;
    const encoded = encodeEntries([entry], true);
    codec = encoded.codec;
    for (const [hash, body] of encoded.payloads) payloads.set(hash, body);
    const named = encoded.payloads.size === 0 ? null : [...encoded.payloads.keys()].join(',');
    list.push([workflowId, entry.firstEventSeq + entry.events.length - 1, encoded.crc, named, offset, encoded.body.length]);
    bodies.push(encoded.body);
    offset += encoded.body.length;
  }
  return { payloads, bodies: Buffer.concat(bodies), rows: { codec, list } };
}

/** All that was committed. */
export async function* readAll(database: Database, reader: EntryReader): AsyncIterable<LoadedPart> {
  const ask = async (text: string): Promise<readonly Row[]> => {
    try {
      return await database.ask(text, PAGE_MS);
    } catch (error) {
      throw new StoreUnavailable(`the journal cannot be read: ${messageOf(error)}`, { cause: error });
    }
  };
  const [range] = await ask(rangeStatement(SHARD));
  if (range === undefined) throw new JournalDamaged(`the tables shard and checkpoint_state have no row ${SHARD}`);
  yield { kind: 'place', seq: range.seq as number };
  let after = '';
  for await (const rows of pages(ask, (last) => checkpointPage(SHARD, (last?.workflow_id as string) ?? after, PAGE_ROWS, PAGE_BYTES))) {
    const entries = [];
    for (const row of rows) entries.push(...(await reader.read(encodedOf(row), `checkpoint of ${row.workflow_id}`)));
    after = rows.at(-1)!.workflow_id as string;
    yield { kind: 'checkpoint', entries };
  }
  let chain: number | null = null;
  let seq = range.seq as number;
  const until = range.last_seq as number;
  for await (const rows of pages(ask, (last) => journalPage(SHARD, (last?.seq_to as number) ?? seq, PAGE_ROWS, PAGE_BYTES, until))) {
    for (const row of rows) {
      const what = `journal ${row.seq_from}-${row.seq_to}`;
      if (row.seq_from !== seq + 1) throw new JournalDamaged(`${what}: the events after ${seq} are missing`);
      const encoded = encodedOf(row);
      if (chain !== null && chainAfter(chain, encoded.body) !== row.chain)
        throw new JournalDamaged(`${what}: it does not belong to what is before it`);
      chain = row.chain as number;
      seq = row.seq_to as number;
      yield { kind: 'batch', batch: await reader.readBatch(encoded, row.seq_from as number, seq) };
    }
  }
  if (seq !== until) throw new JournalDamaged(`the journal ends at event ${seq}, and ${until} were committed`);
  if (chain !== null && chain !== range.chain)
    throw new JournalDamaged(`journal: its last record, ${seq}, is not the one that was committed`);
}

/** Pages one after the other; while one is decoded, the next is under way. */
async function* pages(
  ask: (text: string) => Promise<readonly Row[]>,
  next: (last: Row | undefined) => string,
): AsyncIterable<readonly Row[]> {
  let rows = await ask(next(undefined));
  while (rows.length > 0) {
    const following = ask(next(rows.at(-1)));
    // Whoever stops reading leaves an answer that nobody waits for.
    following.catch(() => {});
    yield rows;
    rows = await following;
  }
}

function encodedOf({ codec, crc, body }: Row): Omit<EncodedEntries, 'payloads'> {
  return { codec: codec as number, crc: crc as number, body: body as Uint8Array };
}
