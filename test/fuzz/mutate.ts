/**
 * An input made from others: bits, bytes, lines and numbers changed, pieces cut, doubled, repeated, exchanged and put in. By chance from a seed alone.
 */
import type { Random } from '../engine-support/random.ts';

/** What mutations may use. */
export interface Material {
  readonly words: readonly (string | Uint8Array)[];
  readonly isText: boolean;
  readonly mostBytes: number;
}

/** One to six changes of `input`; `other` lends pieces. */
export function mutate(input: Uint8Array, other: Uint8Array, random: Random, material: Material): Uint8Array {
  let mutant: Buffer = Buffer.from(input);
  const changes = 1 + random.below(random.chance(0.2) ? 6 : 3);
  for (let i = 0; i < changes; i++) {
    const change = material.isText && random.chance(0.45) ? random.pick(lineChanges) : random.pick(byteChanges);
    mutant = change(mutant, Buffer.from(other.buffer, other.byteOffset, other.length), random, material);
    if (mutant.length > material.mostBytes) mutant = mutant.subarray(0, material.mostBytes);
  }
  return mutant;
}

/** A piece repeated until it fills `bytes`: what shows costs that grow faster than the input. */
export function repeated(piece: string, bytes: number): string {
  return piece.repeat(Math.max(1, Math.floor(bytes / Math.max(1, piece.length))));
}

/** Bytes of a large input: mostly some thousand, seldom up to `most`. */
export function largeSize(random: Random, most: number): number {
  return Math.min(most, 1_000 + random.below(random.chance(0.1) ? 60_000 : 15_000));
}

type Change = (input: Buffer, other: Buffer, random: Random, material: Material) => Buffer;

const interesting = [0, 1, 0x0a, 0x20, 0x22, 0x27, 0x5c, 0x7b, 0x7d, 0x7f, 0x80, 0xc0, 0xe2, 0xff];
const numbers = ['0', '-1', '1e999', '9007199254740993', '18446744073709551616', '4294967295', '2147483648', '0.1', '-0', '1e-7', 'NaN'];

/** A stretch of `input`: mostly short. */
function stretch(input: Buffer, random: Random): readonly [number, number] {
  if (input.length === 0) return [0, 0];
  const start = random.below(input.length);
  const length = 1 + random.below(random.chance(0.7) ? 16 : Math.max(1, input.length));
  return [start, Math.min(input.length, start + length)];
}

function splice(input: Buffer, start: number, end: number, piece: Uint8Array): Buffer {
  return Buffer.concat([input.subarray(0, start), piece, input.subarray(end)]);
}

const byteChanges: readonly Change[] = [
  function flipBit(input, _other, random) {
    if (input.length > 0) input[random.below(input.length)] ^= 1 << random.below(8);
    return input;
  },
  function setByte(input, _other, random) {
    if (input.length > 0) input[random.below(input.length)] = random.chance(0.5) ? random.pick(interesting) : random.below(256);
    return input;
  },
  function cut(input, _other, random) {
    const [start, end] = stretch(input, random);
    return splice(input, start, end, Buffer.alloc(0));
  },
  function truncate(input, _other, random) {
    return input.subarray(0, random.below(input.length + 1));
  },
  function double(input, _other, random) {
    const [start, end] = stretch(input, random);
    return splice(input, end, end, input.subarray(start, end));
  },
  function repeat(input, _other, random, { mostBytes }) {
    const [start, end] = stretch(input, random);
    const piece = input.subarray(start, end);
    const times = Math.floor(Math.min(largeSize(random, mostBytes), 1 << (4 + random.below(13))) / Math.max(1, piece.length));
    return splice(input, end, end, Buffer.concat(Array<Buffer>(Math.max(0, times)).fill(piece)));
  },
  function putWord(input, _other, random, { words }) {
    if (words.length === 0) return input;
    const word = random.pick(words);
    const at = random.below(input.length + 1);
    const end = random.chance(0.3) ? Math.min(input.length, at + random.below(12)) : at;
    return splice(input, at, end, typeof word === 'string' ? Buffer.from(word) : word);
  },
  function exchange(input, other, random) {
    const [start, end] = stretch(input, random);
    const [from, to] = stretch(other, random);
    return splice(input, start, end, other.subarray(from, to));
  },
  function changeNumber(input, _other, random) {
    const digits = [
      ...input
        .toString('latin1')
        .slice(0, 20_000)
        .matchAll(/-?\d+(\.\d+)?/g),
    ];
    if (digits.length === 0) return input;
    const { index, 0: text } = random.pick(digits);
    return splice(input, index, index + text.length, Buffer.from(random.pick(numbers)));
  },
];

function lines(input: Buffer): string[] {
  return input.toString('latin1').split('\n');
}

function joined(all: readonly string[]): Buffer {
  return Buffer.from(all.join('\n'), 'latin1');
}

const lineChanges: readonly Change[] = [
  function dropLine(input, _other, random) {
    const all = lines(input);
    all.splice(random.below(all.length), 1 + random.below(3));
    return joined(all);
  },
  function doubleLine(input, _other, random) {
    const all = lines(input);
    const at = random.below(all.length);
    all.splice(random.chance(0.5) ? at : random.below(all.length), 0, ...all.slice(at, at + 1 + random.below(4)));
    return joined(all);
  },
  function swapLines(input, _other, random) {
    const all = lines(input);
    const [a, b] = [random.below(all.length), random.below(all.length)];
    [all[a], all[b]] = [all[b], all[a]];
    return joined(all);
  },
  function indent(input, _other, random) {
    const all = lines(input);
    const at = random.below(all.length);
    all[at] = random.chance(0.5) ? `${' '.repeat(1 + random.below(4))}${all[at]}` : all[at].replace(/^ {1,2}/, '');
    return joined(all);
  },
  function foreignLine(input, other, random) {
    const all = lines(input);
    all.splice(random.below(all.length + 1), random.below(2), random.pick(lines(other)));
    return joined(all);
  },
  function changeValue(input, other, random) {
    const all = lines(input);
    const at = random.below(all.length);
    const value = /: *(.*)$/.exec(random.pick(lines(other)))?.[1] ?? '';
    all[at] = all[at].replace(/: *.*$/, () => `: ${value}`);
    return joined(all);
  },
];
