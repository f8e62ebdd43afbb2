/** Shows that a job is alive while it waits for something. */
import type { JobContext } from '../handler.ts';

/** Shorter than any sensible `timeouts.heartbeat`. */
const intervalMs = 500;

/** The work's outcome; until then the coordinator is told every half second that the handler is at it. */
export async function whileAlive<T>(context: JobContext, work: () => Promise<T>): Promise<T> {
  context.signal.throwIfAborted();
  context.heartbeat();
  const timer = setInterval(() => context.heartbeat(), intervalMs);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
