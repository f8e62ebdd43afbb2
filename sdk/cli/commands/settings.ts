/**
 * `wf config`: the settings that are in force, and where each comes from.
 */
import {
  clientSettings,
  coordinatorSettings,
  resolveSettings,
  type Settings,
  type SettingTable,
  showSetting,
  workerSettings,
} from '@workflow-orchestrator/proto/settings';
import type { Command } from 'commander';
import { CommandError, type ExitCode, exit } from '../exit.ts';
import { action, type Shell, withExamples, withJson } from '../shell.ts';
import { table } from '../show/table.ts';
import { oneOf } from '../words.ts';

const tables = { coordinator: coordinatorSettings, worker: workerSettings, client: clientSettings } as const;
const programs = ['coordinator', 'worker', 'client'] as const;

/** Adds the command. */
export function registerConfig(program: Command, shell: Shell): void {
  const config = program
    .command('config')
    .argument('[program]', `${programs.join(', ')}; all of them if absent`)
    .argument('[settings...]', 'flags of that program, after --')
    .description('show the settings that are in force and where each comes from; secrets are masked')
    .action(
      action<[string | undefined, string[]], { readonly json?: boolean }>(shell, (options, name, flags) =>
        showConfig(shell, options, name, flags),
      ),
    );
  withExamples(withJson(config), 'wf config', 'PORT=9000 wf config coordinator', 'wf config worker -- --slots 20');
}

function showConfig(shell: Shell, options: { readonly json?: boolean }, name: string | undefined, flags: readonly string[]): ExitCode {
  const shown = name === undefined ? programs : [oneOf('program', name, programs)];
  const answers = shown.map((each) => ({
    name: each,
    ...inForce<Settings>(shell, tables[each] as unknown as SettingTable<Settings>, flags),
  }));
  if (options.json) shell.printJson(Object.fromEntries(answers.map(({ name, rows }) => [name, rows])));
  else {
    for (const { name, rows } of answers) {
      shell.line(shell.paint('bold', name));
      const cells = rows.map((row) => [`  ${row.env}`, row.flag, row.value ?? '-', shell.paint('dim', row.source)]);
      for (const line of table(['  VARIABLE', 'FLAG', 'VALUE', 'FROM'], cells)) shell.line(line);
    }
  }
  return exit.ok;
}

interface Row {
  readonly name: string;
  readonly env: string;
  readonly flag: string;
  /** As text, secrets masked; null when it is not set. */
  readonly value: string | null;
  readonly source: string;
  readonly doc: string;
}

function inForce<S extends Settings>(shell: Shell, settings: SettingTable<S>, flags: readonly string[]): { readonly rows: Row[] } {
  const resolved = resolveSettings(settings, flags, shell.terminal.env);
  if (resolved.kind === 'bad') {
    const [first, ...more] = resolved.problems.map((problem) => `${settings.program}: ${problem}`);
    throw new CommandError(first, exit.usage, more);
  }
  const rows = Object.entries(settings.settings).map(([name, setting]) => {
    const text = showSetting(setting, resolved.values[name]);
    return {
      name,
      env: setting.env,
      flag: setting.flag,
      value: text === '' ? null : text,
      source: resolved.sources[name],
      doc: setting.doc,
    };
  });
  return { rows };
}
