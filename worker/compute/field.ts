/** Fields of items by dotted path. */
import type { Json } from '../handler.ts';

/** The value at `customer.address.city` or `lines.0.price`; undefined when there is none. Only own fields count. */
export function fieldOf(item: Json, path: string): Json | undefined {
  let current: Json | undefined = item;
  for (const segment of path.split('.')) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, segment)) return undefined;
    current = (current as { [key: string]: Json })[segment];
  }
  return current;
}

const ranks = ['boolean', 'number', 'string', 'object'];

/** A total order over all JSON values: false, true, numbers, texts by code unit, the rest by its JSON. Null and undefined are for the caller. */
export function compareValues(left: Json, right: Json): number {
  const byType = ranks.indexOf(typeof left) - ranks.indexOf(typeof right);
  if (byType !== 0) return byType;
  const [a, b] = typeof left === 'object' ? [JSON.stringify(left), JSON.stringify(right)] : [left, right];
  return a === b ? 0 : (a as string) < (b as string) ? -1 : 1;
}
