/**
 * `outputs_schema`: what the output of a job must look like.
 */
import type { Reading } from './fields.ts';
import type { GraphJob } from './graph.ts';
import type { Node } from './node.ts';
import { follow, SchemaCheck } from './schema/check.ts';
import { type Validator, validatorOf } from './schema/validator.ts';

/** Misfits that are named in a message. */
const MAX_NAMED = 5;

/** Reads and checks a schema; null when there is none. */
export function readOutputSchema(reading: Reading, node: Node | null): GraphJob['checkOutput'] {
  if (node === null) return null;
  const check = new SchemaCheck(reading, (pointer) => follow(node, pointer));
  const schema = check.schema(node);
  check.finish(node);
  return checkOf(validatorOf(schema));
}

/** Apart from the reading, so that the check does not keep the file's tree alive. */
function checkOf(validate: Validator): GraphJob['checkOutput'] {
  return (output) => {
    const misfits = validate(output);
    if (misfits.length === 0) return null;
    const named = misfits.slice(0, MAX_NAMED).map(({ path, message }) => `${['output', ...path].join('.')} ${message}`);
    return named.join('; ') + (misfits.length > MAX_NAMED ? `; ${misfits.length - MAX_NAMED} more` : '');
  };
}
