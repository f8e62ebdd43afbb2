/**
 * Entries of the journal as bytes, and back: what every durable store writes as one value, be it a batch, a workflow in a checkpoint or one in an archive.
 *
 * Invariants
 * 1. `EntryReader.read(encodeEntries(entries)) = entries`.
 * 2. What was damaged is found: the CRC is over the whole body, the chain over all bodies before it, and a body that does not decode is an error, never a guess.
 * 3. A value over `limits.payloadInlineBytes` may stand apart under its hash; whoever reads gets it back whole, or an error.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { fromBinary } from '@bufbuild/protobuf';
import { compile, type Graph } from '@workflow-orchestrator/engine/definition';
import { JournalDamaged } from '@workflow-orchestrator/engine/machine';
import { type JournalRecord, JournalRecordSchema, type Payload } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import { fromMessage, payloadsOf } from './codec.ts';
import { writeEntries } from './entry-writer.ts';
import type { JournalBatch, JournalEntry, StoredDefinition } from './store.ts';

/** Names the encoding of a body: protobuf `JournalRecord`. */
export const JOURNAL_CODEC = 1;

/** Entries as they are written. */
export interface EncodedEntries {
  readonly codec: number;
  /** CRC-32 of `body`. */
  readonly crc: number;
  readonly body: Uint8Array;
  /** By hash (hex), the values that stand apart. Empty unless they were asked for. */
  readonly payloads: ReadonlyMap<string, Uint8Array>;
}

const NO_PAYLOADS: ReadonlyMap<string, Uint8Array> = new Map();

/** Encodes entries. `apart`: whether large values are taken out of the body. */
export function encodeEntries(entries: readonly JournalEntry[], apart: boolean): EncodedEntries {
  let payloads: Map<string, Uint8Array> | null = null;
  const putApart = (data: Uint8Array): Uint8Array | null => {
    if (!apart || data.length <= limits.payloadInlineBytes) return null;
    const hash = createHash('sha256').update(data).digest();
    payloads ??= new Map();
    payloads.set(hash.toString('hex'), data);
    return hash;
  };
  const body = writeEntries(entries, putApart);
  return { codec: JOURNAL_CODEC, crc: crc32(body), body, payloads: payloads ?? NO_PAYLOADS };
}

/** The chain after a body: a CRC over all bodies, in order. Two journals that were the same once and went apart have other chains. */
export function chainAfter(chain: number, body: Uint8Array): number {
  return crc32(body, chain);
}

function* payloadsIn(record: JournalRecord): Iterable<Payload> {
  for (const { events } of record.entries) for (const event of events) yield* payloadsOf(event);
}

/** Where a reader finds what entries name. */
export interface EntrySources {
  /** Definitions by their hashes; those that are not kept are left out. */
  readonly definitions: (hashes: readonly string[]) => Promise<ReadonlyMap<string, StoredDefinition>>;
  /** Values by their hashes (hex); those that are not there are left out. Null: this store keeps none apart. */
  readonly payloads: ((hashes: readonly string[]) => Promise<ReadonlyMap<string, Uint8Array>>) | null;
}

/** Reads entries; definitions are compiled once for each reader. */
export class EntryReader {
  readonly #sources: EntrySources;
  readonly #graphs = new Map<string, Graph>();
  #compiledJobs = 0;

  constructor(sources: EntrySources) {
    this.#sources = sources;
  }

  /** Jobs of all definitions that it keeps compiled: what it has of memory. */
  get compiledJobs(): number {
    return this.#compiledJobs;
  }

  /**
   * The entries of a body. `what` names it in errors. Rejects with `JournalDamaged` when it is damaged, was written by a newer version, or names what is
   * not kept.
   */
  async read(encoded: Omit<EncodedEntries, 'payloads'>, what: string): Promise<JournalEntry[]> {
    const { codec, crc, body } = encoded;
    if (codec !== JOURNAL_CODEC) throw new JournalDamaged(`${what}: codec ${codec} is not known; it was written by a newer version`);
    if (crc32(body) !== crc) throw new JournalDamaged(`${what}: the checksum does not hold; the record is damaged`);
    const record = readRecord(body, what);
    await this.#learn(record, what);
    await this.#putBack(record, what);
    return record.entries.map(({ workflowId, firstEventSeq, events }) => ({
      workflowId,
      firstEventSeq: Number(firstEventSeq),
      events: events.map((event) => fromMessage(event, (hash) => this.#graphs.get(hash)!)),
    }));
  }

  /** One batch of the journal. */
  async readBatch(encoded: Omit<EncodedEntries, 'payloads'>, firstSeq: number, lastSeq: number): Promise<JournalBatch> {
    return { firstSeq, lastSeq, entries: await this.read(encoded, `journal ${firstSeq}-${lastSeq}`) };
  }

  async #learn(record: JournalRecord, what: string): Promise<void> {
    const unknown = new Set<string>();
    for (const { events } of record.entries) {
      for (const { kind } of events) {
        if (kind.case === 'submitted' && !this.#graphs.has(kind.value.definitionHash)) unknown.add(kind.value.definitionHash);
      }
    }
    if (unknown.size === 0) return;
    const found = await this.#sources.definitions([...unknown]);
    for (const hash of unknown) {
      const stored = found.get(hash);
      if (stored === undefined) throw new JournalDamaged(`${what}: the definition ${hash} that it names is not kept`);
      const compiled = compile(stored.yaml);
      if (compiled.kind === 'bad') {
        throw new JournalDamaged(
          `${what}: the definition ${hash} is not valid any more: ${compiled.problems[0]?.message}; it was written by another version`,
        );
      }
      // Two reads at once may both compile it.
      if (!this.#graphs.has(hash)) this.#compiledJobs += compiled.graph.jobs.length;
      this.#graphs.set(hash, compiled.graph);
    }
  }

  async #putBack(record: JournalRecord, what: string): Promise<void> {
    const apart = [...payloadsIn(record)].filter(({ hash }) => hash.length > 0);
    if (apart.length === 0) return;
    const hex = (payload: Payload): string => Buffer.from(payload.hash).toString('hex');
    const found = (await this.#sources.payloads?.([...new Set(apart.map(hex))])) ?? NO_PAYLOADS;
    for (const payload of apart) {
      const data = found.get(hex(payload));
      if (data === undefined) throw new JournalDamaged(`${what}: the value ${hex(payload)} that it names is not kept`);
      payload.data = data;
      payload.hash = new Uint8Array();
    }
  }
}

function readRecord(body: Uint8Array, what: string): JournalRecord {
  try {
    return fromBinary(JournalRecordSchema, body);
  } catch (cause) {
    throw new JournalDamaged(`${what}: the record is damaged: ${(cause as Error).message}`, { cause });
  }
}
