/**
 * Reads an untrusted object field by field and collects everything that is wrong with it.
 * Used for parameters of jobs and for the connections file, so that both are told of mistakes in the same words.
 *
 * Invariants
 * 1. Every field that is read becomes a known one; `close` reports each other field, with the known name that was probably meant.
 *    Names that start with `x-` are free for people's own use.
 * 2. Nothing here throws. A field with a problem reads as undefined, or as an empty value where it is required;
 *    whoever reads checks `problems` before using what was read.
 * 3. Only own properties count; a field that is null counts as absent, except where `json` reads it.
 */
import { nearest } from '@workflow-orchestrator/proto/nearest';
import type { Json } from '../handler.ts';
import { describe, isObject } from './describe.ts';
import { formatDuration, parseDurationMs } from './duration.ts';
import type { FieldProblem, Path } from './path.ts';

/** Reads one element of a list or map; says what is wrong through `problem`. */
export type ReadElement<T> = (value: unknown, path: Path, problem: (message: string) => void) => T;

/** Bounds of a number. */
export interface Bounds {
  readonly min?: number;
  readonly max?: number;
}

/** Rules for a text. */
export interface TextRules {
  /** Characters at most. */
  readonly max?: number;
  /** May it be ''? */
  readonly empty?: boolean;
}

/** One object under examination. */
export class Fields {
  readonly path: Path;
  readonly problems: FieldProblem[];
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #known = new Set<string>();

  /** Anything but an object is a problem and reads as an empty one. */
  constructor(value: unknown, path: Path, problems: FieldProblem[]) {
    this.path = path;
    this.problems = problems;
    if (isObject(value)) {
      this.#values = value;
    } else {
      this.#values = {};
      problems.push({ path, message: `must be an object with named fields, is ${describe(value)}` });
    }
  }

  /** Whether the field is there and not null. Makes it known. */
  has(name: string): boolean {
    return this.#read(name) !== undefined;
  }

  /** Reports a problem with a field, or with the object as a whole when `name` is null. */
  problem(name: string | null, message: string): void {
    this.problems.push({ path: name === null ? this.path : [...this.path, name], message });
  }

  /** A text; undefined when absent. */
  text(name: string, rules: TextRules = {}): string | undefined {
    const value = this.#read(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'string') return this.#wrong(name, 'a text', value);
    if (value === '' && rules.empty !== true) return this.#bad(name, 'must not be empty');
    if (rules.max !== undefined && value.length > rules.max)
      return this.#bad(name, `has ${value.length} characters, at most ${rules.max} are allowed`);
    return value;
  }

  /** A text that must be there. */
  requiredText(name: string, rules: TextRules = {}): string {
    return this.text(name, rules) ?? this.#missing(name, 'a text', '');
  }

