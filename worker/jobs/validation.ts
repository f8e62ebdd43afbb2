/**
 * Job type `validation`: does the data fit a JSON Schema? The output is the data itself, so that the next job gets it.
 *
 * Invariants
 * 1. A check that hostile data could make slow runs in the pool; a named schema that is plain (`schema/plain.ts`) is checked at once.
 * 2. A failed check lists all violations (at most `limits.schemaViolations`), code `VALIDATION_FAILED`, and is not retryable.
 */
import type { AnySchema, ValidateFunction } from 'ajv';
import { type Connections, findConnection } from '../connections/connections.ts';
import { describe, isObject } from '../fields/describe.ts';
import type { Fields } from '../fields/fields.ts';
import type { Handler, Job, Json } from '../handler.ts';
import type { ComputePool } from '../pool/pool.ts';
import { schemaCompiler } from '../schema/compile.ts';
import { isPlainSchema } from '../schema/plain.ts';
import { computeInPool, readComputeMs } from './computing.ts';
import { readData, readParameters } from './parameters.ts';

/** The handler. */
export function validationHandler(connections: Connections, pool: ComputePool): Handler {
  const checkAtOnce = plainChecks(connections);
  return async (job, context) => {
    const { schema, data, timeMs } = readParameters(job, (fields) => readValidation(fields, job));
    const named = typeof schema === 'string';
    const schemaValue = named ? findConnection(connections, 'schema', schema) : schema;
    const name = named ? `schema '${schema}'` : 'the schema';
    const quick = named ? checkAtOnce(schema) : null;
    // The quick check stops at the first violation; the pool lists them all.
    if (quick === null || !quick(data))
      await computeInPool(pool, { kind: 'validate', schema: schemaValue }, data, { timeMs, purpose: 'VALIDATION', context });
    context.log.info(`the data fits ${name}`);
    return data;
  };
}

function readValidation(fields: Fields, job: Job) {
  const schema = fields.json('schema') ?? null;
  if (schema === null) fields.problem('schema', 'is required: the name of a schema, or a JSON Schema');
  else if (schema === '' || !(typeof schema === 'string' || typeof schema === 'boolean' || isObject(schema)))
    fields.problem('schema', `must be the name of a schema or a JSON Schema, is ${describe(schema)}`);
  const data = readData(fields, job);
  const timeMs = readComputeMs(fields);
  fields.close('a validation');
  return { schema, data, timeMs };
}

/** Checks of named schemas that are plain, compiled when they are first asked for; null for the others. */
function plainChecks(connections: Connections): (name: string) => ValidateFunction | null {
  const compiler = schemaCompiler(false);
  const checks = new Map<string, ValidateFunction | null>();
  return (name) => {
    const known = checks.get(name);
    if (known !== undefined) return known;
    const schema: Json = findConnection(connections, 'schema', name);
    const check = isPlainSchema(schema) ? compiler.compile(schema as AnySchema) : null;
    checks.set(name, check);
    return check;
  };
}
