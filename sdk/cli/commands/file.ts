/**
 * Workflow files of the command line: read, compiled, and their problems as people and editors read them.
 */
import { readFile, stat } from 'node:fs/promises';
import { compile, type Graph, type Problem } from '@workflow-orchestrator/engine/definition';
import { limits } from '@workflow-orchestrator/proto/limits';
import { CommandError, exit } from '../exit.ts';
import { clean, type Terminal } from '../terminal.ts';

/** Text of a file, or of stdin for `-`. Throws `CommandError` for what cannot be read. */
export async function readSource(terminal: Terminal, path: string): Promise<string> {
  const read = await tryReadSource(terminal, path);
  if (read.kind === 'text') return read.text;
  throw new CommandError(`cannot read ${path}: ${read.reason}`);
}

/** Text of a file, or of stdin for `-`; or why it cannot be read, in words without the path. */
export async function tryReadSource(
  terminal: Terminal,
  path: string,
): Promise<{ readonly kind: 'text'; readonly text: string } | { readonly kind: 'unreadable'; readonly reason: string }> {
  if (path === '-') return { kind: 'text', text: await terminal.readInput() };
  try {
    return { kind: 'text', text: await readFile(path, 'utf8') };
  } catch (thrown) {
    return { kind: 'unreadable', reason: reasonOf(thrown) };
  }
}

function reasonOf(thrown: unknown): string {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : '';
  switch (code) {
    case 'ENOENT':
      return 'no such file';
    case 'EISDIR':
      return 'it is a folder';
    case 'EACCES':
      return 'permission denied';
    default:
      return thrown instanceof Error ? thrown.message : String(thrown);
  }
}

/** `file:line:column: message (hint)`: the form that editors jump to; `file: message` for a problem of the whole file, on line 0. */
export function problemLine(path: string, problem: Pick<Problem, 'line' | 'column' | 'message' | 'hint'>): string {
  const hint = problem.hint === '' ? '' : ` (${problem.hint})`;
  const place = problem.line === 0 ? '' : `:${problem.line}:${problem.column}`;
  return clean(`${path === '-' ? 'stdin' : path}${place}: ${problem.message}${hint}`);
}

/** Compiles a file here, without a server. Throws `CommandError` with every problem. */
export async function compileFile(terminal: Terminal, path: string): Promise<Graph> {
  return (await readAndCompile(terminal, path)).graph;
}

/** Compiles a file as `compileFile` does, and keeps its text for a coordinator. */
export async function readAndCompile(terminal: Terminal, path: string): Promise<{ readonly yaml: string; readonly graph: Graph }> {
  const yaml = await readSource(terminal, path);
  const result = compile(yaml);
  if (result.kind === 'ok') return { yaml, graph: result.graph };
  const [first, ...more] = result.problems.map((problem) => problemLine(path, problem));
  throw new CommandError(first, exit.usage, more);
}

/** Whether an argument that may be an id is a file: there is one of that name, or it can be no id (`-`, a dot or a slash in it). */
export async function isFile(word: string): Promise<boolean> {
  if (word === '-' || /[./\\]/.test(word) || word.length > limits.nameLength) return true;
  return stat(word).then(
    (found) => !found.isDirectory(),
    () => false,
  );
}
