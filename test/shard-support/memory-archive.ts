/** An archive in memory, for worlds under control: it takes what it is given, unless it is told to be away. */
import { hasEnded } from '@workflow-orchestrator/engine/machine';
import type { Archive, ArchivedWorkflow, JournalEntry, Kept, KeyOwner, ListFilter } from '../../coordinator/store/store.ts';
import { StoreUnavailable } from '../../coordinator/store/store.ts';

export class MemoryArchive implements Archive {
  readonly #rows = new Map<string, ArchivedWorkflow>();
  /** Whether nothing is taken and nothing answered. */
  isAway = false;
  /** Ids, in the order in which they were written. */
  readonly written: string[] = [];

  async write(workflows: readonly ArchivedWorkflow[]): Promise<Kept> {
    if (this.isAway) return { kind: 'unavailable', message: 'the archive is away' };
    for (const workflow of workflows) {
      const { id, seq } = workflow.state;
      if (workflow.events.length !== seq) throw new Error(`${id} has ${seq} events, ${workflow.events.length} were given`);
      this.written.push(id);
      if ((this.#rows.get(id)?.state.seq ?? 0) <= seq) this.#rows.set(id, workflow);
    }
    return { kind: 'kept' };
  }

  async get(workflowId: string): Promise<JournalEntry | null> {
    this.#expectHere();
    const row = this.#rows.get(workflowId);
    return row === undefined || !hasEnded(row.state.status) ? null : entryOf(row);
  }

  async byKeys(keys: readonly string[]): Promise<ReadonlyMap<string, KeyOwner>> {
    this.#expectHere();
    const found = new Map<string, KeyOwner>();
    for (const { state } of this.#rows.values()) {
      const { idempotencyKey, id: workflowId, requestHash } = state;
      if (idempotencyKey !== '' && keys.includes(idempotencyKey)) found.set(idempotencyKey, { workflowId, requestHash });
    }
    return found;
  }

  async list({ statuses, name, submittedAfter, submittedBefore, labels, beforeId, limit }: ListFilter): Promise<readonly JournalEntry[]> {
    this.#expectHere();
    const rows = [...this.#rows.values()].filter(
      ({ state }) =>
        hasEnded(state.status) &&
        (statuses.size === 0 || statuses.has(state.status)) &&
        (name === '' || name === state.graph.name) &&
        state.submittedAt >= submittedAfter &&
        state.submittedAt < submittedBefore &&
        [...labels].every(([key, value]) => state.labels[key] === value) &&
        (beforeId === '' || state.id < beforeId),
    );
    rows.sort((a, b) => (a.state.id > b.state.id ? -1 : 1));
    return rows.slice(0, limit).map(entryOf);
  }

  async openSeqs(): Promise<ReadonlyMap<string, number>> {
    this.#expectHere();
    return new Map([...this.#rows.values()].filter(({ state }) => !hasEnded(state.status)).map(({ state }) => [state.id, state.seq]));
  }

  #expectHere(): void {
    if (this.isAway) throw new StoreUnavailable('the archive is away');
  }
}

function entryOf({ state, events }: ArchivedWorkflow): JournalEntry {
  return { workflowId: state.id, firstEventSeq: 1, events };
}
