/**
 * What a shard holds: every workflow as the fold of its events, read from the last checkpoint and the journal after it.
 *
 * Invariant: an event is folded once, in order, and only if it can have happened, or the reading fails with `JournalDamaged`. A checkpoint may be ahead of
 * the place from which the journal is read (it is written while workflows go on), so events that are already in are passed over; one that is missing means
 * that the journal is damaged. What was read must end at the last event that was committed, be it in a batch or in the checkpoint.
 */
import { JournalDamaged, replay, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import { type JournalEntry, type Ownership, type Store, StoreUnavailable } from '../store/store.ts';
import { History } from './history.ts';
import { ShardStopped } from './requests.ts';

/** One workflow as it was read. */
export interface FoundWorkflow {
  readonly state: WorkflowState;
  readonly events: History;
  /** How many of its events the checkpoint has; 0 when it is not in there. */
  readonly checkpointed: number;
}

/** Everything that was read. */
export interface FoundWorkflows {
  /** In the order of submission. */
  readonly workflows: readonly FoundWorkflow[];
  /** Time of the latest event, milliseconds since 1970; 0 without one. */
  readonly lastAt: number;
  /** Events after the checkpoint. */
  readonly tailEvents: number;
}

/** The workflow of a whole history, as an archive gives it back. Throws `JournalDamaged` when it cannot have happened. */
export function foldHistory(entry: JournalEntry): FoundWorkflow {
  const found = new Map<string, FoundWorkflow>();
  fold(found, entry, 0);
  const workflow = found.get(entry.workflowId);
  if (workflow === undefined) throw new JournalDamaged(`the history of workflow '${entry.workflowId.slice(0, 200)}' is empty`);
  return workflow;
}

/** Reads all that was committed under owners before. Rejects with `JournalDamaged` when it is not whole, or holds what cannot have happened. */
export async function readShard(store: Store, ownership: Ownership): Promise<FoundWorkflows> {
  const found = new Map<string, FoundWorkflow>();
  let lastAt = 0;
  let lastSeq = 0;
  let tailEvents = 0;
  for await (const part of store.load()) {
    if (part.kind === 'place') {
      lastSeq = part.seq;
      continue;
    }
    if (part.kind === 'checkpoint') {
      for (const entry of part.entries) lastAt = Math.max(lastAt, fold(found, entry, entry.events.length));
      continue;
    }
    const { firstSeq, entries } = part.batch;
    if (firstSeq !== lastSeq + 1) throw new JournalDamaged(`the journal is damaged: event ${firstSeq} comes after ${lastSeq}`);
    lastSeq = part.batch.lastSeq;
    tailEvents += lastSeq - firstSeq + 1;
    for (const entry of entries) lastAt = Math.max(lastAt, fold(found, entry, 0));
  }
  if (lastSeq !== ownership.lastSeq) {
    throw new JournalDamaged(`the journal is damaged: it ends at event ${lastSeq}, and ${ownership.lastSeq} were committed`);
  }
  const workflows = [...found.values()];
  // A checkpoint has its own order; ids grow with the order of submission.
  workflows.sort((a, b) => (a.state.id < b.state.id ? -1 : 1));
  return { workflows, lastAt, tailEvents };
}

/** Why a reading failed: what looks like damage may be what another owner wrote meanwhile, and only whoever still has the shard can tell. */
export async function readFailure(store: Store, ownership: Ownership, error: unknown): Promise<unknown> {
  if (error instanceof StoreUnavailable) return error;
  const renewal = await store.renew(ownership, ownership.lastSeq);
  if (renewal.kind === 'renewed') return error;
  return renewal.kind === 'lost' ? new ShardStopped(renewal.message) : new StoreUnavailable(renewal.message, { cause: error });
}

/** Folds what is new of an entry. Time of its last event. */
function fold(found: Map<string, FoundWorkflow>, { workflowId, firstEventSeq, events }: JournalEntry, checkpointed: number): number {
  let workflow = found.get(workflowId);
  const known = workflow?.events.length ?? 0;
  if (firstEventSeq < 1 || firstEventSeq > known + 1) {
    throw new JournalDamaged(
      `the journal is damaged: event ${firstEventSeq} of workflow '${workflowId.slice(0, 200)}' comes after ${known}`,
    );
  }
  for (let place = known + 1 - firstEventSeq; place < events.length; place++) {
    const event = events[place]!;
    const state = replay(workflow?.state ?? null, workflowId, event);
    if (workflow === undefined) {
      workflow = { state, events: new History(), checkpointed };
      found.set(workflowId, workflow);
    }
    workflow.events.push(event);
  }
  return events.at(-1)?.at ?? 0;
}
