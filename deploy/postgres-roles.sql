-- Rights in the coordinator's database. Run it with psql as the role that owns the tables, after `wf db init`, once and after each upgrade;
-- the roles are made before by an administrator (see README.md). Running it twice changes nothing.

-- The coordinator: reads and writes rows, changes no tables. Partitions are made and dropped by functions that run as the owner.
grant select on migration, setting, shard, checkpoint_state, journal, checkpoint, definition, payload, workflow, job to workflow_app;
grant update on shard, checkpoint_state, checkpoint, definition, payload, workflow to workflow_app;
grant insert on journal, checkpoint, definition, payload, workflow to workflow_app;
grant delete on checkpoint, payload to workflow_app;
grant execute on function make_partitions(text, date, date), drop_expired_partition(text, integer) to workflow_app;

-- People, and programs that draw charts.
grant select on workflow, job, definition, shard, migration to workflow_reader;
