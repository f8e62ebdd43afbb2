/**
 * A graph as a tree that reads from the top: each job once, below the first job that leads to it; other ways to it are named by reference.
 *
 * Invariants
 * 1. Every job has one line of its own, every edge of the graph one line that leads along it.
 * 2. No line is deeper than `maxDepth`: what would be goes on further down, at the left margin. A chain of 10 000 jobs stays readable.
 */
import { type GraphEdge, type GraphModel, type GraphNode, outEdges, traitsOf } from './model.ts';

/** One line of the tree. */
export interface TreeLine {
  readonly node: GraphNode;
  /** The edge that leads here; null for a job that nothing leads to. */
  readonly edge: GraphEdge['kind'] | null;
  /** How deep, from 0. */
  readonly depth: number;
  /** For each level above: whether more lines follow on it; the last entry is this line's own. */
  readonly more: readonly boolean[];
  /** Where the job has its own line, when this one only refers to it. */
  readonly reference: 'above' | 'below' | null;
}

/** Levels that are indented at most. */
export const maxDepth = 30;

/** Lines of the tree in reading order. */
export function treeOf(model: GraphModel): TreeLine[] {
  const out = outEdges(model);
  const placed = new Set<string>();
  const lines: TreeLine[] = [];
  const postponed = model.nodes.filter((node) => node.inEdges.length === 0);
  for (let root = 0; root < postponed.length; root += 1) {
    const stack: Omit<TreeLine, 'reference'>[] = [{ node: postponed[root], edge: null, depth: 0, more: [] }];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { node, depth, more } = next;
      if (placed.has(node.id)) {
        // A job that was put off and has been reached on a shorter way needs no second line.
        if (depth > 0) lines.push({ ...next, reference: 'above' });
        continue;
      }
      if (depth > maxDepth) {
        lines.push({ ...next, reference: 'below' });
        postponed.push(node);
        continue;
      }
      placed.add(node.id);
      lines.push({ ...next, reference: null });
      const edges = out.get(node.id) ?? [];
      const children = edges.map(({ target, kind }, index) => ({
        node: target,
        edge: kind,
        depth: depth + 1,
        more: [...more, index < edges.length - 1],
      }));
      stack.push(...children.reverse());
    }
  }
  return lines;
}

/** The strokes before a line's text. */
export function strokes(line: Pick<TreeLine, 'more'>, unicode: boolean): string {
  const [pipe, blank, tee, corner] = unicode ? ['│  ', '   ', '├─ ', '└─ '] : ['|  ', '   ', '|- ', '`- '];
  return line.more.map((more, level) => (level === line.more.length - 1 ? (more ? tee : corner) : more ? pipe : blank)).join('');
}

/** The graph as plain ASCII text. */
export function asciiGraph(model: GraphModel, statuses: ReadonlyMap<string, string> = new Map()): string {
  const lines = treeOf(model).map((line) => {
    const edge = line.edge === null ? '' : line.edge === 'success' ? 'ok -> ' : 'failed -> ';
    const { node } = line;
    const text =
      line.reference !== null
        ? `${node.id} (${line.reference})`
        : [`${node.id} [${node.type}]`, ...traitsOf(node), ...optional(statuses.get(node.id))].join(', ');
    return `${strokes(line, false)}${edge}${text}`;
  });
  const jobs = `${model.nodes.length} ${model.nodes.length === 1 ? 'job' : 'jobs'}`;
  return `${[`${model.name} (${jobs})`, '', ...lines].join('\n')}\n`;
}

function optional(text: string | undefined): string[] {
  return text === undefined ? [] : [text];
}
