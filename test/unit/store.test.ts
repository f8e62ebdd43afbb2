/**
 * What is kept: the contract of stores held by the memory store, events as messages and back, batches as bytes and back.
 */
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { create, fromBinary, fromJson, type MessageInitShape, type MessageShape, toBinary, toJson } from '@bufbuild/protobuf';
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';
import {
  Job_SkipReason,
  JobSkippedSchema,
  JournalRecordSchema,
  Workflow_Status,
  WorkflowEndedSchema,
  WorkflowEventSchema,
  WorkflowSubmittedSchema,
} from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import fc from 'fast-check';
import t from 'tap';
import { fromMessage, payloadFrom, payloadMessage, toMessage } from '../../coordinator/store/codec.ts';
import { chainAfter, EntryReader, encodeEntries } from '../../coordinator/store/journal.ts';
import { MemoryJournal, MemoryStore } from '../../coordinator/store/memory/memory.ts';
import { ReaderPool } from '../../coordinator/store/reader-pool.ts';
import { MemoryArchive } from '../shard-support/memory-archive.ts';
import { storeContract } from '../store-contract/contract.ts';
import { anyEvent, definitionOf, eventsOfEachKind, plain, plainEvent } from '../store-contract/events.ts';

const known = new Map(['blue', 'red'].map((name) => definitionOf(name)).map(({ stored }) => [stored.hash, stored] as const));
const blue = definitionOf('blue').graph;
const red = definitionOf('red').graph;
const graphOf = (hash: string) => {
  const found = [blue, red].find((graph) => graph.hash === hash);
  if (found === undefined) throw new Error(`no definition ${hash}`);
  return found;
};

const forgetting = (journal: MemoryJournal) => async (afterSeq: number) => {
  journal.batches = journal.batches.filter(({ lastSeq }) => lastSeq <= afterSeq);
};

storeContract(t, 'memory', async () => {
  const journal = new MemoryJournal();
  return { open: async () => new MemoryStore(journal), isShared: true, forget: forgetting(journal), dispose: async () => {} };
});

storeContract(t, 'memory with an archive', async () => {
  const journal = new MemoryJournal();
  const archive = new MemoryArchive();
  const open = async () => Object.assign(new MemoryStore(journal), { archive });
  return { open, isShared: true, forget: forgetting(journal), dispose: async () => {} };
});

t.test('memory: without a journal of its own nothing is kept but the numbers', async (t) => {
  const store = new MemoryStore();
  const acquired = await store.acquire();
  if (acquired.kind !== 'acquired') throw new Error(acquired.kind);
  const { ownership } = acquired;
  const batch = {
    firstSeq: 1,
    lastSeq: 1,
    entries: [{ workflowId: 'wf', firstEventSeq: 1, events: [{ kind: 'started', at: 1 } as const] }],
  };
  t.same(await store.commit(ownership, batch), { kind: 'durable' });
  for await (const found of store.load()) t.same(found, { kind: 'place', seq: 1 }, 'and so nothing is missing');
  t.match(await store.acquire(), { ownership: { lastSeq: 1 } });
  t.equal(store.needsCheckpoints, false);
  t.equal(store.durability, 'VOLATILE');
  await store.close();
});

t.test('every kind of event is the same after it was a message, in memory, as bytes and as JSON', async (t) => {
  for (const event of eventsOfEachKind(blue, 'wf')) {
    const message = toMessage(event, 7);
    t.equal(message.seq, 7n);
    t.same(plainEvent(fromMessage(message, graphOf)), plainEvent(event), event.kind);
    t.same(plainEvent(fromMessage(fromBinary(WorkflowEventSchema, toBinary(WorkflowEventSchema, message)), graphOf)), plainEvent(event));
    t.same(plainEvent(fromMessage(fromJson(WorkflowEventSchema, toJson(WorkflowEventSchema, message)), graphOf)), plainEvent(event));
  }
});

