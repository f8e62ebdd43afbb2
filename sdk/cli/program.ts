/**
 * The program `wf`: its commands put together, and one way for every run to end.
 */
import { Command, CommanderError } from 'commander';
import { registerCompletion } from './commands/completion.ts';
import { registerDb } from './commands/db.ts';
import { registerDefinitions } from './commands/definitions.ts';
import { registerDev } from './commands/dev.ts';
import { registerFollow } from './commands/follow.ts';
import { registerGraph } from './commands/graph.ts';
import { registerRun } from './commands/run.ts';
import { registerConfig } from './commands/settings.ts';
import { registerSteer } from './commands/steer.ts';
import { registerSubmit } from './commands/submit.ts';
import { registerWorkers } from './commands/workers.ts';
import { exit, farewellOf } from './exit.ts';
import { Shell } from './shell.ts';
import { paint, type Terminal } from './terminal.ts';

/** All commands. */
export function createProgram(shell: Shell, version: string): Command {
  const { terminal } = shell;
  const program = new Command('wf')
    .description('Run, submit, follow and understand workflows.')
    .version(version, '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show the help of a command')
    .option('--no-color', 'no colours (also NO_COLOR)')
    .showSuggestionAfterError()
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.write(text),
      // What is wrong with a command line is said in `runCli`, in one line and in the form that was asked for.
      writeErr: () => {},
      getOutHasColors: () => terminal.color,
      getErrHasColors: () => terminal.color,
      getOutHelpWidth: () => terminal.size().columns,
    });
  program.addHelpText(
    'after',
    `
Exit codes:
  0 done, or the workflow that was followed SUCCEEDED   4 the workflow was CANCELLED
  1 the workflow FAILED                                 5 the coordinator does not answer, or has no room
  2 bad command line, bad input, refused definition     6 the coordinator refused or failed
  3 no such workflow, job, worker or definition         70 a fault of wf itself
                                                        130 interrupted

Examples:
  $ wf dev
  $ wf submit workflow.yaml --input env=prod --watch
  $ wf validate workflow.yaml && wf plan workflow.yaml`,
  );
  registerDev(program, shell);
  registerRun(program, shell);
  registerSubmit(program, shell);
  registerFollow(program, shell);
  registerSteer(program, shell);
  registerWorkers(program, shell);
  registerDefinitions(program, shell);
  registerDb(program, shell);
  registerGraph(program, shell);
  registerConfig(program, shell);
  registerCompletion(program, shell);
  inherit(program);
  return program;
}

/** Settings of the program that hold for every command below it. */
function inherit(command: Command): void {
  for (const child of command.commands) {
    child.copyInheritedSettings(command);
    inherit(child);
  }
}

/** Runs one command line (without `node` and the file). Resolves with the exit code, whatever happens. */
export async function runCli(argv: readonly string[], terminal: Terminal, version: string): Promise<number> {
  // Known before anything is parsed, so that every error keeps to it.
  const words = argv.includes('--') ? argv.slice(0, argv.indexOf('--')) : argv;
  const plain: Terminal = words.includes('--no-color') ? { ...terminal, color: false } : terminal;
  const shell = new Shell(plain);
  shell.json = words.includes('--json');
  const program = createProgram(shell, version);
  try {
    await program.parseAsync(
      words.length === 0 ? ['--help'] : [...argv].filter((word, index) => word !== '--no-color' || index >= words.length),
      {
        from: 'user',
      },
    );
    return shell.exitCode;
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      // Help and version are no errors.
      if (thrown.exitCode === 0) return exit.ok;
      const message = thrown.message
        .replace(/^error: /, '')
        .replace(/\n/g, ' ')
        .replace(/ \(Did you mean (.*)\?\)$/, '; did you mean $1?');
      return say(shell, exit.usage, [message], { message });
    }
    const farewell = farewellOf(thrown);
    if (farewell === null) return fault(shell, thrown);
    return say(shell, farewell.code, farewell.lines, farewell.json);
  }
}

/** What must not happen did: the one place where a stack is shown, and only to who asks for it. */
function fault(shell: Shell, thrown: unknown): number {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const where = shell.terminal.env.WF_DEBUG ? (error.stack ?? '').split('\n').slice(1) : ['WF_DEBUG=1 shows where'];
  const message = `this is a fault of wf itself: ${error.message.split('\n')[0]}`;
  return say(shell, exit.fault, [message, ...where.map((line) => line.trim())], { message, where });
}

function say(shell: Shell, code: number, lines: readonly string[], json: object): number {
  const { terminal } = shell;
  if (code === exit.interrupted && terminal.interrupted.aborted) return code;
  if (shell.json) terminal.complain(`${JSON.stringify({ error: { exitCode: code, ...json } })}\n`);
  else {
    const [first, ...more] = lines;
    terminal.complain(`${paint(terminal, 'red', 'wf:')} ${first}\n${more.map((line) => `  ${line}\n`).join('')}`);
  }
  return code;
}
