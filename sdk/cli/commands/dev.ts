/**
 * `wf dev`, `wf quick-start`: a coordinator and workers on this machine, in one command.
 */
import { coordinatorSettings, resolveSettings } from '@workflow-orchestrator/proto/settings';
import type { Command } from 'commander';
import { WorkflowClient } from '../../client/client.ts';
import { CommandError, type ExitCode, exit } from '../exit.ts';
import { logLine } from '../process/log-line.ts';
import { exampleFile } from '../process/program.ts';
import { Stack } from '../process/stack.ts';
import { action, type Shell, withExamples, withJson } from '../shell.ts';
import { follow } from '../show/follow.ts';
import type { LivePicture } from '../show/live.ts';
import { wholeNumber } from '../words.ts';
import { readAndCompile } from './file.ts';

interface DevOptions {
  readonly json?: boolean;
  readonly port?: string;
  readonly host?: string;
  readonly workers: string;
  readonly connections?: string;
  readonly memory?: boolean;
}

interface QuickStartOptions extends DevOptions {
  readonly once?: boolean;
  readonly verbose?: boolean;
}

/** Adds the commands. */
export function registerDev(program: Command, shell: Shell): void {
  const dev = program
    .command('dev')
    .description('run a coordinator and workers on this machine until Ctrl-C; a new start goes on where they were')
    .action(action<[], DevOptions>(shell, (options) => runDev(shell, options)));
  withExamples(withStack(dev), 'wf dev', 'wf dev --port 0 --workers 4', 'wf dev --connections connections.yaml', 'wf dev --memory');

  const quickStart = program
    .command('quick-start')
    .argument('[file]', 'the workflow to run; the data pipeline of the examples if absent')
    .description('run a coordinator, workers and an example; in a terminal it goes on serving until Ctrl-C')
    .option('--once', 'end with the workflow, with its exit code (also ONCE=1; without a terminal always)')
    .option('--verbose', 'show the logs of the processes')
    .action(action<[string | undefined], QuickStartOptions>(shell, (options, file) => quickStartWith(shell, options, file)));
  withExamples(withStack(quickStart), 'wf quick-start', 'wf quick-start --once workflow.yaml');
}

function withStack(command: Command): Command {
  return withJson(command)
    .option('-p, --port <port>', 'port of the coordinator; 0 finds a free one (PORT; default 8000)')
    .option('--host <address>', 'address to listen on (HOST; default 127.0.0.1)')
    .option('-n, --workers <n>', 'how many workers', '2')
    .option(
      '--memory',
      'keep state in memory: it is gone when this ends. Otherwise it is kept in .data (DATA_DIR), or where DATABASE_URL and REDIS_URL say',
    )
    .option('-c, --connections <file>', 'named endpoints, schemas, channels and stores of the workers (CONNECTIONS_FILE)');
}

async function runDev(shell: Shell, options: DevOptions): Promise<ExitCode> {
  const stack = await startStack(shell, options, { quiet: false, write: (text) => shell.line(text) });
  sayAddresses(shell, stack.port, options);
  return endOf(shell, await stack.ended);
}

function endOf(shell: Shell, reason: string | null): ExitCode {
  if (reason === null) return exit.ok;
  throw new CommandError(reason, shell.terminal.interrupted.aborted ? exit.interrupted : exit.unavailable);
}

/** Where the lines of the processes go. */
interface Output {
  /** Only what is wrong. */
  readonly quiet: boolean;
  readonly write: (text: string) => void;
}

