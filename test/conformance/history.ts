/**
 * What happened in one session of the kit, entry by entry, as the coordinator's side saw it. Everything is judged from this alone.
 *
 * Invariants
 * 1. Entries are in the order in which this process saw them; `at` is milliseconds since the session began and never falls.
 * 2. A `link` is one connection of the worker, counted from 1; entries that belong to no connection have 0.
 */
import type { CoordinatorFrame, WorkerFrame } from '@workflow-orchestrator/proto';
import { sayCoordinatorFrame, sayWorkerFrame } from '../stream-support/frames.ts';

/** What happened. */
export type Happening =
  /** The program was started. */
  | { readonly kind: 'started'; readonly workerId: string; readonly slots: number }
  /** It asked for the stream; `status` is what it got: 101 when the connection is there. */
  | {
      readonly kind: 'request';
      readonly path: string;
      readonly protocols: readonly string[];
      readonly status: number;
      readonly retryAfterMs: number;
    }
  /** A message of the worker. `frame` is null, and `problem` says why, when it is none. */
  | { readonly kind: 'in'; readonly bytes: number; readonly frame: WorkerFrame | null; readonly problem: string }
  /** A message to the worker. `frame` is null, and `what` says what it was, when it was meant to be none. */
  | { readonly kind: 'out'; readonly frame: CoordinatorFrame | null; readonly what: string }
  /** From now on nothing is read from the connection and nothing is sent on it. */
  | { readonly kind: 'muted' }
  /** This side began to close; 0: it cut the connection. */
  | { readonly kind: 'closing'; readonly code: number }
  /** The connection is gone. `code` is what the worker said, 1006 when it said nothing. */
  | { readonly kind: 'closed'; readonly code: number; readonly reason: string }
  | { readonly kind: 'signal'; readonly signal: NodeJS.Signals }
  | { readonly kind: 'exited'; readonly code: number | null; readonly signal: NodeJS.Signals | null }
  /** Nothing is under way: every result was acked, and the worker had time to say what is left to say. */
  | { readonly kind: 'quiet' }
  /** The kit itself stood still for `ms` before this. */
  | { readonly kind: 'stalled'; readonly ms: number }
  /** The script waited in vain and gave up. */
  | { readonly kind: 'stuck'; readonly what: string };

/** One entry. `index` is its place. */
export type Entry = Happening & { readonly index: number; readonly at: number; readonly link: number };
/** An entry of one kind. */
export type EntryOf<K extends Happening['kind']> = Extract<Entry, { readonly kind: K }>;

/** One session. */
export interface History {
  /** The script, and what repeats it. */
  readonly name: string;
  readonly entries: readonly Entry[];
}

/** An entry in a line. */
export function sayEntry(entry: Entry): string {
  const place = entry.link === 0 ? '  ' : `#${entry.link}`;
  return `${String(Math.round(entry.at)).padStart(6)} ms ${place} ${sayHappening(entry)}`;
}

function sayHappening(entry: Entry): string {
  switch (entry.kind) {
    case 'started':
      return `started as ${entry.workerId} with ${entry.slots} slots`;
    case 'request':
      return `asks for ${entry.path} (${entry.protocols.join(', ')}): ${entry.status}`;
    case 'in':
      if (entry.frame === null) return `worker      > ${entry.problem}`;
      return `worker      > ${entry.frame.seq}/${entry.frame.ack} ${short(sayWorkerFrame(entry.frame))}`;
    case 'out':
      if (entry.frame === null) return `coordinator > ${entry.what}`;
      return `coordinator > ${entry.frame.seq}/${entry.frame.ack} ${short(sayCoordinatorFrame(entry.frame))}${entry.what}`;
    case 'muted':
      return 'the coordinator swallows everything from here on';
    case 'closing':
      return entry.code === 0 ? 'the coordinator cuts the connection' : `the coordinator closes with ${entry.code}`;
    case 'closed':
      return `closed: the worker said ${entry.code} ${short(entry.reason)}`;
    case 'signal':
      return entry.signal;
    case 'exited':
      return `exited with ${entry.code ?? entry.signal}`;
    case 'quiet':
      return 'quiet';
    case 'stalled':
      return `the kit stood still for ${Math.round(entry.ms)} ms`;
    case 'stuck':
      return `gave up: ${entry.what}`;
    default:
      return entry satisfies never;
  }
}

function short(text: string): string {
  return text.length <= 300 ? text : `${text.slice(0, 300)}…`;
}
