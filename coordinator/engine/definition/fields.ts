/**
 * Reading the maps of the format: known keys, the type and range of each value.
 *
 * Invariants
 * 1. A reader returns the value, or undefined when it is absent or wrong; what is wrong is a problem, told once.
 * 2. A `broken` value was told already and reads as absent.
 * 3. A misspelt key is told and then read as the key that was meant, so that what depends on it is not told as well.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { parseDuration } from './duration.ts';
import { describe, type Entry, type MapNode, type Node, type ScalarNode } from './node.ts';
import type { PatternCheck } from './pattern.ts';
import { type Problems, quote } from './problem.ts';
import type { Suggestions } from './suggest.ts';

/** What reading needs. */
export interface Reading {
  readonly problems: Problems;
  readonly suggestions: Suggestions;
  readonly patterns: PatternCheck;
}

/** The alphabet of names and ids. */
export const NAME = /^[A-Za-z0-9._-]+$/;

/** The entries of a map of the format. */
export interface Fields {
  readonly map: MapNode;
  /** The value of a key; undefined when it is absent or broken. */
  readonly get: (key: string) => Node | undefined;
  readonly entry: (key: string) => Entry | undefined;
}

/** Opens a map whose keys are `known`; every other key is a problem, except those that start with `x-`. Undefined when it is no map. */
export function openMap({ problems, suggestions }: Reading, node: Node, known: readonly string[], what: string): Fields | undefined {
  if (node.kind === 'broken') return undefined;
  if (node.kind !== 'map') {
    problems.add(node, 'bad-type', `${what} must be a map, found ${describe(node)}`, `its keys are ${known.join(', ')}`);
    return undefined;
  }
  const misspelt = new Map<string, Entry>();
  for (const entry of node.entries.values()) {
    if (known.includes(entry.name)) continue;
    if (entry.name.startsWith('x-')) {
      entry.free = true;
      continue;
    }
    const nearest = suggestions.nearest(entry.name, known);
    const otherwise = `known keys: ${known.join(', ')}; keys that start with x- are free`;
    const hint = nearest === null ? otherwise : `did you mean '${nearest}'?`;
    problems.addKey(node, entry.name, entry.at, 'unknown-key', `unknown key ${quote(entry.name)} in ${what}`, hint);
    if (nearest !== null && !node.entries.has(nearest)) misspelt.set(nearest, entry);
  }
  const entryOf = (key: string): Entry | undefined => node.entries.get(key) ?? misspelt.get(key);
  const get = (key: string): Node | undefined => {
    const value = entryOf(key)?.value;
    return value === undefined || value.kind === 'broken' ? undefined : value;
  };
  return { map: node, get, entry: entryOf };
}

/** Says that a required key is missing. A key that is there but broken was told already, and so was a key that could not be read. */
export function missing({ problems }: Reading, fields: Fields, key: string, what: string, hint: string): void {
  if (fields.entry(key) === undefined && !fields.map.incomplete)
    problems.addKey(fields.map, key, null, 'missing-key', `${what} has no ${quote(key)}`, hint);
}

/** Text. Numbers and the like are refused with their quoted spelling. */
export function readText({ problems }: Reading, node: Node | undefined, what: string, maxLength?: number): string | undefined {
  if (node === undefined || node.kind === 'broken') return undefined;
  if (node.kind !== 'scalar' || typeof node.value !== 'string') {
    const written = node.kind === 'scalar' && node.value !== null ? problems.source.slice(node.at, node.end) : null;
    problems.add(
      node,
      'bad-type',
      `${what} must be text, found ${describe(node)}`,
      written === null ? '' : `put it in quotes: "${written}"`,
    );
    return undefined;
  }
  if (maxLength !== undefined && node.value.length > maxLength) {
    problems.add(node, 'out-of-range', `${what} has ${node.value.length} characters`, `at most ${maxLength}`);
    return undefined;
  }
  return node.value;
}

/** Text for people on one line: no control characters, no expression that would stay unevaluated. */
export function readTitle(reading: Reading, node: Node | undefined, what: string): string | undefined {
  const text = readText(reading, node, what, limits.nameLength);
  if (text === undefined || node === undefined) return undefined;
  if (refusesTemplate(reading, node, text, what)) return undefined;
  if (!/\p{Cc}/u.test(text)) return text;
  reading.problems.add(node, 'bad-value', `${what} holds a line break or another control character`, 'write it on one line');
  return undefined;
}