async function startStack(shell: Shell, options: DevOptions, output: Output): Promise<Stack> {
  const { terminal } = shell;
  const flags = [
    ...(options.port === undefined ? [] : [`--port=${options.port}`]),
    ...(options.host === undefined ? [] : [`--host=${options.host}`]),
  ];
  const settings = resolveSettings(coordinatorSettings, flags, terminal.env);
  if (settings.kind === 'bad') throw new CommandError(settings.problems[0], exit.usage, settings.problems.slice(1));
  const { host, port } = settings.values;
  const workers = wholeNumber('--workers', options.workers, 0, 100);
  const connections = options.connections ?? terminal.env.CONNECTIONS_FILE ?? exampleFile('connections.yaml');
  const names = ['coordinator', ...Array.from({ length: workers }, (_, index) => `dev-${index + 1}`)];
  const columns = Math.max(...names.map((name) => name.length));
  return Stack.start({
    host,
    port,
    workers,
    env: { ...(output.quiet ? { LOG_LEVEL: 'warn' } : {}), ...terminal.env, ...storeEnv(options.memory === true, settings.values) },
    workerEnv: connections === null ? {} : { CONNECTIONS_FILE: connections },
    onLine: (source, line) =>
      output.write(
        options.json ? JSON.stringify({ log: { source, line } }) : logLine(terminal, source, names.indexOf(source), columns, line),
      ),
    onStarted: (name, pid) => {
      if (options.json) output.write(JSON.stringify({ started: { name, pid } }));
    },
    onNote: (text) => output.write(options.json ? JSON.stringify({ note: text }) : shell.paint('yellow', text)),
    interrupted: terminal.interrupted,
    forced: terminal.forced,
  });
}

/** Where the coordinator keeps state: in memory if that is wanted, else where the settings say, else in a folder here. */
function storeEnv(
  inMemory: boolean,
  { databaseUrl, redisUrl, dataDir }: { databaseUrl: string | null; redisUrl: string | null; dataDir: string | null },
): Record<string, string> {
  if (inMemory) return { DATABASE_URL: '', REDIS_URL: '', DATA_DIR: '' };
  return databaseUrl === null && redisUrl === null && dataDir === null ? { DATA_DIR: '.data' } : {};
}

function sayAddresses(shell: Shell, port: number, options: DevOptions): void {
  const address = `http://localhost:${port}`;
  if (options.json) {
    shell.printJson({ listening: { address, port, workers: Number(options.workers) } });
    return;
  }
  shell.line(`${shell.paint('bold', 'coordinator')} ${shell.paint('cyan', address)} (REST, Connect and gRPC on one port)`);
  const flag = port === 8000 ? '' : ` -u ${address}`;
  shell.line(`${shell.paint('bold', 'workers')} ${options.workers}; submit something: wf submit workflow.yaml --watch${flag}`);
}

async function quickStartWith(shell: Shell, options: QuickStartOptions, given: string | undefined): Promise<ExitCode> {
  const { terminal } = shell;
  const file = given ?? exampleFile('workflow_definitions/data-pipeline.yaml');
  if (file === null) throw new CommandError('there are no examples here: give a workflow file');
  // A file that cannot run is told before anything is started for it.
  const { yaml } = await readAndCompile(terminal, file);
  let picture: LivePicture | null = null;
  const stack = await startStack(shell, options, {
    quiet: !options.verbose,
    write: (text) => (picture === null ? terminal.write(`${text}\n`) : picture.above(text)),
  });
  try {
    sayAddresses(shell, stack.port, options);
    const client = new WorkflowClient(`http://127.0.0.1:${stack.port}`, { token: terminal.env.WORKFLOW_TOKEN || undefined });
    const workflow = await client.submitAndStartWorkflow({ yaml }, { signal: terminal.interrupted });
    if (!options.json) shell.line(`${shell.paint('bold', 'workflow')} ${workflow.id} of ${file}\n`);
    const running = follow(shell, client, workflow.id, {
      json: options.json === true,
      onPicture: (live) => {
        picture = live;
      },
    });
    const result = await Promise.race([running, stack.ended.then((reason) => ({ reason }))]);
    if (typeof result === 'object') return endOf(shell, result.reason);
    if (!terminal.interactive || options.once || isOn(terminal.env.ONCE) || terminal.interrupted.aborted) return result;
    shell.note(shell.paint('dim', `still serving; look again: wf status ${workflow.id}; Ctrl-C ends it`));
    const reason = await stack.ended;
    return reason === null ? result : endOf(shell, reason);
  } finally {
    await stack.stop();
  }
}

function isOn(word: string | undefined): boolean {
  return word !== undefined && /^(1|true|yes|on)$/i.test(word);
}
