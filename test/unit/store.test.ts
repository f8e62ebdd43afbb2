/**
 * What is kept: the contract of stores held by the memory store, events as messages and back, batches as bytes and back.
 */
import { create, fromBinary, fromJson, type MessageInitShape, toBinary, toJson } from '@bufbuild/protobuf';
import {
  Job_SkipReason,
  JobSkippedSchema,
  Workflow_Status,
  WorkflowEndedSchema,
  WorkflowEventSchema,
  WorkflowSubmittedSchema,
} from '@workflow-orchestrator/proto';
import fc from 'fast-check';
import t from 'tap';
import { fromMessage, payloadFrom, payloadMessage, toMessage } from '../../coordinator/store/codec.ts';
import { decodeBatch, encodeBatch } from '../../coordinator/store/journal.ts';
import { MemoryJournal, MemoryStore } from '../../coordinator/store/memory/memory.ts';
import { storeContract } from '../store-contract/contract.ts';
import { anyEvent, definitionOf, eventsOfEachKind, plain, plainEvent } from '../store-contract/events.ts';

const blue = definitionOf('blue').graph;
const red = definitionOf('red').graph;
const graphOf = (hash: string) => {
  const found = [blue, red].find((graph) => graph.hash === hash);
  if (found === undefined) throw new Error(`no definition ${hash}`);
  return found;
};

storeContract(t, 'memory', async () => {
  const journal = new MemoryJournal();
  return { open: async () => new MemoryStore(journal), isShared: true, dispose: async () => {} };
});

t.test('memory: without a journal of its own nothing is kept but the numbers', async (t) => {
  const store = new MemoryStore();
  const ownership = await store.acquire();
  const batch = {
    firstSeq: 1,
    lastSeq: 1,
    entries: [{ workflowId: 'wf', firstEventSeq: 1, events: [{ kind: 'started', at: 1 } as const] }],
  };
  t.same(await store.commit(ownership, batch), { kind: 'durable' });
  for await (const found of store.load(0)) t.fail(`found ${found.firstSeq}`);
  t.equal((await store.acquire()).lastSeq, 1);
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

t.test('a batch is the same after it was bytes', async (t) => {
  const events = fc.array(anyEvent([blue, red]), { minLength: 1, maxLength: 5 });
  const property = fc.property(fc.array(events, { minLength: 1, maxLength: 4 }), fc.nat(1_000_000), (lists, before) => {
    const entries = lists.map((list, index) => ({ workflowId: `wf${index}`, firstEventSeq: index + 1, events: list }));
    const count = lists.reduce((sum, list) => sum + list.length, 0);
    const batch = { firstSeq: before + 1, lastSeq: before + count, entries };
    t.same(plain([decodeBatch(encodeBatch(batch), graphOf)]), plain([batch]));
  });
  t.doesNotThrow(() => fc.assert(property, { numRuns: 100 }));
});

t.test('what was damaged is found, wherever it was', async (t) => {
  const events = eventsOfEachKind(blue, 'wf');
  const encoded = encodeBatch({ firstSeq: 1, lastSeq: events.length, entries: [{ workflowId: 'wf', firstEventSeq: 1, events }] });
  for (let at = 0; at < encoded.body.length; at += 7) {
    const body = encoded.body.slice();
    body[at] ^= 0x10;
    t.throws(() => decodeBatch({ ...encoded, body }, graphOf), { message: /checksum/ }, `byte ${at}`);
  }
  t.throws(() => decodeBatch({ ...encoded, body: encoded.body.slice(0, -1) }, graphOf), {
    message: /journal 1-\d+: the checksum does not hold/,
  });
  t.throws(() => decodeBatch({ ...encoded, codec: 2 }, graphOf), { message: /codec 2 is not known; it was written by a newer version/ });
});
