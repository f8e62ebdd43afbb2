/**
 * Follows the journal with a projection: what changed is written in bulk, soon, behind the commits and never in their way.
 *
 * Invariants
 * 1. Only committed states are written. Of several changes of one workflow the last one is.
 * 2. What was not taken is written again, until it is or a later change replaces it.
 * 3. One workflow that cannot be written (too large to get through in time) holds up no other: after a failure they go one at a time, and whichever
 *    fails alone waits until nothing else does.
 * 4. One write is under way at a time, so that a projection that is slow or away costs memory of the changed workflows and nothing else.
 */
import { hasEnded, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { ArchivedWorkflow, Kept } from '../store/store.ts';
import type { ShardPorts } from './ports.ts';
import type { WorkflowRecord } from './workflow-table.ts';

/** What a projector works on. */
export interface ProjectorParts {
  readonly write: (workflows: readonly ArchivedWorkflow[]) => Promise<Kept>;
  /** Pause between the end of a workflow and its write. */
  readonly everyMs: number;
  /** How long an open workflow waits from its first change on: most have ended by then, and are written once. */
  readonly openAfterMs: number;
  readonly ports: Pick<ShardPorts, 'later' | 'now'>;
  /** The end of a workflow was written. */
  readonly onEndWritten: (record: WorkflowRecord) => void;
  readonly onBroken: (error: unknown) => void;
}

/** Pause after a write that failed. */
const RETRY_MS = 1_000;

interface Change {
  readonly record: WorkflowRecord;
  readonly state: WorkflowState;
  /** Number of the first change that is in here, and when it was. */
  readonly number: number;
  readonly since: number;
}

export class Projector {
  readonly #parts: ProjectorParts;
  /** By workflow, oldest change first. */
  readonly #changes = new Map<string, Change>();
  #number = 0;
  #isPlanned = false;
  #isWriting = false;
  #isOver = false;
  /** How many workflows go into the next write. */
  #atOnce: number = limits.projectionWorkflows;
  /** Those that failed alone. */
  readonly #suspects = new Set<string>();
  /** Who waits until everything up to a change is written. */
  #waiting: { readonly number: number; readonly resolve: () => void }[] = [];

  constructor(parts: ProjectorParts) {
    this.#parts = parts;
  }

  /** A workflow has this state, and that is committed. */
  changed(record: WorkflowRecord, state: WorkflowState): void {
    this.#number += 1;
    const earlier = this.#changes.get(state.id);
    const { number, since } = earlier ?? { number: this.#number, since: this.#parts.ports.now() };
    // Setting a key that is there keeps its place: the oldest change stays first.
    this.#changes.set(state.id, { record, state, number, since });
    this.#plan(this.#parts.everyMs);
  }

  /** Resolves when everything that changed so far is written; also when the projector is stopped. */
  written(): Promise<void> {
    if ((this.#changes.size === 0 && !this.#isWriting) || this.#isOver) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ number: this.#number, resolve }));
  }

  stop(): void {
    this.#isOver = true;
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting = [];
  }

  #plan(delayMs: number): void {
    if (this.#isPlanned || this.#isOver) return;
    this.#isPlanned = true;
    this.#parts.ports.later(delayMs, () => {
      if (this.#isOver) return;
      this.#writeSome().then(
        (nextMs) => {
          this.#isPlanned = false;
          this.#tell();
          if (this.#changes.size > 0) this.#plan(nextMs);
        },
        (error: unknown) => this.#parts.onBroken(error),
      );
    });
  }

  /** Writes a part of what changed; gives the pause before the next part. */
  async #writeSome(): Promise<number> {
    const { taken, isFull } = this.#take();
    if (taken.length === 0) return this.#parts.everyMs;
    this.#isWriting = true;
    const kept = await this.#parts.write(taken.map(({ record, state }) => ({ state, events: record.events.all() })));
    this.#isWriting = false;
    if (kept.kind !== 'kept') {
      this.#putBack(taken);
      this.#atOnce = 1;
      if (taken.length === 1) this.#suspects.add(taken[0]!.state.id);
      return RETRY_MS;
    }
    this.#atOnce = Math.min(2 * this.#atOnce, limits.projectionWorkflows);
    for (const { state } of taken) this.#suspects.delete(state.id);
    for (const { record, state } of taken) if (hasEnded(state.status)) this.#parts.onEndWritten(record);
    return isFull ? 0 : this.#parts.everyMs;
  }

  /** What was not taken waits again; what changed meanwhile is as old as the change that was lost with it. */
  #putBack(taken: readonly Change[]): void {
    for (const change of taken) {
      const { number, since } = change;
      this.#changes.set(change.state.id, { ...change, ...this.#changes.get(change.state.id), number, since });
    }
  }

  /** The oldest changes, as many as go into one write; `isFull` when that was the bound. One suspect when there is nothing else. */
  #take(): { readonly taken: readonly Change[]; readonly isFull: boolean } {
    const now = this.#parts.ports.now();
    const taken: Change[] = [];
    let suspect: Change | null = null;
    let bytes = 0;
    for (const change of this.#changes.values()) {
      if (this.#comesLater(change, now)) continue;
      if (this.#suspects.has(change.state.id)) {
        suspect ??= change;
        continue;
      }
      taken.push(change);
      this.#changes.delete(change.state.id);
      for (const job of change.state.jobs) bytes += 100 + (job.output?.data.length ?? 0);
      if (taken.length >= this.#atOnce || bytes >= limits.projectionBytes) return { taken, isFull: true };
    }
    if (suspect === null || taken.length > 0) return { taken, isFull: suspect !== null };
    this.#changes.delete(suspect.state.id);
    return { taken: [suspect], isFull: true };
  }

  #comesLater({ state, since }: Change, now: number): boolean {
    // Whoever waits for everything to be written waits for nothing else.
    return this.#waiting.length === 0 && !hasEnded(state.status) && now < since + this.#parts.openAfterMs;
  }

  #tell(): void {
    if (this.#waiting.length === 0) return;
    let oldest = Number.POSITIVE_INFINITY;
    for (const { number } of this.#changes.values()) oldest = Math.min(oldest, number);
    for (const { number, resolve } of this.#waiting) if (number < oldest) resolve();
    this.#waiting = this.#waiting.filter(({ number }) => number >= oldest);
  }
}
