/**
 * Keeps recovery short: open workflows are written to checkpoints in rounds, in small slices, while everything goes on.
 *
 * A round begins at a place in the journal. Every workflow that was open there, and has events that its last checkpoint lacks, is written with all that is committed
 * when its turn comes; then the round is finished in one step: the journal before its beginning is needed no more, and workflows that had ended by then are dropped.
 *
 * Invariants
 * 1. Only committed events are written.
 * 2. Between two rounds, checkpoint and journal from its place on hold every event of every workflow that had not ended at that place.
 * 3. A round that fails changes nothing: the checkpoint before it holds, and the next round writes what this one could not.
 *    A slice of which nobody knows may have been kept: what is in it is dropped when it has ended, as if it had been.
 * 4. A slice that is fenced is no longer this owner's to write: another one has the shard, or the store went back in time, and then what this owner believes
 *    to be kept is not. Either way nothing goes on from here. While the shard is taken anew from oneself a slice may be fenced once, and one that is
 *    answered after that counts as one of which nobody knows.
 * 5. A round is finished only when the archive has every change of before it: what a recovery does not read any more must be in there.
 */
import type { CheckpointSlice, JournalEntry, Ownership, Store } from '../store/store.ts';
import { sizeOf } from './event-size.ts';
import type { ShardPorts } from './ports.ts';
import type { WorkflowRecord, WorkflowTable } from './workflow-table.ts';

/** How large rounds and slices are: `proto/limits.ts` says what each is. */
export type CheckpointBounds = Readonly<
  Record<'checkpointEvents' | 'checkpointEventBytes' | 'checkpointMs' | 'checkpointSliceWorkflows' | 'checkpointSliceBytes', number>
>;

/** What a checkpointer works on. */
export interface CheckpointerParts {
  readonly store: Store;
  readonly table: WorkflowTable;
  readonly ports: Pick<ShardPorts, 'later'>;
  readonly bounds: CheckpointBounds;
  readonly ownership: () => Ownership;
  /** Up to which event of the shard the table has everything. What is committed may be ahead of it: while the lease is not sure, nothing is told. */
  readonly toldSeq: () => number;
  /** Resolves when everything that changed so far is archived. */
  readonly archived: () => Promise<void>;
  /** The shard is lost. */
  readonly onLost: (reason: string) => void;
  readonly onBroken: (error: unknown) => void;
}

/** `checkpointed` of a workflow that was sent, and perhaps kept. */
const UNSURE = -1;
/** Pause after a round that failed. */
const RETRY_MS = 2_000;
const FENCED = 'a checkpoint was refused twice: another coordinator has the shard, or the store lacks what it had acknowledged';

export class Checkpointer {
  readonly #parts: CheckpointerParts;
  /** Since the beginning of the last round. */
  #events = 0;
  #bytes = 0;
  /** Ended workflows that the checkpoint has, or may have. */
  #ended: string[] = [];
  #isBusy = false;
  #slices = 0;
  /** The term whose slice was fenced; empty when none was since one was kept. */
  #fencedTerm = '';
  #isOver = false;

  constructor(parts: CheckpointerParts) {
    this.#parts = parts;
    if (parts.store.needsCheckpoints) this.#planByTime();
  }

  /** Events were committed. */
  committed(events: number, bytes: number): void {
    const { store, bounds } = this.#parts;
    if (!store.needsCheckpoints) return;
    this.#events += events;
    this.#bytes += bytes;
    if (this.#events >= bounds.checkpointEvents || this.#bytes >= bounds.checkpointEventBytes) this.#begin(0);
  }

  /** A workflow has ended, and that is committed. */
  ended(record: WorkflowRecord): void {
    if (record.checkpointed !== 0) this.#ended.push(record.state.id);
  }

  stop(): void {
    this.#isOver = true;
  }

  #planByTime(): void {
    this.#parts.ports.later(this.#parts.bounds.checkpointMs, () => {
      if (this.#isOver) return;
      if (this.#events > 0) this.#begin(0);
      this.#planByTime();
    });
  }

  #begin(delayMs: number): void {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#parts.ports.later(delayMs, () => {
      if (this.#isOver) return;
      this.#round().then(
        (isKept) => {
          this.#isBusy = false;
          if (!isKept && !this.#isOver) this.#begin(RETRY_MS);
        },
        (error: unknown) => this.#parts.onBroken(error),
      );
    });
  }

  /** Whether it was kept. */
  async #round(): Promise<boolean> {
    const { table, toldSeq, archived } = this.#parts;
    const seq = toldSeq();
    const before = { events: this.#events, bytes: this.#bytes, ended: this.#ended };
    const everythingBefore = archived();
    this.#events = 0;
    this.#bytes = 0;
    this.#ended = [];
    const records = [...table.values()].filter((record) => record.events.at(-1)?.kind !== 'ended');
    const isKept = await this.#write(records, seq, before.ended, everythingBefore);
    if (!isKept) {
      this.#events += before.events;
      this.#bytes += before.bytes;
      this.#ended = [...before.ended, ...this.#ended];
    }
    return isKept;
  }

  async #write(records: readonly WorkflowRecord[], seq: number, ended: readonly string[], archived: Promise<void>): Promise<boolean> {
    const { bounds } = this.#parts;
    let slice: WorkflowRecord[] = [];
    let entries: JournalEntry[] = [];
    let bytes = 0;
    const flush = async (): Promise<boolean> => {
      for (const record of slice) this.#sent(record);
      const isKept = await this.#keep({ entries, finish: null });
      if (isKept) for (const [place, record] of slice.entries()) record.checkpointed = entries[place]!.events.length;
      slice = [];
      entries = [];
      bytes = 0;
      return isKept;
    };
    for (const record of records) {
      if (record.events.length === record.checkpointed) continue;
      const events = record.events.all();
      slice.push(record);
      entries.push({ workflowId: record.state.id, firstEventSeq: 1, events });
      bytes += sizeOf(events);
      if (entries.length < bounds.checkpointSliceWorkflows && bytes < bounds.checkpointSliceBytes) continue;
      if (!(await flush())) return false;
    }
    if (entries.length > 0 && !(await flush())) return false;
    await archived;
    return !this.#isOver && (await this.#keep({ entries: [], finish: { seq, ended } }));
  }

  /** From now on the checkpoint may have the workflow, whatever becomes of the answer. */
  #sent(record: WorkflowRecord): void {
    if (record.checkpointed !== 0) return;
    record.checkpointed = UNSURE;
    // It ended while it waited for its slice: the next round drops it.
    if (record.events.at(-1)?.kind === 'ended') this.#ended.push(record.state.id);
  }

  async #keep(slice: Omit<CheckpointSlice, 'number'>): Promise<boolean> {
    if (this.#isOver) return false;
    const { store, ownership, onLost } = this.#parts;
    const owner = ownership();
    const { termId } = owner;
    this.#slices += 1;
    const { kind } = await store.checkpoint(owner, { ...slice, number: this.#slices });
    if (kind === 'fenced' && !this.#isOver && this.#fencedTerm === termId) onLost(FENCED);
    if (kind !== 'unavailable') this.#fencedTerm = kind === 'fenced' ? termId : '';
    // An answer that comes after a reclaim was perhaps given by what stood behind the store before it, and says nothing about what is there now.
    return kind === 'kept' && ownership().termId === termId;
  }
}
