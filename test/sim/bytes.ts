/**
 * Entries as a real store keeps them: written as bytes and read back, so that what the codec loses is lost here too.
 *
 * Invariant: graphs are those of the plan. They were made without a text that could be compiled again, so they are looked up by their hashes.
 */
import { fromBinary } from '@bufbuild/protobuf';
import type { Graph } from '@workflow-orchestrator/engine/definition';
import { JournalRecordSchema } from '@workflow-orchestrator/proto';
import { fromMessage } from '../../coordinator/store/codec.ts';
import { encodeEntries } from '../../coordinator/store/journal.ts';
import type { JournalEntry } from '../../coordinator/store/store.ts';

/** Writes entries and reads them back. */
export type ThroughBytes = (entries: readonly JournalEntry[]) => readonly JournalEntry[];

/** The way through bytes for workflows of these graphs. */
export function throughBytes(graphs: readonly Graph[]): ThroughBytes {
  const byHash = new Map(graphs.map((graph) => [graph.hash, graph]));
  const graphOf = (hash: string): Graph => {
    const graph = byHash.get(hash);
    if (graph === undefined) throw new Error(`there is no graph ${hash}`);
    return graph;
  };
  return (entries) =>
    fromBinary(JournalRecordSchema, encodeEntries(entries, false).body).entries.map(({ workflowId, firstEventSeq, events }) => ({
      workflowId,
      firstEventSeq: Number(firstEventSeq),
      events: events.map((event) => fromMessage(event, graphOf)),
    }));
}

/** A store that keeps what it is given: nothing can be lost, and it takes a third of the time. */
export const asTheyAre: ThroughBytes = (entries) => entries;
