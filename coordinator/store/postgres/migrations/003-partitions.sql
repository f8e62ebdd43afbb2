-- Partitions are made and dropped by functions that run as their owner, so that the role that runs the coordinator needs no rights to change tables.
-- Both give up soon when a lock is not to be had: whoever asks for it makes all commits wait. They are called again an hour later.

-- Makes the partitions of `parent` for all days from `first_day` to `last_day`; how many were missing. A new table is attached, for that lets others read and write meanwhile.
create function make_partitions(parent text, first_day date, last_day date) returns integer
language plpgsql security definer set search_path from current set lock_timeout = '1s' as $$
declare
  made integer := 0;
  that_day date;
  part text;
begin
  if parent not in ('journal', 'workflow') then
    raise exception 'no table % has partitions', parent;
  end if;
  if last_day - first_day > 400 then
    raise exception 'more than 400 days at once';
  end if;
  perform pg_advisory_xact_lock(hashtext('workflow-orchestrator partitions'));
  for that_day in select first_day + n from generate_series(0, last_day - first_day) as n loop
    part := parent || '_' || to_char(that_day, 'YYYYMMDD');
    if to_regclass(quote_ident(part)) is null then
      execute format('create table %I (like %I including defaults including constraints including storage including indexes)', part, parent);
      execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent, part, that_day, that_day + 1);
      made := made + 1;
    end if;
  end loop;
  return made;
end
$$;
revoke all on function make_partitions(text, date, date) from public;

-- Drops the oldest partition of `parent` that nobody needs any more; its name, or null when there is none. At least one day is kept.
-- Of the journal: it is older than `keep_days` and lies wholly before the checkpoint. Of the workflows: all of them ended longer ago than that.
create function drop_expired_partition(parent text, keep_days integer) returns text
language plpgsql security definer set search_path from current set lock_timeout = '1s' as $$
declare
  today date := (clock_timestamp() at time zone 'utc')::date;
  part text;
  is_needed boolean;
begin
  if parent not in ('journal', 'workflow') then
    raise exception 'no table % has partitions', parent;
  end if;
  perform pg_advisory_xact_lock(hashtext('workflow-orchestrator partitions'));
  for part in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = quote_ident(parent)::regclass
      -- Guarded: other names are looked at too, in whatever order the planner likes.
      and case when c.relname ~ ('^' || parent || '_[0-9]{8}$') then to_date(right(c.relname, 8), 'YYYYMMDD') < today - greatest(keep_days, 1) else false end
    order by c.relname
  loop
    if parent = 'journal' then
      execute format('select exists (select from %I j left join checkpoint_state s using (shard_id) where s.seq is null or j.seq_to > s.seq)', part)
        into is_needed;
    else
      -- Nobody writes into it between the look and the end of it.
      execute format('lock table %I in share mode', part);
      execute format('select exists (select from %I where ended_at is null or ended_at >= clock_timestamp() - make_interval(days => %L))', part, greatest(keep_days, 1))
        into is_needed;
    end if;
    if not is_needed then
      execute format('drop table %I', part);
      return part;
    end if;
  end loop;
  return null;
end
$$;
revoke all on function drop_expired_partition(text, integer) from public;
