/**
 * The seam between deciding and durability. A store keeps the journal of a shard (the facts, in order) and the definitions they name.
 *
 * Invariants that every implementation holds
 * 1. A batch is durable as a whole or not at all; `durable` is answered only when it is as durable as `durability` says.
 * 2. Batches are numbered without gaps: `firstSeq` is one more than the last batch's `lastSeq`. A batch that does not follow is refused.
 * 3. Only the latest `acquire` may commit: a commit under an older epoch is answered `fenced` and changes nothing.
 * 4. `load` gives back exactly what was committed, in order.
 */
import type { DurableEvent } from '@workflow-orchestrator/engine/machine';

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

/** What the owner of a shard holds. */
export interface Ownership {
  /** Grows with every acquisition, for ever. */
  readonly epoch: number;
  /** Number of the last committed event of the shard; 0 for an empty journal. */
  readonly lastSeq: number;
}

/**
 * How a commit ended. `durable`: it is there. `fenced`: another owner has the shard; drop everything, tell nobody. `aborted`: certainly not there.
 * `unknown`: it may or may not be there, and must be found out before anything else happens.
 */
export type CommitOutcome =
  | { readonly kind: 'durable' }
  | { readonly kind: 'fenced' }
  | { readonly kind: 'aborted'; readonly message: string }
  | { readonly kind: 'unknown'; readonly message: string };

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

/** The journal of one shard. */
export interface Store {
  readonly durability: DurabilityLevel;
  /** Takes the shard over: every earlier owner is fenced from here on. */
  acquire(): Promise<Ownership>;
  /** Appends a batch. Never throws; one at a time. */
  commit(ownership: Ownership, batch: JournalBatch): Promise<CommitOutcome>;
  /** Everything committed after `afterSeq`, in order. */
  load(afterSeq: number): AsyncIterable<JournalBatch>;
  /** Keeps a definition; durable before the answer. Keeping it again changes only `registeredAt`, to the later one. Answers with what is kept. */
  putDefinition(definition: StoredDefinition): Promise<StoredDefinition>;
  /** Every definition, in the order of `registeredAt`. */
  definitions(): AsyncIterable<StoredDefinition>;
  health(): readonly TierHealth[];
  close(): Promise<void>;
}