t.test('any event is the same after it was written and read', async (t) => {
  const property = fc.property(anyEvent([blue, red]), (event) => {
    const bytes = toBinary(WorkflowEventSchema, toMessage(event, 1));
    t.has(plainEvent(fromMessage(fromBinary(WorkflowEventSchema, bytes), graphOf)), plainEvent(event) as object);
  });
  t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }));
});

t.test('a graph is found by its hash, and shared', async (t) => {
  const [submitted] = eventsOfEachKind(red, 'wf');
  const read = fromMessage(toMessage(submitted, 1), graphOf);
  t.equal(read.kind === 'submitted' && read.graph, red);
});

t.test('the encoding that everybody uses costs no bytes', async (t) => {
  const data = new Uint8Array([1]);
  t.equal(payloadMessage({ encoding: 'json', data }).encoding, '');
  t.equal(payloadFrom(payloadMessage({ encoding: 'json', data }))?.encoding, 'json');
  t.equal(payloadFrom(payloadMessage({ encoding: 'arrow', data }))?.encoding, 'arrow');
  t.equal(payloadFrom(undefined), null);
});

t.test('a message that no version of this code wrote is not guessed at', async (t) => {
  const read = (message: MessageInitShape<typeof WorkflowEventSchema>) => () => fromMessage(create(WorkflowEventSchema, message), graphOf);
  t.throws(read({ seq: 4n }), { message: /event 4 says nothing/ });
  const ended = (status: number) => ({
    kind: { case: 'ended' as const, value: create(WorkflowEndedSchema, { status: status as Workflow_Status }) },
  });
  t.throws(read(ended(Workflow_Status.RUNNING)), { message: /cannot have ended with status/ });
  t.throws(read(ended(99)), { message: /cannot have ended with status 99/ });
  const skipped = (reason: number) => ({
    kind: { case: 'jobSkipped' as const, value: create(JobSkippedSchema, { reason: reason as Job_SkipReason }) },
  });
  t.throws(read(skipped(Job_SkipReason.SKIP_REASON_UNSPECIFIED)), { message: /no skip reason/ });
  t.throws(read({ kind: { case: 'submitted', value: create(WorkflowSubmittedSchema, { definitionHash: 'gone' }) } }), {
    message: 'no definition gone',
  });
});

const reader = () =>
  new EntryReader({
    definitions: async (hashes) => new Map(hashes.flatMap((hash) => (known.has(hash) ? [[hash, known.get(hash)!] as const] : []))),
    payloads: null,
  });

t.test('entries are the same after they were bytes', async (t) => {
  const events = fc.array(anyEvent([blue, red]), { minLength: 1, maxLength: 5 });
  const property = fc.asyncProperty(fc.array(events, { minLength: 1, maxLength: 4 }), fc.nat(1_000_000), async (lists, before) => {
    const entries = lists.map((list, index) => ({ workflowId: `wf${index}`, firstEventSeq: index + 1, events: list }));
    const count = lists.reduce((sum, list) => sum + list.length, 0);
    const batch = { firstSeq: before + 1, lastSeq: before + count, entries };
    t.same(plain([await reader().readBatch(encodeEntries(entries, false), batch.firstSeq, batch.lastSeq)]), plain([batch]));
  });
  await fc.assert(property, { numRuns: 100 });
});

const events = eventsOfEachKind(blue, 'wf');
const entries = [{ workflowId: 'wf', firstEventSeq: 1, events }];

