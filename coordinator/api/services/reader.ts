/**
 * Finds workflows wherever they are: in memory, or at rest when memory has forgotten them.
 *
 * Invariants
 * 1. What memory has is newer than anything at rest, and is shown.
 * 2. Nothing is shown before everything decided before the call is committed.
 * 3. A list, however long, is put together in small steps, between which everybody else has a turn.
 */

import { Code, ConnectError } from '@connectrpc/connect';
import { hasEnded, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import type { History } from '../../shard/history.ts';
import type { ShardClient } from '../../shard/seat.ts';
import type { ListFilter } from '../../store/store.ts';
import { answered, notFound } from './failures.ts';

/** Workflows of the archive that are read in one step of a list. */
const ARCHIVED_AT_ONCE = 20;

/** A workflow as it was found at `at`, milliseconds since 1970. */
export interface Found {
  readonly state: WorkflowState;
  /** Its committed events. */
  readonly events: History;
  readonly at: number;
}

export class Reader {
  readonly #shard: ShardClient;

  constructor(shard: ShardClient) {
    this.#shard = shard;
  }

  /** One workflow; throws ConnectError when there is none. */
  async find(workflowId: string): Promise<Found> {
    const found = await answered(
      this.#shard.query((table, at) => {
        const record = table.get(workflowId);
        return { at, found: record === undefined ? null : { state: record.state, events: record.events } };
      }),
    );
    const workflow = found.found ?? (await answered(this.#shard.archived(workflowId)));
    if (workflow === null) throw notFound('workflow', workflowId);
    return { state: workflow.state, events: workflow.events, at: found.at };
  }

  /** A page of a list and one more, newest first, and the moment it is of. */
  async list(filter: ListFilter, signal: AbortSignal): Promise<{ readonly states: readonly WorkflowState[]; readonly at: number }> {
    const here = await this.#listMemory(filter, signal);
    if (!mayBeAtRest(filter)) return here;
    const archived = await this.#listArchive(filter, here.states, signal);
    if (archived.length === 0) return here;
    const states = [...here.states, ...archived];
    states.sort((a, b) => (a.id > b.id ? -1 : 1));
    return { states: states.slice(0, filter.limit), at: here.at };
  }

  /**
   * Those that are at rest alone and that a page can show, beside those that memory had, `here`: down to the id below which these have filled it. Of what
   * both have, memory decides, also whether it is in the list at all. Histories are large: a few are read and folded at a time.
   */
  async #listArchive(filter: ListFilter, here: readonly WorkflowState[], signal: AbortSignal): Promise<WorkflowState[]> {
    const last = here[filter.limit - 1]?.id ?? '';
    // What memory had may have come to rest, and been forgotten, since.
    const had = new Set(here.map(({ id }) => id));
    const states: WorkflowState[] = [];
    for (let { beforeId } = filter; ; ) {
      if (signal.aborted) throw new ConnectError('the caller is gone', Code.Canceled);
      const limit = Math.min(ARCHIVED_AT_ONCE, filter.limit - states.length);
      const part = await answered(this.#shard.listArchived({ ...filter, beforeId, limit }));
      const known = await answered(
        this.#shard.query((table) => new Set(part.filter(({ id }) => table.get(id) !== undefined).map(({ id }) => id))),
      );
      states.push(...part.filter(({ id }) => !known.has(id) && !had.has(id)));
      beforeId = part.at(-1)?.id ?? '';
      if (part.length < limit || states.length >= filter.limit || beforeId <= last) return states;
    }
  }

  async #listMemory(filter: ListFilter, signal: AbortSignal): Promise<{ states: WorkflowState[]; at: number }> {
    const states: WorkflowState[] = [];
    let now = 0;
    // Each part is a turn of its own.
    for (let beforeId: string | null = filter.beforeId; beforeId !== null && states.length < filter.limit; ) {
      if (signal.aborted) throw new ConnectError('the caller is gone', Code.Canceled);
      const part: Partial<ListFilter> = { beforeId, limit: filter.limit - states.length };
      const { found, at } = await answered(this.#shard.query((table, at) => ({ found: table.list({ ...filter, ...part }), at })));
      states.push(...found.states);
      beforeId = found.next;
      now = at;
    }
    return { states, at: now };
  }
}

function mayBeAtRest({ statuses }: ListFilter): boolean {
  return statuses.size === 0 || [...statuses].some((status) => hasEnded(status as WorkflowState['status']));
}
