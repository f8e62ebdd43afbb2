/** What is archived: reads, keys and lists of workflows at rest. Cases of the contract of stores. */
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { ArchivedWorkflow, JournalEntry, ListFilter } from '../../coordinator/store/store.ts';
import { fold } from '../engine-support/snapshots.ts';
import { batchOf, type Case, commitAll, loaded, take } from './contract.ts';
import { definitionOf, plain } from './events.ts';

const { stored, graph } = definitionOf('blue');
const at = 1_800_000_000_000;

interface Facts {
  readonly status?: 'PENDING' | 'RUNNING' | 'SUCCEEDED' | 'FAILED';
  readonly labels?: Readonly<Record<string, string>>;
  readonly key?: string;
  readonly submittedAt?: number;
  readonly output?: Uint8Array;
}

/** A workflow with what was committed of it. Ids are those of `ulid`: in the order of their number. */
function workflow(number: number, facts: Facts = {}): ArchivedWorkflow {
  const { status = 'SUCCEEDED', labels = {}, key = '', submittedAt = at + number, output } = facts;
  const id = idOf(number);
  const json = (text: string) => ({ encoding: 'json', data: new TextEncoder().encode(text) });
  const attempt = { number: 1, token: '1.1.x', workerId: 'w1', startMs: submittedAt + 1 };
  const events: DurableEvent[] = [
    {
      kind: 'submitted',
      at: submittedAt,
      workflowId: id,
      graph,
      inputs: json('{"n":1}'),
      labels,
      idempotencyKey: key,
      requestHash: `of ${key}`,
    },
  ];
  if (status !== 'PENDING') {
    events.push({ kind: 'started', at: submittedAt }, { kind: 'jobReady', at: submittedAt, job: 0, parameters: null, inputJobs: [] });
  }
  if (status === 'SUCCEEDED') {
    events.push(
      {
        kind: 'jobSucceeded',
        at: submittedAt + 2,
        job: 0,
        attempt,
        output: output === undefined ? json('{"ok":true}') : { encoding: 'json', data: output },
      },
      { kind: 'jobReady', at: submittedAt + 2, job: 1, parameters: null, inputJobs: [0] },
      { kind: 'jobSucceeded', at: submittedAt + 3, job: 1, attempt, output: json('2') },
      { kind: 'ended', at: submittedAt + 3, status, outputs: json('{"rows":2}'), error: null, errorJob: null },
    );
  }
  if (status === 'FAILED') {
    const error = { code: 'BROKEN', message: 'it "broke" \u0000 here', retryable: false, details: null, retryAfterMs: 0, stack: '' };
    events.push(
      { kind: 'jobFailed', at: submittedAt + 2, job: 0, attempt, error },
      { kind: 'jobSkipped', at: submittedAt + 2, job: 1, reason: 'UPSTREAM_FAILED', causes: [0] },
      { kind: 'ended', at: submittedAt + 2, status, outputs: null, error, errorJob: 0 },
    );
  }
  return { state: fold(events), events };
}

function idOf(number: number): string {
  return `01KB${String(number).padStart(22, '0')}`;
}

const everything: ListFilter = {
  statuses: new Set(),
  name: '',
  submittedAfter: 0,
  submittedBefore: Number.POSITIVE_INFINITY,
  labels: new Map(),
  beforeId: '',
  limit: 100,
};

function plainEntry(entry: JournalEntry | null): unknown {
  return entry === null ? null : plain([{ firstSeq: 1, lastSeq: 1, entries: [entry] }]);
}

function entryOf({ state, events }: ArchivedWorkflow): JournalEntry {
  return { workflowId: state.id, firstEventSeq: 1, events };
}

