/** Tells schemas that are cheap to check from those that hostile data can make expensive. */
import { isObject } from '../fields/describe.ts';
import type { Json } from '../handler.ts';

const annotations = new Set([
  '$schema',
  '$id',
  '$comment',
  'title',
  'description',
  'default',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
]);
const scalar = new Set([
  'type',
  'enum',
  'const',
  'required',
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
]);
const oneSchema = new Set(['items', 'additionalProperties', 'not', 'if', 'then', 'else']);
const listOfSchemas = new Set(['prefixItems', 'allOf', 'anyOf', 'oneOf']);

/**
 * Whether checking a value takes time in proportion to its size, whatever it is: no patterns and formats (which backtrack), no references
 * (which recurse), no `uniqueItems` (which compares each with each). A keyword that is not listed counts as expensive.
 */
export function isPlainSchema(schema: Json, depth = 0): boolean {
  if (typeof schema === 'boolean') return true;
  if (!isObject(schema) || depth > 16) return false;
  return Object.entries(schema).every(([keyword, value]) => {
    if (annotations.has(keyword) || scalar.has(keyword)) return true;
    if (oneSchema.has(keyword)) return isPlainSchema(value, depth + 1);
    if (listOfSchemas.has(keyword)) return Array.isArray(value) && value.every((element) => isPlainSchema(element, depth + 1));
    if (keyword === 'properties')
      return isObject(value) && Object.values(value).every((property) => isPlainSchema(property as Json, depth + 1));
    return false;
  });
}
