/**
 * The sources of the project as the rules see them: text, imports with lines, and the syntax tree.
 *
 * Types are blanked by Node itself, which keeps every position; imports of types are kept, because the floors hold for them too.
 */
import { globSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join, resolve } from 'node:path';
import { type Comment, type Node, type Program, parse } from 'acorn';

/** The folder that holds all packages. */
export const ROOT = resolve(import.meta.dirname, '../..');

/** An import or a re-export. `names` are those it takes from the module; empty for `import x`, `import *` and `import()`. */
export interface Import {
  readonly specifier: string;
  readonly line: number;
  readonly names: readonly string[];
}

/** One file. `path` is relative to the project, with `/`. Lines count from 1. */
export interface Source {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
  readonly comments: readonly Comment[];
  readonly tree: Program;
}

/** What a rule found. */
export interface Violation {
  readonly path: string;
  readonly line: number;
  readonly rule: string;
}

/** The form in which people read it. */
export function sayViolation({ path, line, rule }: Violation): string {
  return `${path}:${line}: ${rule}`;
}

const IGNORED = ['**/node_modules/**', '**/dist/**', '.git/**', '.tap/**', '.data/**'];

/** All files of the project that match `pattern`, besides what was installed, built or written at run time. */
export function projectFiles(pattern: string): string[] {
  return globSync(pattern, { cwd: ROOT, exclude: IGNORED, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(ROOT.length + 1)
        .replaceAll('\\', '/'),
    )
    .filter((path) => !/(^|\/)(node_modules|dist|\.git|\.tap|\.data)\//.test(path))
    .sort();
}

/** Every TypeScript file that is not generated. */
export function allSources(): Source[] {
  return projectFiles('**/*.ts')
    .filter((path) => !path.startsWith('proto/gen/'))
    .map((path) => readSource(path, readFileSync(join(ROOT, path), 'utf8')));
}

/** Parses the text of one file. Throws when it is no TypeScript that Node can run. */
export function readSource(path: string, text: string): Source {
  const kept = text.replace(/^(import type\b(?=\s*[\w{*])|export type\b(?=\s*[{*]))/gm, (words) => words.slice(0, 6).padEnd(words.length));
  const comments: Comment[] = [];
  const tree = parse(stripTypeScriptTypes(kept), { ecmaVersion: 'latest', sourceType: 'module', locations: true, onComment: comments });
  const imports: Import[] = [];
  for (const statement of tree.body) {
    if (statement.type === 'ImportDeclaration') {
      const names = statement.specifiers.flatMap((part) => (part.type === 'ImportSpecifier' ? [nameOf(part.imported)] : []));
      imports.push({ specifier: String(statement.source.value), line: lineOf(statement), names });
    } else if (statement.type === 'ExportAllDeclaration') {
      imports.push({ specifier: String(statement.source.value), line: lineOf(statement), names: [] });
    } else if (statement.type === 'ExportNamedDeclaration' && statement.source) {
      const names = statement.specifiers.map((part) => nameOf(part.local));
      imports.push({ specifier: String(statement.source.value), line: lineOf(statement), names });
    }
  }
  // `import('x')`, as an expression and as a type: types have no place in the tree.
  for (const match of withoutComments(kept, comments).matchAll(/\bimport\(\s*(['"])([^'"]+)\1/g)) {
    imports.push({ specifier: match[2] as string, line: kept.slice(0, match.index).split('\n').length, names: [] });
  }
  return { path, text, imports, comments, tree };
}

/** Calls `visit` for every node below `node`, parents first; `ancestors` ends with the parent. */
export function walk(node: Node, visit: (node: Node, ancestors: readonly Node[]) => void, ancestors: readonly Node[] = []): void {
  visit(node, ancestors);
  const inside = [...ancestors, node];
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) walk(child, visit, inside);
  }
}

/** The line on which a node begins. */
export function lineOf(node: Node): number {
  return node.loc?.start.line ?? 1;
}

function isNode(value: unknown): value is Node {
  return (
    typeof value === 'object' && value !== null && typeof (value as Node).type === 'string' && typeof (value as Node).start === 'number'
  );
}

function nameOf(name: { type: string; name?: string; value?: unknown }): string {
  return name.name ?? String(name.value);
}

function withoutComments(text: string, comments: readonly Comment[]): string {
  let result = text;
  for (const { start, end } of comments) result = result.slice(0, start) + ' '.repeat(end - start) + result.slice(end);
  return result;
}
