/**
 * One connection to the database, with a deadline for everything that is asked of it.
 *
 * Each has an instance of the driver of its own, which is given exactly one socket and never a second: a driver that connects anew after a loss would begin with what it
 * had left to send, and some of its promises would have no listener.
 *
 * Invariants
 * 1. What is asked is answered or rejected within its deadline. After a deadline, and after any loss, the connection is gone and takes nothing more.
 * 2. `NotSentError`: nothing of what was asked has left this process.
 * 3. No session state: nothing set, nothing kept but a name for `pg_stat_activity`.
 */
import type { Socket } from 'node:net';
import client from 'postgres';
import type { Address } from './address.ts';
import { DeadlineError, messageOf, NotSentError } from './failure.ts';
import { connectSocket } from './socket.ts';

/** A row, by the names of its columns. Numbers and `bigint` are numbers, `bytea` is bytes. */
export type Row = Readonly<Record<string, unknown>>;

/** What a connection needs to know. */
export interface LinkOptions {
  readonly address: Address;
  /** For `pg_stat_activity`; at most 63 characters. */
  readonly name: string;
  /** PostgreSQL said something beside its answer. */
  readonly onNotice?: (message: string) => void;
}

type Driver = ReturnType<typeof client>;

export class Link {
  readonly #sql: Driver;
  readonly #socket: Socket;
  #isBroken = false;
  /** Whether something was prepared anew because it was not where it was left: see `runPrepared`. */
  lostPrepared = false;

  /** Connects to the first host that takes writes; to the only one whether or not it does. Rejects with `NotSentError`. */
  static async open(options: LinkOptions, deadlineMs: number): Promise<Link> {
    const { hosts } = options.address;
    const endsAt = performance.now() + deadlineMs;
    let failure: unknown;
    for (const [index, host] of hosts.entries()) {
      const leftMs = Math.max(1, (endsAt - performance.now()) / (hosts.length - index));
      try {
        const link = new Link(options, await connectSocket(host, options.address.tls, leftMs));
        try {
          const [row] = await link.run(hosts.length > 1 ? 'select pg_is_in_recovery() as standby' : 'select 1 as one', leftMs);
          if (row?.standby !== true) return link;
          failure = new Error(`${host.host}:${host.port} is a standby`);
        } catch (error) {
          failure = error;
        }
        link.destroy();
      } catch (error) {
        failure = error;
      }
    }
    throw new NotSentError(messageOf(failure), { cause: failure });
  }

  private constructor({ address, name, onNotice }: LinkOptions, socket: Socket) {
    this.#socket = socket;
    socket.once('close', () => {
      this.#isBroken = true;
    });
    let given: Socket | null = socket;
    this.#sql = client({
      host: address.hosts[0]!.host,
      port: address.hosts[0]!.port,
      database: address.database,
      user: address.user,
      pass: address.password,
      ssl: false,
      max: 1,
      idle_timeout: 0,
      max_lifetime: null,
      connect_timeout: 60,
      fetch_types: false,
      types: {
        bigint: { to: 20, from: [20], parse: Number, serialize: String },
        bytes: { to: 17, from: [17], parse: bytesOf, serialize: String },
      },
      connection: { application_name: name },
      onnotice: ({ message }: { readonly message?: string }) => onNotice?.(message ?? ''),
      socket: () => {
        const first = given;
        given = null;
        if (first === null || first.destroyed) throw new NotSentError('the connection is gone');
        return first;
      },
    } as Parameters<typeof client>[0] & object) as unknown as Driver;
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** Sends one message of the simple protocol: one statement or several, which are one transaction then. The rows of the last one. */
  async run(text: string, deadlineMs: number): Promise<readonly Row[]> {
    const answer: unknown = await this.#within(() => this.#sql.unsafe(text), deadlineMs);
    // Several statements that give rows are a list of lists.
    const last = Array.isArray(answer) && !('command' in answer) ? answer.at(-1) : answer;
    return last as readonly Row[];
  }

  /**
   * Runs one statement that is prepared at its first use. Parameters are text and numbers only: the driver writes parameters in place, and a second
   * attempt of its own, after a pooler had moved us, would write bytes twice.
   */
  async runPrepared(text: string, parameters: readonly (string | number)[], deadlineMs: number): Promise<readonly Row[]> {
    let query: { retried?: unknown } | undefined;
    const rows = await this.#within(() => {
      const asked = this.#sql.unsafe(text, parameters as (string | number)[], { prepare: true });
      query = asked as unknown as { retried?: unknown };
      return asked;
    }, deadlineMs);
    if (query?.retried !== undefined) this.lostPrepared = true;
    return rows as unknown as readonly Row[];
  }

  /** Gives the connection up at once, whatever is under way. */
  destroy(): void {
    this.#isBroken = true;
    this.#socket.destroy();
    this.#sql.end({ timeout: 0 }).catch(() => {});
  }

  /** Says good-bye. */
  async close(): Promise<void> {
    if (!this.#isBroken) await this.#sql.end({ timeout: 1 }).catch(() => {});
    this.destroy();
  }

  #within<T>(ask: () => PromiseLike<T>, deadlineMs: number): Promise<T> {
    if (this.#isBroken) return Promise.reject(new NotSentError('the connection is gone'));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.destroy();
        reject(new DeadlineError(deadlineMs));
      }, deadlineMs);
      ask().then(
        (value) => {
          clearTimeout(timer);
          resolve(value);
        },
        (error: unknown) => {
          clearTimeout(timer);
          reject(error);
        },
      );
    });
  }
}

/** `\\x` and hex. Plain bytes, not a `Buffer`: parts of them are handed on as values. */
function bytesOf(text: string): Uint8Array {
  const { buffer, byteOffset, byteLength } = Buffer.from(text.slice(2), 'hex');
  return new Uint8Array(buffer, byteOffset, byteLength);
}
