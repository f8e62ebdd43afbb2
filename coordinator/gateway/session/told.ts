/**
 * Attempts that the worker was told to stop or to forget, until it is sure that it knows (R31, R50).
 *
 * Invariants
 * 1. A revoked token is named in every reply to a Heartbeat that names it; so is a cancelled one.
 * 2. An entry goes when a whole Heartbeat does not name the token although the worker had handled the frame that told it, or when its result came.
 */

interface Entry {
  /** Number of the frame that told it; 0 while it waits to be sent. */
  frame: number;
}

/** An attempt that is to stop. */
export interface CancelEntry extends Entry {
  readonly reason: string;
}

/** Tokens by what the worker is to do. A token is in one of them. */
export interface Told {
  readonly revoked: Map<string, Entry>;
  readonly cancelled: Map<string, CancelEntry>;
}

/** Nothing to tell. */
export function newTold(): Told {
  return { revoked: new Map(), cancelled: new Map() };
}

/** Whether beats need to be looked at. */
export function isQuiet(told: Told): boolean {
  return told.revoked.size === 0 && told.cancelled.size === 0;
}

/** The worker is to forget the attempt. */
export function addRevoked(told: Told, token: string): void {
  told.cancelled.delete(token);
  if (!told.revoked.has(token)) told.revoked.set(token, { frame: 0 });
}

/** The worker is to stop the attempt. False when it was told before, or is to forget it. */
export function addCancelled(told: Told, token: string, reason: string): boolean {
  if (told.revoked.has(token) || told.cancelled.has(token)) return false;
  told.cancelled.set(token, { frame: 0, reason });
  return true;
}

/** Its result came: nothing more to tell. */
export function forget(told: Told, token: string): void {
  told.revoked.delete(token);
  told.cancelled.delete(token);
}

/** A frame with this number names the tokens. */
export function markTold(entries: ReadonlyMap<string, Entry>, tokens: Iterable<string>, frame: number): void {
  for (const token of tokens) {
    const entry = entries.get(token);
    if (entry && entry.frame === 0) entry.frame = frame;
  }
}

/** Drops what a whole Heartbeat did not name (invariant 2). `handled`: the highest frame of ours that the worker had handled when it sent it. */
export function settle(told: Told, named: ReadonlySet<string>, handled: number): void {
  for (const entries of [told.revoked, told.cancelled]) {
    for (const [token, entry] of entries) {
      if (entry.frame > 0 && entry.frame <= handled && !named.has(token)) entries.delete(token);
    }
  }
}
