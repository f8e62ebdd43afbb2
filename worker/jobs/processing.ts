/**
 * Job type `processing`: an operation over data.
 *
 * Invariants
 * 1. Whatever an expression or a large list does, it does in the pool; only the identity runs here.
 * 2. An operation's parameters are checked before anything is computed; what the data does not allow is `INVALID_INPUT` too.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { type AggregateColumn, aggregateFunctions, type ComputeTask, type NamedField, type SortKey } from '../compute/task.ts';
import { describe, isObject } from '../fields/describe.ts';
import { Fields, type ReadElement, textElement } from '../fields/fields.ts';
import type { Path } from '../fields/path.ts';
import type { Handler, Job } from '../handler.ts';
import type { ComputePool } from '../pool/pool.ts';
import { type ComputePurpose, computeInPool, readComputeMs } from './computing.ts';
import { readData, readParameters } from './parameters.ts';

const operations = ['transform', 'filter', 'map', 'aggregate', 'sort', 'merge', 'template'] as const;

/** The handler. */
export function processingHandler(pool: ComputePool): Handler {
  return async (job, context) => {
    const { task, data, timeMs } = readParameters(job, (fields) => readProcessing(fields, job));
    if (task === null) {
      context.log.info('transform without an expression: the data goes on as it is');
      return data;
    }
    const purpose: ComputePurpose = 'expression' in task || task.kind === 'template' ? 'EXPRESSION' : 'PROCESSING';
    const result = await computeInPool(pool, task, data, { timeMs, purpose, context });
    const count = Array.isArray(result) ? `: ${result.length} items` : '';
    context.log.info(`${task.kind} is done${count}`);
    return result;
  };
}

/** What is to be computed; a null task is the identity. */
function readProcessing(fields: Fields, job: Job) {
  const operation = fields.requiredChoice('operation', operations);
  const data = readData(fields, job);
  const timeMs = readComputeMs(fields);
  const task = readTask(fields, operation);
  fields.close(`the operation ${operation}`);
  return { task, data, timeMs };
}

function readTask(fields: Fields, operation: (typeof operations)[number]): ComputeTask | null {
  const text = { max: limits.jobExpressionLength };
  switch (operation) {
    case 'transform': {
      const expression = fields.text('expression', text);
      return expression === undefined ? null : { kind: operation, expression };
    }
    case 'filter':
    case 'map':
      return { kind: operation, expression: fields.requiredText('expression', text) };
    case 'aggregate':
      return { kind: operation, groupBy: readGroupBy(fields), columns: readColumns(fields) };
    case 'sort':
      return { kind: operation, by: readSortKeys(fields) };
    case 'merge':
      return { kind: operation, deep: fields.flag('deep') ?? false, by: fields.text('by') ?? null };
    case 'template':
      return { kind: operation, template: fields.requiredText('template', text) };
    default:
      return operation satisfies never;
  }
}

/** `group_by: region`, `[region, status]` or `{ area: customer.region }`. */
function readGroupBy(fields: Fields): NamedField[] {
  if (isObject(fields.json('group_by'))) return [...(fields.map('group_by', textElement) ?? [])].map(([name, field]) => ({ name, field }));
  return (fields.list('group_by', textElement, { max: 100 }) ?? []).map((field) => ({ name: field, field }));
}

/** `aggregates: { orders: count, total: { function: sum, field: amount }, mean: { avg: amount } }`; without it the number of items. */
function readColumns(fields: Fields): AggregateColumn[] {
  const columns = fields.map('aggregates', (value, path) => readColumn(value, path, fields), { max: 100 });
  return columns === undefined ? [{ name: 'count', function: 'count', field: null }] : [...columns.values()];
}

/** `count`, `{ function: sum, field: amount }` or short `{ sum: amount }`. */
function readColumn(value: unknown, path: Path, fields: Fields): AggregateColumn {
  const name = String(path.at(-1));
  const nothing: AggregateColumn = { name, function: 'count', field: null };
  if (value === 'count') return nothing;
  if (!isObject(value)) {
    const message = `must be count, or a function and its field such as { sum: amount }, is ${describe(value)}`;
    fields.problems.push({ path, message });
    return nothing;
  }
  const column = new Fields(value, path, fields.problems);
  const short = column.exclusive(aggregateFunctions);
  if (short !== null) {
    const field = column.requiredText(short);
    column.close('an aggregate');
    return { name, function: short, field };
  }
  const word = column.requiredChoice('function', aggregateFunctions);
  const field = word === 'count' ? (column.text('field') ?? null) : column.requiredText('field');
  column.close('an aggregate');
  return { name, function: word, field };
}

/** `by: price`, `[{ field: price, order: desc }, name]`; without it the items themselves. `order` is for all keys that name none. */
function readSortKeys(fields: Fields): SortKey[] {
  const descending = (fields.choice('order', ['asc', 'desc']) ?? 'asc') === 'desc';
  const read: ReadElement<SortKey> = (value, path, problem) => {
    if (typeof value === 'string' && value !== '') return { field: value, descending };
    if (!isObject(value)) problem(`must be a field or { field, order }, is ${describe(value)}`);
    if (!isObject(value)) return { field: null, descending };
    const key = new Fields(value, path, fields.problems);
    const field = key.requiredText('field');
    const order = key.choice('order', ['asc', 'desc']);
    key.close('a sort key');
    return { field, descending: order === undefined ? descending : order === 'desc' };
  };
  return fields.list('by', read, { min: 1, max: 32 }) ?? [{ field: null, descending }];
}
