/**
 * What a part of the system gives the fuzzer: bytes to begin with, bytes by a grammar, and what must hold for any bytes.
 *
 * Invariant: a target depends on the bytes alone, so that a file of them is a complete report of a bug.
 */
import type { Random } from '../engine-support/random.ts';

/** What became of an input that broke nothing. */
export interface Outcome {
  /** What happened, in words: codes, rules, shapes. One that was never seen before makes the input worth mutating. */
  readonly features: readonly string[];
  /** What the part holds on to when it is done: counted as its memory. */
  readonly kept: unknown;
  /** What else must hold, looked at when the cost was taken. */
  readonly check?: () => void | Promise<void>;
}

/** A part under test. */
export interface Target {
  readonly name: TargetName;
  /** Inputs to begin with, besides the files of `test/fixtures/fuzz/<name>/`. */
  readonly seeds: () => Uint8Array[];
  /** An input by the grammar, mostly right. */
  readonly generate: (random: Random) => Uint8Array;
  /** Pieces that mutations put in. */
  readonly words: readonly (string | Uint8Array)[];
  /** Whether lines mean something. */
  readonly isText: boolean;
  /** Most bytes of an input. */
  readonly mostBytes: number;
  /** Judges an input. Throws `Broken`, or anything else, when something is wrong. */
  readonly run: (input: Uint8Array) => Outcome | Promise<Outcome>;
  readonly close: () => Promise<void>;
}

/** The targets, by the names of the command line. */
export const targetNames = ['definition', 'expression', 'schema', 'worker-frames', 'coordinator-frames', 'http', 'journal'] as const;

/** The name of a target. */
export type TargetName = (typeof targetNames)[number];

/** What must hold does not. */
export class Broken extends Error {}

/** Text without what differs from case to case, as a feature. */
export function shapeOf(message: string): string {
  return message
    .replaceAll(/'[^']*'|"[^"]*"/g, "'")
    .replaceAll(/\d+/g, '0')
    .slice(0, 120);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Text as bytes. */
export function bytesOf(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Bytes as text; what is no UTF-8 becomes U+FFFD. */
export function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
