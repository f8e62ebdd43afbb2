/**
 * The parser's nodes as our own tree: keys compared, aliases copied, numbers checked.
 *
 * Invariants
 * 1. A fault becomes a problem and a `broken` node (or a dropped key), and the rest of the tree stays usable.
 * 2. Recursion is bounded by the parser's own depth limit, copies by `limits.definitionAliasNodes`.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { isAlias, isScalar, isSeq, type Pair, type ParsedNode, type Scalar, type YAMLMap } from 'yaml';
import type { Entry, ListNode, MapNode, Node, ScalarStyle } from './node.ts';
import { type Problems, quote } from './problem.ts';

/** The tree below `contents`. `unknownTags`: offsets of tags that are refused, ascending. */
export function treeOf(contents: ParsedNode, problems: Problems, unknownTags: readonly number[]): Node {
  const builder = new TreeBuilder(problems, unknownTags);
  const root = builder.node(contents, { parent: null, key: null, depth: 0 }, 0);
  // Those that stand on no value, but on a key.
  for (const offset of builder.untoldTags) addTagProblem(problems, null, offset);
  return root;
}

/** Tells a tag that is not supported, at `offset`, on the value `node`. */
export function addTagProblem(problems: Problems, node: Node | null, offset: number): void {
  const tag = /^!\S*/.exec(problems.source.slice(offset, offset + 80))?.[0] ?? '!';
  const message = `the YAML tag ${quote(tag)} is not supported`;
  const hint = "if the value begins with !, put the whole value in quotes: 'text'";
  if (node === null) problems.addText(offset, 'tag', message, hint);
  else problems.addInside(node, offset, 'tag', message, hint);
}

/** Where a node hangs. */
interface Spot {
  readonly parent: Node | null;
  readonly key: string | number | null;
  /** Collections above it. */
  readonly depth: number;
}

const styles: Readonly<Record<string, ScalarStyle>> = {
  PLAIN: 'plain',
  QUOTE_SINGLE: 'single',
  QUOTE_DOUBLE: 'double',
  BLOCK_LITERAL: 'literal',
  BLOCK_FOLDED: 'folded',
};

/** `!` alone says that a scalar is text. */
const CORE_TAGS = new Set(['!', ...['str', 'int', 'float', 'bool', 'null', 'map', 'seq'].map((name) => `tag:yaml.org,2002:${name}`)]);

class TreeBuilder {
  readonly #problems: Problems;
  /** The values that aliases may name so far; null while the value is not complete. */
  readonly #anchors = new Map<string, { readonly node: Node; readonly depth: number } | null>();
  readonly untoldTags: Set<number>;
  #copied = 0;
  #aliasesTold = false;

  constructor(problems: Problems, unknownTags: readonly number[]) {
    this.#problems = problems;
    this.untoldTags = new Set(unknownTags);
  }

  /** `fallback`: the offset of a value that is not written. */
  node(source: ParsedNode | null, spot: Spot, fallback: number): Node {
    if (source === null)
      return { kind: 'scalar', value: null, style: 'plain', at: fallback, end: fallback, parent: spot.parent, key: spot.key };
    if (isAlias(source)) return this.#alias(source.source, spot, source.range[0], source.range[1]);
    const anchor = source.anchor;
    if (anchor !== undefined) this.#anchors.set(anchor, null);
    const made = this.#value(source, spot, fallback);
    if (anchor !== undefined) this.#anchors.set(anchor, { node: made, depth: spot.depth });
    return made;
  }

