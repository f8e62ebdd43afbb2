/** Parameters of a job, checked: every problem at once, code `INVALID_INPUT`. */
import { PermanentError } from '../errors.ts';
import { Fields } from '../fields/fields.ts';
import { type FieldProblem, formatPath, formatProblem } from '../fields/path.ts';
import type { Job, Json } from '../handler.ts';

/**
 * What `read` makes of the job's parameters. `read` closes the fields when it knows what may be there.
 * @throws PermanentError `INVALID_INPUT`
 */
export function readParameters<T>(job: Job, read: (fields: Fields) => T): T {
  const problems: FieldProblem[] = [];
  const value = read(new Fields(job.parameters ?? {}, ['parameters'], problems));
  if (problems.length === 0) return value;
  throw new PermanentError(problems.map(formatProblem).join('; '), {
    code: 'INVALID_INPUT',
    details: { problems: problems.map(({ path, message }) => ({ path: formatPath(path), message })) },
  });
}

/** The parameter `data`, null too; without it the job's input. */
export function readData(fields: Fields, job: Job): Json {
  const data = fields.json('data');
  return data === undefined ? job.input : data;
}
