/**
 * The one history format: what happened, seen from outside, a JSON line an event. The simulator writes it, tests with real processes write it,
 * checkers read it.
 *
 * `ok`: it happened. `fail`: it certainly did not. `info`: unknown. An `invoke` and what became of it have the same `op`.
 * The order of the lines is the order of things where one clock saw them all; otherwise sort by `t_mono`.
 *
 * What is recorded, by `f`
 *   of clients       `submit` `start` `cancel` `pause` `resume` `read` `list` `watch`: invoke, then ok, fail or info; `watched`: ok, one event that a watch showed
 *   of workers       `join`: ok, a process with what it can do; `execute`: a handler begins (invoke, with what it was given), returns (ok: it succeeded,
 *                    fail: it did not), or dies with its process (info); `acked`: ok
 *   of coordinators  `own`: ok, a shard was acquired or reclaimed; `offer`: invoke, a submission goes to the shard under this id;
 *                    `assign` `ack` `reply` `welcome` `revoke` `stop`: ok, an effect left the shard (`stop`: a worker is asked to stop attempts);
 *                    `attach` `answer` `beat` `result` `detach` `lost`: ok, the shard heard it of a worker (`answer`: to an offer; `beat`: of
 *                    attempts whose heartbeats are limited);
 *                    `shown`: ok, the answer to a read or a list left, from memory or from what is at rest
 *   of a database    `commit`: ok, a batch became durable (where the store can tell); `went back`: ok, it lost what it had acknowledged
 */

/** What is known of something that was asked for. */
export type HistoryType = 'invoke' | 'ok' | 'fail' | 'info';

/** One line. Fields that say nothing are left out. */
export interface HistoryEvent {
  /** Milliseconds of a clock that never goes back. */
  readonly t_mono: number;
  /** Milliseconds since 1970, as `node` reads them. */
  readonly t_wall: number;
  /** Who saw it: a coordinator, a worker, a client, a database. */
  readonly node: string;
  /** Which process of that node, from 1. */
  readonly incarnation: number;
  /** Ties what became of something to its `invoke`. */
  readonly op: number;
  readonly f: string;
  readonly type: HistoryType;
  readonly workflow?: string;
  readonly job?: string;
  /** The attempt's number. */
  readonly attempt?: number;
  /** `termId` of the ownership under which it happened. */
  readonly term?: string;
  readonly epoch?: number;
  /** The number of the workflow's event that it rests on; of a `commit` and an `own` the last event of the shard. */
  readonly seq?: number;
  readonly value?: HistoryValue;
}

/** What else there is to say, by the kind of event. */
export interface HistoryValue {
  /** Idempotency key and the hash of the request, of a `submit`. */
  readonly key?: string;
  readonly hash?: string;
  /** What was answered, in a word. */
  readonly answer?: string;
  readonly retryAfterMs?: number;
  /** Of a `cancel`. */
  readonly force?: boolean;
  /** Lease token of an assignment, an execution, an ack. */
  readonly token?: string;
  /** How an execution ended: `succeeded`, `failed`, `cancelled`. */
  readonly outcome?: string;
  /** What it gave, as text. */
  readonly output?: string;
  /** Slots of the worker, the job types it takes with the number at once (0: as many as there are slots), and its labels. */
  readonly slots?: number;
  readonly capabilities?: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
  /** What an execution was given: by job id its outputs, or the inputs of the workflow under an empty one; parameters and checkpoint. All as text. */
  readonly inputs?: Readonly<Record<string, string>>;
  readonly parameters?: string;
  readonly checkpoint?: string;
  /** The worker, and its session, that a coordinator tells or hears. */
  readonly worker?: string;
  readonly session?: string;
  /** Of a `beat`: for how long the handler has shown no life. */
  readonly idleMs?: number;
  /** The term under which a coordinator that tells or hears acquired the shard: a reclaim changes term and epoch, and nothing of its leases. */
  readonly tenure?: string;
  /** Lease tokens: of an `attach`, those that the worker holds; of a `welcome`, those that it keeps; of a `revoke` and a `stop`, those it is about. */
  readonly tokens?: readonly string[];
  /** Of a `welcome`: those that it is to abandon. */
  readonly dropped?: readonly string[];
  /** Workflows of a `list`, which is of everything; of a `commit`, those it has events of, each with the number of its last one. */
  readonly ids?: readonly string[];
  readonly last?: Readonly<Record<string, number>>;
  /** Kind of an event that a watch showed. */
  readonly kind?: string;
  /** Where a watch begins. */
  readonly after?: number;
  readonly message?: string;
}

/** The reason of a cancel by which the journal tells which try it was that took effect. */
export function cancelReasonOf(op: number): string {
  return `asked for by ${op}`;
}

/** Writes a history as text. */
export function printHistory(events: readonly HistoryEvent[]): string {
  return events.map((event) => `${JSON.stringify(event)}\n`).join('');
}

/** Reads it back. Throws with the number of a line that is none. */
export function parseHistory(text: string): HistoryEvent[] {
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line, index) => {
    try {
      return JSON.parse(line) as HistoryEvent;
    } catch (error) {
      throw new Error(`line ${index + 1} of the history is no event: ${(error as Error).message}`);
    }
  });
}

/** What a recorder fills in by itself. */
type Stamped = 't_mono' | 't_wall' | 'node' | 'incarnation';

/** Keeps a history as it happens. */
export class HistoryWriter {
  readonly events: HistoryEvent[] = [];
  readonly #sink: ((line: string) => void) | null;
  #ops = 0;

  /** `sink` is given each line as it is written, so that a process that dies loses nothing. */
  constructor(sink: ((line: string) => void) | null = null) {
    this.#sink = sink;
  }

  /** A number that ties an `invoke` to what becomes of it. */
  newOp(): number {
    this.#ops += 1;
    return this.#ops;
  }

  write(stamp: Pick<HistoryEvent, Stamped>, event: Omit<HistoryEvent, Stamped>): void {
    const whole = { ...stamp, ...event };
    this.events.push(whole);
    this.#sink?.(`${JSON.stringify(whole)}\n`);
  }
}
