-- The journal and what guards it. `shard` is the fence: every commit updates its one row, so it has no index but its key and room for new versions on its page.
-- `checkpoint_state` is the fence of checkpoints, apart from `shard`, so that slices of a checkpoint neither wait for commits nor hold them up.

create table setting (
  name text primary key,
  value text not null
);
insert into setting (name, value) values ('shards', '1');

create table shard (
  shard_id integer primary key,
  epoch bigint not null,
  term_id uuid not null,
  last_seq bigint not null,
  chain bigint not null,
  lease_until timestamptz not null,
  owner text not null,
  address text not null
) with (fillfactor = 10);
insert into shard values (0, 0, '00000000-0000-0000-0000-000000000000', 0, 0, 'epoch', '', '');

create table checkpoint_state (
  shard_id integer primary key,
  epoch bigint not null,
  term_id uuid not null,
  seq bigint not null,
  round bigint not null
) with (fillfactor = 10);
insert into checkpoint_state values (0, 0, '00000000-0000-0000-0000-000000000000', 0, 0);

-- One row a group commit. Bodies are stored as they are: compressing them costs more than it saves.
create table journal (
  shard_id integer not null,
  seq_to bigint not null,
  seq_from bigint not null,
  epoch bigint not null,
  codec integer not null,
  crc bigint not null,
  chain bigint not null,
  body bytea not null,
  payloads text[],
  day date not null,
  primary key (shard_id, seq_to, day)
) partition by range (day);
alter table journal alter column body set storage external;
create index journal_payloads on journal (shard_id, seq_to) where payloads is not null;

create table checkpoint (
  shard_id integer not null,
  workflow_id text not null,
  seq bigint not null,
  codec integer not null,
  crc bigint not null,
  body bytea not null,
  payloads text[],
  primary key (shard_id, workflow_id)
) with (fillfactor = 70);
alter table checkpoint alter column body set storage external;
create index checkpoint_payloads on checkpoint using gin (payloads) where payloads is not null;

create table definition (
  hash text primary key,
  name text not null,
  yaml text not null,
  registered_at timestamptz
);

-- Large values, by the hash (SHA-256, hex) of their bytes. `used_on`: the last day on which something that names it was written.
create table payload (
  shard_id integer not null,
  hash text not null,
  body bytea not null,
  used_on date not null,
  primary key (shard_id, hash)
);
create index payload_used_on on payload (used_on);
