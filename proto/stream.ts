/**
 * What both ends of the worker stream agree on besides its messages: names, codes, and the numbering of frames. The rules are in PROTOCOL.md.
 *
 * Invariants
 * 1. Of the frames of one connection each is handled once and in order, or the connection is given up (R5).
 * 2. An acknowledged number never exceeds what was sent and never falls (R6).
 */
import { limits } from './limits.ts';

/** WebSocket subprotocol (R1). */
export const workerSubprotocol = 'workflow.worker.v1';
/** Path of the stream (R1). */
export const workersPath = '/workers';
/** Protocol versions that this code speaks (R12). */
export const protocolVersions = { min: 1, max: 1 } as const;

/** Why a connection was closed (R70). */
export const closeCodes = {
  /** The worker ends and does not come back: its leases are revoked at once. */
  done: 1000,
  /** This end goes away; the worker comes back or is elsewhere already. */
  goingAway: 1001,
  /** A frame could not be understood and the session cannot go on. */
  badFrame: 1002,
  /** Refused by a rule: `ProtocolError` says which. */
  refused: 1008,
  /** A frame was larger than allowed. */
  tooLarge: 1009,
  /** The coordinator restarts. */
  restart: 1012,
  /** The coordinator has no room. */
  tryLater: 1013,
  /** A newer connection of the same worker process took over. */
  replaced: 4001,
  /** Nothing was heard for as long as the leases last. */
  silent: 4002,
  /** The other end does not read what it is sent. */
  slow: 4003,
  /** No Hello, or no Welcome, in time. */
  noGreeting: 4004,
} as const;

/** `ProtocolError.code` (R8). */
export type ProtocolErrorCode =
  | 'BAD_FRAME'
  | 'FRAME_TOO_LARGE'
  | 'UNSUPPORTED_PROTOCOL'
  | 'UNAUTHENTICATED'
  | 'WORKER_ID_TAKEN'
  | 'LIMIT_EXCEEDED'
  | 'UNEXPECTED_FRAME';

/** Frame numbers of one connection, both directions. */
export interface Numbering {
  /** The last number given to a frame of this end. */
  sent: number;
  /** The highest number that the other end handled. */
  acked: number;
  /** The highest number of the other end that was handled. */
  handled: number;
  /** Frames since `handled` that could not be read, so that their numbers are unknown. */
  unread: number;
}

/** Numbers of a connection on which nothing was sent. */
export function newNumbering(): Numbering {
  return { sent: 0, acked: 0, handled: 0, unread: 0 };
}

/** What to do with a frame by its numbers: handle it, ignore it (it came twice), or give the connection up. */
export type NumberVerdict = { readonly kind: 'next' } | { readonly kind: 'double' } | { readonly kind: 'broken'; readonly message: string };

const next: NumberVerdict = { kind: 'next' };
const double: NumberVerdict = { kind: 'double' };

/** Takes in the numbers of a frame (R5, R6). A frame that follows unreadable ones may skip as many numbers as there were of those. */
export function takeNumbers(numbering: Numbering, seq: bigint, ack: bigint): NumberVerdict {
  const number = Number(seq);
  const expected = numbering.handled + 1;
  if (number < expected)
    return number > 0 ? double : { kind: 'broken', message: 'a frame has the number 0; the first of a connection is 1' };
  if (number > expected + numbering.unread)
    return { kind: 'broken', message: `frame ${number} came where ${expected} was expected: frames were lost` };
  const acked = Number(ack);
  if (acked > numbering.sent)
    return { kind: 'broken', message: `frame ${number} acknowledges ${acked}, but only ${numbering.sent} were sent` };
  if (acked > numbering.acked) numbering.acked = acked;
  numbering.handled = number;
  numbering.unread = 0;
  return next;
}

/** Counts a frame whose number could not be read. */
export function takeUnread(numbering: Numbering): void {
  numbering.unread += 1;
}

/** Bytes of a frame and of its body besides the entries, at most. */
const envelopeBytes = 64;

/** Parts of `entries` that fit into a frame each (R4); `bytesOf` says how many bytes an entry takes at most. One that is larger by itself is a part of its own. */
export function splitEntries<T>(entries: readonly T[], bytesOf: (entry: T) => number, frameBytes: number, frameEntries: number): T[][] {
  const parts: T[][] = [];
  let part: T[] = [];
  let bytes = envelopeBytes;
  for (const entry of entries) {
    const size = bytesOf(entry);
    if (part.length > 0 && (bytes + size > frameBytes || part.length >= frameEntries)) {
      parts.push(part);
      part = [];
      bytes = envelopeBytes;
    }
    part.push(entry);
    bytes += size;
  }
  if (part.length > 0) parts.push(part);
  return parts;
}

/** Bytes that a text takes in a message, at most. */
export function textBytes(text: string): number {
  return text.length * 3 + 4;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** `text` cut to at most `mostBytes` bytes of UTF-8, never within a character. */
export function cutText(text: string, mostBytes: number): string {
  if (text.length * 3 <= mostBytes) return text;
  const bytes = encoder.encode(text);
  if (bytes.length <= mostBytes) return text;
  let end = mostBytes;
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1;
  return decoder.decode(bytes.subarray(0, end));
}

/** What a worker id must be, for people: follows the name of what is wrong (R11). */
export const workerIdRule = `must be 1 to ${limits.nameLength} of A-Z a-z 0-9 . _ -`;

/** Whether a worker may be called so (R11). */
export function isWorkerId(text: string): boolean {
  return text.length <= limits.nameLength && /^[A-Za-z0-9._-]+$/.test(text);
}
