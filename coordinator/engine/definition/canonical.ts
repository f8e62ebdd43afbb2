/**
 * The canonical form of JSON: equal values give equal text, whatever the order of their keys.
 */
import { createHash } from 'node:crypto';
import type { Json } from './graph.ts';
import type { Node } from './node.ts';

/** A value as text with sorted keys and no white space. */
export function canonicalJson(value: Json): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const map = value as Readonly<Record<string, Json>>;
  return `{${Object.keys(map)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(map[key])}`)
    .join(',')}}`;
}

/** SHA-256 of a definition's content, lower-case hex: its document without the format's free `x-` keys. */
export function hashDefinition(root: Node): string {
  return createHash('sha256').update(canonicalNode(root)).digest('hex');
}

function canonicalNode(node: Node): string {
  switch (node.kind) {
    case 'scalar':
      return JSON.stringify(node.value);
    case 'broken':
      return 'null';
    case 'list':
      return `[${node.items.map(canonicalNode).join(',')}]`;
    case 'map': {
      const entries = [...node.entries.values()].filter((entry) => !entry.free);
      entries.sort((a, b) => (a.name < b.name ? -1 : 1));
      return `{${entries.map(({ name, value }) => `${JSON.stringify(name)}:${canonicalNode(value)}`).join(',')}}`;
    }
  }
}
