/**
 * Where the programs are that `wf` starts. It never imports them: it runs them as processes.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CommandError } from '../exit.ts';

/** The programs of the project. */
export type ProgramName = 'coordinator' | 'worker';

/** What to run: arguments for Node, up to and with the program's file. */
export function programArguments(name: ProgramName): string[] {
  const file = locate(name);
  const fromSources = import.meta.url.endsWith('.ts');
  const tether = fileURLToPath(new URL(fromSources ? './tether.ts' : './tether.js', import.meta.url));
  return [...(fromSources ? ['--conditions=workflow-orchestrator'] : []), '--import', tether, file];
}

/** The program's file: next to this package in the project's tree, else the installed package. */
function locate(name: ProgramName): string {
  const sibling = fileURLToPath(new URL(`../../../${name}/main.ts`, import.meta.url));
  if (import.meta.url.endsWith('.ts') && existsSync(sibling)) return sibling;
  try {
    return fileURLToPath(import.meta.resolve(`@workflow-orchestrator/${name}/main`));
  } catch {
    throw new CommandError(`the ${name} is not installed here: npm install @workflow-orchestrator/${name}`);
  }
}

/** A file of the project's examples, or null where there are none. */
export function exampleFile(path: string): string | null {
  const file = fileURLToPath(new URL(`../../../examples/${path}`, import.meta.url));
  return existsSync(file) ? file : null;
}
