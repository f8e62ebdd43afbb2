/**
 * What keeping costs: batches through each store, one in flight, as a shard commits them.
 *
 *     node --conditions=workflow-orchestrator test/bench/store.ts [--store memory,embedded,redis-always,redis-everysec,postgres] [--seconds 5] [--events 1000000] [--dir folder]
 *
 * Prints for each store: commits of one event (time from call to answer), commits of 500 events one after the other, the same while a checkpoint and an
 * archive are written, workflows archived per second, and how long a load of `--events` takes. `cpu` is of the main thread's process, its threads included;
 * `loop` is the longest that the event loop stood still. Figures are for comparing two versions on one quiet machine; no test asserts them.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import { openEmbeddedStore } from '../../coordinator/store/embedded/embedded.ts';
import { MemoryJournal, MemoryStore } from '../../coordinator/store/memory/memory.ts';
import { openPostgresStore } from '../../coordinator/store/postgres/postgres.ts';
import { openRedisStore } from '../../coordinator/store/redis/store.ts';
import type { ArchivedWorkflow, JournalBatch, JournalEntry, Ownership, Store } from '../../coordinator/store/store.ts';
import { fold } from '../engine-support/snapshots.ts';
import { postgres as startPostgres } from '../services/postgres.ts';
import { type Persistence, startRedis } from '../services/redis-process.ts';
import { definitionOf } from '../store-contract/events.ts';
import { emptyDatabase } from '../store-support/databases.ts';

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'memory,embedded' },
    seconds: { type: 'string', default: '5' },
    events: { type: 'string', default: '1000000' },
    dir: { type: 'string' },
  },
});
const seconds = Number(values.seconds);

/** A store to measure, as a factory of stores on one journal. */
interface Measured {
  readonly open: () => Promise<Store>;
  /** Bytes on disk; 0 where there are none. */
  readonly bytes: () => number;
  readonly dispose: () => Promise<void>;
}

/** A `redis-server` of its own, as durable as `persistence` says. */
async function redis(persistence: Persistence): Promise<Measured> {
  const server = await startRedis(persistence);
  return {
    open: () => openRedisStore({ url: server.url, prefix: 'wf', log: { info: () => {}, warn: (message) => console.log(message) } }),
    bytes: () => 0,
    dispose: () => server.close(),
  };
}

/** A PostgreSQL of its own, as a test gets one; `TEST_DATABASE_URL` names another. */
async function postgres(): Promise<Measured> {
  const ends: (() => Promise<void>)[] = [];
  const server = await startPostgres({ teardown: (end) => void ends.push(end) });
  if (server.skip !== false) throw new Error(server.skip);
  const database = await emptyDatabase(server.url);
  return {
    open: () => openPostgresStore({ url: database.url, retentionDays: 10_000, log: (_, message) => console.log(message) }),
    bytes: () => 0,
    dispose: async () => {
      await database.drop();
      for (const end of ends) await end();
    },
  };
}

const STORES: Readonly<Record<string, () => Promise<Measured>>> = {
  memory: async () => {
    const journal = new MemoryJournal();
    return { open: async () => new MemoryStore(journal), bytes: () => 0, dispose: async () => {} };
  },
  embedded: async () => {
    const dataDir = mkdtempSync(join(values.dir ?? tmpdir(), 'wf-bench-'));
    const size = (file: string): number => statSync(join(dataDir, file), { throwIfNoEntry: false })?.size ?? 0;
    return {
      open: () => openEmbeddedStore({ dataDir, log: { info: () => {}, warn: (message) => console.log(message) } }),
      bytes: () => size('journal.db') + size('journal.db-wal'),
      dispose: async () => rmSync(dataDir, { recursive: true }),
    };
  },
  postgres,
  'redis-always': () => redis('always'),
  'redis-everysec': () => redis('everysec'),
};

const { stored, graph } = definitionOf('bench');
const json = (value: unknown) => ({ encoding: 'json', data: new TextEncoder().encode(JSON.stringify(value)) });
const inputs = json({ order: 4711, customer: 'somebody', rows: [1, 2, 3] });
const output = json({ ok: true, rows: 17 });
const at = 1_800_000_000_000;

/** The events of a workflow of two jobs that went well: 7. */
function story(workflowId: string): DurableEvent[] {
  const attempt = { number: 1, token: '1.17.abcdef', workerId: 'worker-1', startMs: at };
  return [
    { kind: 'submitted', at, workflowId, graph, inputs, labels: { team: 'blue' }, idempotencyKey: '', requestHash: '' },
    { kind: 'started', at },
    { kind: 'jobReady', at, job: 0, parameters: inputs, inputJobs: [] },
    { kind: 'jobSucceeded', at, job: 0, attempt, output },
    { kind: 'jobReady', at, job: 1, parameters: inputs, inputJobs: [0] },
    { kind: 'jobSucceeded', at, job: 1, attempt, output },
    { kind: 'ended', at, status: 'SUCCEEDED', outputs: output, error: null, errorJob: null },
  ];
}

const idOf = (number: number): string => `01KB${String(number).padStart(22, '0')}`;

/** Batches of about `count` events that follow each other: whole workflows, or one event. */
function* batches(ownership: Ownership, count: number): Generator<JournalBatch> {
  let seq = ownership.lastSeq;
  for (let number = seq; ; ) {
    const entries: JournalEntry[] = [];
    let events = 0;
    while (events < count) {
      const workflowId = idOf(++number);
      const all = count === 1 ? story(workflowId).slice(3, 4) : story(workflowId);
      entries.push({ workflowId, firstEventSeq: 1, events: all });
      events += all.length;
    }
    yield { firstSeq: seq + 1, lastSeq: seq + events, entries };
    seq += events;
  }
}

