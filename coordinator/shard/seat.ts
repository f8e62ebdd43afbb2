/**
 * The place of the shard in a coordinator: empty while another coordinator has it, or while it is being read.
 *
 * Invariants
 * 1. Whoever calls while the seat is empty is refused at once, with the reason, and nothing has happened.
 * 2. A shard that has left the seat is asked for nothing any more.
 */
import type { WorkflowState } from '@workflow-orchestrator/engine/machine';
import type { Durability } from '@workflow-orchestrator/proto';
import type { ListFilter } from '../store/store.ts';
import type { ShardStats } from './ports.ts';
import type { FoundWorkflow } from './recovery.ts';
import { type ClientCommand, type CommandReply, ShardAway, type Submission, type SubmitReply } from './requests.ts';
import type { Shard } from './shard.ts';
import type { Watcher, WorkflowRecord, WorkflowTable } from './workflow-table.ts';

/** What clients of a shard may do, wherever it is. */
export type ShardClient = Pick<
  Shard,
  'durability' | 'submit' | 'command' | 'query' | 'watch' | 'archived' | 'listArchived' | 'stats' | 'now'
>;

/** Counts of a shard that is not here. */
const NOTHING: ShardStats = {
  openWorkflows: 0,
  readyJobs: 0,
  runningJobs: 0,
  inbox: 0,
  uncommittedEvents: 0,
  committedSeq: 0,
  trouble: null,
  unarchived: 0,
};

export class ShardSeat implements ShardClient {
  readonly durability: Durability;
  readonly #now: () => number;
  #shard: Shard | null = null;
  #reason: string;

  /** `reason`: why there is no shard yet. */
  constructor(durability: Durability, now: () => number, reason: string) {
    this.durability = durability;
    this.#now = now;
    this.#reason = reason;
  }

  /** Why nobody is here; null when a shard is. */
  get vacancy(): string | null {
    return this.#shard === null ? this.#reason : null;
  }

  take(shard: Shard): void {
    this.#shard = shard;
  }

  /** The shard is away, or not here yet, for this reason. */
  vacate(reason: string): void {
    this.#shard = null;
    this.#reason = reason;
  }

  async submit(submissions: readonly Submission[]): Promise<SubmitReply[]> {
    return this.#taken().submit(submissions);
  }

  async command(workflowId: string, command: ClientCommand): Promise<CommandReply> {
    return this.#taken().command(workflowId, command);
  }

  async query<T>(read: (table: WorkflowTable, at: number) => T): Promise<T> {
    return this.#taken().query(read);
  }

  async archived(workflowId: string): Promise<FoundWorkflow | null> {
    return this.#taken().archived(workflowId);
  }

  async listArchived(filter: ListFilter): Promise<readonly WorkflowState[]> {
    return this.#taken().listArchived(filter);
  }

  /** Throws `ShardAway` when there is no shard. */
  watch(workflowId: string, afterSeq: number, watcher: Watcher): { readonly stop: () => void; readonly record: WorkflowRecord } | null {
    return this.#taken().watch(workflowId, afterSeq, watcher);
  }

  stats(): ShardStats {
    return this.#shard?.stats() ?? NOTHING;
  }

  now(): number {
    return this.#shard?.now() ?? this.#now();
  }

  #taken(): Shard {
    if (this.#shard === null) throw new ShardAway(this.#reason);
    return this.#shard;
  }
}