  #value(source: ParsedNode, spot: Spot, fallback: number): Node {
    const [at, end] = source.range;
    const place = { at, end, parent: spot.parent, key: spot.key };
    if (source.tag !== undefined && !CORE_TAGS.has(source.tag)) return this.#tagged({ kind: 'broken', ...place });
    if (isScalar(source)) return this.#scalar(source, spot, at === end ? fallback : at, end);
    if (spot.depth >= limits.definitionDepth) {
      const broken: Node = { kind: 'broken', ...place };
      const message = `maps and lists nest deeper than definitionDepth (${limits.definitionDepth})`;
      this.#problems.add(broken, 'limit', message, 'flatten the value');
      return broken;
    }
    if (isSeq(source)) {
      const list: ListNode = { kind: 'list', items: [], ...place };
      for (const item of source.items) {
        list.items.push(this.node(item as ParsedNode | null, { parent: list, key: list.items.length, depth: spot.depth + 1 }, at));
      }
      return list;
    }
    return this.#map(source as YAMLMap.Parsed, spot);
  }

  /** The tag stands before the value. */
  #tagged(broken: Node): Node {
    const offset = [...this.untoldTags].findLast((tag) => tag <= broken.at);
    if (offset !== undefined) this.untoldTags.delete(offset);
    addTagProblem(this.#problems, broken, offset ?? broken.at);
    return broken;
  }

  #map(source: YAMLMap.Parsed, spot: Spot): Node {
    const [at, end] = source.range;
    const map: MapNode = { kind: 'map', entries: new Map(), incomplete: false, at, end, parent: spot.parent, key: spot.key };
    for (const pair of source.items as Pair<ParsedNode | null, ParsedNode | null>[]) {
      const name = this.#keyOf(pair, map);
      const keyAt = pair.key?.range[0] ?? at;
      const value = this.node(pair.value, { parent: map, key: name ?? '', depth: spot.depth + 1 }, keyAt);
      if (name === null) {
        map.incomplete = true;
        continue;
      }
      if (map.entries.has(name)) {
        this.#problems.addKey(map, name, keyAt, 'duplicate-key', `the key ${quote(name)} is there twice`, 'keep one of them');
        continue;
      }
      map.entries.set(name, { name, at: keyAt, value, free: false });
    }
    return map;
  }

  /** The key as text, or null when it is refused. */
  #keyOf(pair: Pair<ParsedNode | null, ParsedNode | null>, map: MapNode): string | null {
    const { key } = pair;
    if (!isScalar(key) || key.value === null) {
      const isWritten = key !== null && key.range[0] < key.range[1];
      const at = isWritten ? key.range[0] : (pair.value?.range[0] ?? map.at);
      this.#problems.addInside(map, at, 'bad-key', 'a key must be text', 'write  key: value');
      return null;
    }
    const scalar = key as Scalar.Parsed;
    if (scalar.value === '<<' && scalar.type === 'PLAIN') {
      const hint = 'write the keys out, or use `defaults` for what all jobs share';
      this.#problems.addKey(map, '<<', scalar.range[0], 'merge-key', 'merge keys (<<) are not part of YAML 1.2', hint);
      return null;
    }
    return typeof scalar.value === 'string' ? scalar.value : scalar.source;
  }

  #scalar(source: ParsedNode & Scalar, spot: Spot, at: number, end: number): Node {
    const { value } = source;
    const place = { at, end, parent: spot.parent, key: spot.key };
    const style = styles[source.type ?? 'PLAIN'] ?? 'plain';
    if (typeof value === 'number') {
      const written = source.source ?? `${value}`;
      if (!Number.isFinite(value) || !keepsDigits(written, value)) {
        const broken: Node = { kind: 'broken', ...place };
        const why = Number.isFinite(value) ? 'has more digits than a JSON number keeps' : 'is no JSON number';
        this.#problems.add(broken, 'bad-value', `${quote(written)} ${why}`, `if it is text, write "${written}"`);
        return broken;
      }
    }
    if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
      return { kind: 'scalar', value, style, ...place };
    }
    const broken: Node = { kind: 'broken', ...place };
    this.#problems.add(broken, 'tag', 'a value of this tag has no JSON form', 'remove the tag');
    return broken;
  }

  #alias(name: string, spot: Spot, at: number, end: number): Node {
    const broken: Node = { kind: 'broken', at, end, parent: spot.parent, key: spot.key };
    const target = this.#anchors.get(name);
    if (target === undefined) {
      this.#problems.add(
        broken,
        'alias',
        `no anchor ${quote(`&${name}`)} before this alias`,
        `if the value begins with *, put it in quotes`,
      );
      return broken;
    }
    if (target === null) {
      this.#problems.add(broken, 'alias', `the alias ${quote(`*${name}`)} stands inside its own anchor`, 'a value cannot hold itself');
      return broken;
    }
    const copy = this.#copy(target.node, spot);
    if (copy !== null) return copy;
    if (!this.#aliasesTold) {
      const message = `aliases add more than definitionAliasNodes (${limits.definitionAliasNodes}) values`;
      this.#problems.add(broken, 'limit', message, 'use `defaults` for what all jobs share');
    }
    this.#aliasesTold = true;
    return broken;
  }

  /** A copy at another place; null when aliases have added too much or it gets too deep there. */
  #copy(node: Node, spot: Spot): Node | null {
    if (++this.#copied > limits.definitionAliasNodes) return null;
    const place = { at: node.at, end: node.end, parent: spot.parent, key: spot.key };
    if (node.kind === 'scalar' || node.kind === 'broken') return { ...node, ...place };
    if (spot.depth >= limits.definitionDepth) return null;
    const depth = spot.depth + 1;
    if (node.kind === 'list') {
      const list: ListNode = { kind: 'list', items: [], ...place };
      for (const [index, item] of node.items.entries()) {
        const copy = this.#copy(item, { parent: list, key: index, depth });
        if (copy === null) return null;
        list.items.push(copy);
      }
      return list;
    }
    const map: MapNode = { kind: 'map', entries: new Map<string, Entry>(), incomplete: node.incomplete, ...place };
    for (const entry of node.entries.values()) {
      const copy = this.#copy(entry.value, { parent: map, key: entry.name, depth });
      if (copy === null) return null;
      map.entries.set(entry.name, { ...entry, value: copy });
    }
    return map;
  }
}

/** Whether a whole number is still the one that was written: exactly, or as JSON writes it. */
function keepsDigits(written: string, value: number): boolean {
  if (Number.isSafeInteger(value) || !/^[-+]?(\d+|0x[\da-f]+|0o[0-7]+)$/i.test(written)) return true;
  const digits = written.replace(/^[-+]/, '');
  return digits === `${Math.abs(value)}` || (written.length < 400 && BigInt(digits) === BigInt(Math.abs(value)));
}
