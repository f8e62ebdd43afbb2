/**
 * What a worker is made of, checked before anything is done with it.
 */
import { hostname } from 'node:os';
import { addressList, cutText, isWorkerId, workerIdRule } from '@workflow-orchestrator/proto';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { Logger } from './logger.ts';
import type { WorkerLimits } from './session/worker-limits.ts';
import { streamUrl } from './url.ts';
import type { WorkerEvent } from './worker.ts';

/** Options of `createWorker`. */
export interface WorkerOptions {
  /** `http(s)://host:port` or `ws(s)://host:port`, with or without `/workers`. Several, in a list or separated by commas, are tried in turn. Default: `COORDINATOR_URL`, else `http://localhost:8000`. */
  readonly url?: string | readonly string[];
  /** Bearer token. Default: `WORKFLOW_TOKEN`, else none. */
  readonly token?: string;
  /** Stable over restarts, unlike that of any other worker; letters, digits, `.`, `_` and `-`. Default: `WORKER_ID`, else host name and process id. */
  readonly id?: string;
  /** What `requires.labels` of a job is matched with. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Attempts at once, over all types. Default: 10. */
  readonly slots?: number;
  /** For the operator. Default: warnings and errors on stderr. */
  readonly log?: Logger;
  /** Build of the program, for people. */
  readonly build?: string;
  /** Told of what happens, as it happens. Must not throw. */
  readonly onEvent?: (event: WorkerEvent) => void;
  /** Limits that differ from the defaults, for tests. */
  readonly limits?: Partial<WorkerLimits>;
}

/** Options with their defaults. */
export interface CheckedOptions {
  readonly urls: readonly string[];
  readonly token: string | null;
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly build: string;
}

const defaultSlots = 10;

/** Fills in and checks. Throws a TypeError with one line that says what is wrong and what would be right. */
export function checkOptions(options: WorkerOptions, environment: Readonly<Record<string, string | undefined>>): CheckedOptions {
  const given = options.url ?? (environment.COORDINATOR_URL || 'http://localhost:8000');
  const addresses = addressList(given);
  if (addresses.length === 0) throw new TypeError('url must name at least one coordinator');
  const urls = addresses.map((address) => {
    const read = streamUrl(address);
    if (read.kind === 'bad') throw new TypeError(read.message);
    return read.url;
  });
  const id =
    options.id ??
    (environment.WORKER_ID ||
      `${hostname()
        .replaceAll(/[^A-Za-z0-9._-]/g, '-')
        .slice(0, 100)}-${process.pid}`);
  if (!isWorkerId(id)) throw new TypeError(`id ${workerIdRule}, not ${JSON.stringify(cutText(id, 200))}`);
  const slots = options.slots ?? defaultSlots;
  checkSlots(slots, 'slots', 1);
  const labels = options.labels ?? {};
  const pairs = Object.entries(labels);
  if (pairs.length > limits.labels) throw new TypeError(`labels: ${pairs.length} are given, at most ${limits.labels} are taken`);
  for (const [key, value] of pairs) {
    if (key.length === 0 || key.length > limits.labelKeyLength)
      throw new TypeError(`labels: key '${key}' must have 1 to ${limits.labelKeyLength} characters`);
    if (typeof value !== 'string' || value.length > limits.labelValueLength) {
      throw new TypeError(`labels: the value of '${key}' must be a text of at most ${limits.labelValueLength} characters`);
    }
  }
  const token = options.token ?? (environment.WORKFLOW_TOKEN || null);
  if (token !== null && !/^[\x21-\x7e]+$/.test(token)) throw new TypeError('token must be printable ASCII without spaces');
  return { urls: [...new Set(urls)], token, id, labels, slots, build: (options.build ?? '').slice(0, 256) };
}

/** Slots of a worker or a type. */
export function checkSlots(slots: number, what: string, least: 0 | 1): void {
  if (!Number.isInteger(slots) || slots < least || slots > limits.workerSlots) {
    throw new TypeError(`${what} must be a whole number from ${least} to ${limits.workerSlots}, not ${slots}`);
  }
}