/** A name or id. */
export function readName(reading: Reading, node: Node | undefined, what: string): string | undefined {
  const text = readText(reading, node, what);
  if (text === undefined || node === undefined) return undefined;
  if (refusesTemplate(reading, node, text, what)) return undefined;
  if (text.length === 0 || text.length > limits.nameLength) {
    reading.problems.add(node, 'bad-name', `${what} has ${text.length} characters`, `1 to ${limits.nameLength} of A-Z a-z 0-9 . _ -`);
    return undefined;
  }
  if (NAME.test(text)) return text;
  const repaired = text.trim().replaceAll(/[^A-Za-z0-9._-]+/g, '-');
  reading.problems.add(node, 'bad-name', `${what} ${quote(text)} may only hold A-Z a-z 0-9 . _ -`, `for instance ${quote(repaired)}`);
  return undefined;
}

/** Refuses an expression where none is evaluated. */
export function refusesTemplate({ problems }: Reading, node: Node, text: string, what: string): boolean {
  if (!text.includes('${{')) return false;
  const hint = 'expressions are evaluated in parameters, outputs, if and idempotency_key';
  problems.add(node, 'template-not-allowed', `${what} is fixed: no expression is evaluated here`, hint);
  return true;
}

/** true or false. */
export function readFlag({ problems }: Reading, node: Node | undefined, what: string): boolean | undefined {
  if (node === undefined || node.kind === 'broken') return undefined;
  if (node.kind === 'scalar' && typeof node.value === 'boolean') return node.value;
  const said = node.kind === 'scalar' && typeof node.value === 'string' ? node.value.toLowerCase() : '';
  const hint = ['yes', 'on', 'true', 'y'].includes(said) ? 'write true' : ['no', 'off', 'false', 'n'].includes(said) ? 'write false' : '';
  problems.add(node, 'bad-type', `${what} must be true or false, found ${describe(node)}`, hint);
  return undefined;
}

/** The range of a number. */
export interface NumberRange {
  readonly min: number;
  readonly max: number;
  readonly whole: boolean;
}

/** A number in a range. */
export function readNumber({ problems }: Reading, node: Node | undefined, what: string, range: NumberRange): number | undefined {
  if (node === undefined || node.kind === 'broken') return undefined;
  const wanted = `a ${range.whole ? 'whole ' : ''}number from ${range.min} to ${range.max}`;
  if (node.kind !== 'scalar' || typeof node.value !== 'number') {
    problems.add(node, 'bad-type', `${what} must be ${wanted}, found ${describe(node)}`);
    return undefined;
  }
  if (node.value >= range.min && node.value <= range.max && (!range.whole || Number.isInteger(node.value))) return node.value;
  problems.add(node, 'out-of-range', `${what} is ${node.value}`, `write ${wanted}`);
  return undefined;
}

/** A duration in milliseconds. `zero`: whether none at all is allowed. */
export function readDuration({ problems }: Reading, node: Node | undefined, what: string, zero = false): number | undefined {
  if (node === undefined || node.kind === 'broken') return undefined;
  if (node.kind !== 'scalar' || typeof node.value === 'boolean' || node.value === null) {
    problems.add(node, 'bad-duration', `${what} must be a duration, found ${describe(node)}`, 'write for instance 30s, 5m or 2h');
    return undefined;
  }
  const result = parseDuration(typeof node.value === 'number' ? problems.source.slice(node.at, node.end) : node.value);
  if (result.kind === 'bad') {
    problems.add(node, 'bad-duration', `${what}: ${result.message}`, result.hint);
    return undefined;
  }
  if (result.ms > 0 || zero) return result.ms;
  problems.add(node, 'bad-duration', `${what} must be longer than 0`, 'leave the key out to have no limit');
  return undefined;
}

/** One of a few words. */
export function readWord<T extends string>(reading: Reading, node: Node | undefined, what: string, words: readonly T[]): T | undefined {
  const text = readText(reading, node, what);
  if (text === undefined || node === undefined) return undefined;
  const word = words.find((known) => known === text);
  if (word !== undefined) return word;
  const hint = reading.suggestions.hint(text, words, `one of ${words.join(', ')}`);
  reading.problems.add(node, 'bad-value', `${what} ${quote(text)} is not known`, hint);
  return undefined;
}

/** The texts of a list, or the one text that stands instead of it. Each with its node. */
export function readTexts(reading: Reading, node: Node | undefined, what: string): { readonly text: string; readonly node: ScalarNode }[] {
  if (node === undefined || node.kind === 'broken') return [];
  if (node.kind === 'map' || (node.kind === 'scalar' && typeof node.value !== 'string')) {
    reading.problems.add(node, 'bad-type', `${what} must be text or a list, found ${describe(node)}`);
    return [];
  }
  const items = node.kind === 'list' ? node.items : [node];
  return items.flatMap((item) => {
    const text = readText(reading, item, node === item ? what : `each of ${what}`);
    return text === undefined || item.kind !== 'scalar' ? [] : [{ text, node: item }];
  });
}
