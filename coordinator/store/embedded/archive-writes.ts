/**
 * Rows of the archive, as transactions of the writer's thread, in pieces.
 *
 * Invariant: a row is replaced only by one whose `seq` is not lower.
 */
import type { ArchiveRow, WriterCalls } from './calls.ts';
import type { Database } from './database.ts';
import { dropPayloads, keepPayloads } from './payload-uses.ts';

/** Rows and bytes of one piece. */
const PIECE_ROWS = 32;
const PIECE_BYTES = 128 * 1024;

const UPSERT = `
  insert into workflow (id, name, definition_hash, status, submitted_at, started_at, ended_at, labels, idempotency_key, request_hash, seq,
    outputs, error, jobs, codec, crc, history)
  values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  on conflict (id) do update set status = excluded.status, started_at = excluded.started_at, ended_at = excluded.ended_at, seq = excluded.seq,
    outputs = excluded.outputs, error = excluded.error, jobs = excluded.jobs, codec = excluded.codec, crc = excluded.crc, history = excluded.history
  where excluded.seq >= workflow.seq`;

export function* archive(db: Database, { rows }: WriterCalls['archive'][0]): Generator<undefined, null> {
  let at = 0;
  while (at < rows.length) {
    db.transaction('LATER', () => {
      for (let bytes = 0, count = 0; at < rows.length && count < PIECE_ROWS && bytes < PIECE_BYTES; at++, count++) {
        const row = rows[at];
        put(db, row);
        bytes += row.jobs.length + (row.history?.body.length ?? 0);
      }
    });
    yield;
  }
  return null;
}

function put(db: Database, row: ArchiveRow): void {
  const { id, history } = row;
  const times = [row.submittedAt, row.startedAt, row.endedAt] as const;
  const encoded = [history?.codec ?? null, history?.crc ?? null, history?.body ?? null] as const;
  const { changes } = db
    .sql(UPSERT)
    .run(
      id,
      row.name,
      row.definitionHash,
      row.status,
      ...times,
      row.labels,
      row.idempotencyKey,
      row.requestHash,
      row.seq,
      row.outputs,
      row.error,
      row.jobs,
      ...encoded,
    );
  if (changes === 0) return;
  if (row.labels !== '{}') db.sql('insert or ignore into label select key, value, ? from json_each(?)').run(id, row.labels);
  if (history !== null) {
    dropPayloads(db, 'w', id, history.payloads);
    keepPayloads(db, 'w', id, history.payloads);
  }
}

/** Forgets the workflows that ended before a time; how many. */
export function* retire(db: Database, { endedBefore }: WriterCalls['retire'][0]): Generator<undefined, number> {
  let retired = 0;
  for (;;) {
    const gone = db.transaction('LATER', () => {
      const rows = db
        .sql('select rowid, id, labels from workflow where ended_at < ? order by ended_at limit ?')
        .all(endedBefore, PIECE_ROWS) as { rowid: number; id: string; labels: string }[];
      for (const { rowid, id, labels } of rows) {
        if (labels !== '{}')
          db.sql('delete from label where workflow_id = ? and (key, value) in (select key, value from json_each(?))').run(id, labels);
        dropPayloads(db, 'w', id);
        db.sql('delete from workflow where rowid = ?').run(rowid);
      }
      return rows.length;
    });
    retired += gone;
    if (gone < PIECE_ROWS) return retired;
    yield;
  }
}
