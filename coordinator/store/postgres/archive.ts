/**
 * Workflows at rest in the table `workflow`: written in bulk with one statement, read by id, by key and as lists.
 *
 * Invariants, in the statement itself, so that they hold between coordinators
 * 1. A row is replaced only by one whose `seq` is not lower, whoever writes.
 * 2. The owner writes, and only where everything is there that it knows of: what rows rest on may be lost, and the journal go on otherwise. See `Known`.
 */
import { type EncodedEntries, type EntryReader, encodeEntries } from '../journal.ts';
import type { Known } from '../known.ts';
import { ReaderPool } from '../reader-pool.ts';
import {
  type Archive,
  type ArchivedWorkflow,
  type JournalEntry,
  type Kept,
  type KeyOwner,
  type ListFilter,
  StoreUnavailable,
} from '../store.ts';
import { dateOf, dayOf, isWhole, keyText, rowOf } from './archive-row.ts';
import { type Database, SHARD } from './database.ts';
import { codeOf, messageOf } from './failure.ts';
import type { Row } from './link.ts';
import { putPayloads } from './payload.ts';
import { cleanJson, statement } from './statement.ts';

const COLUMNS = [
  'name',
  'version',
  'definition_hash',
  'status',
  'submitted_at',
  'started_at',
  'ended_at',
  'labels',
  'idempotency_key',
  'request_hash',
  'error',
  'outputs',
  'jobs',
  'seq',
  'codec',
  'crc',
  'history',
  'payloads',
];

const writeStatement = statement(`
with known as (select 1 from shard where shard_id = $1 and term_id = $4 and last_seq >= $5), written as (
insert into workflow (shard_id, id, day, ${COLUMNS.join(', ')})
select $1, id, day, name, version, definition_hash, status, submitted_at, started_at, ended_at, labels, idempotency_key, request_hash, error, outputs, jobs, seq,
  codec, crc, substring($2 from history_from for history_length), string_to_array(payloads, ',')
from known, json_to_recordset($3::json) as r (
  id text, day date, name text, version text, definition_hash text, status text, submitted_at timestamptz, started_at timestamptz, ended_at timestamptz,
  labels jsonb, idempotency_key text, request_hash text, error jsonb, outputs jsonb, jobs jsonb, seq bigint,
  codec integer, crc bigint, history_from integer, history_length integer, payloads text
)
on conflict (shard_id, id, day) do update set ${COLUMNS.map((name) => `${name} = excluded.${name}`).join(', ')}
where workflow.seq <= excluded.seq
)
select 1 from known`);

const getStatement = statement(`
select id, codec, crc, history from workflow where shard_id = $1 and id = $2 and day = $3::date and history is not null`);

const keysStatement = statement(`
select distinct on (idempotency_key) idempotency_key, id, request_hash from workflow
where shard_id = $1 and idempotency_key in (select json_array_elements_text($2::json)) order by idempotency_key, id`);

const openStatement = statement(`
select id, seq from workflow where shard_id = $1 and ended_at is null and id > $2 order by id limit $3`);

const listStatement = statement(`
select id, codec, crc, history from workflow
where shard_id = $1 and history is not null
  and ($2 = '' or id < $2) and ($3 = '' or day <= nullif($3, '')::date)
  and ($4 = '' or status = any (string_to_array($4, ',')))
  and ($5 = '' or name = $5)
  and ($6 = '' or submitted_at >= to_timestamp(nullif($6, '')::double precision / 1000))
  and ($7 = '' or submitted_at < to_timestamp(nullif($7, '')::double precision / 1000))
  and ($8::jsonb = '{}' or labels @> $8::jsonb)
order by id desc limit $9`);

const OPEN_PAGE = 20_000;
/** A partition went away, or somebody who makes or drops one was in the way (deadlock, lock not to be had): at once again. */
const MEANWHILE: ReadonlySet<string> = new Set(['23514', '40P01', '55P03']);
const WRITE_TRIES = 4;

export class PostgresArchive implements Archive {
  readonly #database: Database;
  readonly #known: Known;
  readonly #readers: ReaderPool;
  readonly #makePartitions: (days: readonly number[], isSure: boolean) => Promise<void>;

  /** `makePartitions`: makes those of the days, as days since 1970, that are not known to be there; with `isSure` those that are missing though they are. */
  constructor(
    database: Database,
    known: Known,
    makeReader: () => EntryReader,
    makePartitions: (days: readonly number[], isSure: boolean) => Promise<void>,
  ) {
    this.#database = database;
    this.#known = known;
    this.#readers = new ReaderPool(makeReader);
    this.#makePartitions = makePartitions;
  }

