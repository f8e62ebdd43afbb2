/**
 * What an input costs: CPU time of this thread, and memory that is held when it is done.
 *
 * Invariants
 * 1. CPU time, not time: the machine may be shared. Collection of garbage and compilation on other threads do not count.
 * 2. A suspect is measured again by itself, three times, and the best of these counts: noise only ever adds.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Milliseconds of CPU that an input of this many bytes may take: 50 up to 16 KiB, and then in proportion. */
export function cpuLimitMs(bytes: number): number {
  return 50 * Math.max(1, bytes / 16_384);
}

/** Bytes that may be held after an input of this many bytes. */
export function memoryLimitBytes(bytes: number): number {
  return 64 * bytes + 512 * 1024;
}

/** Milliseconds of CPU that this thread has taken. */
export function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

/** Bytes on the heap and in buffers now. */
export function heldNow(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Bytes that are held after a collection. */
export function heldAfterCollection(): number {
  // Buffers are given back by the one after the one that finds them.
  collect();
  collect();
  return heldNow();
}

/** CPU of the best of three runs, in milliseconds. */
export async function bestCpuMs(run: () => unknown): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  collect();
  for (let i = 0; i < 3; i++) {
    const before = cpuMs();
    await run();
    best = Math.min(best, cpuMs() - before);
  }
  return best;
}

/** Bytes that the result of `run` holds: the least of three runs, or the first that is at most `enough`. */
export async function leastHeldBytes(run: () => unknown, enough = -1): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 3 && least > enough; i++) least = Math.min(least, await heldBytes(run));
  return Math.max(0, least);
}

/** A call of its own: a result that a loop keeps in a register would count as held before the next run, and the next one as nothing. */
async function heldBytes(run: () => unknown): Promise<number> {
  const before = heldAfterCollection();
  const kept = [await run()];
  const held = heldAfterCollection() - before;
  kept.pop();
  return held;
}
