/** The tables of a database as text, from the catalog: what a reviewer sees change when a migration changes them. Partitions are left out; they come and go. */
import type { Sql } from './databases.ts';

const LINES = `
with named as (
  select c.oid, c.relname, c.relkind, c.reloptions from pg_class c
  where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition
), lines as (
  select relname as name, 0 as part, 0 as place,
    case relkind when 'v' then 'view ' else 'table ' end || relname || coalesce(' with (' || array_to_string(reloptions, ', ') || ')', '')
      || coalesce(' partition by ' || pg_get_partkeydef(oid), '') as line
  from named
  union all
  select n.relname, 1, a.attnum, '  ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ' not null' else '' end
      || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
      || case when a.attstorage <> t.typstorage then ' storage ' || a.attstorage::text else '' end
  from named n join pg_attribute a on a.attrelid = n.oid and a.attnum > 0 and not a.attisdropped join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  union all
  select n.relname, 2, l.place::integer, '  ' || l.line from named n, regexp_split_to_table(pg_get_viewdef(n.oid, true), '\\n') with ordinality as l (line, place) where n.relkind = 'v'
  union all
  select n.relname, 2, 0, '  ' || c.conname || ' ' || pg_get_constraintdef(c.oid) from named n join pg_constraint c on c.conrelid = n.oid where c.contype in ('p', 'u', 'c', 'f')
  union all
  select n.relname, 3, 0, '  ' || regexp_replace(pg_get_indexdef(i.indexrelid), ' ON (ONLY )?[^ ]+', '') from named n join pg_index i on i.indrelid = n.oid where not i.indisprimary
  union all
  select n.relname, 4, 0, '  trigger ' || g.tgname from named n join pg_trigger g on g.tgrelid = n.oid where not g.tgisinternal
  union all
  select p.proname, 5, 0, 'function ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ') returns ' || pg_get_function_result(p.oid)
      || case when p.prosecdef then ' security definer' else '' end
      || coalesce(' set ' || array_to_string(p.proconfig, ', '), '') || ', run by ' || coalesce(array_to_string(p.proacl, ' '), 'everybody')
      || ', text ' || left(md5(p.prosrc), 8)
  from pg_proc p where p.pronamespace = current_schema()::regnamespace
  union all
  select c.relname, 6, 0, 'sequence ' || c.relname from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relkind = 'S'
)
select line from lines order by part = 5, name, part, place, line`;

/** The tables, a line each thing. */
export async function dumpSchema(sql: Sql): Promise<string> {
  const rows = await sql.unsafe(LINES);
  const [{ owner }] = await sql<{ owner: string }[]>`select current_user as owner`;
  return `${rows.map(({ line }) => String(line).replaceAll(owner, 'OWNER')).join('\n')}\n`;
}
