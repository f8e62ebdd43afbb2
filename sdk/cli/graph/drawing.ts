/**
 * A graph in the languages of drawing programs: Mermaid (for Markdown pages) and DOT (for Graphviz).
 *
 * Invariant: ids and texts of the user never become syntax: jobs are named `j0`, `j1`, ... and texts are quoted.
 */
import type { JobStatusName } from '../../client/status.ts';
import { type GraphModel, type GraphNode, traitsOf } from './model.ts';

/** The status of each job, where the graph is that of a workflow. */
export type Statuses = ReadonlyMap<string, JobStatusName | 'UNKNOWN'>;

const colors: Partial<Record<JobStatusName | 'UNKNOWN', string>> = {
  SUCCEEDED: '#c8e6c9',
  FAILED: '#ffcdd2',
  RUNNING: '#b3e5fc',
  READY: '#e3f2fd',
  RETRYING: '#ffe0b2',
  CANCELLED: '#fff9c4',
  SKIPPED: '#eeeeee',
};

/** Mermaid flowchart. */
export function mermaidGraph(model: GraphModel, statuses: Statuses = new Map()): string {
  const { nameOf, edges } = naming(model);
  const lines = ['flowchart TD'];
  for (const node of model.nodes) {
    const text = labelOf(node, statuses).map(mermaidText).join('<br/>');
    const [open, close] = node.alwaysRun ? ['([', '])'] : node.condition === '' ? ['[', ']'] : ['{{', '}}'];
    lines.push(`  ${nameOf(node.id)}${open}"${text}"${close}`);
  }
  for (const { source, target, kind } of edges) lines.push(`  ${source} ${kind === 'success' ? '-->' : '-. failed .->'} ${target}`);
  for (const node of model.nodes) {
    const color = colors[statuses.get(node.id) ?? 'UNKNOWN'];
    if (color !== undefined) lines.push(`  style ${nameOf(node.id)} fill:${color}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Graphviz digraph. */
export function dotGraph(model: GraphModel, statuses: Statuses = new Map()): string {
  const { nameOf, edges } = naming(model);
  const lines = [
    `digraph ${dotText(model.name)} {`,
    '  node [shape=box, style="rounded,filled", fillcolor="#ffffff", fontname="sans-serif"];',
  ];
  for (const node of model.nodes) {
    const color = colors[statuses.get(node.id) ?? 'UNKNOWN'];
    const attributes = [
      `label=${dotText(labelOf(node, statuses).join('\n'))}`,
      ...(node.alwaysRun ? ['peripheries=2'] : []),
      ...(color === undefined ? [] : [`fillcolor="${color}"`]),
    ];
    lines.push(`  ${nameOf(node.id)} [${attributes.join(', ')}];`);
  }
  for (const { source, target, kind } of edges) {
    lines.push(`  ${source} -> ${target}${kind === 'success' ? '' : ' [style=dashed, color="#c62828", label="failed"]'};`);
  }
  return `${[...lines, '}'].join('\n')}\n`;
}

function labelOf(node: GraphNode, statuses: Statuses): string[] {
  const status = statuses.get(node.id);
  return [node.id, node.type, ...traitsOf(node), ...(status === undefined ? [] : [status])];
}

function naming(model: GraphModel) {
  const names = new Map(model.nodes.map((node, index) => [node.id, `j${index}`]));
  const nameOf = (id: string) => names.get(id) ?? 'unknown';
  const edges = model.nodes.flatMap((node) =>
    node.inEdges.map((edge) => ({ source: nameOf(edge.source), target: nameOf(node.id), kind: edge.kind })),
  );
  return { nameOf, edges };
}

function mermaidText(text: string): string {
  return text
    .replace(/[^A-Za-z0-9 ._\-=/()[\]{}!?,:+*]/g, (letter) => `#${letter.codePointAt(0)};`)
    .replace(/[[\]{}()]/g, (letter) => `#${letter.codePointAt(0)};`);
}

function dotText(text: string): string {
  return `"${text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`;
}
