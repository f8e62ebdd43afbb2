/**
 * `wf coordinator`, `wf worker`: run a program in the foreground, as a process of its own.
 */
import { coordinatorSettings, resolveSettings, settingsHelp, workerSettings } from '@workflow-orchestrator/proto/settings';
import type { Command } from 'commander';
import { type ExitCode, exit } from '../exit.ts';
import { Child } from '../process/child.ts';
import { expectFree } from '../process/port.ts';
import type { ProgramName } from '../process/program.ts';
import { action, type Shell } from '../shell.ts';

/** Adds the commands. */
export function registerRun(program: Command, shell: Shell): void {
  add(program, shell, 'coordinator', 'run a coordinator in the foreground', settingsHelp(coordinatorSettings), [
    'wf coordinator',
    'wf coordinator --port 9000 --log-level debug',
    'WORKFLOW_TOKEN=secret wf coordinator --host 0.0.0.0',
  ]);
  add(program, shell, 'worker', 'run a stock worker in the foreground', settingsHelp(workerSettings), [
    'wf worker',
    'wf worker --worker-id worker-1 --slots 20 --labels region=eu',
    'COORDINATOR_URL=ws://localhost:8000/workers wf worker --types validation,processing',
  ]);
}

function add(program: Command, shell: Shell, name: ProgramName, description: string, help: string, examples: readonly string[]): void {
  const command = program
    .command(name)
    .argument('[settings...]', 'flags of the program')
    .description(description)
    .allowUnknownOption()
    .helpOption('-h, --help', 'show every setting')
    .action(action<[string[]], Record<string, never>>(shell, (_, settings) => runProgram(shell, name, settings)));
  command.passThroughOptions();
  command.helpInformation = () => `${description}\n\n${help}`;
  command.addHelpText('after', `\nExamples:\n${examples.map((example) => `  $ ${example}`).join('\n')}`);
}

async function runProgram(shell: Shell, program: ProgramName, args: readonly string[]): Promise<ExitCode> {
  const { terminal } = shell;
  if (program === 'coordinator') await expectPorts(args, terminal.env);
  const child = new Child({ program, args, env: terminal.env, onLine: null });
  const onInterrupt = () => child.signal('SIGTERM');
  const onForce = () => child.signal('SIGKILL');
  terminal.interrupted.addEventListener('abort', onInterrupt);
  terminal.forced.addEventListener('abort', onForce);
  if (terminal.interrupted.aborted) onInterrupt();
  const end = await child.exited;
  if (end.code === 0 || end.code === exit.usage) return end.code;
  if (terminal.interrupted.aborted) return exit.interrupted;
  // The program has said why.
  return exit.refused;
}

/** Throws `CommandError` when the coordinator could not listen, as `wf dev` does. Bad settings are left for the coordinator to tell. */
async function expectPorts(args: readonly string[], env: Shell['terminal']['env']): Promise<void> {
  const settings = resolveSettings(coordinatorSettings, args, env);
  if (settings.kind === 'bad') return;
  const { host, port, grpcPort } = settings.values;
  await expectFree(host, port);
  if (grpcPort !== null) await expectFree(host, grpcPort, '--grpc-port');
}
