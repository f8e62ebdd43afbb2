/**
 * A YAML document as a plain tree that knows where each value stands.
 *
 * Invariants
 * 1. A tree, not a graph: an alias is a copy of its anchor's value, at the place of the alias and with the positions of the anchor.
 * 2. Keys are text; the keys of one map differ.
 * 3. A `broken` node stands for a value whose fault was told already: nobody complains about it again.
 */
import type { Json } from './graph.ts';

interface Place {
  /** Offset in the text. */
  readonly at: number;
  /** Offset behind the value. */
  readonly end: number;
  readonly parent: Node | null;
  /** The key in `parent`, or the place in its list, or null at the root. */
  readonly key: string | number | null;
}

/** A map. */
export interface MapNode extends Place {
  readonly kind: 'map';
  readonly entries: Map<string, Entry>;
  /** A key was refused: what seems to be missing may have been below it. */
  incomplete: boolean;
}

/** A key of a map with its value. */
export interface Entry {
  readonly name: string;
  /** Offset of the key. */
  readonly at: number;
  readonly value: Node;
  /** An `x-` key of the format: free to use, and no part of the definition's content. */
  free: boolean;
}

/** A list. */
export interface ListNode extends Place {
  readonly kind: 'list';
  readonly items: Node[];
}

/** How a scalar is written. */
export type ScalarStyle = 'plain' | 'single' | 'double' | 'literal' | 'folded';

/** A scalar. */
export interface ScalarNode extends Place {
  readonly kind: 'scalar';
  readonly value: null | boolean | number | string;
  readonly style: ScalarStyle;
}

/** A value that could not be read. */
export interface BrokenNode extends Place {
  readonly kind: 'broken';
}

export type Node = MapNode | ListNode | ScalarNode | BrokenNode;

/** Where a value stands in the document: `workflow.jobs[2].on_success`. With `key`, the path of that key in it. */
export function pathOf(node: Node | null, key: string | number | null = null): string {
  const keys: (string | number)[] = key === null ? [] : [key];
  for (let at = node; at !== null && at.key !== null; at = at.parent) keys.push(at.key);
  let path = '';
  for (const part of keys.reverse()) {
    if (typeof part === 'number') path += `[${part}]`;
    else if (!/^[\w-]+$/.test(part)) path += `[${JSON.stringify(part)}]`;
    else path += path === '' ? part : `.${part}`;
  }
  return path;
}

/** The value under `key`, or undefined. */
export function valueAt(node: Node, key: string): Node | undefined {
  return node.kind === 'map' ? node.entries.get(key)?.value : undefined;
}

/** The tree as a JSON value; broken parts read as null. */
export function toJson(node: Node): Json {
  switch (node.kind) {
    case 'scalar':
      return node.value;
    case 'list':
      return node.items.map(toJson);
    case 'map':
      return Object.fromEntries([...node.entries.values()].map((entry) => [entry.name, toJson(entry.value)]));
    case 'broken':
      return null;
  }
}

/** What a value is, in words: for messages. */
export function describe(node: Node): string {
  switch (node.kind) {
    case 'map':
      return 'a map';
    case 'list':
      return 'a list';
    case 'broken':
      return 'nothing readable';
    case 'scalar':
      if (node.value === null) return 'nothing';
      if (typeof node.value === 'string') return `the text '${node.value.length > 40 ? `${node.value.slice(0, 37)}...` : node.value}'`;
      return typeof node.value === 'number' ? `the number ${node.value}` : `${node.value}`;
  }
}
