/**
 * What the writer's thread does when nobody waits for it: deletes what a finished checkpoint stands for, and gives room back to the disk.
 *
 * Invariants
 * 1. It starts from what the file says, so that it goes on after a crash where it was.
 * 2. A piece is a transaction of a millisecond or two.
 */
import type { Database } from './database.ts';
import { dropPayloads } from './payload-uses.ts';

const PIECE_ROWS = 50;
const PIECE_BYTES = 256 * 1024;
/** The file shrinks when a third of it is free, and as much as this. */
const FREE_PAGES = 4_096;
const SHRINK_PAGES = 64;

/** All there is to do at the moment. */
export function* upkeep(db: Database): Generator<undefined, null> {
  while (deleteBatches(db)) yield;
  yield* deleteEnded(db);
  while (shrink(db)) yield;
  return null;
}

function deleteBatches(db: Database): boolean {
  return db.transaction('LATER', () => {
    const rows = db
      .sql(
        'select last_seq, length(body) as bytes from journal where last_seq <= (select checkpoint_seq from shard) order by last_seq limit ?',
      )
      .all(PIECE_ROWS) as { last_seq: number; bytes: number }[];
    let bytes = 0;
    for (const row of rows) {
      dropPayloads(db, 'j', String(row.last_seq));
      db.sql('delete from journal where last_seq = ?').run(row.last_seq);
      bytes += row.bytes;
      if (bytes >= PIECE_BYTES) break;
    }
    return rows.length > 0;
  });
}

function* deleteEnded(db: Database): Generator<undefined, void> {
  for (;;) {
    const list = db.sql('select number, ids from checkpoint_ended order by number limit 1').get() as
      | { number: number; ids: string }
      | undefined;
    if (list === undefined) return;
    const ids = JSON.parse(list.ids) as string[];
    for (let at = 0; at < ids.length; at += PIECE_ROWS) {
      db.transaction('LATER', () => {
        for (const id of ids.slice(at, at + PIECE_ROWS)) {
          if (db.sql('delete from checkpoint where workflow_id = ?').run(id).changes > 0) dropPayloads(db, 'c', id);
        }
      });
      yield;
    }
    db.transaction('LATER', () => db.sql('delete from checkpoint_ended where number = ?').run(list.number));
    yield;
  }
}

function shrink(db: Database): boolean {
  const free = Number(db.sql('pragma freelist_count').get()?.freelist_count);
  const pages = Number(db.sql('pragma page_count').get()?.page_count);
  if (free < FREE_PAGES || free < pages / 3) return false;
  db.transaction('LATER', () => db.shrink(SHRINK_PAGES));
  return true;
}
