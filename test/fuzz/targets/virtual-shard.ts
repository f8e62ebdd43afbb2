/** A shard whose clock and turns a target moves. */
import { Shard } from '../../../coordinator/shard/shard.ts';
import { type MemoryJournal, MemoryStore } from '../../../coordinator/store/memory/memory.ts';
import { Counts, type VirtualPorts } from '../../shard-support/ports.ts';

/** Opens the shard of `journal`, or of an empty one. Rejects when it is damaged. */
export async function openVirtualShard(ports: VirtualPorts, journal?: MemoryJournal): Promise<Shard> {
  const store = new MemoryStore(journal);
  const acquired = await store.acquire();
  if (acquired.kind !== 'acquired') throw new Error(`the shard is ${acquired.kind}`);
  return Shard.open({ store, ownership: acquired.ownership, acquiredAt: ports.time, ports, observer: new Counts() });
}

/** Runs turns until `done` resolves. */
export async function runUntil<T>(ports: VirtualPorts, done: Promise<T>): Promise<T> {
  let isDone = false;
  const mark = () => {
    isDone = true;
  };
  done.then(mark, mark);
  while (!isDone) {
    ports.run();
    await Promise.resolve();
  }
  return done;
}
