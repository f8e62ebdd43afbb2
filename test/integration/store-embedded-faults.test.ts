/**
 * What becomes of the embedded store when its thread, its file or its disk fails, and when there is too much of everything.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import { limits } from '@workflow-orchestrator/proto/limits';
import t from 'tap';
import { openEmbeddedStore } from '../../coordinator/store/embedded/embedded.ts';
import type { ArchivedWorkflow, JournalBatch, ListFilter, Ownership } from '../../coordinator/store/store.ts';
import { fold } from '../engine-support/snapshots.ts';
import { batchOf, checkpointed, commitAll, loaded, pause, take } from '../store-contract/contract.ts';
import { definitionOf, plain } from '../store-contract/events.ts';
import { folder, quiet } from './support/embedded-folder.ts';

const { stored, graph } = definitionOf('blue');

t.test('a folder that cannot be used, and a file that is none of ours, are told in one line', async (t) => {
  const { dataDir } = await folder(t);
  const log = quiet;
  const at = (name: string): string => {
    mkdirSync(join(dataDir, name), { recursive: true });
    return join(dataDir, name);
  };
  writeFileSync(join(dataDir, 'file'), '');
  await t.rejects(openEmbeddedStore({ dataDir: join(dataDir, 'file'), log }), {
    message: /^the data folder .*file cannot be used: .*EEXIST/,
  });
  await t.rejects(openEmbeddedStore({ dataDir: join(dataDir, 'file/below'), log }), { message: /ENOTDIR/ });
  writeFileSync(join(at('text'), 'journal.db'), 'This is a text, and it is long enough to be looked at.'.repeat(100));
  await t.rejects(openEmbeddedStore({ dataDir: at('text'), log }), { message: /journal\.db.*the file is damaged, or no database/ });
  const foreign = new DatabaseSync(join(at('foreign'), 'journal.db'));
  foreign.exec('create table thing (a)');
  foreign.close();
  await t.rejects(openEmbeddedStore({ dataDir: at('foreign'), log }), { message: /journal\.db is a database of another program/ });
  await (await openEmbeddedStore({ dataDir: at('newer'), log })).close();
  const newer = new DatabaseSync(join(at('newer'), 'journal.db'));
  newer.exec('pragma user_version = 99');
  newer.close();
  const before = readFileSync(join(at('newer'), 'journal.db'));
  await t.rejects(openEmbeddedStore({ dataDir: at('newer'), log }), {
    message: /was written by a newer version \(format 99; this one knows \d+\): start that version/,
  });
  t.ok(before.equals(readFileSync(join(at('newer'), 'journal.db'))), 'and is not touched');
  await t.rejects(openEmbeddedStore({ dataDir: at('newer'), log }), { message: /newer version/ }, 'the lock was given back');
});

t.test('a batch that was damaged, taken away or exchanged in the file is found', async (t) => {
  const { dataDir, open } = await folder(t);
  const store = await open();
  await commitAll(store, await take(store), [batchOf(1, 2), batchOf(3), batchOf(4), batchOf(5)]);
  await store.close();
  const damaged = async (sql: string, message: RegExp): Promise<void> => {
    const copy = await mkdtemp(join(tmpdir(), 'wf-embedded-'));
    cpSync(dataDir, copy, { recursive: true });
    const db = new DatabaseSync(join(copy, 'journal.db'));
    db.exec(sql);
    db.close();
    const other = await openEmbeddedStore({ dataDir: copy, log: quiet });
    await t.rejects(loaded(other), { name: 'Error', message }, sql);
    await other.close();
    rmSync(copy, { recursive: true });
  };
  await damaged("update journal set body = x'00' || body where last_seq = 2", /checksum|does not belong/);
  await damaged('delete from journal where last_seq = 2', /journal 3-3: what comes before it, after 0, is missing/);
  await damaged('delete from journal where last_seq = 4', /journal 5-5: what comes before it, after 3, is missing/);
  await damaged('delete from journal where last_seq = 5', /the journal ends at 4; it did at 5/);
  await damaged(
    'update journal set (body, crc) = (select body, crc from journal where last_seq = 3) where last_seq = 4',
    /does not belong to what comes before it/,
  );
  await damaged('update shard set chain = 1', /it is not what was committed last/);
});

t.test('a log that was cut off anywhere holds the batches before the cut', async (t) => {
  const { dataDir, open } = await folder(t);
  const store = await open();
  const ownership = await take(store);
  const lengths: number[] = [];
  const batches = Array.from({ length: 12 }, (_, index) => batchOf(index + 1));
  for (const batch of batches) {
    await commitAll(store, ownership, [batch]);
    lengths.push(statSync(join(dataDir, 'journal.db-wal')).size);
  }
  for (const [cut, kept] of [
    [lengths[11], 12],
    [lengths[11] - 1, 11],
    [lengths[7] + 100, 8],
    [lengths[3], 4],
    [lengths[3] - 5_000, 3],
  ]) {
    const copy = await mkdtemp(join(tmpdir(), 'wf-embedded-'));
    for (const file of ['journal.db', 'journal.db-wal']) cpSync(join(dataDir, file), join(copy, file));
    truncateSync(join(copy, 'journal.db-wal'), cut);
    const other = await openEmbeddedStore({ dataDir: copy, log: quiet });
    t.same(plain(await loaded(other)), plain(batches.slice(0, kept)), `cut at ${cut}`);
    t.equal((await take(other)).lastSeq, kept);
    await other.close();
    rmSync(copy, { recursive: true });
  }
});

t.test('a thread that dies in the middle of a commit: unknown, then reclaim tells', { timeout: 100_000 }, async (t) => {
  const { open } = await folder(t);
  const writers: Worker[] = [];
  const spawnThread = (file: URL, workerData: unknown): Worker => {
    const worker = new Worker(file, { workerData });
    if (file.pathname.endsWith('writer.ts')) writers.push(worker);
    return worker;
  };
  const store = await open({ spawn: spawnThread });
  let ownership: Ownership = await take(store);
  const kept: JournalBatch[] = [];
  const found = { there: 0, notThere: 0 };
  for (let round = 0; round < 15; round++) {
    const batch = batchOf(ownership.lastSeq + 1, 3, `round ${round}`);
    const outcome = store.commit(ownership, batch);
    const worker = writers.at(-1)!;
    if (round % 3 === 1) await new Promise((resolve) => setImmediate(resolve));
    if (round % 3 === 2) await pause(1);
    void worker.terminate();
    const { kind } = await outcome;
    t.ok(kind === 'unknown' || kind === 'durable', kind);
    let reclaim = await store.reclaim(ownership);
    while (reclaim.kind === 'unavailable') {
      await pause(10);
      reclaim = await store.reclaim(ownership);
    }
    if (reclaim.kind !== 'reclaimed') return t.fail(reclaim.message);
    if (kind === 'durable') t.equal(reclaim.ownership.lastSeq, batch.lastSeq);
    const isThere = reclaim.ownership.lastSeq === batch.lastSeq;
    if (isThere) kept.push(batch);
    else t.equal(reclaim.ownership.lastSeq, batch.firstSeq - 1);
    found[isThere ? 'there' : 'notThere']++;
    t.same(await commitAll(store, ownership, [batchOf(reclaim.ownership.lastSeq + 1)]), ['fenced']);
    ownership = reclaim.ownership;
  }
  t.comment(JSON.stringify(found));
  t.same(plain(await loaded(store)), plain(kept));
  t.match(store.health(), [{ health: 'OK' }]);
});

t.test('a thread that is not there answers at once that nothing was written', async (t) => {
  const { open } = await folder(t);
  const workers: Worker[] = [];
  const store = await open({
    spawn: (file, workerData) => {
      const worker = new Worker(file, { workerData });
      workers.push(worker);
      return worker;
    },
  });
  const ownership = await take(store);
  await Promise.all(workers.map((worker) => worker.terminate()));
  t.match(await store.commit(ownership, batchOf(1)), { kind: 'aborted', isTransient: true, message: /has died and is started again/ });
  t.match(store.health(), [{ health: 'DOWN', detail: /commits: the store's thread has died/ }]);
  t.match(await store.reclaim(ownership), { kind: 'unavailable' });
  t.match(await store.checkpoint(ownership, { number: 1, entries: [], finish: null }), { kind: 'unavailable' });
  t.match(await store.archive.write([]), { kind: 'unavailable' });
  await t.rejects(store.archive.get('x'), { name: 'StoreUnavailable' });
  let outcome = await store.commit(ownership, batchOf(1));
  while (outcome.kind === 'aborted') {
    await pause(10);
    outcome = await store.commit(ownership, batchOf(1));
  }
  t.same(outcome, { kind: 'durable' }, 'the same ownership goes on: nobody else can have had it');
});

t.test('what cannot be written as bytes is a broken invariant, no outage: commit and checkpoint reject', async (t) => {
  const { open } = await folder(t);
  const store = await open();
  const ownership = await take(store);
  const events = [{ kind: 'jobSucceeded', at: 1, job: 0, attempt: null, output: null } as unknown as DurableEvent];
  const entries = [{ workflowId: 'wf', firstEventSeq: 1, events }];
  await t.rejects(store.commit(ownership, { firstSeq: 1, lastSeq: 1, entries }), { name: 'TypeError' });
  await t.rejects(store.checkpoint(ownership, { number: 1, entries, finish: null }), { name: 'TypeError' });
  t.match(store.health(), [{ health: 'OK' }], 'nothing is wrong with the disk');
  t.same(await commitAll(store, ownership, [batchOf(1)]), ['durable'], 'nothing of it was written');
  t.match(await store.checkpoint(ownership, { number: 2, entries: [], finish: null }), { kind: 'kept' });
});

t.test('another program that holds the lock on the file: nothing is written, and it goes on by itself', async (t) => {
  const { dataDir, open } = await folder(t);
  const store = await open();
  const ownership = await take(store);
  const other = new DatabaseSync(join(dataDir, 'journal.db'));
  other.exec('begin immediate');
  t.match(await store.commit(ownership, batchOf(1)), { kind: 'aborted', isTransient: true, message: /another program holds a lock/ });
  t.match(store.health(), [{ health: 'DOWN', detail: /commits: another program holds a lock.*since .*nothing is accepted/ }]);
  other.exec('rollback');
  t.same(await commitAll(store, ownership, [batchOf(1)]), ['durable']);
  t.match(store.health(), [{ health: 'OK' }]);
  t.equal(other.prepare('select count(*) as n from journal').get()?.n, 1, 'people read it while it runs');
  other.close();
});

t.test('a full disk: nothing is written, it is said, and it goes on by itself when there is room', async (t) => {
  const { dataDir, open } = await folder(t);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'wf-test', dataDir], { stdio: 'pipe' });
  } catch {
    return t.pass('SKIPPED: a small file system cannot be mounted here');
  }
  t.teardown(() => execFileSync('umount', ['-l', dataDir]));
  const store = await open();
  let ownership = await take(store);
  const ballast = join(dataDir, 'ballast');
  writeFileSync(ballast, new Uint8Array(600_000));
  const batches: JournalBatch[] = [];
  let next = 1;
  const commit = async (): Promise<string> => {
    const batch = batchOf(next, 1_000, `from ${next}`);
    const outcome = await store.commit(ownership, batch);
    if (outcome.kind === 'durable') {
      batches.push(batch);
      next = batch.lastSeq + 1;
    } else if (outcome.kind === 'aborted') {
      t.ok(outcome.isTransient, outcome.message);
    } else {
      const reclaim = await store.reclaim(ownership);
      if (reclaim.kind === 'reclaimed') ownership = reclaim.ownership;
    }
    return outcome.kind;
  };
  for (let count = 0; count < 500 && (await commit()) === 'durable'; count++);
  t.ok(batches.length > 3 && batches.length < 500, `full after ${batches.length} batches`);
  t.match(await commit(), 'aborted');
  t.match(store.health(), [{ health: 'DOWN', detail: /the disk is full/ }]);
  rmSync(ballast);
  t.equal(await commit(), 'durable');
  t.match(store.health(), [{ health: 'OK' }]);
  await store.close();
  const other = await open();
  t.same(plain(await loaded(other)), plain(batches), 'all that was acknowledged, nothing else');
  await other.close();
});

/** No file of this process may grow beyond this any more; null: as large as it likes. What is written beyond it fails as on a broken disk. */
function limitFiles(bytes: number | null): void {
  execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes ?? 'unlimited'}:`], { stdio: 'pipe' });
}

t.test('an error of the disk while somebody reads the file: the next commit is tried until the log is in the file', async (t) => {
  const { dataDir, open } = await folder(t);
  try {
    limitFiles(null);
  } catch {
    return t.pass('SKIPPED: the size of files cannot be limited here');
  }
  // A write beyond the limit also sends this, which would end the process.
  const ignore = (): void => {};
  process.on('SIGXFSZ', ignore);
  t.teardown(() => {
    limitFiles(null);
    process.off('SIGXFSZ', ignore);
  });
  const store = await open();
  const ownership = await take(store);
  await commitAll(store, ownership, [batchOf(1)]);
  const person = new DatabaseSync(join(dataDir, 'journal.db'), { readOnly: true });
  person.exec('begin');
  t.equal(person.prepare('select count(*) as n from journal').get()?.n, 1);
  await commitAll(store, ownership, [batchOf(2)]);
  limitFiles(statSync(join(dataDir, 'journal.db-wal')).size);
  const entries = [{ workflowId: 'wf', firstEventSeq: 1, events: batchOf(1, 1_000).entries[0].events }];
  t.match(await store.checkpoint(ownership, { number: 1, entries, finish: null }), {
    kind: 'unavailable',
    message: /the disk answered with an error/,
  });
  limitFiles(null);
  t.match(await store.commit(ownership, batchOf(3)), {
    kind: 'aborted',
    isTransient: true,
    message: /before the disk error is not in the file yet/,
  });
  t.match(store.health(), [{ health: 'DOWN', detail: /commits: what was written before the disk error is not in the file yet/ }]);
  person.exec('rollback');
  person.close();
  t.same(await commitAll(store, ownership, [batchOf(3)]), ['durable']);
  t.same(plain(await loaded(store)), plain([batchOf(1), batchOf(2), batchOf(3)]));
});

t.test('a file that cannot be opened for a moment: nothing is damaged, and the same calls work when it can', async (t) => {
  const { dataDir, open } = await folder(t);
  const file = join(dataDir, 'journal.db');
  const hide = (): void => {
    renameSync(file, `${file}.away`);
    mkdirSync(file);
  };
  const show = (): void => {
    rmSync(file, { recursive: true });
    renameSync(`${file}.away`, file);
  };
  const store = await open();
  const ownership = await take(store);
  await commitAll(store, ownership, [batchOf(1)]);
  hide();
  t.teardown(() => {
    if (existsSync(`${file}.away`)) show();
  });
  await t.rejects(loaded(store), {
    name: 'StoreUnavailable',
    message: /journal\.db cannot be opened: the file cannot be opened \(SQLite: [^()]*\)$/,
  });
  t.match(store.health(), [{ health: 'DEGRADED', detail: /reads: .*cannot be opened/ }]);
  show();
  t.same(plain(await loaded(store)), plain([batchOf(1)]));
  t.match(store.health(), [{ health: 'OK' }]);
});

function workflow(number: number, endedAt = 1_800_000_000_000): ArchivedWorkflow {
  const id = `01KB${String(number).padStart(22, '0')}`;
  const inputs = { encoding: 'json', data: new TextEncoder().encode('{}') };
  const events = [
    {
      kind: 'submitted',
      at: endedAt - 1,
      workflowId: id,
      graph,
      inputs,
      labels: { team: `t${number % 2}` },
      idempotencyKey: `k${number}`,
      requestHash: '',
    },
    {
      kind: 'ended',
      at: endedAt,
      status: 'SUCCEEDED',
      outputs: { ...inputs, data: new Uint8Array(limits.payloadInlineBytes + 1 + number) },
      error: null,
      errorJob: null,
    },
  ] as const;
  return { state: fold(events), events };
}

const everything: Omit<ListFilter, 'limit'> = {
  statuses: new Set(),
  name: '',
  submittedAfter: 0,
  submittedBefore: Number.MAX_SAFE_INTEGER,
  labels: new Map(),
  beforeId: '',
};

t.test('commits overtake checkpoints and rows of the archive that came before them', async (t) => {
  const { dataDir, open } = await folder(t);
  const store = await open();
  await store.putDefinition(stored);
  const ownership = await take(store);
  const order: string[] = [];
  const entries = Array.from({ length: 500 }, (_, index) => ({
    workflowId: `wf-${index}`,
    firstEventSeq: 1,
    events: batchOf(1).entries[0].events,
  }));
  const archived = Array.from({ length: 100 }, (_, index) => ({ ...workflow(index), events: workflow(index).events.slice(0, 1) }));
  // The writer waits for this lock with the first piece of its work, until everything has been asked for.
  const other = new DatabaseSync(join(dataDir, 'journal.db'));
  other.exec('begin immediate');
  const all = [
    store.checkpoint(ownership, { number: 1, entries, finish: null }).then(({ kind }) => order.push(`checkpoint ${kind}`)),
    store.archive.write(archived).then(({ kind }) => order.push(`archive ${kind}`)),
    ...Array.from({ length: 10 }, (_, index) => store.commit(ownership, batchOf(index + 1)).then(({ kind }) => order.push(kind))),
  ];
  other.exec('rollback');
  await Promise.all(all);
  other.close();
  t.same(order.slice(0, 10), Array(10).fill('durable'));
  t.same(order.slice(10).sort(), ['archive kept', 'checkpoint kept']);
  t.equal((await checkpointed(store)).length, 500);
});

t.test('what is old or too much is forgotten, the oldest first, with its labels and values; the rest stays', async (t) => {
  const { dataDir, open } = await folder(t);
  const now = Date.now();
  const store = await open({ archivedMs: 10_000_000, archivedWorkflows: 40 });
  await store.putDefinition(stored);
  await store.archive.write(
    Array.from({ length: 100 }, (_, index) => workflow(index, index < 30 ? now - 20_000_000 + index : now - 1_000 + index)),
  );
  t.equal(await store.archive.sweep(), 60, '30 are old, 30 more than are kept');
  t.equal(await store.archive.sweep(), 0);
  t.equal(await store.archive.get(workflow(59).state.id), null);
  t.ok(await store.archive.get(workflow(60).state.id), 'with its large value');
  t.equal((await store.archive.byKeys(['k59', 'k60'])).size, 1);
  await store.close();
  const db = new DatabaseSync(join(dataDir, 'journal.db'));
  const count = (table: string) => db.prepare(`select count(*) as n from ${table}`).get()?.n;
  t.same(['workflow', 'label', 'payload', 'payload_use'].map(count), [40, 40, 40, 40]);
  t.match(db.prepare('select status, attempts from job limit 1').get(), { status: 'PENDING', attempts: 0 }, 'people see jobs as rows');
  db.close();
});

t.test('sweeps that are asked for at once forget no more than one does, and those that ended together go together', async (t) => {
  const { open } = await folder(t);
  const now = Date.now();
  const store = await open({ archivedMs: 10_000_000, archivedWorkflows: 40 });
  await store.putDefinition(stored);
  const end = (index: number): number => (index < 30 ? now - 20_000_000 : now - 1_000 + Math.floor(index / 10));
  await store.archive.write(Array.from({ length: 95 }, (_, index) => workflow(index, end(index))));
  t.same(await Promise.all([store.archive.sweep(), store.archive.sweep(), store.archive.sweep()]), [50, 0, 0], 'one is under way');
  const ids = (await store.archive.list({ ...everything, limit: 100 })).map(({ workflowId }) => workflowId);
  t.same(
    ids,
    Array.from({ length: 45 }, (_, index) => workflow(94 - index).state.id),
    '40 are kept, and those that ended with the last of them',
  );
  t.equal(await store.archive.sweep(), 0);
  await store.archive.write(Array.from({ length: 10 }, (_, index) => workflow(95 + index, end(95 + index))));
  t.same(await Promise.all([store.archive.sweep(), store.archive.sweep()]), [10, 0], 'and the next one goes on');
});

t.test('what a checkpoint stands for is deleted, and the file does not only grow', async (t) => {
  const { dataDir, open } = await folder(t);
  const store = await open();
  const ownership = await take(store);
  const output = { encoding: 'json', data: new Uint8Array(limits.payloadInlineBytes - 1).fill(0x20) };
  let seq = 0;
  const events = Array.from({ length: 7 }, () => ({ kind: 'jobCheckpointed', at: 1, job: 0, checkpoint: output }) as const);
  for (let round = 0; round < 80; round++) {
    await store.commit(ownership, { firstSeq: seq + 1, lastSeq: seq + 7, entries: [{ workflowId: 'wf', firstEventSeq: seq + 1, events }] });
    seq += 7;
  }
  await store.checkpoint(ownership, { number: 1, entries: [], finish: { seq: seq - 7, ended: ['wf'] } });
  const db = new DatabaseSync(join(dataDir, 'journal.db'), { readOnly: true });
  const pages = () => Number(db.prepare('pragma page_count').get()?.page_count);
  t.ok(pages() > 8_000, `${pages()} pages`);
  while (pages() > 5_000) await pause(20);
  t.equal(db.prepare('select count(*) as n from journal').get()?.n, 1);
  t.equal(db.prepare('select count(*) as n from checkpoint_ended').get()?.n, 0);
  db.close();
  t.equal((await loaded(store)).length, 1);
  t.match(store.health(), [{ health: 'OK' }]);
});
