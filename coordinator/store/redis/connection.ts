/**
 * One connection to Redis that comes back by itself, with errors that say whether a command may have run.
 *
 * Invariants
 * 1. Every call ends within its deadline. One that got no answer breaks the connection, so that the next call does not wait behind it.
 * 2. No command is sent twice: what was under way when the connection broke is `unknown`, and it is the caller's to find out.
 * 3. Nothing is queued while there is no connection: such a call fails at once, as `notSent`.
 * 4. Nothing is thrown into the event loop, whatever the server does.
 */
import { createHash } from 'node:crypto';
import { limits } from '@workflow-orchestrator/proto/limits';
import { Redis } from 'ioredis';
import { StoreUnavailable } from '../store.ts';

/** Where a store says what an operator should know. */
export interface StoreLog {
  info(message: string): void;
  warn(message: string): void;
}

/**
 * Why a call has no result. `notSent`: it never left. `refused`: the server did not run it, for a reason that passes. `rejected`: the server did not
 * run it, and never will. `unknown`: it may or may not have run.
 */
export class RedisFailure extends Error {
  readonly kind: 'notSent' | 'refused' | 'rejected' | 'unknown';

  constructor(kind: RedisFailure['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RedisFailure';
    this.kind = kind;
  }
}

/** A Lua script: the server runs it alone, so nothing comes between its commands. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

/** Makes a script of its text. */
export function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

/** What the server says about itself. */
export interface ServerFacts {
  readonly version: string;
  readonly isAppendOnly: boolean;
  readonly replicas: number;
  /** Whether keys that do not expire may be thrown out when memory is short. */
  readonly mayEvict: boolean;
}

/** What a call is given. */
export type Argument = string | number | Buffer;

const WRITTEN_NEVER = "Stream isn't writeable";
/** Codes of answers to commands that were not run and may be later. Redis 6 puts those of a script into the middle of a sentence. */
const PASSING =
  /(?:^|[ -])(LOADING|READONLY|OOM|MISCONF|BUSY|MASTERDOWN|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|NOAUTH|WRONGPASS|UNBLOCKED)(?= |$)/;
const FACTS_EVERY_MS = 30_000;
/** A server that stands still does not answer the end of a connection: then it is cut. */
const DISCONNECT_MS = 100;
const CLOSE_MS = 2 * DISCONNECT_MS;

export class RedisConnection {
  readonly #redis: Redis;
  readonly #name: string;
  readonly #callMs: number;
  readonly #log: StoreLog;
  #trouble: { readonly sinceMs: number; readonly message: string } | null = null;
  #facts: ServerFacts | null = null;
  #isClosed = false;
  readonly #factsTimer: NodeJS.Timeout;

