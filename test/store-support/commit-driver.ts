/**
 * A coordinator as its store sees it: takes the shard, commits one batch after the other, finds out what became of unknown ones, and goes on for as long as it is asked to.
 * What was acknowledged is remembered, so that it can be compared with what is in the journal.
 */
import type { JournalBatch, Ownership, Store } from '../../coordinator/store/store.ts';
import { pause } from '../store-contract/contract.ts';

/** What a driver has seen. */
export interface Drive {
  /** By the number of its last event, the name of each batch that was acknowledged. */
  readonly acknowledged: Map<number, string>;
  /** Answers by kind. */
  readonly answers: Record<string, number>;
  /** Settled when it has stopped. Rejects when the store answered what it must not. */
  readonly done: Promise<void>;
}

/** Commits until `isOver`. */
export function drive(store: Store, coordinatorId: string, isOver: () => boolean): Drive {
  const acknowledged = new Map<number, string>();
  const answers: Record<string, number> = {};
  return { acknowledged, answers, done: run(store, coordinatorId, isOver, acknowledged, answers) };
}

async function run(
  store: Store,
  coordinatorId: string,
  isOver: () => boolean,
  acknowledged: Map<number, string>,
  answers: Record<string, number>,
): Promise<void> {
  const count = (kind: string): void => {
    answers[kind] = (answers[kind] ?? 0) + 1;
  };
  let number = 0;
  tenures: while (!isOver()) {
    const acquisition = await store.acquire({ coordinatorId, address: '' });
    count(`acquire ${acquisition.kind}`);
    if (acquisition.kind !== 'acquired') {
      await pause(10);
      continue;
    }
    let { ownership } = acquisition;
    let lastSeq = ownership.lastSeq;
    while (!isOver()) {
      const name = `${coordinatorId} ${++number}`;
      const committed = await settle(store, ownership, batchNamed(name, lastSeq + 1, (number % 3) + 1), count);
      if (committed === null) continue tenures;
      ownership = committed;
      lastSeq += (number % 3) + 1;
      acknowledged.set(lastSeq, name);
    }
  }
}

/** Commits until it is known to be in the journal; the ownership by then. Null when another one has the shard. */
async function settle(store: Store, before: Ownership, batch: JournalBatch, count: (kind: string) => void): Promise<Ownership | null> {
  let ownership = before;
  for (;;) {
    const outcome = await store.commit(ownership, batch);
    count(outcome.kind);
    if (outcome.kind === 'durable') return ownership;
    if (outcome.kind === 'fenced') return null;
    if (outcome.kind === 'aborted') {
      if (!outcome.isTransient) throw new Error(outcome.message);
      await pause(20);
      continue;
    }
    for (;;) {
      const answer = await store.reclaim(ownership);
      count(answer.kind);
      if (answer.kind === 'lost') return null;
      if (answer.kind === 'unavailable') {
        await pause(20);
        continue;
      }
      ownership = answer.ownership;
      if (ownership.lastSeq === batch.lastSeq) return ownership;
      if (ownership.lastSeq !== batch.firstSeq - 1)
        throw new Error(`the journal ends at ${ownership.lastSeq}, ${batch.firstSeq} was to come`);
      break;
    }
  }
}

/** A batch of `count` events that says its name. */
function batchNamed(name: string, firstSeq: number, count: number): JournalBatch {
  const events = Array.from({ length: count }, () => ({ kind: 'cancelRequested', at: 1, reason: name, force: false }) as const);
  return { firstSeq, lastSeq: firstSeq + count - 1, entries: [{ workflowId: name, firstEventSeq: 1, events }] };
}

/** By the number of its last event, the name of each batch in the journal. */
export async function journalNames(store: Store): Promise<Map<number, string>> {
  const names = new Map<number, string>();
  for await (const part of store.load()) if (part.kind === 'batch') names.set(part.batch.lastSeq, part.batch.entries[0]!.workflowId);
  return names;
}