t.test('what was damaged is found, wherever it was', async (t) => {
  const encoded = encodeEntries(entries, false);
  for (let at = 0; at < encoded.body.length; at += 7) {
    const body = encoded.body.slice();
    body[at] ^= 0x10;
    await t.rejects(reader().readBatch({ ...encoded, body }, 1, events.length), { message: /checksum/ }, `byte ${at}`);
  }
  await t.rejects(reader().readBatch({ ...encoded, body: encoded.body.slice(0, -1) }, 1, events.length), {
    message: /journal 1-\d+: the checksum does not hold/,
  });
  await t.rejects(reader().read({ ...encoded, codec: 2 }, 'it'), {
    message: 'it: codec 2 is not known; it was written by a newer version',
  });
  const none = new EntryReader({ definitions: async () => new Map(), payloads: null });
  await t.rejects(none.read(encoded, 'it'), { message: `it: the definition ${blue.hash} that it names is not kept` });
  const spoiled = new Map([[blue.hash, { hash: blue.hash, name: 'blue', yaml: 'workflow: 1', registeredAt: 0 }]]);
  const other = new EntryReader({ definitions: async () => spoiled, payloads: null });
  await t.rejects(other.read(encoded, 'it'), { message: /is not valid any more: .*; it was written by another version/ });
});

t.test('what is written straight is what the messages would be', async (t) => {
  const property = fc.property(fc.array(anyEvent([blue, red]), { maxLength: 6 }), anyEvent([blue, red]), (events, last) => {
    const list = [...events, last];
    const { body } = encodeEntries([{ workflowId: 'wf', firstEventSeq: 7, events: list }], false);
    const [entry, ...more] = fromBinary(JournalRecordSchema, body).entries;
    if (more.length > 0 || entry.workflowId !== 'wf' || entry.firstEventSeq !== 7n) throw new Error('not the entry');
    const messages = list.map((event) => toMessage(event, 0));
    const text = (message: MessageShape<typeof WorkflowEventSchema>) => toBinary(WorkflowEventSchema, message);
    t.same(entry.events.map(text), messages.map(text));
  });
  fc.assert(property, { numRuns: 400 });
  for (const length of [0, 1, 39, 40, 41, 127, 128, 16_383, 16_384, 16_385, 70_000, 2_200_000]) {
    for (const letter of ['a', 'ü', '漢']) {
      const event = { kind: 'cancelRequested', at: 1_800_000_000_123, reason: letter.repeat(length), force: length % 2 === 0 } as const;
      const { body } = encodeEntries([{ workflowId: 'wf', firstEventSeq: 1, events: [event, event] }], false);
      const [entry] = fromBinary(JournalRecordSchema, body).entries;
      t.same(plainEvent(fromMessage(entry.events[1], graphOf)), plainEvent(event), `${length} ${letter}`);
    }
  }
});

t.test('large values stand apart, once, and come back whole', async (t) => {
  const data = new Uint8Array(limits.payloadInlineBytes + 1).fill(0x31);
  const payload = { encoding: 'json', data };
  const attempt = { number: 1, token: 't', workerId: 'w', startMs: 1 };
  const error = { code: 'X', message: '', retryable: false, details: payload, retryAfterMs: 0, stack: '' };
  const large = [
    { ...events[0], inputs: payload } as DurableEvent,
    { kind: 'jobReady', at: 1, job: 0, parameters: payload, inputJobs: [] },
    { kind: 'jobCheckpointed', at: 1, job: 0, checkpoint: payload },
    { kind: 'jobRetryScheduled', at: 1, job: 0, attempt, error, nextAttemptAt: 2 },
    { kind: 'jobSucceeded', at: 1, job: 0, attempt, output: payload },
    { kind: 'jobFailed', at: 1, job: 1, attempt: null, error },
    { kind: 'ended', at: 1, status: 'FAILED', outputs: { encoding: 'json', data: data.slice(1) }, error, errorJob: 0 },
  ] as const satisfies readonly DurableEvent[];
  const all = [{ workflowId: 'wf', firstEventSeq: 1, events: large }];
  const encoded = encodeEntries(all, true);
  t.equal(encoded.payloads.size, 1, 'one byte less is not large');
  t.ok(encoded.body.length < 2 * data.length);
  const sources = { definitions: async () => known, payloads: async () => encoded.payloads };
  const whole = { firstSeq: 1, lastSeq: 7, entries: all };
  t.same(plain([await new EntryReader(sources).readBatch(encoded, 1, 7)]), plain([whole]));
  t.equal(large[4].output.data, data, 'what is in memory stays as it is');
  await t.rejects(new EntryReader({ ...sources, payloads: async () => new Map() }).read(encoded, 'it'), {
    message: /it: the value [0-9a-f]{64} that it names is not kept/,
  });
  await t.rejects(reader().read(encoded, 'it'), { message: /is not kept/ });
  t.same(encodeEntries(all, false).payloads.size, 0);
});

