/**
 * Bytes of the journal: records cut, flipped and made up, and right ones that say what cannot have happened. An input is a byte of flags (1: the checksum
 * is as given and not made right; 2: another codec), four bytes of checksum, and the body of a record.
 *
 * What must hold: a record is read or refused with `JournalDamaged`; what was read is written and read again as the same; a shard recovers a journal
 * of it, or refuses it with `JournalDamaged`.
 */
import { isDeepStrictEqual } from 'node:util';
import { crc32 } from 'node:zlib';
import type { Graph } from '@workflow-orchestrator/engine/definition';
import { type DurableEvent, isDurable, JournalDamaged } from '@workflow-orchestrator/engine/machine';
import fc from 'fast-check';
import type { Shard } from '../../../coordinator/shard/shard.ts';
import { EntryReader, encodeEntries, JOURNAL_CODEC } from '../../../coordinator/store/journal.ts';
import { MemoryJournal } from '../../../coordinator/store/memory/memory.ts';
import type { JournalBatch, JournalEntry } from '../../../coordinator/store/store.ts';
import { anyDeed, perform } from '../../engine-support/arbitraries.ts';
import type { Random } from '../../engine-support/random.ts';
import { Run } from '../../engine-support/run.ts';
import { VirtualPorts } from '../../shard-support/ports.ts';
import { anyEvent, definitionOf, eventsOfEachKind, plain } from '../../store-contract/events.ts';
import { Broken, type Outcome, shapeOf, type Target } from '../target.ts';
import { openVirtualShard } from './virtual-shard.ts';

const asGiven = 1;
const otherCodec = 2;

const definitions = ['one', 'two'].map((name) => definitionOf(name));
const graphs = definitions.map(({ graph }) => graph);
const byHash = new Map(definitions.map(({ stored }) => [stored.hash, stored]));

/** A reader that knows the definitions, and the values that stood apart. */
function readerOf(payloads: ReadonlyMap<string, Uint8Array>): EntryReader {
  const known = <T>(all: ReadonlyMap<string, T>, hashes: readonly string[]) => new Map([...all].filter(([hash]) => hashes.includes(hash)));
  return new EntryReader({ definitions: async (hashes) => known(byHash, hashes), payloads: async (hashes) => known(payloads, hashes) });
}

const reader = readerOf(new Map());

/** The target. */
export function journalTarget(): Target {
  const words = [...byHash.keys(), 'wf-1', 'json', '\x12\x00', '\x08\xff\xff\xff\xff\x0f', '\x2a\x02\x08\x01', '\x0a\x00'];
  return { name: 'journal', seeds, generate, words, isText: false, mostBytes: 64 * 1024, run, close: async () => {} };
}

async function run(input: Uint8Array): Promise<Outcome> {
  const head = Buffer.alloc(5);
  head.set(input.subarray(0, 5));
  const flags = head[0];
  const given = head.readUInt32LE(1);
  // Plain bytes: a Buffer is compared, and written as JSON, in another way.
  const body = Uint8Array.from(input.subarray(5));
  const crc = (flags & asGiven) !== 0 ? given : crc32(body);
  const codec = JOURNAL_CODEC + ((flags & otherCodec) !== 0 ? 1 : 0);
  try {
    const batch = await reader.readBatch({ codec, crc, body }, 1, Math.max(1, body.length));
    const recovered = await recover(batch);
    return { features: featuresOf(batch, recovered), kept: [batch, recovered], check: () => judge(batch) };
  } catch (error) {
    if (!(error instanceof JournalDamaged)) throw error;
    if (error.message === '') throw new Broken('a refusal says nothing');
    return { features: [shapeOf(error.message)], kept: null };
  }
}

/** A shard that goes on from the journal. */
async function recover(batch: JournalBatch): Promise<Shard> {
  const journal = new MemoryJournal();
  journal.batches.push(batch);
  journal.lastSeq = batch.lastSeq;
  const ports = new VirtualPorts();
  const shard = await openVirtualShard(ports, journal);
  // Its timers fire, and what they lead to is committed.
  for (let i = 0; i < 3; i++) {
    ports.run();
    await Promise.resolve();
    ports.advance(60_000);
  }
  ports.run();
  if (ports.stopped !== null) throw new Broken(`the recovered shard stopped: ${ports.stopped}`);
  shard.stop();
  return shard;
}

async function judge(batch: JournalBatch): Promise<void> {
  const encoded = encodeEntries(batch.entries, true);
  const again = await readerOf(encoded.payloads).readBatch(encoded, batch.firstSeq, batch.lastSeq);
  if (!isDeepStrictEqual(plain([again]), plain([batch]))) throw new Broken('written and read again, the record is another one');
}

function featuresOf(batch: JournalBatch, shard: Shard): string[] {
  const { openWorkflows, readyJobs } = shard.stats();
  const kinds = batch.entries.flatMap(({ events }) => events.map(({ kind }) => kind));
  return [
    ...new Set(kinds),
    `entries ${Math.min(9, batch.entries.length)}`,
    `open ${Math.min(9, openWorkflows)} ready ${Math.min(9, readyJobs)}`,
  ];
}

function inputOf(entries: readonly JournalEntry[], flags = 0): Uint8Array {
  const { body, crc } = encodeEntries(entries, false);
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32LE(crc, 1);
  return Buffer.concat([head, body]);
}

/** A history that the engine made, split over entries. */
function history(workflowId: string, graph: Graph, seed: number): JournalEntry[] {
  const one = new Run(graph, workflowId);
  one.submit(true);
  for (const deed of fc.sample(fc.array(anyDeed, { maxLength: 60 }), { seed, numRuns: 1 })[0]) perform(one, deed, null);
  const events = one.events.filter(isDurable);
  const cut = 1 + (seed % events.length);
  return [entryOf(workflowId, 1, events.slice(0, cut)), entryOf(workflowId, cut + 1, events.slice(cut))].filter(
    (entry) => entry.events.length > 0,
  );
}

function entryOf(workflowId: string, firstEventSeq: number, events: readonly DurableEvent[]): JournalEntry {
  return { workflowId, firstEventSeq, events };
}

function seeds(): Uint8Array[] {
  const each = eventsOfEachKind(graphs[0], 'wf-1');
  return [
    inputOf(history('wf-1', graphs[0], 1)),
    inputOf(history('wf-2', graphs[1], 7), asGiven),
    inputOf([...history('wf-1', graphs[0], 3), ...history('wf-2', graphs[1], 4)]),
    ...each.map((event) => inputOf([entryOf('wf-1', 1, [each[0], ...(event.kind === 'submitted' ? [] : [event])])])),
    inputOf([], otherCodec),
  ];
}

const events = fc.array(anyEvent(graphs), { maxLength: 6 });

function generate(random: Random): Uint8Array {
  const seed = random.below(2 ** 31);
  const made = history('wf-1', random.pick(graphs), seed);
  if (random.chance(0.3)) return inputOf(made, random.chance(0.2) ? asGiven : 0);
  if (random.chance(0.3)) return inputOf([...made, ...history('wf-2', random.pick(graphs), seed + 1)]);
  // Events that cannot have happened, in the place where they would be next.
  const next = made.reduce((sum, entry) => sum + entry.events.length, 1);
  return inputOf([...made, entryOf('wf-1', next, fc.sample(events, { seed, numRuns: 1 })[0])]);
}
