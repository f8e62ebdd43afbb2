/**
 * Checks values against a checked schema.
 *
 * Invariants
 * 1. Bounded steps: each visit of a schema is charged, so that schemas which multiply end like all others. Patterns and comparisons are charged too.
 * 2. Compiled when first used: a definition with a thousand schemas is registered quickly.
 * 3. Never throws: what cannot be checked does not fit.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import { Budget, BudgetExceeded } from '../budget.ts';
import { canonicalJson } from '../canonical.ts';
import { weigh } from '../expression/weight.ts';
import type { Json } from '../graph.ts';
import { compilePattern } from '../pattern.ts';
import { type Schema, STEPS } from './check.ts';
import { formats } from './format.ts';
import { oneOf } from './one-of.ts';

/** What does not fit. */
export interface Misfit {
  /** Keys and indexes that lead to the value. */
  readonly path: readonly string[];
  readonly message: string;
}

/** Checks a value; empty when it fits. */
export type Validator = (value: Json) => readonly Misfit[];

/** Misfits of one value that are told. */
const MAX_MISFITS = 100;

/** Errors of one check, from which on the compiled schema is not kept: its functions hold on to all that they found, which may be megabytes. */
const MAX_ERRORS_HELD = 500;

/** The check in progress. */
const current = { budget: new Budget(0) };

/** Makes the validator of a checked schema. */
export function validatorOf(schema: Schema): Validator {
  let compiled: ValidateFunction | undefined;
  return (value) => {
    const budget = new Budget(limits.schemaSteps);
    current.budget = budget;
    try {
      compiled ??= makeAjv().compile(schema);
      if (compiled(value)) return [];
      const errors = compiled.errors ?? [];
      compiled.errors = null;
      if (errors.length > MAX_ERRORS_HELD) compiled = undefined;
      const misfits = errors.filter(isTelling).slice(0, MAX_MISFITS).map(misfitOf);
      return misfits.length > 0 ? misfits : [{ path: [], message: 'does not fit the schema' }];
    } catch (error) {
      compiled = undefined;
      const steps = `checking it takes more than schemaSteps (${limits.schemaSteps}) steps`;
      const message = error instanceof BudgetExceeded ? steps : 'it cannot be checked against this schema';
      return [{ path: [], message }];
    }
  };
}

function makeAjv(): Ajv2020 {
  const ajv = new Ajv2020({
    strict: false,
    allErrors: true,
    // Every object has a `constructor`; only a key that was given counts.
    ownProperties: true,
    // The schema was checked, with better messages and positions.
    meta: false,
    validateSchema: false,
    logger: false,
    formats,
    // Optimising takes as long as the rest of compiling, longer than in proportion in long lists, and makes the check no faster.
    code: { optimize: false, regExp: Object.assign((source: string) => boundedRegExp(source), { code: 'boundedRegExp' }) },
  });
  ajv.removeKeyword('oneOf');
  ajv.addKeyword(oneOf);
  ajv.addKeyword({ keyword: STEPS, schema: true, errors: false, validate: charge });
  // The built-in one compares each item with each other one.
  ajv.removeKeyword('uniqueItems');
  ajv.addKeyword({
    keyword: 'uniqueItems',
    type: 'array',
    schemaType: 'boolean',
    validate: areUnique,
    error: { message: 'must not hold the same item twice' },
  });
  return ajv;
}

function charge(cost: { readonly visit: number; readonly key: number }, value: unknown): boolean {
  let steps = cost.visit;
  if (cost.key > 0 && typeof value === 'object' && value !== null && !Array.isArray(value)) steps += cost.key * Object.keys(value).length;
  current.budget.charge(steps);
  return true;
}

function areUnique(wanted: boolean, items: readonly Json[]): boolean {
  if (!wanted) return true;
  current.budget.charge(Math.ceil(weigh(items)));
  return new Set(items.map(canonicalJson)).size === items.length;
}

/** Stands for a RegExp in the code that ajv makes. */
function boundedRegExp(source: string): RegExp {
  const compiled = compilePattern(source);
  const test = (text: string): boolean => compiled.kind === 'ok' && compiled.pattern.test(text, current.budget);
  // The text is the key under which ajv keeps it.
  return { test, toString: () => source } as unknown as RegExp;
}

/** Errors that only repeat others: "must match a schema in anyOf" is one, "if ... then" another. */
function isTelling({ keyword }: ErrorObject): boolean {
  return keyword !== 'if';
}

function misfitOf({ instancePath, keyword, message, params }: ErrorObject): Misfit {
  const path = instancePath
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  const said = params as Record<string, unknown>;
  switch (keyword) {
    case 'enum':
      return { path, message: `must be one of ${shortList(said.allowedValues)}` };
    case 'const':
      return { path, message: `must be ${short(said.allowedValue)}` };
    case 'additionalProperties':
      return { path, message: `must not have the key '${String(said.additionalProperty)}'` };
    case 'unevaluatedProperties':
      return { path, message: `must not have the key '${String(said.unevaluatedProperty)}'` };
    case 'required':
      return { path, message: `must have the key '${String(said.missingProperty)}'` };
    default:
      return { path, message: message ?? `does not fit '${keyword}'` };
  }
}

function shortList(values: unknown): string {
  if (!Array.isArray(values)) return 'the allowed values';
  return `${values.slice(0, 10).map(short).join(', ')}${values.length > 10 ? ', ...' : ''}`;
}

function short(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null';
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
