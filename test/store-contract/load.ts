/**
 * Commits under load, by the commit loop of a shard, and what must be true of the journal afterwards whatever happened meanwhile.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { CommitLoop } from '../../coordinator/shard/commit-loop.ts';
import type { Ownership, Store } from '../../coordinator/store/store.ts';
import { loaded } from './contract.ts';

/** What became of a run. */
export interface Run {
  /** Numbers of the facts that were acknowledged, in that order. */
  readonly acknowledged: readonly number[];
  /** How often a commit was in trouble. */
  readonly troubles: readonly string[];
  /** Why the shard was lost; null when it was not. */
  readonly lost: string | null;
  readonly ownership: Ownership;
}

/** Appends facts, one a millisecond, until `isOver`; then waits until all of them are acknowledged or the shard is lost. */
export async function runLoad(store: Store, first: Ownership, isOver: () => boolean): Promise<Run> {
  const acknowledged: number[] = [];
  const troubles: string[] = [];
  let lost: string | null = null;
  let ownership = first;
  let broken: unknown = null;
  const loop = new CommitLoop(
    store,
    first,
    { events: 100, bytes: 100_000 },
    {
      mayTell: () => true,
      onReclaimed: (next) => {
        ownership = next;
      },
      later: (delayMs, turn) => void setTimeout(turn, delayMs),
      onLost: (reason) => {
        lost = reason;
      },
      onBroken: (error) => {
        broken = error;
      },
      onBatch: () => {},
      onTrouble: (message) => {
        if (message !== null) troubles.push(message);
      },
    },
  );
  const going = () => lost === null && broken === null;
  let number = 0;
  while (!isOver() && going()) {
    number += 1;
    const fact = number;
    loop.append({ workflowId: `wf-${fact}`, firstEventSeq: 1, events: [{ kind: 'paused', at: fact }] }, 50);
    loop.after(() => acknowledged.push(fact));
    loop.flush();
    await pause(1);
  }
  while (loop.backlogEvents > 0 && going()) await pause(5);
  loop.stop();
  if (broken !== null) throw broken;
  return { acknowledged, troubles, lost, ownership };
}

/** Numbers of the facts that are in the journal, in their order there. */
export async function factsIn(store: Store): Promise<number[]> {
  const entries = (await loaded(store)).flatMap((batch) => batch.entries);
  return entries.map(({ workflowId }) => Number(workflowId.slice('wf-'.length)));
}

/** 1 to `count`. */
export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}
