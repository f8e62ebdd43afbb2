/**
 * Names of all keys. The part in braces is the shard: a cluster keeps what belongs to it on one node, so that one script can see all of it.
 */

/** The only shard there is as yet. */
export const SHARD = 0;

/** Keys of a shard. */
export type Keys = ReturnType<typeof keysOf>;

/** Keys under a prefix (REDIS_PREFIX). It has no braces: only the part of the shard decides on which node of a cluster they are. */
export function keysOf(prefix: string) {
  const base = `${prefix}:{${SHARD}}`;
  return {
    /** All of them, as people look for them. */
    every: `${base}:*`,
    /** Hash: epoch, term, owner, address, expires (ms), last_seq, chain, checkpoint_seq, slice, records (how many the checkpoint has). */
    shard: `${base}:shard`,
    /** Stream: one entry a batch; its id is the number of the batch's last event. */
    journal: `${base}:journal`,
    /** Hash: record of a workflow by its id. */
    checkpoint: `${base}:checkpoint`,
    /** Hash: text and name by the hash of the definition. */
    definitions: `${base}:definitions`,
    /** Sorted set: hashes of definitions by when they were last registered. */
    registered: `${base}:registered`,
    /** Hash: `state.seq` by id of what is archived as open. */
    open: `${base}:open`,
    /** Sorted set, all scores 0: ids of what has ended, in their order. */
    ended: `${base}:ended`,
    /** Sorted set: the same ids by when they are forgotten. */
    expiry: `${base}:expiry`,
    /** Hash that goes by itself: seq, facts to filter by, record of a workflow that has ended. */
    workflow: (id: string): string => `${base}:workflow:${id}`,
    /** Id and hash of the request of the workflow that has an idempotency key. JSON keeps apart what UTF-8 would not. */
    idempotency: (key: string): string => `${base}:idempotency:${JSON.stringify(key)}`,
    /** The highest epoch that the live view has seen. */
    liveEpoch: `${base}:live-epoch`,
    /** Hash that goes by itself: what is shown of a workflow. */
    live: (id: string): string => `${base}:live:${id}`,
    /** Who a coordinator says is there; goes by itself. */
    presence: (coordinatorId: string): string => `${base}:presence:${coordinatorId}`,
    /** Sorted set: coordinators by when they are believed no more. */
    coordinators: `${base}:coordinators`,
    /** Channel of changes. */
    changes: `${prefix}:changes`,
  };
}
