/**
 * Reading a shard for its recovery, in steps of a few megabytes.
 *
 * Invariants
 * 1. A journal that is gone, with a gap, a wrong end or a broken chain is an error; it is never read as if it were whole.
 * 2. A step brings what its deadline (`redisStepMs`) leaves time for: a few megabytes, or one value that is larger.
 */
import { JournalDamaged } from '@workflow-orchestrator/engine/machine';
import { chainAfter, type EntryReader } from '../journal.ts';
import type { LoadedPart } from '../store.ts';
import { type RedisConnection, readError } from './connection.ts';
import type { Keys } from './keys.ts';
import { copyOf, unpack } from './record.ts';
import { READ } from './shard-scripts.ts';

/** Bytes that one read should bring. */
const STEP_BYTES = 4 * 1024 * 1024;
/** Values that one read may ask for: as many of the largest batches, after small ones, still come in time. */
const STEP_VALUES = 128;
/** What the first step asks for. A batch has the size of a commit at most; a history has none. */
const FIRST_BATCHES = 16;
const FIRST_WORKFLOWS = 1;

interface Row {
  readonly epoch: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly codec: number;
  readonly crc: number;
  readonly chain: number;
  readonly body: Uint8Array;
}

/** How many values the next read asks for: what the last one brought says how large they are. Grows step by step, for those to come may be larger. */
class Step {
  #count: number;

  constructor(first: number) {
    this.#count = first;
  }

  get count(): number {
    return this.#count;
  }

  brought(values: number, bytes: number): void {
    const fitting = Math.floor(STEP_BYTES / Math.max(1, bytes / Math.max(1, values)));
    this.#count = Math.max(1, Math.min(fitting, 2 * this.#count, STEP_VALUES));
  }
}

/** The workflows of the checkpoint, then the batches after it, up to the last event there is now. */
export async function* loadParts(redis: RedisConnection, keys: Keys, reader: EntryReader): AsyncIterable<LoadedPart> {
  const header = await read(redis.run(READ, [keys.shard, keys.journal, keys.checkpoint], []));
  const [lastSeq, checkpointSeq, journals, records, recordsKept] = (header as (string | number)[]).map(Number);
  checkWhole(keys, lastSeq, journals > 0, records, recordsKept);
  yield { kind: 'place', seq: checkpointSeq };
  yield* checkpointed(redis, keys, reader);
  let at = checkpointSeq;
  let before: Row | null = null;
  for await (const row of rows(redis, keys, checkpointSeq, lastSeq)) {
    if (row.firstSeq !== at + 1) throw new JournalDamaged(`the journal has a gap: after event ${at} comes ${row.firstSeq}`);
    const from = before?.chain ?? (row.firstSeq === 1 ? 0 : null);
    if (from !== null && chainAfter(from, row.body) !== row.chain)
      throw new JournalDamaged(`journal ${row.firstSeq}-${row.lastSeq}: the chain is broken`);
    if (before !== null && row.epoch < before.epoch)
      throw new JournalDamaged(`journal ${row.firstSeq}-${row.lastSeq}: its epoch is an earlier one`);
    yield { kind: 'batch', batch: await reader.readBatch(row, row.firstSeq, row.lastSeq) };
    at = row.lastSeq;
    before = row;
  }
  if (at !== lastSeq) throw new JournalDamaged(`the journal ends at ${at}, and should at ${lastSeq}: a part of it is gone`);
}

/** Either there is all of it or, before the first commit and on an emptied server, nothing. */
function checkWhole(keys: Keys, lastSeq: number, hasJournal: boolean, records: number, recordsKept: number): void {
  const { shard, journal, checkpoint, every } = keys;
  const fail = (what: string): never => {
    throw new JournalDamaged(`${what}; put the keys ${every} back from a copy, or remove them all to begin anew`);
  };
  if (lastSeq > 0 && !hasJournal) fail(`the journal is gone: ${lastSeq} events were committed, and ${journal} is not there`);
  if (lastSeq === 0 && (hasJournal || records > 0)) {
    fail(`the end of the journal is gone: ${hasJournal ? journal : checkpoint} is there, and ${shard} knows of no event`);
  }
  if (records !== recordsKept)
    fail(`the checkpoint is gone: ${recordsKept} workflows were kept in ${checkpoint}, and ${records} are there`);
}

async function* checkpointed(redis: RedisConnection, keys: Keys, reader: EntryReader): AsyncIterable<LoadedPart> {
  // A scan may bring the same workflow twice.
  const seen = new Set<string>();
  const step = new Step(FIRST_WORKFLOWS);
  let cursor = '0';
  do {
    const [next, flat] = (await read(redis.callBuffer('HSCAN', keys.checkpoint, cursor, 'COUNT', step.count))) as [Buffer, Buffer[]];
    cursor = next.toString();
    const entries = [];
    let bytes = 0;
    for (let at = 0; at < flat.length; at += 2) {
      bytes += flat[at + 1].length;
      const id = flat[at].toString();
      if (seen.has(id)) continue;
      seen.add(id);
      const what = `checkpoint of ${id}`;
      entries.push(...(await reader.read(unpack(flat[at + 1], what), what)));
    }
    step.brought(flat.length / 2, bytes);
    if (entries.length > 0) yield { kind: 'checkpoint', entries };
  } while (cursor !== '0');
}

async function* rows(redis: RedisConnection, keys: Keys, after: number, until: number): AsyncIterable<Row> {
  let from = after;
  const step = new Step(FIRST_BATCHES);
  while (from < until) {
    const { count } = step;
    const found = (await read(redis.callBuffer('XRANGE', keys.journal, `(${from}`, until, 'COUNT', count))) as [Buffer, Buffer[]][];
    let bytes = 0;
    for (const [id, fields] of found) {
      const row = rowOf(id.toString(), fields);
      bytes += row.body.length;
      from = row.lastSeq;
      yield row;
    }
    if (found.length < count) return;
    step.brought(found.length, bytes);
  }
}

function rowOf(id: string, fields: readonly Buffer[]): Row {
  const values = new Map<string, Buffer>();
  for (let at = 0; at < fields.length; at += 2) values.set(fields[at].toString(), fields[at + 1]);
  const number = (name: string): number => Number(values.get(name)?.toString() ?? Number.NaN);
  const body = values.get('b');
  if (body === undefined) throw new JournalDamaged(`journal ${id}: no record is in it`);
  return {
    lastSeq: Number(id.split('-')[0]),
    epoch: number('e'),
    firstSeq: number('f'),
    codec: number('c'),
    crc: number('r'),
    chain: number('h'),
    body: copyOf(body),
  };
}

function read<T>(answer: Promise<T>): Promise<T> {
  return answer.catch((error: unknown) => {
    throw readError(error);
  });
}
