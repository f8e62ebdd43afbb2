/**
 * Large values and the rows that name them. Writes of the writer's thread, inside its transactions.
 *
 * Invariant: a value is there exactly as long as a row names it.
 */
import type { Encoded } from './calls.ts';
import type { Database } from './database.ts';

/** What names a value: a batch of the journal, a checkpoint of a workflow, a workflow of the archive. */
export type UseKind = 'j' | 'c' | 'w';

/** The values of a row that was just written. */
export function keepPayloads(db: Database, kind: UseKind, owner: string, payloads: Encoded['payloads']): void {
  for (const [hash, body] of payloads) {
    db.sql('insert or ignore into payload values (?, ?)').run(hash, body);
    db.sql('insert or ignore into payload_use values (?, ?, ?)').run(kind, owner, hash);
  }
}

/** A row is gone, or is about to be written anew. */
export function dropPayloads(db: Database, kind: UseKind, owner: string, kept: Encoded['payloads'] = []): void {
  const named = db.sql('select hash from payload_use where kind = ? and owner = ?').all(kind, owner) as { hash: string }[];
  for (const { hash } of named) {
    if (kept.some(([each]) => each === hash)) continue;
    db.sql('delete from payload_use where kind = ? and owner = ? and hash = ?').run(kind, owner, hash);
    db.sql('delete from payload where hash = ?1 and not exists (select 1 from payload_use where hash = ?1)').run(hash);
  }
}
