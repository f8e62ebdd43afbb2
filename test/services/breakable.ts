/** Servers of a test's own that can be killed, frozen and brought back at the same port with what is on their disk. */
import type { ChildProcess } from 'node:child_process';
import type { TestScope } from './service.ts';

/** A server that runs. */
export interface BreakableServer {
  readonly url: string;
  readonly port: number;
  /** Lets it write everything, and end. */
  stop(): Promise<void>;
  /** SIGKILL to all that belongs to it, at once. */
  kill(): Promise<void>;
  /** Starts it again, after `stop` or `kill`; resolves when it takes connections. */
  start(): Promise<void>;
  /** SIGSTOP: connections stand, nothing is answered, until `resume`. */
  suspend(): void;
  resume(): void;
  /** Ends it and removes its files. */
  close(): Promise<void>;
}

/** One that ends with the test, or, said loudly, why there is none. `name`: what it is, for people. */
export async function ownServer(
  t: TestScope,
  name: string,
  start: () => Promise<BreakableServer>,
): Promise<BreakableServer | { readonly skip: string }> {
  try {
    const server = await start();
    t.teardown(server.close);
    return server;
  } catch (error) {
    const skip = `no ${name} to break - ${error instanceof Error ? error.message : String(error)}`;
    process.stderr.write(`\n*** SKIPPED: ${skip}\n\n`);
    return { skip };
  }
}

/** Whether a process has not ended. */
export function isThere({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

/** Ends a process in the way of `ask`, or, when that takes too long, of `force`. */
export async function endProcess(child: ChildProcess, ask: () => void, force: () => void): Promise<void> {
  if (!isThere(child)) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const late = setTimeout(force, 10_000);
  ask();
  await ended;
  clearTimeout(late);
}
