/**
 * Schemas of parameters and outputs: any Standard Schema (zod, valibot, arktype ...) or a JSON Schema, draft 2020-12.
 */
import type { AnySchema } from 'ajv';
import type { Json } from '../handler.ts';
import { schemaCompiler, schemaProblem, violationsOf } from '../schema/compile.ts';

/** The part of the Standard Schema interface (version 1) that is used here. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string;
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
      }[];
    };

/** A JSON Schema. */
export type JsonSchema = boolean | { readonly [key: string]: unknown };
/** What `handle` takes as `input` and `output`. */
export type Schema = StandardSchema | JsonSchema;

/** The type of a value that passed a schema: what a Standard Schema makes of it; any JSON for a JSON Schema. */
export type Checked<S> = S extends StandardSchema<unknown, infer Output> ? Output : Json;
/** The type of a value that a schema takes. */
export type Accepted<S> = S extends StandardSchema<infer Input, unknown> ? Input : unknown;

/** One thing that is wrong with a value. */
export interface Violation {
  /** JSON pointer into the value; empty for the whole. */
  readonly path: string;
  readonly message: string;
}

/** A checked value, as the schema made it, or what is wrong. `total` may exceed the violations that are listed. */
export type CheckResult =
  | { readonly kind: 'right'; readonly value: unknown }
  | { readonly kind: 'wrong'; readonly violations: readonly Violation[]; readonly total: number };

/** Checks a value. Answers at once where the schema can. */
export type Check = (value: unknown) => CheckResult | Promise<CheckResult>;

/** Violations that are listed. */
const mostViolations = 100;

/** Compiles a schema. Throws a TypeError that says what is wrong with it; `what` names it. */
export function compileSchema(schema: Schema, what: string): Check {
  if (isStandard(schema)) return standardCheck(schema);
  if (typeof schema !== 'boolean' && (typeof schema !== 'object' || schema === null || Array.isArray(schema))) {
    throw new TypeError(`${what} must be a Standard Schema (such as a zod object) or a JSON Schema object`);
  }
  try {
    return jsonSchemaCheck(schema);
  } catch (error) {
    throw new TypeError(`${what} is no valid JSON Schema: ${schemaProblem(error)}`, { cause: error });
  }
}

/** The violations in a line, for people. */
export function describeViolations(violations: readonly Violation[], total: number): string {
  const shown = violations.slice(0, 3).map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  const more = total - shown.length;
  return shown.join('; ') + (more > 0 ? ` (and ${more} more)` : '');
}

function isStandard(schema: unknown): schema is StandardSchema {
  return (typeof schema === 'object' || typeof schema === 'function') && schema !== null && '~standard' in schema;
}

function standardCheck(schema: StandardSchema): Check {
  const judge = (result: StandardResult<unknown>): CheckResult => {
    if (result.issues === undefined) return { kind: 'right', value: result.value };
    const violations = result.issues.slice(0, mostViolations).map(({ message, path }) => ({ path: pointer(path ?? []), message }));
    return { kind: 'wrong', violations, total: result.issues.length };
  };
  return (value) => {
    const result = schema['~standard'].validate(value);
    return result instanceof Promise ? result.then(judge) : judge(result);
  };
}

function jsonSchemaCheck(schema: JsonSchema): Check {
  const check = schemaCompiler(true).compile(schema as AnySchema);
  return (value) => (check(value) === true ? { kind: 'right', value } : { kind: 'wrong', ...violationsOf(check, mostViolations) });
}

function pointer(path: readonly (PropertyKey | { readonly key: PropertyKey })[]): string {
  return path
    .map((part) => String(typeof part === 'object' ? part.key : part))
    .map((key) => `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('');
}
