/**
 * What every command is given: the terminal, the client it may call, and how it prints.
 */
import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import { clientSettings, resolveSettings } from '@workflow-orchestrator/proto/settings';
import type { Command } from 'commander';
import { WorkflowClient } from '../client/client.ts';
import { CommandError, type ExitCode, exit } from './exit.ts';
import { paint, type Style, type Terminal } from './terminal.ts';
import { durationMs } from './words.ts';

/** Options that commands share. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly coordinatorUrl?: readonly string[];
  readonly token?: string;
  readonly timeout?: string;
}

/** The surroundings of one run. */
export class Shell {
  readonly terminal: Terminal;
  /** What the run ends with. */
  exitCode: ExitCode = exit.ok;
  /** Errors are to be JSON too. */
  json = false;

  constructor(terminal: Terminal) {
    this.terminal = terminal;
  }

  /** Prints a line for people. */
  line(text = ''): void {
    this.terminal.write(`${text}\n`);
  }

  /** Prints a remark for people where it does not mix with the output. */
  note(text: string): void {
    this.terminal.complain(`${text}\n`);
  }

  /** Prints one JSON value on one line. */
  printJson(value: unknown): void {
    this.terminal.write(`${JSON.stringify(value)}\n`);
  }

  /** Prints a message of the contract by the one JSON mapping, for people to read or as a line of a stream. */
  printMessage<D extends DescMessage>(schema: D, message: MessageShape<D>): void {
    this.printJson(toJson(schema, message));
  }

  paint(style: Style, text: string): string {
    return paint(this.terminal, style, text);
  }

  /** A client by flags, environment and defaults. Throws `CommandError` with every problem of these. */
  client(options: CommonOptions): WorkflowClient {
    const flags = [
      ...(options.coordinatorUrl ?? []).map((url) => `--coordinator-url=${url}`),
      ...(options.token === undefined ? [] : [`--token=${options.token}`]),
    ];
    const settings = resolveSettings(clientSettings, flags, this.terminal.env);
    if (settings.kind === 'bad') throw new CommandError(settings.problems[0], exit.usage, settings.problems.slice(1));
    const { coordinatorUrl, token } = settings.values;
    return new WorkflowClient(coordinatorUrl, {
      token: token ?? undefined,
      timeoutMs: options.timeout === undefined ? undefined : timeoutMs(options.timeout),
      retry: { maxAttempts: 3 },
    });
  }
}

/** Time for a call. None at all would end every call before it is sent. */
function timeoutMs(word: string): number {
  const ms = durationMs('--timeout', word);
  if (ms < 1) throw new CommandError(`--timeout ${JSON.stringify(word)}: must be 1ms or longer`);
  return ms;
}

/** Adds `--json` to a command. */
export function withJson(command: Command): Command {
  return command.option('--json', 'print JSON: one document, or one line for each item of a stream');
}

/** Adds the options of commands that call a coordinator. */
export function withClient(command: Command): Command {
  return withJson(command)
    .option(
      '-u, --coordinator-url <urls>',
      'address of the coordinator, or several, a,b (COORDINATOR_URL; default http://localhost:8000)',
      (url: string, before: readonly string[] = []) => [...before, url],
    )
    .option('--token <token>', 'bearer token; prefer the variable WORKFLOW_TOKEN')
    .option('--timeout <duration>', 'time for each call, such as 30s (default 10s)');
}

/** Adds examples below a command's help. */
export function withExamples(command: Command, ...examples: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${examples.map((example) => `  $ ${example}`).join('\n')}`);
}

/** Wraps an action: its number becomes the exit code, `--json` holds for its errors too. */
export function action<A extends unknown[], O extends { readonly json?: boolean }>(
  shell: Shell,
  run: (options: O, ...words: A) => Promise<ExitCode | undefined> | ExitCode | undefined,
): (...given: unknown[]) => Promise<void> {
  return async (...given) => {
    // Commander hands over the arguments, the options, and the command itself.
    const options = given.at(-2) as O;
    shell.json = options.json === true;
    shell.exitCode = (await run(options, ...(given.slice(0, -2) as A))) ?? exit.ok;
  };
}
