/**
 * JSON Schema, draft 2020-12. `format` is checked, as most people expect; an unknown keyword or format is ignored, as the standard says.
 */

import type { AnySchema, ErrorObject, ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import type { Json } from '../handler.ts';

/** One way in which a value does not fit its schema. */
export interface Violation {
  /** JSON pointer into the value; empty for the value as a whole. */
  readonly path: string;
  /** The keyword that is violated. */
  readonly keyword: string;
  /** For people. */
  readonly message: string;
}

/** A compiler of schemas. `allErrors`: whether checks go on after the first violation. */
export function schemaCompiler(allErrors: boolean): Ajv2020 {
  const ajv = new Ajv2020({ strict: false, allErrors, addUsedSchema: false, logger: false });
  // The package is CommonJS; its default export is the function under either reading.
  const formats = addFormats as unknown as { default?: (ajv: Ajv2020) => void } & ((ajv: Ajv2020) => void);
  (formats.default ?? formats)(ajv);
  return ajv;
}

/** What is wrong with a schema, or null. Remote references are wrong: nothing is ever fetched. */
export function checkSchema(schema: Json): string | null {
  try {
    schemaCompiler(false).compile(schema as AnySchema);
    return null;
  } catch (error) {
    return schemaProblem(error);
  }
}

/** What a failed compilation means, for people. */
export function schemaProblem(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const draft = /no schema with key or ref "(https?:\/\/json-schema\.org\/[^"]*)"/.exec(message);
  if (draft !== null) return `$schema says ${draft[1]}; only draft 2020-12 is known`;
  const remote = /can't resolve reference (\S+)/.exec(message);
  if (remote !== null) return `$ref ${remote[1]} is nowhere in the schema; references to other documents are not followed`;
  return message.replace(/^schema is invalid: /, '');
}

/** The violations that a check left behind, at most `most` of them, and how many there were. */
export function violationsOf(check: ValidateFunction, most: number): { readonly violations: readonly Violation[]; readonly total: number } {
  const errors = check.errors ?? [];
  return { violations: errors.slice(0, most).map(toViolation), total: errors.length };
}

function toViolation({ instancePath, keyword, message = 'does not fit', params }: ErrorObject): Violation {
  const p = params as Record<string, unknown>;
  let text = message;
  if (keyword === 'additionalProperties' || keyword === 'unevaluatedProperties')
    text = `must not have the property ${JSON.stringify(p.additionalProperty ?? p.unevaluatedProperty)}`;
  if (keyword === 'enum') text = `must be one of ${JSON.stringify(p.allowedValues)}`;
  if (keyword === 'const') text = `must be ${JSON.stringify(p.allowedValue)}`;
  return { path: cut(instancePath), keyword, message: cut(text) };
}

function cut(text: string): string {
  return text.length > 300 ? `${text.slice(0, 297)}...` : text;
}
