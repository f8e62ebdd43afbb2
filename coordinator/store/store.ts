/**
 * The seam between deciding and durability. A store keeps the journal of a shard (the facts, in order), says who owns the shard, keeps the checkpoints
 * that make a recovery short and the definitions that the facts name, and, where it can, an archive of workflows to read and to search.
 *
 * Invariants that every implementation holds
 * 1. A batch is durable as a whole or not at all; `durable` is answered only when it is as durable as `durability` says.
 * 2. Batches are numbered without gaps: `firstSeq` is one more than the last batch's `lastSeq`. A batch that does not follow is refused.
 * 3. Only the latest ownership may commit: a commit under an older epoch is answered `fenced` and changes nothing. `termId` is drawn anew for each
 *    ownership, so that two that believe to have the same epoch (a database that went back in time) are still told apart.
 * 4. `load` gives back exactly what was committed, in order, in checkpoints and batches, and says after which event the batches begin: with that, a journal
 *    of which the end, or all, is missing does not look like one that is whole.
 * 5. After an outcome `unknown`, `reclaim` gives the true answer: no statement of before it can take effect after it.
 * 6. What may come back without something that it had acknowledged (a copy that took over, an old backup) is written to by nobody who knows of it: commits and
 *    renewals compare the last event, checkpoints and the archive the last event and the last slice that were answered for (`known.ts`).
 * 7. Every call ends within a deadline of the store's own, whatever happened to what is behind it. None but `load`, `definitions` and the reads of an archive
 *    throws; those throw `StoreUnavailable` when the same call may work later, anything else when what they read is damaged or newer than this code.
 *    What cannot be written as bytes is no outage but a broken invariant: `commit` and `checkpoint` reject with it.
 */
import type { DurableEvent, WorkflowState } from '@workflow-orchestrator/engine/machine';

/** How durable a committed batch is. */
export type DurabilityLevel = 'VOLATILE' | 'REPLICATED_VOLATILE' | 'DURABLE';

/** Events of one workflow that were decided together. Their numbers in the workflow are `firstEventSeq` and on. */
export interface JournalEntry {
  readonly workflowId: string;
  readonly firstEventSeq: number;
  readonly events: readonly DurableEvent[];
}

/** What one commit writes. */
export interface JournalBatch {
  /** Number of the first event in the shard, from 1. */
  readonly firstSeq: number;
  /** Number of the last one. */
  readonly lastSeq: number;
  readonly entries: readonly JournalEntry[];
}

/** Who owns a shard, as others are told. */
export interface Owner {
  readonly coordinatorId: string;
  /** Where clients and workers reach it; empty when it does not say. */
  readonly address: string;
}

/** What the owner of a shard holds. */
export interface Ownership {
  /** Grows with every acquisition and every `reclaim`, for ever. */
  readonly epoch: number;
  /** Drawn for this ownership; see invariant 3. */
  readonly termId: string;
  /** Number of the last committed event of the shard when it was taken; 0 for an empty journal. */
  readonly lastSeq: number;
}

/** What became of an attempt to own the shard. `held`: another owner's lease has not ended; it does so after `expiresInMs` unless it is renewed. */
export type Acquisition =
  | { readonly kind: 'acquired'; readonly ownership: Ownership }
  | { readonly kind: 'held'; readonly by: Owner; readonly expiresInMs: number }
  | { readonly kind: 'unavailable'; readonly message: string };

/** What became of a lease. `lost`: another owner has the shard, or the journal is shorter than it was. `unavailable`: not known; try again. */
export type Renewal =
  | { readonly kind: 'renewed' }
  | { readonly kind: 'lost'; readonly message: string }
  | { readonly kind: 'unavailable'; readonly message: string };

/** What became of a `reclaim`. `reclaimed`: nothing of before can take effect any more, and `ownership.lastSeq` says what did. */
export type Reclaim =
  | { readonly kind: 'reclaimed'; readonly ownership: Ownership }
  | { readonly kind: 'lost'; readonly message: string }
  | { readonly kind: 'unavailable'; readonly message: string };