  /** Starts to connect. `url`: `redis://` or `rediss://`, user, password and number of the database in it. Throws when it is none. */
  constructor(url: string, name: string, callMs: number, log: StoreLog) {
    checkUrl(url);
    this.#name = name;
    this.#callMs = callMs;
    this.#log = log;
    this.#redis = new Redis(url, {
      connectionName: name,
      protocol: 2,
      connectTimeout: limits.redisConnectMs,
      // What is sent while the connection is set up; other calls have a deadline of their own, which is shorter.
      commandTimeout: Math.max(limits.redisConnectMs, 2 * callMs),
      disconnectTimeout: DISCONNECT_MS,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 10), 1_000) * (0.75 + Math.random() / 4),
      // A server that became a replica: whoever serves now is found by connecting again.
      reconnectOnError: (error) => error.message.startsWith('READONLY'),
    });
    this.#redis.on('error', (error: Error) => this.#note(error.message));
    this.#redis.on('close', () => this.#note('the connection is closed'));
    this.#redis.on('ready', () => void this.#learn());
    this.#factsTimer = setInterval(() => void this.#learn(), FACTS_EVERY_MS).unref();
  }

  /** Since when and why it does not work; null when the last call did. */
  get trouble(): { readonly sinceMs: number; readonly message: string } | null {
    return this.#trouble;
  }

  /** What the server said about itself when it was last asked; null before. */
  get facts(): ServerFacts | null {
    return this.#facts;
  }

  /** Waits for the first connection, for `ms` at most; it goes on trying after that. */
  async ready(ms: number): Promise<void> {
    if (this.#isReady()) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#redis.once('ready', () => {
        clearTimeout(timer);
        resolve();
      });
    });
    if (this.#isReady()) await this.#learn();
  }

  /** One command; answers with texts. */
  call(...command: readonly [string, ...Argument[]]): Promise<unknown> {
    return this.#within(this.#callMs, () => this.#redis.call(...(command as [string, ...Argument[]])));
  }

  /** One command; answers with bytes. */
  callBuffer(...command: readonly [string, ...Argument[]]): Promise<unknown> {
    return this.#within(this.#callMs, () => this.#redis.callBuffer(...(command as [string, ...Argument[]])));
  }

  /** Several commands in one go; answers in their order. Rejects when one of them fails. */
  callAll(commands: readonly (readonly [string, ...Argument[]])[], as: 'text' | 'bytes'): Promise<unknown[]> {
    return this.#within(this.#callMs, () => {
      const { stream } = this.#redis;
      stream?.cork();
      try {
        return Promise.all(
          commands.map((command) => {
            const given = command as [string, ...Argument[]];
            return as === 'text' ? this.#redis.call(...given) : this.#redis.callBuffer(...given);
          }),
        );
      } finally {
        stream?.uncork();
      }
    });
  }

  /** Runs a script. A server that does not know it is given its text. */
  run({ sha, text }: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    return this.#within(this.#callMs, async (isLate) => {
      try {
        return await this.#redis.call('EVALSHA', sha, keys.length, ...keys, ...args);
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
        if (isLate()) throw error;
        return await this.#redis.call('EVAL', text, keys.length, ...keys, ...args);
      }
    });
  }

  /** Ends it. Calls under way fail. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#factsTimer);
    if (this.#redis.status === 'end') return;
    await new Promise<void>((resolve) => {
      // It says nothing more when it was just about to connect again.
      const timer = setTimeout(resolve, CLOSE_MS);
      this.#redis.once('end', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#redis.disconnect();
    });
  }

  async #within<T>(ms: number, send: (isLate: () => boolean) => Promise<T>): Promise<T> {
    if (!this.#isReady()) throw new RedisFailure('notSent', this.#absent());
    let timer: NodeJS.Timeout | undefined;
    let isLate = false;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        isLate = true;
        // Whatever is sent on this connection waits behind what is not answered.
        this.#redis.disconnect(true);
        reject(new RedisFailure('unknown', `Redis did not answer for ${ms} ms`));
      }, ms);
    });
    try {
      const result = await Promise.race([send(() => isLate), late]);
      if (this.#trouble !== null) this.#mended();
      return result;
    } catch (error) {
      const failure = asFailure(error);
      if (failure.kind !== 'rejected') this.#note(failure.message);
      throw failure;
    } finally {
      clearTimeout(timer);
    }
  }

  #isReady(): boolean {
    return this.#redis.status === 'ready';
  }

  #absent(): string {
    return this.#isClosed ? 'the store is closed' : `not connected to Redis${this.#trouble === null ? '' : `: ${this.#trouble.message}`}`;
  }

  #note(message: string): void {
    if (this.#isClosed) return;
    if (this.#trouble === null) this.#log.warn(`Redis (${this.#name}): ${message}`);
    // The first message says more than that the connection is closed after it.
    const isEcho = this.#trouble !== null && (message === 'the connection is closed' || message.startsWith('not connected'));
    if (!isEcho) this.#trouble = { sinceMs: this.#trouble?.sinceMs ?? Date.now(), message };
  }

  #mended(): void {
    this.#trouble = null;
    this.#log.info(`Redis (${this.#name}) answers again`);
  }

  async #learn(): Promise<void> {
    try {
      const text = String(await this.call('INFO'));
      const field = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(text)?.[1] ?? '';
      const policy = field('maxmemory_policy');
      this.#facts = {
        version: field('redis_version'),
        isAppendOnly: field('aof_enabled') === '1',
        replicas: Number(field('connected_slaves') || 0),
        mayEvict: field('maxmemory') !== '0' && policy.startsWith('allkeys'),
      };
    } catch {
      // Its state is noted; what the server is like is asked again later.
    }
  }
}

function checkUrl(url: string): void {
  const protocol = URL.canParse(url) ? new URL(url).protocol : '';
  if (protocol !== 'redis:' && protocol !== 'rediss:') throw new Error('the address of Redis must start with redis:// or rediss://');
}

function asFailure(error: unknown): RedisFailure {
  if (error instanceof RedisFailure) return error;
  const options = { cause: error };
  if (!(error instanceof Error)) return new RedisFailure('unknown', String(error), options);
  const { name, message } = error;
  if (message.startsWith(WRITTEN_NEVER)) return new RedisFailure('notSent', 'the connection is closed', options);
  if (name === 'ReplyError') return new RedisFailure(PASSING.test(message) ? 'refused' : 'rejected', message, options);
  if (name === 'MaxRetriesPerRequestError') return new RedisFailure('unknown', 'the connection broke before Redis answered', options);
  return new RedisFailure('unknown', message, options);
}

/** A failed read as the callers of a store know it: whether the same may work later. */
export function readError(error: unknown): Error {
  if (error instanceof RedisFailure && error.kind !== 'rejected') return new StoreUnavailable(error.message, { cause: error });
  return error instanceof Error ? error : new Error(String(error));
}

/** What a failure says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
