/** The store in PostgreSQL when another server takes over: one that goes on from a copy, on a timeline of its own. */
import { chownSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openPostgresStore } from '../../coordinator/store/postgres/postgres.ts';
import { ownPostgres } from '../services/postgres-process.ts';
import { batchOf, commitAll, loaded, take } from '../store-contract/contract.ts';
import { definitionOf } from '../store-contract/events.ts';
import { connect } from '../store-support/databases.ts';

// It asks for more of the log, is given none, and takes over: as a standby does that is promoted.
const server = await ownPostgres(t, ['restore_command=false']);
const skip = 'skip' in server ? server.skip : false;

t.test('a server that has taken over is read anew, whatever its fence says; one that was only restarted is not', { skip }, async (t) => {
  if ('skip' in server) return;
  const sql = connect(server.url);
  const [{ folder }] = await sql`select current_setting('data_directory') as folder`;
  await sql.end();
  const store = await openPostgresStore({ url: server.url, leaseMs: 60_000 });
  t.teardown(() => store.close());
  const owner = await take(store);
  t.same(await commitAll(store, owner, [batchOf(1)]), ['durable']);

  await server.stop();
  await server.start();
  t.same(await commitAll(store, owner, [batchOf(2)]), ['durable'], 'the same server');

  await server.stop();
  const signal = join(folder, 'recovery.signal');
  writeFileSync(signal, '');
  const { uid, gid } = statSync(folder);
  chownSync(signal, uid, gid);
  await server.start();
  t.same(await commitAll(store, owner, [batchOf(3)]), ['fenced'], 'it has every event, and is another one all the same');
  t.match(await store.reclaim(owner), { kind: 'lost', message: /another server has taken over/ });
  const next = await take(store);
  t.match(next, { lastSeq: 2 });
  t.same(await commitAll(store, next, [batchOf(3)]), ['durable']);
  await store.putDefinition(definitionOf('blue').stored);
  t.equal((await loaded(store)).length, 3);
});