/**
 * How a commit ended. `durable`: it is there. `fenced`: another owner has the shard; drop everything, tell nobody. `aborted`: certainly not there;
 * the same batch may be tried again when `isTransient`, and otherwise never will be taken. `unknown`: it may or may not be there, and must be found out
 * by `reclaim` before anything else happens.
 */
export type CommitOutcome =
  | { readonly kind: 'durable' }
  | { readonly kind: 'fenced' }
  | { readonly kind: 'aborted'; readonly isTransient: boolean; readonly message: string }
  | { readonly kind: 'unknown'; readonly message: string };

/**
 * A part of what a shard holds: the place of its checkpoint, which comes first (batches follow after event `seq`; 0 without a checkpoint), workflows as of
 * the checkpoint (whole, from their first event), or a batch of the journal after it.
 */
export type LoadedPart =
  | { readonly kind: 'place'; readonly seq: number }
  | { readonly kind: 'checkpoint'; readonly entries: readonly JournalEntry[] }
  | { readonly kind: 'batch'; readonly batch: JournalBatch };

/**
 * A slice of a checkpoint. `number` counts those of an owner, from 1 at its acquisition: one before the latest that was seen is refused as `fenced`,
 * for it may have been under way for long, and would put back what was replaced or dropped since. `entries`: workflows with all their committed events, each
 * replacing what was kept of it. `finish` ends a round, atomically: batches up to `seq`, where one of them ends, are needed no more for a recovery, and what is
 * kept of the workflows `ended` is dropped. That place never goes back, and one that is not committed is refused as `fenced`.
 */
export interface CheckpointSlice {
  readonly number: number;
  readonly entries: readonly JournalEntry[];
  readonly finish: { readonly seq: number; readonly ended: readonly string[] } | null;
}

/** Whether something was kept that no acknowledgement rests on. `fenced`: it is no longer this owner's to write. */
export type Kept = { readonly kind: 'kept' } | { readonly kind: 'fenced' } | { readonly kind: 'unavailable'; readonly message: string };

/** A definition as kept. */
export interface StoredDefinition {
  readonly hash: string;
  readonly name: string;
  readonly yaml: string;
  /** When it was last registered under its name, milliseconds since 1970; 0 when it is known from submits alone. */
  readonly registeredAt: number;
}

/** How a tier of storage is, for health and `wf status`. */
export interface TierHealth {
  readonly name: string;
  readonly health: 'OK' | 'DEGRADED' | 'DOWN';
  readonly detail: string;
}

/** What is behind a store does not answer, or not now. */
export class StoreUnavailable extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreUnavailable';
  }
}

/** One shard: its journal, its owner, its checkpoints; and the definitions that all shards share. */
export interface Store {
  readonly durability: DurabilityLevel;
  /** How long an ownership lasts without `renew`; null when it lasts as long as the store is open, because nobody else can have it. */
  readonly leaseMs: number | null;
  /** Whether a recovery gets shorter by checkpoints. */
  readonly needsCheckpoints: boolean;
  /** Workflows to read and search beyond what is in memory; null when this store keeps none. */
  readonly archive: Archive | null;
  /** Where others are shown what happens at the moment; null when there is no such place. */
  readonly liveView: LiveView | null;
  /** Takes the shard over if nobody's lease holds: every earlier owner is fenced from then on. */
  acquire(owner: Owner): Promise<Acquisition>;
  /** Makes the lease last `leaseMs` from now. `lastSeq`: the last event that this owner knows to be committed. */
  renew(ownership: Ownership, lastSeq: number): Promise<Renewal>;
  /** Ends the lease, so that the next owner need not wait. Nothing may be committed after it. */
  release(ownership: Ownership): Promise<void>;
  /** Appends a batch; one at a time. */
  commit(ownership: Ownership, batch: JournalBatch): Promise<CommitOutcome>;
  /** Finds out what became of an `unknown` commit: takes the shard anew from oneself. */
  reclaim(ownership: Ownership): Promise<Reclaim>;
  /**
   * Everything that was committed: the workflows of the last checkpoint, then the batches after it, in order. Rejects with `JournalDamaged` when that is not whole;
   * where another owner writes meanwhile it may look so.
   */
  load(): AsyncIterable<LoadedPart>;
  /** Keeps a slice of a checkpoint. */
  checkpoint(ownership: Ownership, slice: CheckpointSlice): Promise<Kept>;
  /** Keeps a definition; durable before the answer. Keeping it again changes only `registeredAt`, to the later one. Answers with what is kept. Throws `StoreUnavailable`. */
  putDefinition(definition: StoredDefinition): Promise<StoredDefinition>;
  /** Every definition that was registered, in the order of `registeredAt`. */
  definitions(): AsyncIterable<StoredDefinition>;
  /** Definitions by their hashes; those that are not kept are left out. Throws `StoreUnavailable`. */
  definitionsByHash(hashes: readonly string[]): Promise<ReadonlyMap<string, StoredDefinition>>;
  health(): readonly TierHealth[];
  close(): Promise<void>;
}

