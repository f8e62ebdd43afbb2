/**
 * The format of `journal.db`, as numbered steps: `user_version` says how many a file has taken.
 *
 * Invariants
 * 1. A step that was released is never edited; a file only goes forward. A file with more steps than are known here is refused.
 * 2. Times are milliseconds since 1970. Text is for people and their queries; what a recovery reads is in `body` and `history`.
 */

/** Marks the file as one of this program: "wfoj". */
export const APPLICATION_ID = 0x77666f6a;

/** The steps, from an empty file on. */
export const MIGRATIONS: readonly string[] = [
  `
  -- Who owns the shard and where its journal ends. One row.
  create table shard (
    only integer primary key check (only = 1),
    epoch integer not null,
    term_id text not null,
    last_seq integer not null,
    -- CRC over all bodies of the journal, in order.
    chain integer not null,
    -- Batches up to this one are needed no more.
    checkpoint_seq integer not null
  );
  insert into shard values (1, 0, '', 0, 0, 0);

  -- A row for each commit.
  create table journal (
    last_seq integer primary key,
    first_seq integer not null,
    epoch integer not null,
    codec integer not null,
    crc integer not null,
    chain integer not null,
    body blob not null
  );

  -- Open workflows with all their events, as of some time after the last finished checkpoint.
  create table checkpoint (
    workflow_id text primary key,
    codec integer not null,
    crc integer not null,
    body blob not null
  );
  -- Workflows that have ended and whose rows in checkpoint do not count any more: lists of ids as JSON.
  create table checkpoint_ended (number integer primary key, ids text not null);

  create table definition (
    hash text primary key,
    name text not null,
    yaml text not null,
    registered_at integer not null
  ) without rowid;

  -- Large values, and which rows name them: 'j' journal by last_seq, 'c' checkpoint and 'w' workflow by id.
  create table payload (hash text primary key, body blob not null);
  create table payload_use (kind text not null, owner text not null, hash text not null, primary key (kind, owner, hash)) without rowid;
  create index payload_use_hash on payload_use (hash);

  -- The archive: a row for each workflow.
  create table workflow (
    id text not null unique,
    name text not null,
    definition_hash text not null,
    status text not null,
    submitted_at integer not null,
    started_at integer,
    ended_at integer,
    labels text not null,
    idempotency_key text,
    request_hash text not null,
    seq integer not null,
    -- JSON; null where there is none, where it is no JSON or too large for a column.
    outputs text,
    error text,
    jobs text not null,
    codec integer,
    crc integer,
    -- All its events; null while it is open.
    history blob
  );
  create index workflow_key on workflow (idempotency_key) where idempotency_key is not null;
  create index workflow_ended on workflow (ended_at) where ended_at is not null;
  create index workflow_open on workflow (id) where ended_at is null;
  create index workflow_name on workflow (name, id);
  create index workflow_failed on workflow (status, id) where status in ('FAILED', 'CANCELLED');
  create table label (key text not null, value text not null, workflow_id text not null, primary key (key, value, workflow_id)) without rowid;

  create view job as
    select w.id as workflow_id, w.name as workflow_name, j.value ->> 'id' as id, j.value ->> 'type' as type, j.value ->> 'status' as status,
      j.value ->> 'attempts' as attempts, j.value ->> 'worker' as worker, j.value ->> 'readyAt' as ready_at, j.value ->> 'endedAt' as ended_at,
      j.value ->> 'skipReason' as skip_reason, j.value -> 'error' as error
    from workflow w, json_each(w.jobs) j;
  `,
];
