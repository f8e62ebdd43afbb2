/** Time, chance and turns of the event loop as a real process has them: what a simulator replaces. */
import type { ShardPorts } from './shard/ports.ts';

/** Longest delay that a timer of Node takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Ports of this process. The clock starts at the wall clock and never goes back, whatever is done to it. */
export function processPorts(nonce: () => string): Omit<ShardPorts, 'stop'> {
  const startedAt = Date.now() - performance.now();
  const now = () => Math.round(startedAt + performance.now());
  let timer: NodeJS.Timeout | null = null;
  return {
    now,
    nonce,
    soon: (turn) => setImmediate(turn),
    alarm(at, turn) {
      if (timer !== null) clearTimeout(timer);
      timer = at === null ? null : setTimeout(turn, Math.min(Math.max(0, at - now()), MAX_TIMER_MS));
    },
    // What is only to be done later keeps no process alive.
    later: (delayMs, turn) => void setTimeout(turn, delayMs).unref(),
  };
}
