/**
 * Real servers for tests: what every one of them offers, and the order in which ways to get one are tried.
 *
 * Invariants
 * 1. What a test started it ends, by its own handle; nothing that was there before is ever stopped or emptied.
 * 2. A server that cannot be had is never passed over in silence: `skip` holds every way that was tried and why it failed,
 *    it is written to stderr, and the tests that need it count as skipped.
 */

/** A server that is there, or why it is not. */
export interface Service {
  /** For `t.test(name, { skip: server.skip }, ...)`. */
  readonly skip: false | string;
  /** Where it is; empty when it is not. */
  readonly url: string;
  /** Ends the server; `start` brings it back at the same address with its data. Only for one that belongs to the test (`isOwn`). */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Ends the server without a good-bye, as a crash does: SIGQUIT leaves its parts a moment, SIGKILL does not. Only where the way to get it can (`canKill`). */
  kill(signal: 'SIGQUIT' | 'SIGKILL'): Promise<void>;
  readonly canKill: boolean;
  /** Whether the server belongs to this test alone: it may be stopped and emptied. */
  readonly isOwn: boolean;
}

/** What a way to get a server gives. */
export interface Started {
  readonly url: string;
  /** Ends what this way made: a process, a container, a database in a server that stays. */
  readonly close: () => Promise<void>;
  readonly stop: (() => Promise<void>) | null;
  readonly start: (() => Promise<void>) | null;
  readonly kill?: (signal: 'SIGQUIT' | 'SIGKILL') => Promise<void>;
}

/** One way to get a server. */
export interface Way {
  /** `TEST_REDIS_URL`, `a container`, `redis-server of this machine` */
  readonly name: string;
  /** Null: this way is not open here (`why` says so). Throws when it should have worked. */
  readonly start: () => Promise<Started | { readonly why: string }>;
}

/** The parts of a tap test that are used here. */
export interface TestScope {
  teardown(fn: () => Promise<void>): void;
}

/** The first way that works. */
export async function firstOf(t: TestScope, what: string, ways: readonly Way[]): Promise<Service> {
  const failures: string[] = [];
  for (const way of ways) {
    const started = await way.start().catch((error: unknown) => ({ why: error instanceof Error ? error.message : String(error) }));
    if ('why' in started) {
      failures.push(`${way.name}: ${started.why.split('\n')[0]}`);
      continue;
    }
    t.teardown(started.close);
    const notOurs = async () => {
      throw new Error(`this ${what} does not belong to the test (${way.name})`);
    };
    return {
      skip: false,
      url: started.url,
      isOwn: started.stop !== null,
      stop: started.stop ?? notOurs,
      start: started.start ?? notOurs,
      kill: started.kill ?? notOurs,
      canKill: started.kill !== undefined,
    };
  }
  const skip = `no ${what} to test with - ${failures.join('; ')}`;
  process.stderr.write(`\n*** SKIPPED: ${skip}\n\n`);
  const absent = async () => {
    throw new Error(skip);
  };
  return { skip, url: '', isOwn: false, canKill: false, stop: absent, start: absent, kill: absent };
}
