/**
 * What the threads of the embedded store still do when nobody waits for it any more: it changes nothing that came after it, and it does not pile up.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { limits } from '@workflow-orchestrator/proto/limits';
import t, { type Test } from 'tap';
import { encoded } from '../../coordinator/store/embedded/archive-row.ts';
import type { CheckpointRow, WriterCalls } from '../../coordinator/store/embedded/calls.ts';
import { Database } from '../../coordinator/store/embedded/database.ts';
import { StoreThread } from '../../coordinator/store/embedded/store-thread.ts';
import { checkpoint } from '../../coordinator/store/embedded/tenure-writes.ts';
import { upkeep } from '../../coordinator/store/embedded/upkeep.ts';
import type { CheckpointSlice, JournalEntry, Ownership } from '../../coordinator/store/store.ts';
import { batchOf, checkpointed, pause, take } from '../store-contract/contract.ts';
import { folder } from './support/embedded-folder.ts';

/** Holds up whoever writes: the writer waits for this lock, for less than half a second, with the first piece of its work. */
function holdUp(dataDir: string): { goOn(): void } {
  const other = new DatabaseSync(join(dataDir, 'journal.db'), { timeout: 5_000 });
  other.exec('begin immediate');
  return {
    goOn: () => {
      other.exec('rollback');
      other.close();
    },
  };
}

/** The writer of a folder whose store is closed: calls to it as they are, with deadlines of the test's own. `threads`: those that were started. */
async function writerOf(t: Test, dataDir: string, threads: Worker[] = []): Promise<StoreThread<WriterCalls>> {
  const file = new URL('../../coordinator/store/embedded/writer.ts', import.meta.url);
  const spawn = (): Worker => {
    const thread = new Worker(file, { workerData: { path: join(dataDir, 'journal.db') } });
    threads.push(thread);
    return thread;
  };
  const writer = new StoreThread<WriterCalls>(spawn, { message: () => {}, died: () => {}, back: () => {} });
  await writer.start();
  t.teardown(() => writer.close());
  return writer;
}

/** A workflow of which `count` events are known. */
function entryOf(workflowId: string, count: number): JournalEntry {
  return { workflowId, firstEventSeq: 1, events: batchOf(1, count).entries[0].events };
}

const NAMES = Array.from({ length: 500 }, (_, index) => `wf-${String(index).padStart(3, '0')}`);
const NONE: Omit<CheckpointSlice, 'number'> = { entries: [], finish: null };

function rowsOf(names: readonly string[], count: number): CheckpointRow[] {
  return names.map((workflowId) => ({ workflowId, ...encoded([entryOf(workflowId, count)]) }));
}

t.test('a slice that has passed its deadline ends where a later one begins', async (t) => {
  const { dataDir, open } = await folder(t);
  const first = await open();
  const { epoch, termId } = await take(first);
  await first.close();
  const writer = await writerOf(t, dataDir);
  const slice = (number: number, rows: readonly CheckpointRow[], deadlineMs: number = limits.storeCallMs) =>
    writer.call('checkpoint', { epoch, termId, number, rows, finish: null }, deadlineMs);
  const [old, recent] = [rowsOf(NAMES, 1), rowsOf(NAMES.slice(-20), 5)];
  const lock = holdUp(dataDir);
  t.match(await slice(1, old, 20), { kind: 'failed', failure: { isTransient: true, message: /no answer from the disk/ } });
  const later = slice(2, recent);
  lock.goOn();
  t.same(await later, { kind: 'answer', value: true });
  await writer.close();
  const found = await checkpointed(await open());
  t.same(
    found.slice(-20).map(({ workflowId, events }) => [workflowId, events.length]),
    NAMES.slice(-20).map((name) => [name, 5]),
    'what the later one wrote stays',
  );
  t.ok(found.length < NAMES.length / 2, `${found.length} of ${NAMES.length} were written before`);
});