t.test('a chain tells journals apart that went apart', async (t) => {
  const [a, b, c] = [1, 2, 3].map((byte) => new Uint8Array([byte, byte]));
  t.equal(chainAfter(chainAfter(0, a), b), chainAfter(chainAfter(0, a), b));
  t.not(chainAfter(chainAfter(0, a), c), chainAfter(chainAfter(0, b), c));
  t.not(chainAfter(chainAfter(0, a), b), chainAfter(chainAfter(0, b), a));
});

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

t.test('the memory in which a large history was encoded is given back', async (t) => {
  const events = eventsOfEachKind(blue, 'wf');
  const encode = (bytes: number): number => {
    const output = { encoding: 'json', data: new Uint8Array(bytes) };
    const large = { kind: 'jobSucceeded', at: 1, job: 0, attempt: { number: 1, token: '', workerId: '', startMs: 0 }, output } as const;
    return encodeEntries([{ workflowId: 'wf', firstEventSeq: 1, events: [...events, large] }], false).body.length;
  };
  const keptBytes = async (): Promise<number> => {
    // Twice: bytes are counted until they are swept, which goes on beside the first one.
    for (let times = 0; times < 2; times++) {
      collect();
      await setImmediate();
    }
    return process.memoryUsage().arrayBuffers;
  };
  encode(1);
  const before = await keptBytes();
  t.ok(encode(64 * 1024 * 1024) > 64 * 1024 * 1024);
  const after = (await keptBytes()) - before;
  t.ok(after < 1024 * 1024, `${after} bytes`);
  const broken = { kind: 'jobCheckpointed', at: 1, job: 0, checkpoint: { encoding: 'json', data: null } };
  const large = { kind: 'jobCheckpointed', at: 1, job: 0, checkpoint: { encoding: 'json', data: new Uint8Array(32 * 1024 * 1024) } };
  t.throws(() => encodeEntries([{ workflowId: 'wf', firstEventSeq: 1, events: [large, broken] as DurableEvent[] }], false), TypeError);
  const failed = (await keptBytes()) - before - large.checkpoint.data.length;
  t.ok(failed < 1024 * 1024, `${failed} bytes, also when it could not be encoded`);
});

t.test('readers of many reads let go what they compiled, by its size', async (t) => {
  const many = Array.from({ length: 60 }, (_, index) => definitionOf(`d-${index}`));
  const stored = new Map(many.map((definition) => [definition.stored.hash, definition.stored] as const));
  let asked = 0;
  const definitions = async (hashes: readonly string[]) => {
    asked += hashes.length;
    return new Map(hashes.map((hash) => [hash, stored.get(hash)!] as const));
  };
  const pool = new ReaderPool(() => new EntryReader({ definitions, payloads: null }), 20);
  const read = async ({ graph }: { graph: typeof blue }) => {
    const [submitted] = eventsOfEachKind(graph, 'wf');
    const reader = pool.reader();
    await reader.read(encodeEntries([{ workflowId: 'wf', firstEventSeq: 1, events: [submitted] }], false), 'it');
    return reader;
  };
  const readers = new Set();
  for (const definition of many) {
    const reader = await read(definition);
    readers.add(reader);
    if (reader.compiledJobs > 20) t.fail(`${reader.compiledJobs} jobs`);
  }
  t.equal(readers.size, 6, 'ten definitions of two jobs each');
  t.equal(asked, 60);
  for (let times = 0; times < 100; times++) readers.add(await read(many[59]));
  t.same([readers.size, asked], [7, 61], 'what is read again and again is compiled once');
});
