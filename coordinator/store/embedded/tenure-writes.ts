/**
 * Ownership, commits, definitions and checkpoints, as transactions of the writer's thread.
 *
 * Invariants
 * 1. What is fenced is fenced in the same transaction that writes.
 * 2. Commits, ownership and definitions are synced before they answer. A checkpoint is not: the log keeps the order, so that what was deleted for it is back where it is lost.
 * 3. What may wait is cut into pieces of a millisecond or two, each a transaction of its own: a generator yields between them.
 */
import { crc32 } from 'node:zlib';
import type { StoredDefinition } from '../store.ts';
import type { Committed, Held, Term, WriterCalls } from './calls.ts';
import type { Database } from './database.ts';
import { dropPayloads, keepPayloads } from './payload-uses.ts';

/** Rows and bytes of one piece. */
const PIECE_ROWS = 50;
const PIECE_BYTES = 128 * 1024;

interface ShardRow {
  readonly epoch: number;
  readonly term_id: string;
  readonly last_seq: number;
  readonly chain: number;
}

function shardOf(db: Database): ShardRow {
  return db.sql('select epoch, term_id, last_seq, chain from shard').get() as unknown as ShardRow;
}

function holds(shard: ShardRow, { epoch, termId }: Term): boolean {
  return shard.epoch === epoch && shard.term_id === termId;
}

export function acquire(db: Database, { termId }: WriterCalls['acquire'][0]): WriterCalls['acquire'][1] {
  return db.transaction('DURABLE', () => {
    const { epoch, last_seq: lastSeq } = shardOf(db);
    db.sql('update shard set epoch = ?, term_id = ?').run(epoch + 1, termId);
    return { epoch: epoch + 1, lastSeq };
  });
}

export function look(db: Database, term: Term): Held {
  const shard = shardOf(db);
  return holds(shard, term) ? { isHeld: true, lastSeq: shard.last_seq } : { isHeld: false };
}

/** Nobody has the shard: its epoch stays, so that the next one is higher. */
export function release(db: Database, { epoch, termId }: Term): null {
  db.transaction('DURABLE', () => db.sql("update shard set term_id = '' where epoch = ? and term_id = ?").run(epoch, termId));
  return null;
}

/** Takes the shard anew where it is still this term's, or where an earlier call for it did so and its answer was not heard. */
export function reclaim(db: Database, request: WriterCalls['reclaim'][0]): WriterCalls['reclaim'][1] {
  return db.transaction('DURABLE', () => {
    const shard = shardOf(db);
    const next = { epoch: request.epoch + 1, termId: request.nextTermId };
    if (holds(shard, request)) db.sql('update shard set epoch = ?, term_id = ?').run(next.epoch, next.termId);
    else if (!holds(shard, next)) return { isHeld: false };
    return { isHeld: true, lastSeq: shard.last_seq };
  });
}

export function commit(db: Database, request: WriterCalls['commit'][0]): Committed {
  const { firstSeq, lastSeq, record } = request;
  return db.transaction('DURABLE', () => {
    const shard = shardOf(db);
    if (!holds(shard, request)) return { kind: 'fenced' };
    if (firstSeq !== shard.last_seq + 1) {
      return { kind: 'mismatch', message: `batch starts at ${firstSeq}, the journal ends at ${shard.last_seq}` };
    }
    const { codec, crc, body, payloads } = record;
    const chain = crc32(body, shard.chain);
    keepPayloads(db, 'j', String(lastSeq), payloads);
    db.sql('insert into journal values (?, ?, ?, ?, ?, ?, ?)').run(lastSeq, firstSeq, request.epoch, codec, crc, chain, body);
    db.sql('update shard set last_seq = ?, chain = ?').run(lastSeq, chain);
    return { kind: 'durable' };
  });
}

export function putDefinition(db: Database, { hash, name, yaml, registeredAt }: StoredDefinition): StoredDefinition {
  return db.transaction('DURABLE', () => {
    const kept = db
      .sql(
        `insert into definition values (?, ?, ?, ?) on conflict (hash) do update set registered_at = max(registered_at, excluded.registered_at)
         returning hash, name, yaml, registered_at as "registeredAt"`,
      )
      .get(hash, name, yaml, registeredAt);
    return { ...kept } as unknown as StoredDefinition;
  });
}

/** The latest slice that an owner wrote something of. What is under way for longer ends before its next piece, or with this thread. */
let latest = { epoch: 0, number: 0 };

/** Whether the slice may write: the owner has the shard, and none after this slice has begun. From then on none before it may. */
function isLatest(shard: ShardRow, slice: WriterCalls['checkpoint'][0]): boolean {
  const { epoch, number } = slice;
  // Who holds the shard has the highest epoch there was, so that `latest` only goes forward.
  if (!holds(shard, slice) || (epoch === latest.epoch && number < latest.number)) return false;
  latest = { epoch, number };
  return true;
}

/** Keeps a slice, piece by piece; false when it is not this slice's to write, or not any more: each piece asks anew. */
export function* checkpoint(db: Database, request: WriterCalls['checkpoint'][0]): Generator<undefined, boolean> {
  const { rows, finish } = request;
  let at = 0;
  while (at < rows.length) {
    const isKept = db.transaction('LATER', () => {
      if (!isLatest(shardOf(db), request)) return false;
      for (let bytes = 0, count = 0; at < rows.length && count < PIECE_ROWS && bytes < PIECE_BYTES; at++, count++) {
        const { workflowId, codec, crc, body, payloads } = rows[at];
        dropPayloads(db, 'c', workflowId, payloads);
        keepPayloads(db, 'c', workflowId, payloads);
        db.sql('insert or replace into checkpoint values (?, ?, ?, ?)').run(workflowId, codec, crc, body);
        bytes += body.length;
      }
      return true;
    });
    if (!isKept) return false;
    yield;
  }
  return db.transaction('LATER', () => {
    const shard = shardOf(db);
    if (!isLatest(shard, request)) return false;
    if (finish !== null) {
      if (finish.seq > shard.last_seq) return false;
      // Rows are deleted afterwards, a few at a time; that they do not count any more is said here.
      db.sql('update shard set checkpoint_seq = max(checkpoint_seq, ?)').run(finish.seq);
      if (finish.ended !== '[]') db.sql('insert into checkpoint_ended (ids) values (?)').run(finish.ended);
    }
    return true;
  });
}