t.test('a slice that goes on after later ones, a finish and the deletions behind it writes nothing', async (t) => {
  const { dataDir, open } = await folder(t);
  const store = await open();
  const { epoch, termId } = await take(store);
  await store.close();
  const db = new Database(join(dataDir, 'journal.db'));
  const slice = (number: number, rows: readonly CheckpointRow[], ended: readonly string[] = []) =>
    checkpoint(db, { epoch, termId, number, rows, finish: { seq: 0, ended: JSON.stringify(ended) } });
  const all = <T>(steps: Generator<undefined, T>): T => {
    for (;;) {
      const { done, value } = steps.next();
      if (done === true) return value;
    }
  };
  const old = slice(1, rowsOf(NAMES, 1));
  const asOld = slice(1, []);
  t.same(old.next(), { done: false, value: undefined });
  t.ok(all(slice(2, rowsOf(NAMES.slice(-20), 5))));
  t.ok(all(slice(3, [], NAMES.slice(-10))));
  all(upkeep(db));
  const rows = () => db.sql('select count(*) as n, max(workflow_id) as last from checkpoint').get();
  const before = { ...rows() };
  t.equal(before.last, NAMES.at(-11));
  t.equal(all(old), false);
  t.equal(all(asOld), false, 'one that was only to finish finishes nothing');
  t.same({ ...rows() }, before, 'what has ended stays so');
  db.close();
});

t.test('a slice of an owner before this one does not make room for an earlier slice', async (t) => {
  const { open } = await folder(t);
  const store = await open();
  const slice = async (owner: Ownership, number: number, count: number): Promise<string> =>
    (await store.checkpoint(owner, { number, entries: [entryOf('wf', count)], finish: null })).kind;
  const old = await take(store);
  t.equal(await slice(old, 3, 1), 'kept');
  const owner = await take(store);
  t.equal(await slice(owner, 2, 5), 'kept');
  t.equal(await slice(old, 4, 2), 'fenced');
  t.equal(await slice(owner, 1, 3), 'fenced');
  t.equal((await checkpointed(store))[0].events.length, 5);
});

t.test('while the disk hangs, one slice and one write of the archive wait for it, no more', async (t) => {
  const { dataDir, open } = await folder(t);
  const store = await open();
  const ownership = await take(store);
  const lock = holdUp(dataDir);
  const waiting = [store.checkpoint(ownership, { number: 1, ...NONE }), store.archive.write([])];
  const refused = { kind: 'unavailable', message: /has not answered the one before it/ };
  t.match(await store.checkpoint(ownership, { number: 2, ...NONE }), refused);
  t.match(await store.archive.write([]), refused);
  t.match(store.health(), [{ health: 'DEGRADED', detail: /archive: .*checkpoint: / }]);
  lock.goOn();
  t.match(await Promise.all(waiting), [{ kind: 'kept' }, { kind: 'kept' }]);
  t.match(await store.checkpoint(ownership, { number: 3, ...NONE }), { kind: 'kept' });
  t.match(await store.archive.write([]), { kind: 'kept' });
  t.match(store.health(), [{ health: 'OK' }]);
});

t.test('what has passed its deadline still counts as under way, until the thread has answered or died', async (t) => {
  const { dataDir, open } = await folder(t);
  const store = await open();
  const { epoch, termId } = await take(store);
  await store.close();
  const threads: Worker[] = [];
  const writer = await writerOf(t, dataDir, threads);
  const ask = (deadlineMs: number) => writer.callAlone('checkpoint', { epoch, termId, number: 1, rows: [], finish: null }, deadlineMs);
  const lock = holdUp(dataDir);
  t.match(await ask(20), { kind: 'failed', failure: { message: /no answer from the disk/ } });
  t.match(await ask(20), {
    kind: 'failed',
    failure: { isTransient: true, isCertain: true, message: /has not answered the one before it/ },
  });
  lock.goOn();
  // Answers come in order.
  await writer.call('checkpoint', { epoch, termId, number: 1, rows: [], finish: null }, limits.storeCallMs);
  t.match(await ask(limits.storeCallMs), { kind: 'answer', value: true });
  const again = holdUp(dataDir);
  t.match(await ask(20), { kind: 'failed', failure: { message: /no answer from the disk/ } });
  await threads[0]!.terminate();
  again.goOn();
  let answer = await ask(limits.storeCallMs);
  for (; answer.kind === 'failed'; answer = await ask(limits.storeCallMs)) {
    t.match(answer.failure, { message: /has died and is started again/ });
    await pause(10);
  }
  t.equal(answer.value, true);
  t.equal(threads.length, 2);
});
