/**
 * `wf db`: make and look at what keeps state; walk through what a crash leaves.
 */
import { coordinatorSettings, settingsHelp } from '@workflow-orchestrator/proto/settings';
import type { Command } from 'commander';
import { type ExitCode, exit } from '../exit.ts';
import { Child } from '../process/child.ts';
import { action, type Shell, withExamples, withJson } from '../shell.ts';
import { runDemo } from './db-demo.ts';

interface JsonOption {
  readonly json?: boolean;
}

/** Adds the commands. */
export function registerDb(program: Command, shell: Shell): void {
  const db = program.command('db').description('make and look at what keeps state: PostgreSQL, Redis, the embedded journal');
  withExamples(db, 'wf db init', 'wf db status', 'wf db demo');
  const add = (name: 'init' | 'status', description: string) => {
    const command = withJson(db.command(name).argument('[settings...]', 'flags of the coordinator').description(description))
      .allowUnknownOption()
      .action(action<[string[]], JsonOption>(shell, (options, flags) => runDatabase(shell, name, options, flags)));
    command.addHelpText('after', `\n${settingsHelp(coordinatorSettings)}`);
    return command;
  };
  withExamples(
    add('init', 'make or bring up to date what a coordinator keeps state in, and check that it can be reached'),
    'wf db init',
    'DATABASE_URL=postgresql://workflow:secret@localhost/workflow wf db init',
  );
  withExamples(add('status', 'say what is there: the tables and their migrations, Redis, the embedded journal'), 'wf db status --json');
  withExamples(
    db
      .command('demo')
      .description('walk through persistence: run, kill -9, start again, see it go on')
      .action(action<[], JsonOption>(shell, () => runDemo(shell))),
    'wf db demo',
    'DATABASE_URL=postgresql://localhost/workflow wf db demo',
  );
}

async function runDatabase(shell: Shell, name: string, options: JsonOption, flags: readonly string[]): Promise<ExitCode> {
  const { env, interrupted } = shell.terminal;
  const args = [name, ...flags, ...(options.json ? ['--json'] : [])];
  const child = new Child({ program: 'database', args, env, onLine: null });
  interrupted.addEventListener('abort', () => child.signal('SIGTERM'));
  const end = await child.exited;
  if (interrupted.aborted) return exit.interrupted;
  if (end.code === 0) return exit.ok;
  // The program has said why.
  return end.code === exit.usage ? exit.usage : exit.unavailable;
}