function workflow(number: number): ArchivedWorkflow {
  const events = story(idOf(number));
  return { state: fold(events), events };
}

async function take(store: Store): Promise<Ownership> {
  const acquisition = await store.acquire({ coordinatorId: 'bench', address: '' });
  if (acquisition.kind !== 'acquired') throw new Error(acquisition.kind);
  return acquisition.ownership;
}

/** A turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const quantile = (sorted: readonly number[], q: number): string =>
  (sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN).toFixed(2);

/** Commits for `ms`, or until `most` events are there; pauses between them when the engine is to be idle. */
async function commits(name: string, store: Store, count: number, most: number, pauseMs = 0): Promise<void> {
  const ownership = await take(store);
  const latencies: number[] = [];
  const delay = monitorEventLoopDelay({ resolution: 5 });
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  let events = 0;
  delay.enable();
  for (const batch of batches(ownership, count)) {
    const sentAt = performance.now();
    const outcome = await store.commit(ownership, batch);
    latencies.push(performance.now() - sentAt);
    if (outcome.kind !== 'durable') throw new Error(JSON.stringify(outcome));
    events += batch.lastSeq - batch.firstSeq + 1;
    if (performance.now() - startedAt > seconds * 1_000 || events >= most) break;
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    // The loop of a process turns; so does this one.
    else if (latencies.length % 16 === 0) await turn();
  }
  delay.disable();
  const { user, system } = process.cpuUsage(cpu);
  const elapsed = performance.now() - startedAt;
  latencies.sort((a, b) => a - b);
  console.log(
    `  ${name.padEnd(46)} ${String(Math.round((events / elapsed) * 1_000)).padStart(8)} events/s  ms p50 ${quantile(latencies, 0.5)} p99 ${quantile(latencies, 0.99)} ` +
      `max ${quantile(latencies, 1)}  ${((user + system) / events).toFixed(2)} us CPU an event  loop ${(delay.max / 1e6).toFixed(0)} ms`,
  );
}

/** Archives and checkpoints until it is told to stop; how many workflows of each. */
async function projections(store: Store, ownership: Ownership, until: () => boolean): Promise<{ archived: number; checkpointed: number }> {
  const done = { archived: 0, checkpointed: 0 };
  const slice = (from: number): JournalEntry[] =>
    Array.from({ length: 500 }, (_, index) => ({ workflowId: idOf(from + index), firstEventSeq: 1, events: story(idOf(from + index)) }));
  await Promise.all([
    (async () => {
      while (store.archive !== null && !until()) {
        await store.archive.write(Array.from({ length: 500 }, (_, index) => workflow(done.archived + index)));
        done.archived += 500;
        await turn();
      }
    })(),
    (async () => {
      while (store.needsCheckpoints && !until()) {
        const ended = done.checkpointed > 20_000 ? Array.from({ length: 500 }, (_, index) => idOf(done.checkpointed - 20_000 + index)) : [];
        await store.checkpoint(ownership, { number: 1 + done.checkpointed, entries: slice(done.checkpointed), finish: { seq: 0, ended } });
        done.checkpointed += 500;
        await turn();
      }
    })(),
  ]);
  return done;
}

async function measure(name: string): Promise<void> {
  const factory = STORES[name];
  if (factory === undefined) throw new Error(`--store ${name}: one of ${Object.keys(STORES)}`);
  const measured = await factory();
  const most = Number.POSITIVE_INFINITY;
  const openedAt = performance.now();
  let store = await measured.open();
  console.log(`${name} (${store.durability}), opened in ${(performance.now() - openedAt).toFixed(0)} ms`);
  await store.putDefinition(stored);
  await commits('1 event, an idle engine', store, 1, 200, 5);
  await commits('1 event, one after the other', store, 1, most);
  await commits('500 events', store, 500, most);
  let isOver = false;
  let stop = (): boolean => isOver;
  const ownership = await take(store);
  const work = projections(store, ownership, () => stop());
  await commitsOf(store, ownership, () => {
    isOver = true;
  });
  await work;
  stop = () => performance.now() - startedAt > seconds * 1_000;
  const startedAt = performance.now();
  const done = await projections(store, ownership, stop);
  console.log(
    `  projections alone: ${Math.round(done.archived / seconds)} archived/s, ${Math.round(done.checkpointed / seconds)} checkpointed/s`,
  );
  await store.close();
  await measured.dispose();
  const other = await factory();
  store = await other.open();
  await store.putDefinition(stored);
  await commits(`${values.events} events in batches of 500`, store, 500, Number(values.events));
  await store.close();
  store = await other.open();
  const loadedAt = performance.now();
  let events = 0;
  for await (const part of store.load()) if (part.kind === 'batch') events += part.batch.lastSeq - part.batch.firstSeq + 1;
  console.log(
    `  load of ${events} events: ${((performance.now() - loadedAt) / 1_000).toFixed(2)} s; ${(other.bytes() / events).toFixed(0)} bytes an event on disk`,
  );
  await store.close();
  await other.dispose();
}

/** Commits of 500 events while others write too. */
async function commitsOf(store: Store, ownership: Ownership, done: () => void): Promise<void> {
  // The ownership is shared with the projections: it must not be taken anew.
  const shared = Object.create(store, { acquire: { value: async () => ({ kind: 'acquired', ownership }) } }) as Store;
  Object.defineProperty(shared, 'commit', { value: store.commit.bind(store) });
  await commits('500 events, checkpoint and archive beside', shared, 500, Number.POSITIVE_INFINITY);
  done();
}

for (const name of values.store.split(',')) await measure(name);
