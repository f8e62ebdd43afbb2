/**
 * JSON to the values that CEL computes with, and back.
 *
 * Invariants
 * 1. Numbers from data are doubles; only inputs of `type: integer` are ints, since there the author said so.
 * 2. Keys of data are data: `constructor` and `__proto__` are keys like any other, in both directions.
 * 3. Back to JSON is bounded in size and depth, and refuses what JSON cannot hold.
 */
import { Optional } from '@marcbachmann/cel-js';
import { Duration, UnsignedInt } from '@marcbachmann/cel-js/evaluator';
import { limits } from '@workflow-orchestrator/proto/limits';
import type { JobScope, Json } from '../graph.ts';

/** All inputs of a workflow. Keyed by the names that expressions are rewritten to: `i0`, `i1`. */
export class InputsValue extends Map<string, unknown> {
  readonly json: Json;

  constructor(json: Json, entries: Iterable<readonly [string, unknown]>) {
    super(entries);
    this.json = json;
  }
}

/** One job. What is not read is not computed: an output may have to be parsed first. */
export class JobValue {
  readonly #scope: JobScope;

  constructor(scope: JobScope) {
    this.#scope = scope;
  }

  get output(): unknown {
    return toCel(this.#scope.output);
  }

  get status(): string {
    return this.#scope.status;
  }

  get error(): unknown {
    return this.#scope.error;
  }
}

/** The workflow itself. */
export class WorkflowValue {
  readonly id: string;
  readonly name: string;
  readonly status: string;

  constructor(id: string, name: string, status: string) {
    this.id = id;
    this.name = name;
    this.status = status;
  }
}

const converted = new WeakMap<object, unknown>();

/** Data as a CEL value: itself, or a copy with Maps where a key would confuse the evaluator. */
export function toCel(json: Json): unknown {
  if (typeof json !== 'object' || json === null) return json;
  const known = converted.get(json);
  if (known !== undefined) return known;
  const value = holdsConstructor(json) ? withMaps(json) : json;
  converted.set(json, value);
  return value;
}

/** The evaluator tells kinds of values apart by `value.constructor`: a key of that name must not answer for it. */
function holdsConstructor(json: Json): boolean {
  if (typeof json !== 'object' || json === null) return false;
  if (Array.isArray(json)) return json.some(holdsConstructor);
  if (Object.hasOwn(json, 'constructor')) return true;
  return Object.values(json as Record<string, Json>).some(holdsConstructor);
}

function withMaps(json: Json): unknown {
  if (typeof json !== 'object' || json === null) return json;
  if (Array.isArray(json)) return json.map(withMaps);
  return new Map(Object.entries(json).map(([key, value]) => [key, withMaps(value)]));
}

/** Thrown by `fromCel`; its message is for people. Never leaves this package. */
export class NoJson extends Error {}

/** Counts what is written, so that a small expression cannot make a large value. */
export class JsonWriter {
  #left: number;

  /** `bytes`: of JSON text, about. */
  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** A CEL value as JSON; throws `NoJson`. `depth`: collections above it. */
  write(value: unknown, depth = 0): Json {
    switch (typeof value) {
      case 'string':
        this.take(value.length + 2);
        return value;
      case 'boolean':
        this.take(5);
        return value;
      case 'bigint':
        return this.#number(wholeNumber(value));
      case 'number':
        return this.#number(value);
      case 'object':
        return value === null ? this.#null() : this.#object(value, depth);
      default:
        throw new NoJson('it has no value');
    }
  }

  /** Counts bytes. */
  take(bytes: number): void {
    this.#left -= bytes;
    if (this.#left < 0) throw new NoJson(`it is larger than ${limits.parametersBytes} bytes`);
  }

  #null(): null {
    this.take(4);
    return null;
  }

  #number(value: number): number {
    if (!Number.isFinite(value)) throw new NoJson(`${value} is no JSON number`);
    this.take(8);
    return value;
  }

  #object(value: object, depth: number): Json {
    if (Array.isArray(value)) {
      this.#nest(depth);
      return value.map((item) => this.#item(item, depth));
    }
    if (value instanceof InputsValue) return this.write(value.json, depth);
    if (value instanceof Map) return this.#entries(value.entries(), depth);
    if (value instanceof JobValue) {
      const { output, status, error } = value;
      return this.#entries(Object.entries({ output, status, error }), depth);
    }
    if (value instanceof WorkflowValue || isPlain(value)) return this.#entries(Object.entries(value), depth);
    if (value instanceof Uint8Array) return this.write(Buffer.from(value).toString('base64'), depth);
    if (value instanceof Date) return this.write(value.toISOString(), depth);
    if (value instanceof Duration) return this.write(durationText(value), depth);
    if (value instanceof UnsignedInt) return this.#number(wholeNumber(value.valueOf()));
    if (value instanceof Optional) return value.hasValue() ? this.write(value.value(), depth) : this.#null();
    throw new NoJson('it is of a type that JSON does not have');
  }

  #entries(entries: Iterable<[unknown, unknown]>, depth: number): Json {
    this.#nest(depth);
    const made: [string, Json][] = [];
    for (const [key, value] of entries) {
      const name = String(key);
      this.take(name.length + 3);
      made.push([name, this.#item(value, depth)]);
    }
    return Object.fromEntries(made);
  }

  #item(value: unknown, depth: number): Json {
    this.take(1);
    return this.write(value, depth + 1);
  }

  #nest(depth: number): void {
    this.take(2);
    if (depth >= limits.jsonDepth) throw new NoJson(`it nests deeper than ${limits.jsonDepth}`);
  }
}

function wholeNumber(value: bigint): number {
  const number = Number(value);
  if (BigInt(number) === value) return number;
  throw new NoJson(`${value} has more digits than a JSON number keeps`);
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as unknown;
  return prototype === null || prototype === Object.prototype;
}

/** `90.5s`, as protobuf writes durations in JSON. */
function durationText(duration: Duration): string {
  const nanos = duration.nanos === 0 ? '' : `.${`${Math.abs(duration.nanos)}`.padStart(9, '0').replace(/0+$/, '')}`;
  const sign = duration.nanos < 0 && duration.seconds === 0n ? '-' : '';
  return `${sign}${duration.seconds}${nanos}s`;
}
