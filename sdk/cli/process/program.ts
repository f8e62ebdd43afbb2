/**
 * Where the programs are that `wf` starts. It never imports them: it runs them as processes.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CommandError } from '../exit.ts';

/** The programs of the project. */
export type ProgramName = 'coordinator' | 'worker' | 'database';

/** The file of a program, as its package exports it. */
const FILES: Readonly<Record<ProgramName, { readonly package: string; readonly file: string }>> = {
  coordinator: { package: 'coordinator', file: 'main' },
  worker: { package: 'worker', file: 'main' },
  database: { package: 'coordinator', file: 'database' },
};

/** What to run: arguments for Node, up to and with the program's file. */
export function programArguments(name: ProgramName): string[] {
  const file = locate(name);
  const fromSources = import.meta.url.endsWith('.ts');
  const tether = fileURLToPath(new URL(fromSources ? './tether.ts' : './tether.js', import.meta.url));
  return [...(fromSources ? ['--conditions=workflow-orchestrator'] : []), '--import', tether, file];
}

/** The program's file: next to this package in the project's tree, else the installed package. */
function locate(name: ProgramName): string {
  const program = FILES[name];
  const sibling = fileURLToPath(new URL(`../../../${program.package}/${program.file}.ts`, import.meta.url));
  if (import.meta.url.endsWith('.ts') && existsSync(sibling)) return sibling;
  try {
    return fileURLToPath(import.meta.resolve(`@workflow-orchestrator/${program.package}/${program.file}`));
  } catch {
    throw new CommandError(`the ${program.package} is not installed here: npm install @workflow-orchestrator/${program.package}`);
  }
}

/** A file of the project's examples, or null where there are none. */
export function exampleFile(path: string): string | null {
  const file = fileURLToPath(new URL(`../../../examples/${path}`, import.meta.url));
  return existsSync(file) ? file : null;
}