  /** One of a few words; undefined when absent. */
  choice<const T extends string>(name: string, choices: readonly T[]): T | undefined {
    const value = this.#read(name);
    if (value === undefined) return undefined;
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    const near = typeof value === 'string' ? nearest(value, choices) : null;
    return this.#bad(
      name,
      `must be one of ${choices.join(', ')}, is ${describe(value)}${near === null ? '' : `; did you mean '${near}'?`}`,
    );
  }

  /** One of a few words that must be there; the first when there is a problem. */
  requiredChoice<const T extends string>(name: string, choices: readonly T[]): T {
    return this.choice(name, choices) ?? this.#missing(name, `one of ${choices.join(', ')}`, choices[0]);
  }

  /** A whole number; undefined when absent. */
  integer(name: string, bounds: Bounds = {}): number | undefined {
    const value = this.#read(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) return this.#wrong(name, 'a whole number', value);
    const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = bounds;
    if (value < min || value > max) return this.#bad(name, `must be from ${min} to ${max}, is ${value}`);
    return value;
  }

  /** true or false; undefined when absent. */
  flag(name: string): boolean | undefined {
    const value = this.#read(name);
    if (value === undefined || typeof value === 'boolean') return value;
    return this.#wrong(name, 'true or false', value);
  }

  /** A duration in milliseconds; undefined when absent. */
  durationMs(name: string, bounds: { readonly min: number; readonly max: number }): number | undefined {
    const value = this.#read(name);
    if (value === undefined) return undefined;
    const parsed = typeof value === 'string' ? parseDurationMs(value) : null;
    if (parsed === null) return this.#bad(name, `must be a duration with a unit, such as 500ms, 30s or 5m, is ${describe(value)}`);
    if (parsed < bounds.min || parsed > bounds.max)
      return this.#bad(name, `must be from ${formatDuration(bounds.min)} to ${formatDuration(bounds.max)}, is ${formatDuration(parsed)}`);
    return parsed;
  }

  /** Any JSON value, null among them; undefined when absent. */
  json(name: string): Json | undefined {
    this.#known.add(name);
    return Object.hasOwn(this.#values, name) ? (this.#values[name] as Json) : undefined;
  }

  /** An object to be read in turn; undefined when absent. The reader must `close` it. */
  object(name: string): Fields | undefined {
    const value = this.#read(name);
    return value === undefined ? undefined : new Fields(value, [...this.path, name], this.problems);
  }

  /** A list; a single value counts as a list of one. Undefined when absent. */
  list<T>(name: string, read: ReadElement<T>, bounds: Bounds = {}): T[] | undefined {
    const value = this.#read(name);
    if (value === undefined) return undefined;
    const values = Array.isArray(value) ? value : [value];
    const { min = 0, max = 1_000 } = bounds;
    if (values.length < min || values.length > max) return this.#bad(name, `must have ${min} to ${max} elements, has ${values.length}`);
    const isList = Array.isArray(value);
    return values.map((element, index) => this.#element(element, isList ? [...this.path, name, index] : [...this.path, name], read));
  }

  /** A map of names to values. Undefined when absent. */
  map<T>(name: string, read: ReadElement<T>, bounds: Bounds = {}): Map<string, T> | undefined {
    const value = this.#read(name);
    if (value === undefined) return undefined;
    if (!isObject(value)) return this.#wrong(name, 'an object with named fields', value);
    const entries = Object.entries(value);
    const { max = 1_000 } = bounds;
    if (entries.length > max) return this.#bad(name, `has ${entries.length} entries, at most ${max} are allowed`);
    return new Map(entries.map(([key, element]) => [key, this.#element(element, [...this.path, name, key], read)]));
  }

  /** Of these fields at most one may be there; says which was found, or null. */
  exclusive<const T extends string>(names: readonly T[]): T | null {
    const found = names.filter((name) => this.has(name));
    if (found.length > 1) this.problem(null, `only one of ${names.join(', ')} may be given, found ${found.join(' and ')}`);
    return found[0] ?? null;
  }

  /** Reports every field that was never read. `what` names the object in the message: `an HTTP request`. */
  close(what: string): void {
    for (const name of Object.keys(this.#values)) {
      if (this.#known.has(name) || name.startsWith('x-')) continue;
      const near = nearest(name, this.#known);
      const hint = near === null ? `; known: ${[...this.#known].join(', ')}` : `; did you mean '${near}'?`;
      this.problem(name, `is no field of ${what}${hint}`);
    }
  }

  #read(name: string): unknown {
    this.#known.add(name);
    if (!Object.hasOwn(this.#values, name)) return undefined;
    return this.#values[name] ?? undefined;
  }

  #element<T>(value: unknown, path: Path, read: ReadElement<T>): T {
    return read(value, path, (message) => this.problems.push({ path, message }));
  }

  #bad(name: string, message: string): undefined {
    this.problem(name, message);
    return undefined;
  }

  #wrong(name: string, expected: string, value: unknown): undefined {
    return this.#bad(name, `must be ${expected}, is ${describe(value)}`);
  }

  /** What a required field reads as. One problem a field is enough: a field that is there and wrong has one already. */
  #missing<T>(name: string, expected: string, fallback: T): T {
    if (this.#read(name) === undefined) this.problem(name, `is required: ${expected}`);
    return fallback;
  }
}

/** Reads an element that must be a text which is not empty. */
export function textElement(value: unknown, _path: Path, problem: (message: string) => void): string {
  if (typeof value === 'string' && value !== '') return value;
  problem(value === '' ? 'must not be empty' : `must be a text, is ${describe(value)}`);
  return '';
}
