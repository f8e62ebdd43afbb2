/**
 * `wf definitions`, `wf register`, `wf validate`: definitions here and on a coordinator.
 */
import { toJson } from '@bufbuild/protobuf';
import { compile } from '@workflow-orchestrator/engine/definition';
import { type Definition, DefinitionSchema } from '@workflow-orchestrator/proto';
import type { Command } from 'commander';
import { WorkflowError } from '../../client/error.ts';
import { CommandError, type ExitCode, exit } from '../exit.ts';
import { action, type CommonOptions, type Shell, withClient, withExamples } from '../shell.ts';
import { table } from '../show/table.ts';
import { timeText } from '../show/time.ts';
import { clean } from '../terminal.ts';
import { problemLine, readSource, tryReadSource } from './file.ts';

/** Adds the commands. */
export function registerDefinitions(program: Command, shell: Shell): void {
  const definitions = program
    .command('definitions')
    .argument('[name|hash]', 'only this name; a hash prints that definition as it was registered')
    .description('list registered definitions, newest first within a name')
    .action(action<[string | undefined], CommonOptions>(shell, (options, name) => listDefinitions(shell, options, name)));
  withExamples(
    withClient(definitions),
    'wf definitions',
    'wf definitions data-pipeline',
    'wf definitions --json | jq -r .definitions[].hash',
  );

  const register = program
    .command('register')
    .argument('<file>', 'YAML or JSON file of the workflow; - reads stdin')
    .description('register a definition, so that it can be submitted by name')
    .action(action<[string], CommonOptions>(shell, (options, file) => registerFile(shell, options, file)));
  withExamples(
    withClient(register),
    'wf register workflow.yaml',
    'wf register workflow.yaml && wf submit --definition data-pipeline --start',
  );

  const validate = program
    .command('validate')
    .argument('<file...>', 'YAML or JSON files of workflows; - reads stdin')
    .description('check workflow files, here and without a coordinator; every problem at once as file:line:column: message (hint)')
    .option('--server', 'let the coordinator check instead')
    .action(
      action<[string[]], CommonOptions & { readonly server?: boolean }>(shell, (options, files) => validateFiles(shell, options, files)),
    );
  withExamples(
    withClient(validate),
    'wf validate workflow.yaml',
    'wf validate workflows/*.yaml --json',
    'wf validate workflow.yaml --server',
  );
}

async function listDefinitions(shell: Shell, options: CommonOptions, name: string | undefined): Promise<ExitCode> {
  const client = shell.client(options);
  const call = { signal: shell.terminal.interrupted };
  if (name !== undefined && /^[0-9a-f]{64}$/.test(name)) {
    const definition = await client.definition(name, call);
    if (options.json) shell.printMessage(DefinitionSchema, definition);
    else shell.terminal.write(definition.yaml.endsWith('\n') ? definition.yaml : `${definition.yaml}\n`);
    return exit.ok;
  }
  const found: Definition[] = [];
  for await (const definition of client.definitions(name === undefined ? call : { ...call, name })) found.push(definition);
  if (options.json) {
    shell.printJson({ definitions: found.map((definition) => toJson(DefinitionSchema, definition)) });
    return exit.ok;
  }
  if (found.length === 0) {
    shell.note(name === undefined ? 'no definitions are registered' : `no definition ${JSON.stringify(name)} is registered`);
    return exit.ok;
  }
  const rows = found.map((definition) => [
    definition.name,
    clean(definition.version),
    definition.hash,
    timeText(definition.registerTime),
    clean(definition.description),
  ]);
  for (const line of table(['NAME', 'VERSION', 'HASH', 'REGISTERED (UTC)', ''], rows)) shell.line(line);
  return exit.ok;
}

async function registerFile(shell: Shell, options: CommonOptions, file: string): Promise<ExitCode> {
  const yaml = await readSource(shell.terminal, file);
  const { definition, existed } = await shell
    .client(options)
    .register({ yaml }, { signal: shell.terminal.interrupted })
    .catch((thrown) => {
      if (options.json || !(thrown instanceof WorkflowError) || thrown.problems.length === 0) throw thrown;
      const [first, ...more] = thrown.problems.map((problem) => problemLine(file, problem));
      throw new CommandError(first, exit.usage, more);
    });
  if (options.json) shell.printJson({ definition: toJson(DefinitionSchema, definition), existed });
  else shell.line(`${definition.hash}  ${definition.name}${existed ? '  (known already)' : ''}`);
  return exit.ok;
}

/** One file's answer. */
interface Checked {
  readonly file: string;
  readonly valid: boolean;
  readonly hash: string | null;
  readonly name: string | null;
  readonly problems: readonly {
    readonly line: number;
    readonly column: number;
    readonly path: string;
    readonly rule: string;
    readonly message: string;
    readonly hint: string;
  }[];
}

async function validateFiles(
  shell: Shell,
  options: CommonOptions & { readonly server?: boolean },
  files: readonly string[],
): Promise<ExitCode> {
  const answers: Checked[] = [];
  for (const file of files) {
    const read = await tryReadSource(shell.terminal, file);
    if (read.kind === 'unreadable') answers.push(unreadable(file, read.reason));
    else answers.push(options.server ? await checkThere(shell, options, file, read.text) : checkHere(file, read.text));
  }
  if (options.json) {
    const documents = answers.map(({ problems, ...answer }) => ({
      ...answer,
      problems: problems.map(({ line, column, path, rule, message, hint }) => ({ line, column, path, rule, message, hint })),
    }));
    shell.printJson(documents.length === 1 ? documents[0] : { files: documents });
  } else {
    for (const answer of answers) {
      if (answer.valid) shell.line(`${answer.file}: ${shell.paint('green', 'ok')} (${answer.name} ${answer.hash?.slice(0, 12)})`);
      for (const problem of answer.problems) shell.line(problemLine(answer.file, problem));
    }
  }
  return answers.every((answer) => answer.valid) ? exit.ok : exit.usage;
}

/** A file that cannot be read is a problem of its own, and the others are checked all the same. */
function unreadable(file: string, reason: string): Checked {
  const problem = { line: 0, column: 0, path: '', rule: 'unreadable', message: reason, hint: '' };
  return { file, valid: false, hash: null, name: null, problems: [problem] };
}

function checkHere(file: string, yaml: string): Checked {
  const result = compile(yaml);
  if (result.kind === 'bad') return { file, valid: false, hash: null, name: null, problems: result.problems };
  return { file, valid: true, hash: result.graph.hash, name: result.graph.name, problems: [] };
}

async function checkThere(shell: Shell, options: CommonOptions, file: string, yaml: string): Promise<Checked> {
  const answer = await shell.client(options).validate({ yaml }, { signal: shell.terminal.interrupted });
  const { definition } = answer;
  return { file, valid: answer.valid, hash: definition?.hash ?? null, name: definition?.name ?? null, problems: answer.problems };
}
