-- Workflows to read and to search, a row each: a projection of the journal that may lag behind it. `day` is the UTC day of the id's time.
-- What has ended has its whole history in `history`. `jobs` is unfolded by the view `job`.

create table workflow (
  shard_id integer not null,
  id text not null,
  day date not null,
  name text not null,
  version text not null,
  definition_hash text not null,
  status text not null,
  submitted_at timestamptz not null,
  started_at timestamptz,
  ended_at timestamptz,
  labels jsonb not null,
  idempotency_key text,
  request_hash text,
  error jsonb,
  outputs jsonb,
  jobs jsonb not null,
  seq bigint not null,
  codec integer,
  crc bigint,
  history bytea,
  payloads text[],
  primary key (shard_id, id, day)
) partition by range (day);
alter table workflow alter column history set storage external;
create index workflow_open on workflow (shard_id, id) where ended_at is null;
create index workflow_idempotency_key on workflow (shard_id, idempotency_key) where idempotency_key is not null;
create index workflow_payloads on workflow using gin (payloads) where payloads is not null;

create view job as
  select w.id as workflow_id, w.name as workflow_name, j.job_id, j.type, j.status, j.attempts, j.worker,
    j.ready_at, j.started_at, j.ended_at, j.error_code, j.error_message, j.output
  from workflow w
  cross join lateral jsonb_to_recordset(w.jobs) as j (
    job_id text, type text, status text, attempts integer, worker text,
    ready_at timestamptz, started_at timestamptz, ended_at timestamptz, error_code text, error_message text, output jsonb
  );
