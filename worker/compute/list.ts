/** Computations over lists that need no expression: aggregate, sort, merge. Pure. */
import { describe, isObject } from '../fields/describe.ts';
import type { Json } from '../handler.ts';
import { compareValues, fieldOf } from './field.ts';
import { type AggregateColumn, ComputeError, type NamedField, type SortKey } from './task.ts';

/**
 * The data as a list.
 * @throws ComputeError `INVALID_INPUT`
 */
export function asList(data: Json, operation: string): Json[] {
  if (Array.isArray(data)) return data;
  throw new ComputeError('INVALID_INPUT', `${operation} needs a list as data, is ${describe(data)}`);
}

/** One object for each group in the order of first appearance; a single object when there is nothing to group by. */
export function aggregate(items: readonly Json[], groupBy: readonly NamedField[], columns: readonly AggregateColumn[]): Json {
  const indexed = items.map((item, index) => ({ item, index }));
  if (groupBy.length === 0) return computeColumns(indexed, columns);
  const groups = new Map<string, { readonly key: [string, Json][]; readonly members: typeof indexed }>();
  for (const member of indexed) {
    const key = groupBy.map(({ name, field }): [string, Json] => [name, fieldOf(member.item, field) ?? null]);
    const id = JSON.stringify(key);
    const group = groups.get(id) ?? { key, members: [] };
    group.members.push(member);
    groups.set(id, group);
  }
  return [...groups.values()].map(({ key, members }) => ({ ...Object.fromEntries(key), ...computeColumns(members, columns) }));
}

interface Member {
  readonly item: Json;
  readonly index: number;
}

function computeColumns(members: readonly Member[], columns: readonly AggregateColumn[]): { [key: string]: Json } {
  return Object.fromEntries(columns.map((column) => [column.name, computeColumn(members, column)]));
}

/** As in SQL, missing values and nulls do not count; over none of them everything but counts, sums and lists is null. */
function computeColumn(members: readonly Member[], column: AggregateColumn): Json {
  const { field } = column;
  if (field === null) return members.length;
  const present = members.flatMap(({ item, index }) => {
    const value = fieldOf(item, field);
    return value === undefined || value === null ? [] : [{ value, index }];
  });
  const numbers = () =>
    present.map(({ value, index }) => {
      if (typeof value === 'number') return value;
      throw new ComputeError('INVALID_INPUT', `${column.function} needs numbers: data[${index}].${field} is ${describe(value)}`);
    });
  const values = present.map(({ value }) => value);
  switch (column.function) {
    case 'count':
      return values.length;
    case 'sum':
      return numbers().reduce((sum, value) => sum + value, 0);
    case 'avg':
      return values.length === 0 ? null : numbers().reduce((sum, value) => sum + value, 0) / values.length;
    case 'min':
      return values.reduce<Json>((best, value) => (best === null || compareValues(value, best) < 0 ? value : best), null);
    case 'max':
      return values.reduce<Json>((best, value) => (best === null || compareValues(value, best) > 0 ? value : best), null);
    case 'first':
      return values.at(0) ?? null;
    case 'last':
      return values.at(-1) ?? null;
    case 'list':
      return values;
    case 'distinct':
      return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
    default:
      return column.function satisfies never;
  }
}

/** A sorted copy: stable; missing values and nulls come last, whatever the direction. */
export function sort(items: readonly Json[], by: readonly SortKey[]): Json[] {
  const decorated = items.map((item) => ({ item, keys: by.map(({ field }) => (field === null ? item : (fieldOf(item, field) ?? null))) }));
  decorated.sort((left, right) => {
    for (const [index, { descending }] of by.entries()) {
      const [a, b] = [left.keys[index], right.keys[index]];
      if (a === null || b === null) {
        if (a !== b) return a === null ? 1 : -1;
        continue;
      }
      const order = compareValues(a, b);
      if (order !== 0) return descending ? -order : order;
    }
    return 0;
  });
  return decorated.map(({ item }) => item);
}

/**
 * Several values as one: objects into one object (later ones win; `deep`: field by field), lists into one list;
 * with `by`, lists of objects into one list in which objects with the same value of that field have become one.
 * The values are a list, or an object whose own values they are: the input of a job that came from several.
 */
export function merge(data: Json, deep: boolean, by: string | null): Json {
  const parts = Array.isArray(data) ? data : isObject(data) ? Object.values(data as { [key: string]: Json }) : null;
  if (parts === null) throw new ComputeError('INVALID_INPUT', `merge needs a list or an object of values as data, is ${describe(data)}`);
  const present = parts.filter((part) => part !== null);
  if (present.every((part) => Array.isArray(part))) {
    const items = present.flat();
    return by === null ? items : mergeRecords(items, deep, by);
  }
  const odd = present.findIndex((part) => !isObject(part));
  if (odd >= 0)
    throw new ComputeError(
      'INVALID_INPUT',
      `merge needs either objects only or lists only: one of the values is ${describe(present[odd])}`,
    );
  if (by !== null) throw new ComputeError('INVALID_INPUT', 'merge with by needs lists of objects as data');
  return present.reduce<Json>((merged, part) => mergeTwo(merged, part, deep), {});
}

function mergeRecords(items: readonly Json[], deep: boolean, by: string): Json[] {
  const records = new Map<string, Json>();
  for (const [index, item] of items.entries()) {
    const value = fieldOf(item, by);
    if (!isObject(item) || value === undefined || value === null)
      throw new ComputeError('INVALID_INPUT', `merge by ${by}: element ${index} of the lists has no ${by}`);
    const id = JSON.stringify(value);
    const before = records.get(id);
    records.set(id, before === undefined ? item : mergeTwo(before, item, deep));
  }
  return [...records.values()];
}

function mergeTwo(left: Json, right: Json, deep: boolean): Json {
  if (!isObject(left) || !isObject(right)) return right;
  const merged = new Map<string, Json>(Object.entries(left as { [key: string]: Json }));
  for (const [key, value] of Object.entries(right as { [key: string]: Json })) {
    const before = merged.get(key);
    merged.set(key, deep && before !== undefined ? mergeTwo(before, value, true) : value);
  }
  return Object.fromEntries(merged);
}
