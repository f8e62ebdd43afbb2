/**
 * Plain data as YAML 1.2 text for people: block style, strings quoted whenever a reader could take them for something else.
 *
 * Invariant: the text parses back to the data it was made from; quoted strings are JSON strings, which YAML reads the same way.
 */
import type { JsonValue } from './document.ts';

/** Block-style YAML of a JSON value, with a newline at its end. */
export function toYaml(value: JsonValue): string {
  return `${node(value, '').join('\n')}\n`;
}

function node(value: JsonValue, indent: string): string[] {
  if (isList(value) && value.length > 0) {
    return value.flatMap((item) => {
      const [first, ...rest] = node(item, `${indent}  `);
      return [`${indent}- ${first.trimStart()}`, ...rest];
    });
  }
  if (isMap(value)) {
    const entries = Object.entries(value).filter((entry): entry is [string, JsonValue] => entry[1] !== undefined);
    if (entries.length > 0) {
      return entries.flatMap(([key, item]) => {
        const start = `${indent}${scalar(key)}:`;
        const nested = (isList(item) && item.length > 0) || (isMap(item) && Object.values(item).some((inner) => inner !== undefined));
        return nested ? [start, ...node(item, `${indent}  `)] : [`${start} ${node(item, '')[0]}`];
      });
    }
  }
  return [`${indent}${leaf(value)}`];
}

function leaf(value: JsonValue): string {
  if (isList(value)) return '[]';
  if (isMap(value)) return '{}';
  return typeof value === 'string' ? scalar(value) : String(JSON.stringify(value));
}

function scalar(text: string): string {
  const looksPlain = /^[A-Za-z_][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*$/.test(text);
  const hasMeaning = /^(true|false|null|yes|no|on|off|y|n|nan|inf)$/i.test(text);
  return looksPlain && !hasMeaning ? text : JSON.stringify(text);
}

function isList(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value);
}

function isMap(value: JsonValue | undefined): value is { readonly [key: string]: JsonValue | undefined } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
