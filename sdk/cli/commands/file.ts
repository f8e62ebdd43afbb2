/**
 * Workflow files of the command line: read, compiled, and their problems as people and editors read them.
 */
import { readFile } from 'node:fs/promises';
import { compile, type Graph, type Problem } from '@workflow-orchestrator/engine/definition';
import { limits } from '@workflow-orchestrator/proto/limits';
import { CommandError, exit } from '../exit.ts';
import { clean, type Terminal } from '../terminal.ts';

/** Text of a file, or of stdin for `-`. Throws `CommandError` for what cannot be read. */
export async function readSource(terminal: Terminal, path: string): Promise<string> {
  if (path === '-') return terminal.readInput();
  try {
    return await readFile(path, 'utf8');
  } catch (thrown) {
    throw new CommandError(`cannot read ${path}: ${reasonOf(thrown)}`);
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

/** `file:line:column: message (hint)`: the form that editors jump to. */
export function problemLine(path: string, problem: Pick<Problem, 'line' | 'column' | 'message' | 'hint'>): string {
  const hint = problem.hint === '' ? '' : ` (${problem.hint})`;
  return clean(`${path === '-' ? 'stdin' : path}:${problem.line}:${problem.column}: ${problem.message}${hint}`);
}

/** Compiles a file here, without a server. Throws `CommandError` with every problem. */
export async function compileFile(terminal: Terminal, path: string): Promise<Graph> {
  const source = await readSource(terminal, path);
  const result = compile(source);
  if (result.kind === 'ok') return result.graph;
  const [first, ...more] = result.problems.map((problem) => problemLine(path, problem));
  throw new CommandError(first, exit.usage, more);
}

/** Whether an argument is more likely a file than an id: it has a dot or a slash, or is `-`. */
export function looksLikeFile(word: string): boolean {
  return word === '-' || /[./\\]/.test(word) || word.length > limits.nameLength;
}
