/**
 * Where in the text a character of a scalar's value stands.
 *
 * Invariants
 * 1. The work for one scalar is done once, however many places in it are asked for.
 * 2. Where escapes or folding hide the place, the scalar's own offset is the answer.
 */
import type { ScalarNode } from './node.ts';

/** The offset in the text of character `index` of a scalar's value. */
export function offsetInside(source: string, node: ScalarNode, index: number): number {
  let mapping = mappings.get(node);
  if (mapping === undefined) {
    mapping = mappingOf(source, node);
    mappings.set(node, mapping);
  }
  switch (mapping.kind) {
    case 'hidden':
      return node.at;
    case 'shifted':
      return node.at + mapping.by + index;
    case 'lines': {
      const line = lineAt(mapping.inValue, index);
      return mapping.inText[line] + index - mapping.inValue[line];
    }
  }
}

/** `lines`: each line of the value is a line of the text, behind the block's indentation. */
type Mapping =
  | { readonly kind: 'hidden' }
  | { readonly kind: 'shifted'; readonly by: number }
  | { readonly kind: 'lines'; readonly inValue: readonly number[]; readonly inText: readonly number[] };

const mappings = new WeakMap<ScalarNode, Mapping>();

function mappingOf(source: string, node: ScalarNode): Mapping {
  if (typeof node.value !== 'string') return { kind: 'hidden' };
  if (source.startsWith(node.value, node.at)) return { kind: 'shifted', by: 0 };
  switch (node.style) {
    case 'single':
    case 'double':
      return source.startsWith(node.value, node.at + 1) ? { kind: 'shifted', by: 1 } : { kind: 'hidden' };
    case 'literal':
      return literalMapping(source, node, node.value);
    default:
      return { kind: 'hidden' };
  }
}

function literalMapping(source: string, node: ScalarNode, value: string): Mapping {
  const inValue = [0];
  for (let at = value.indexOf('\n'); at >= 0; at = value.indexOf('\n', at + 1)) inValue.push(at + 1);
  let start = source.indexOf('\n', node.at) + 1;
  const indent = indentation(source, start);
  const inText: number[] = [];
  for (const [line, begin] of inValue.entries()) {
    // The block may end without its last line break; an empty line may be shorter than the indentation.
    const text = value.slice(begin, inValue[line + 1] ?? value.length).trimEnd();
    if (text !== '' && !source.startsWith(text, start + indent)) return { kind: 'hidden' };
    inText.push(start + indent);
    start = source.indexOf('\n', start) + 1;
    if (start === 0) start = source.length;
  }
  return { kind: 'lines', inValue, inText };
}

/** Spaces before the first line that is not empty. */
function indentation(source: string, from: number): number {
  let start = from;
  for (let at = from; at < source.length; at++) {
    if (source[at] === '\n') start = at + 1;
    else if (source[at] !== ' ' && source[at] !== '\r') return at - start;
  }
  return 0;
}

/** The last line that begins at or before `index`. */
function lineAt(starts: readonly number[], index: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= index) low = middle;
    else high = middle - 1;
  }
  return low;
}