/** A workflow to archive, as of its committed events. */
export interface ArchivedWorkflow {
  /** The fold of `events`, with live leases: what people are shown. */
  readonly state: WorkflowState;
  readonly events: readonly DurableEvent[];
}

/** What is known of the workflow that was submitted with an idempotency key. */
export interface KeyOwner {
  readonly workflowId: string;
  readonly requestHash: string;
}

/** Which workflows a list is about. */
export interface ListFilter {
  readonly statuses: ReadonlySet<string>;
  readonly name: string;
  readonly submittedAfter: number;
  readonly submittedBefore: number;
  readonly labels: ReadonlyMap<string, string>;
  /** Only ids below this one; empty: from the newest. */
  readonly beforeId: string;
  readonly limit: number;
}

/**
 * Workflows at rest, for reads, lists, search and people's own queries: a projection of the journal that follows it and may lag behind.
 *
 * Invariants
 * 1. Only whoever has the shard writes; anybody may read.
 * 2. A workflow is replaced only by a later state of itself (`state.seq` does not go down), whoever writes.
 * 3. What has ended is given back with all its events; it is forgotten only when its retention has passed.
 */
export interface Archive {
  /** `fenced`: another owner has the shard, or what is behind the store lacks what it had acknowledged. */
  write(workflows: readonly ArchivedWorkflow[]): Promise<Kept>;
  /** All events of a workflow that has ended; null for any other. */
  get(workflowId: string): Promise<JournalEntry | null>;
  /** By idempotency key, the workflow that has it; keys that no workflow has are left out. */
  byKeys(keys: readonly string[]): Promise<ReadonlyMap<string, KeyOwner>>;
  /** Ended workflows, newest first, at most `filter.limit`. */
  list(filter: ListFilter): Promise<readonly JournalEntry[]>;
  /** Of every workflow that is archived as open, its `state.seq`: what a recovery compares with. */
  openSeqs(): Promise<ReadonlyMap<string, number>>;
}

/** Who is there, as others are told. */
export interface Presence {
  readonly coordinator: Owner & { readonly role: 'ACTIVE' | 'STANDBY' };
  readonly workers: readonly { readonly workerId: string; readonly slots: number; readonly busy: number }[];
}

/**
 * What happens at the moment, for others to look at: open and just ended workflows, a feed of changes, who is there.
 *
 * Invariants
 * 1. Every value follows from the journal, says from which shard, epoch and event it is, and goes by itself after a while. Losing all of it loses no fact.
 * 2. Nothing that is acknowledged waits for it, and it is never asked for a decision.
 */
export interface LiveView {
  /** Shows workflows as of their committed events, and tells those who follow the feed. */
  show(ownership: Ownership, workflows: readonly ArchivedWorkflow[]): Promise<Kept>;
  /** Says who is there; repeated every `limits.presenceMs`. */
  announce(presence: Presence): Promise<Kept>;
}
