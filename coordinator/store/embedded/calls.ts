/**
 * What the store asks of its two threads, and what they answer. Plain values and bytes only: they cross by structured clone.
 *
 * The writer has the only connection that writes: ownership, commits, checkpoints, definitions, archive rows. The reader reads, and writes the log back into the file.
 */
import type { StoredDefinition } from '../store.ts';
import type { Failure } from './failure.ts';

/** Encoded entries, with the values that stand apart. */
export interface Encoded {
  readonly codec: number;
  readonly crc: number;
  readonly body: Uint8Array;
  readonly payloads: readonly (readonly [hash: string, body: Uint8Array])[];
}

/** Encoded entries as read. */
export type Stored = Omit<Encoded, 'payloads'>;

/** An ownership as it is compared. */
export interface Term {
  readonly epoch: number;
  readonly termId: string;
}

export interface CheckpointRow extends Encoded {
  readonly workflowId: string;
}

/** A workflow of the archive. */
export interface ArchiveRow {
  readonly id: string;
  readonly name: string;
  readonly definitionHash: string;
  readonly status: string;
  readonly submittedAt: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  readonly labels: string;
  readonly idempotencyKey: string | null;
  readonly requestHash: string;
  readonly seq: number;
  readonly outputs: string | null;
  readonly error: string | null;
  readonly jobs: string;
  /** Null while it is open. */
  readonly history: Encoded | null;
}

/** A list as it is asked for. */
export interface ListQuery {
  readonly statuses: readonly string[];
  readonly name: string;
  readonly submittedAfter: number;
  readonly submittedBefore: number;
  readonly labels: readonly (readonly [key: string, value: string])[];
  readonly beforeId: string;
  readonly limit: number;
}

/** Where the journal ends. */
export interface Head {
  readonly lastSeq: number;
  readonly chain: number;
  readonly checkpointSeq: number;
}

export interface JournalRow extends Stored {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly chain: number;
}

export interface WorkflowRow extends Stored {
  readonly workflowId: string;
}

/** Whether a term still has the shard; where it has, the last event's number. */
export type Held = { readonly isHeld: true; readonly lastSeq: number } | { readonly isHeld: false };

/** Of a commit: `mismatch` says in words why the batch does not follow. */
export type Committed =
  | { readonly kind: 'durable' }
  | { readonly kind: 'fenced' }
  | { readonly kind: 'mismatch'; readonly message: string };

/** Calls of the writer: request, answer. */
export interface WriterCalls {
  acquire: [{ readonly termId: string }, { readonly epoch: number; readonly lastSeq: number }];
  look: [Term, Held];
  release: [Term, null];
  reclaim: [Term & { readonly nextTermId: string }, Held];
  commit: [Term & { readonly firstSeq: number; readonly lastSeq: number; readonly record: Encoded }, Committed];
  putDefinition: [StoredDefinition, StoredDefinition];
  checkpoint: [
    Term & {
      readonly number: number;
      readonly rows: readonly CheckpointRow[];
      readonly finish: { readonly seq: number; readonly ended: string } | null;
    },
    boolean,
  ];
  archive: [{ readonly rows: readonly ArchiveRow[] }, null];
  /** Forgets the workflows that ended before a time, the oldest first; how many. */
  retire: [{ readonly endedBefore: number }, number];
  /** The log has been written back, but for what came meanwhile. */
  writtenBack: [null, null];
}

/** Calls of the reader. */
export interface ReaderCalls {
  head: [null, Head];
  journal: [{ readonly afterSeq: number; readonly untilSeq: number }, readonly JournalRow[]];
  checkpoint: [{ readonly afterId: string }, { readonly rows: readonly WorkflowRow[]; readonly isLast: boolean; readonly lastId: string }];
  payloads: [{ readonly hashes: readonly string[] }, readonly (readonly [string, Uint8Array])[]];
  definitions: [null, readonly StoredDefinition[]];
  definitionsByHash: [{ readonly hashes: readonly string[] }, readonly StoredDefinition[]];
  workflow: [{ readonly id: string }, WorkflowRow | null];
  byKeys: [{ readonly keys: readonly string[] }, readonly (readonly [key: string, workflowId: string, requestHash: string])[]];
  list: [ListQuery, readonly WorkflowRow[]];
  openSeqs: [{ readonly afterId: string }, readonly (readonly [workflowId: string, seq: number])[]];
  /** When the workflow ended that is at this place, from 1, counted from the latest end; null when there are fewer. */
  endedAt: [{ readonly place: number }, number | null];
  writeBack: [null, number];
}

/** A call as it is sent. */
export interface Call {
  readonly id: number;
  readonly kind: string;
  readonly request: unknown;
}

/** What a thread sends. `ready` and `cannot` once, after the start; `logGrew` when the log is to be written back; `upkeep` about work that nobody asked for. */
export type ThreadMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'cannot'; readonly message: string }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly failure: Failure }
  | { readonly kind: 'logGrew' }
  | { readonly kind: 'upkeep'; readonly failure: Failure | null };

/** What a thread is started with. */
export interface ThreadData {
  readonly path: string;
}
