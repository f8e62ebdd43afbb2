/**
 * A batch of the journal as bytes, and back: what every durable store writes as one value.
 *
 * Invariants
 * 1. `decodeBatch(encodeBatch(batch)) = batch`.
 * 2. What was damaged is found: the CRC is over the whole body, and a body that does not decode is an error, never a guess.
 */
import { crc32 } from 'node:zlib';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Graph } from '@workflow-orchestrator/engine/definition';
import { JournalRecordSchema } from '@workflow-orchestrator/proto';
import { fromMessage, toMessage } from './codec.ts';
import type { JournalBatch, JournalEntry } from './store.ts';

/** Names the encoding of a body: protobuf `JournalRecord`. */
export const JOURNAL_CODEC = 1;

/** A batch as it is written. */
export interface EncodedBatch {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly codec: number;
  /** CRC-32 of `body`. */
  readonly crc: number;
  readonly body: Uint8Array;
}

/** Encodes a batch. */
export function encodeBatch(batch: JournalBatch): EncodedBatch {
  const record = create(JournalRecordSchema, {
    entries: batch.entries.map(({ workflowId, firstEventSeq, events }) => ({
      workflowId,
      firstEventSeq: BigInt(firstEventSeq),
      events: events.map((event) => toMessage(event, 0)),
    })),
  });
  const body = toBinary(JournalRecordSchema, record);
  return { firstSeq: batch.firstSeq, lastSeq: batch.lastSeq, codec: JOURNAL_CODEC, crc: crc32(body), body };
}

/** Decodes a batch; `graph` finds the definitions that it names. Throws on a damaged or unknown body. */
export function decodeBatch(encoded: EncodedBatch, graph: (hash: string) => Graph): JournalBatch {
  const { firstSeq, lastSeq, codec, crc, body } = encoded;
  if (codec !== JOURNAL_CODEC)
    throw new Error(`journal ${firstSeq}-${lastSeq}: codec ${codec} is not known; it was written by a newer version`);
  if (crc32(body) !== crc) throw new Error(`journal ${firstSeq}-${lastSeq}: the checksum does not hold; the record is damaged`);
  const entries: JournalEntry[] = fromBinary(JournalRecordSchema, body).entries.map(({ workflowId, firstEventSeq, events }) => ({
    workflowId,
    firstEventSeq: Number(firstEventSeq),
    events: events.map((event) => fromMessage(event, graph)),
  }));
  return { firstSeq, lastSeq, entries };
}
