/**
 * What follows the journal behind the commits: checkpoints, the archive, the live view. Nothing that is acknowledged waits for any of them.
 */
import { hasEnded, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { ArchivedWorkflow, Ownership, Store } from '../store/store.ts';
import { type CheckpointBounds, Checkpointer } from './checkpointer.ts';
import type { ShardPorts } from './ports.ts';
import { Projector } from './projector.ts';
import type { WorkflowRecord, WorkflowTable } from './workflow-table.ts';

/** What the followers work on. */
export interface FollowerParts {
  readonly store: Store;
  readonly table: WorkflowTable;
  readonly ports: ShardPorts;
  readonly bounds: CheckpointBounds;
  readonly ownership: () => Ownership;
  /** Up to which event of the shard everything was told to this. */
  readonly toldSeq: () => number;
  readonly onLost: (reason: string) => void;
  readonly onBroken: (error: unknown) => void;
}

export class Followers {
  readonly #store: Store;
  readonly #projectors: readonly Projector[];
  readonly #checkpointer: Checkpointer;

  constructor(parts: FollowerParts) {
    const archive = archiveProjector(parts);
    const liveView = liveViewProjector(parts);
    this.#store = parts.store;
    this.#projectors = [archive, liveView].filter((projector) => projector !== null);
    this.#checkpointer = new Checkpointer({ ...parts, archived: () => archive?.written() ?? Promise.resolve() });
  }

  /** A workflow has this state, and that is committed. */
  changed(record: WorkflowRecord, state: WorkflowState): void {
    for (const projector of this.#projectors) projector.changed(record, state);
  }

  /** Events were committed. */
  committed(events: number, bytes: number): void {
    this.#checkpointer.committed(events, bytes);
  }

  /** A workflow's end is committed. */
  ended(record: WorkflowRecord): void {
    this.#checkpointer.ended(record);
  }

  /** Follows what a recovery has read, where the archive lacks it. */
  async catchUp(records: readonly WorkflowRecord[]): Promise<void> {
    const seqs = await this.#store.archive?.openSeqs();
    if (seqs === undefined) return;
    for (const record of records) {
      const { state } = record;
      if (hasEnded(state.status) || seqs.get(state.id) !== state.seq) this.changed(record, state);
    }
  }

  /** Resolves when everything that changed so far is in the archive and the live view; also when they are stopped. */
  async written(): Promise<void> {
    await Promise.all(this.#projectors.map((projector) => projector.written()));
  }

  stop(): void {
    this.#checkpointer.stop();
    for (const projector of this.#projectors) projector.stop();
  }
}

function archiveProjector({ store: { archive }, table, ports, onBroken }: FollowerParts): Projector | null {
  if (archive === null) return null;
  return new Projector({
    write: (workflows) => archive.write(workflows),
    everyMs: limits.projectionMs,
    openAfterMs: limits.projectionOpenMs,
    ports,
    onEndWritten: (record) => table.archived(record),
    onBroken,
  });
}

function liveViewProjector({ store: { liveView }, ports, ownership, onBroken }: FollowerParts): Projector | null {
  if (liveView === null) return null;
  // What it does not take is not kept for later: a view that is away would cost the memory of everything that ends meanwhile.
  const write = async (workflows: readonly ArchivedWorkflow[]) => {
    await liveView.show(ownership(), workflows);
    return { kind: 'kept' } as const;
  };
  return new Projector({ write, everyMs: limits.liveViewMs, openAfterMs: 0, ports, onEndWritten: () => {}, onBroken });
}