/** Adds the cases. */
export function archiveCases(on: Case): void {
  on('what has ended is read again with all its events', async (t, harness, store) => {
    const { archive } = store;
    if (archive === null) return t.pass('it has no archive');
    await take(store);
    const all = [workflow(1), workflow(2, { status: 'FAILED', key: 'k' }), workflow(3, { status: 'RUNNING' })];
    t.same(await archive.write(all), { kind: 'kept' });
    t.same(plainEntry(await archive.get(idOf(1))), plainEntry(entryOf(all[0])));
    t.same(plainEntry(await archive.get(idOf(2))), plainEntry(entryOf(all[1])));
    t.equal(await archive.get(idOf(3)), null, 'it is open: its owner knows it');
    t.equal(await archive.get(idOf(9)), null);
    t.equal(await archive.get("'; drop table workflow; --"), null);
    await store.close();
    const other = await harness.open();
    t.same(plainEntry((await other.archive?.get(idOf(2))) ?? null), plainEntry(entryOf(all[1])), 'in another process');
  });

  on('a workflow is replaced by a later state of itself only', async (t, _, store) => {
    const { archive } = store;
    if (archive === null) return t.pass('it has no archive');
    await take(store);
    await archive.write([workflow(1, { status: 'PENDING' }), workflow(2)]);
    t.same([...(await archive.openSeqs())], [[idOf(1), 1]]);
    await archive.write([workflow(1, { status: 'RUNNING' })]);
    t.same([...(await archive.openSeqs())], [[idOf(1), 3]]);
    await archive.write([workflow(1), workflow(2, { status: 'PENDING' })]);
    t.same([...(await archive.openSeqs())], []);
    await archive.write([workflow(1, { status: 'RUNNING' })]);
    t.same([...(await archive.openSeqs())], []);
    t.equal((await archive.list(everything)).length, 2);
  });

  on('an idempotency key leads to its workflow', async (t, _, store) => {
    const { archive } = store;
    if (archive === null) return t.pass('it has no archive');
    await take(store);
    const all = [workflow(1, { key: 'order 1' }), workflow(2, { key: 'order "2"', status: 'RUNNING' }), workflow(3)];
    t.same(await archive.write(all), { kind: 'kept' });
    const found = await archive.byKeys(['order 1', 'order "2"', 'order 3', '']);
    t.same(Object.fromEntries(found), {
      'order 1': { workflowId: idOf(1), requestHash: 'of order 1' },
      'order "2"': { workflowId: idOf(2), requestHash: 'of order "2"' },
    });
    t.equal((await archive.byKeys([])).size, 0);
  });

  on('lists: newest first, filtered, page by page', async (t, _, store) => {
    const { archive } = store;
    if (archive === null) return t.pass('it has no archive');
    await take(store);
    const all = Array.from({ length: 25 }, (_, index) =>
      workflow(index + 1, {
        status: index % 5 === 0 ? 'FAILED' : 'SUCCEEDED',
        labels: index % 2 === 0 ? { team: 'blue', 'odd "key"': "o'dd" } : { team: 'red' },
        submittedAt: at + index * 1_000,
      }),
    );
    t.same(await archive.write([...all, workflow(99, { status: 'RUNNING' })]), { kind: 'kept' });
    const ids = async (over: Partial<ListFilter>) => (await archive.list({ ...everything, ...over })).map(({ workflowId }) => workflowId);
    const numbered = (...numbers: number[]) => numbers.map(idOf);
    t.same(await ids({ limit: 3 }), numbered(25, 24, 23));
    t.same(await ids({ limit: 3, beforeId: idOf(23) }), numbered(22, 21, 20));
    t.same(await ids({ statuses: new Set(['FAILED']) }), numbered(21, 16, 11, 6, 1));
    t.same(await ids({ statuses: new Set(['FAILED']), labels: new Map([['odd "key"', "o'dd"]]) }), numbered(21, 11, 1));
    t.same(await ids({ labels: new Map([['team', 'red']]), limit: 2 }), numbered(24, 22));
    t.same(await ids({ submittedAfter: at + 20_000, submittedBefore: at + 22_000 }), numbered(22, 21));
    t.same(await ids({ name: 'blue', limit: 1 }), numbered(25));
    t.same(await ids({ name: 'red' }), []);
    t.same(await ids({ statuses: new Set(['CANCELLED', 'RUNNING']) }), []);
    const [first] = await archive.list({ ...everything, limit: 1 });
    t.same(plainEntry(first), plainEntry(entryOf(all[24])), 'with all their events');
  });

  on('many at once', async (t, _, store) => {
    const { archive } = store;
    if (archive === null) return t.pass('it has no archive');
    await take(store);
    t.same(await archive.write(Array.from({ length: 1_000 }, (_, index) => workflow(index + 1))), { kind: 'kept' });
    t.equal((await archive.list({ ...everything, limit: 2_000 })).length, 1_000);
  });

  on('large values come back whole, from the journal and from the archive', async (t, harness, store) => {
    const output = new Uint8Array(limits.payloadInlineBytes + 2).fill(0x20);
    output.set([0x22, 0x22]);
    const large = workflow(1, { output });
    const batch = { firstSeq: 1, lastSeq: large.events.length, entries: [entryOf(large)] };
    t.same(await commitAll(store, await take(store), [batch, batchOf(batch.lastSeq + 1)]), ['durable', 'durable']);
    await store.archive?.write([large]);
    await store.close();
    const other = await harness.open();
    t.same(plain(await loaded(other)).slice(0, 1), plain([batch]));
    if (other.archive !== null) t.same(plainEntry(await other.archive.get(idOf(1))), plainEntry(entryOf(large)));
    t.equal((await other.definitionsByHash([stored.hash])).size, 1);
  });
}