  async write(workflows: readonly ArchivedWorkflow[]): Promise<Kept> {
    if (workflows.length === 0) return { kind: 'kept' };
    try {
      const text = writeText(workflows, this.#known);
      const days = [...new Set(workflows.map(({ state }) => dayOf(state.id)))];
      for (let tries = 1; ; tries++) {
        try {
          // The second time one is missing that was known to be there: it was dropped meanwhile.
          await this.#makePartitions(days, tries > 1);
          const answer = await this.#database.ask(text);
          return { kind: answer.length > 0 ? 'kept' : 'fenced' };
        } catch (error) {
          if (tries === WRITE_TRIES || !MEANWHILE.has(codeOf(error))) throw error;
        }
      }
    } catch (error) {
      return { kind: 'unavailable', message: messageOf(error) };
    }
  }

  async get(workflowId: string): Promise<JournalEntry | null> {
    if (workflowId.includes('\0')) return null;
    const rows = await this.#ask(getStatement(SHARD, workflowId, dateOf(dayOf(workflowId))));
    return rows.length === 0 ? null : this.#entryOf(rows[0]!);
  }

  async byKeys(keys: readonly string[]): Promise<ReadonlyMap<string, KeyOwner>> {
    const asked = new Map(keys.filter((key) => key !== '').map((key) => [keyText(key)!, key]));
    if (asked.size === 0) return new Map();
    const rows = await this.#ask(keysStatement(SHARD, cleanJson([...asked.keys()])));
    return new Map(
      rows.map((row) => [
        asked.get(row.idempotency_key as string)!,
        { workflowId: row.id as string, requestHash: (row.request_hash as string | null) ?? '' },
      ]),
    );
  }

  async list(filter: ListFilter): Promise<readonly JournalEntry[]> {
    const { beforeId, submittedAfter, submittedBefore, limit } = filter;
    const day = beforeId === '' || dayOf(beforeId) === 0 ? '' : dateOf(dayOf(beforeId));
    const text = listStatement(
      SHARD,
      beforeId.replaceAll('\0', ''),
      day,
      [...filter.statuses].join(','),
      filter.name.replaceAll('\0', '\ufffd'),
      submittedAfter > 0 && Number.isFinite(submittedAfter) ? String(submittedAfter) : '',
      Number.isFinite(submittedBefore) ? String(submittedBefore) : '',
      cleanJson(Object.fromEntries(filter.labels)),
      limit,
    );
    const entries: JournalEntry[] = [];
    for (const row of await this.#ask(text)) entries.push(await this.#entryOf(row));
    return entries;
  }

  async openSeqs(): Promise<ReadonlyMap<string, number>> {
    const found = new Map<string, number>();
    let last = '';
    for (;;) {
      const rows = await this.#ask(openStatement(SHARD, last, OPEN_PAGE));
      for (const { id, seq } of rows) found.set(id as string, seq as number);
      if (rows.length < OPEN_PAGE) return found;
      last = rows.at(-1)!.id as string;
    }
  }

  async #entryOf({ id, codec, crc, history }: Row): Promise<JournalEntry> {
    const encoded: Omit<EncodedEntries, 'payloads'> = { codec: codec as number, crc: crc as number, body: history as Uint8Array };
    const [entry] = await this.#readers.reader().read(encoded, `archived workflow ${id}`);
    if (entry === undefined) throw new Error(`archived workflow ${id}: it has no history`);
    return entry;
  }

  async #ask(text: string): Promise<readonly Row[]> {
    try {
      return await this.#database.ask(text);
    } catch (error) {
      // A question that PostgreSQL does not take is no outage.
      if (/^(22|42)/.test(codeOf(error))) throw error;
      throw new StoreUnavailable(`the archive cannot be read: ${messageOf(error)}`, { cause: error });
    }
  }
}

/** The statements that write workflows, the latest state of each, in the order of ids, so that two that write the same ones wait for each other in order. */
function writeText(workflows: readonly ArchivedWorkflow[], { termId, seq }: Known): string {
  const latest = new Map<string, ArchivedWorkflow>();
  for (const workflow of workflows) {
    const known = latest.get(workflow.state.id);
    if (known === undefined || known.state.seq <= workflow.state.seq) latest.set(workflow.state.id, workflow);
  }
  const now = Date.now();
  const payloads = new Map<string, Uint8Array>();
  const bodies: Uint8Array[] = [];
  let from = 1;
  const rows = [...latest.keys()].sort().map((id) => {
    const { state, events } = latest.get(id)!;
    const row = rowOf(state, now);
    if (!isWhole(state)) return row;
    const { codec, crc, body, payloads: large } = encodeEntries([{ workflowId: id, firstEventSeq: 1, events }], true);
    for (const [hash, value] of large) payloads.set(hash, value);
    bodies.push(body);
    const history = { history_from: from, history_length: body.length };
    from += body.length;
    return { ...row, codec, crc, ...history, ...(large.size === 0 ? {} : { payloads: [...large.keys()].join(',') }) };
  });
  const text = writeStatement(SHARD, Buffer.concat(bodies), cleanJson(rows), termId, seq);
  return payloads.size === 0 ? text : `${putPayloads(payloads)}; ${text}`;
}
