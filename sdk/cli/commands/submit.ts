/**
 * `wf submit`, `wf start`: bring workflows to a coordinator.
 */
import type { JsonObject } from '@bufbuild/protobuf';
import { WorkflowSchema } from '@workflow-orchestrator/proto';
import type { Command } from 'commander';
import { parse } from 'yaml';
import { WorkflowError } from '../../client/error.ts';
import type { WorkflowSource } from '../../client/source.ts';
import { workflowStatusName } from '../../client/status.ts';
import { CommandError, exit } from '../exit.ts';
import { action, type CommonOptions, type Shell, withClient, withExamples } from '../shell.ts';
import { follow } from '../show/follow.ts';
import { statusText } from '../show/status.ts';
import { inputsOf, labelsOf } from '../words.ts';
import { problemLine, readSource } from './file.ts';

interface SubmitOptions extends CommonOptions {
  readonly input: string[];
  readonly inputsFile?: string;
  readonly label: string[];
  readonly idempotencyKey?: string;
  readonly definition?: string;
  readonly start?: boolean;
  readonly watch?: boolean;
}

const collect = (word: string, before: string[]) => [...before, word];

/** Adds the commands. */
export function registerSubmit(program: Command, shell: Shell): void {
  const submit = program
    .command('submit')
    .argument('[file]', 'YAML or JSON file of the workflow; - reads stdin')
    .description('submit a workflow')
    .option('-i, --input <key=value>', 'an input; the value is JSON where it parses as JSON, else text (repeatable)', collect, [])
    .option('--inputs-file <file>', 'inputs as a JSON or YAML object; --input wins over it')
    .option('-l, --label <key=value>', 'a label for filters (repeatable)', collect, [])
    .option('-k, --idempotency-key <key>', 'a second submit with the same key answers with the first workflow')
    .option('-d, --definition <name|hash>', 'a registered definition instead of a file')
    .option('-s, --start', 'start it at once')
    .option('-w, --watch', 'start it and follow it to its end; the exit code says how it ended')
    .action(action<[string | undefined], SubmitOptions>(shell, (options, file) => submitWorkflow(shell, options, file)));
  withExamples(
    withClient(submit),
    'wf submit workflow.yaml --start --watch',
    'wf submit workflow.yaml --input env=prod --input limit=100 --label team=data',
    'cat workflow.yaml | wf submit - --start --json',
    'wf submit --definition data-pipeline --inputs-file inputs.json --watch',
  );

  const start = program
    .command('start')
    .argument('<id>', 'id of the workflow')
    .description('start a workflow that was submitted')
    .option('-w, --watch', 'follow it to its end; the exit code says how it ended')
    .action(
      action<[string], CommonOptions & { readonly watch?: boolean }>(shell, async (options, id) => {
        const client = shell.client(options);
        const workflow = await client.start(id, { signal: shell.terminal.interrupted });
        if (options.watch) return follow(shell, client, workflow.id, { json: options.json === true });
        if (options.json) shell.printMessage(WorkflowSchema, workflow);
        else shell.line(`${workflow.id}  ${workflow.name}  ${statusText(shell.terminal, workflowStatusName(workflow.status))}`);
        return exit.ok;
      }),
    );
  withExamples(withClient(start), 'wf start 01KAT3M5Z8V6Q2W4E9R7T1Y0P3', 'wf start 01KAT3M5Z8V6Q2W4E9R7T1Y0P3 --watch');
}

async function submitWorkflow(shell: Shell, options: SubmitOptions, file: string | undefined) {
  if ((file === undefined) === (options.definition === undefined)) {
    throw new CommandError('give a file, or --definition with the name or hash of a registered one');
  }
  const fromFile = options.inputsFile === undefined ? {} : await readInputs(shell, options.inputsFile);
  const inputs = { ...fromFile, ...inputsOf('--input', options.input) };
  const labels = labelsOf('--label', options.label);
  const source: WorkflowSource =
    file !== undefined
      ? { yaml: await readSource(shell.terminal, file) }
      : /^[0-9a-f]{64}$/.test(options.definition ?? '')
        ? { definitionHash: options.definition ?? '' }
        : { definitionName: options.definition ?? '' };
  const client = shell.client(options);
  const start = options.start === true || options.watch === true;
  const { idempotencyKey } = options;
  const { interrupted: signal } = shell.terminal;
  const workflow = await client.submitWorkflow(source, { inputs, labels, start, idempotencyKey, signal }).catch((thrown) => {
    throw file === undefined || options.json ? thrown : withFile(thrown, file);
  });
  if (!options.json) {
    shell.line(`${workflow.id}  ${workflow.name}  ${statusText(shell.terminal, workflowStatusName(workflow.status))}`);
    if (!start && shell.terminal.interactive) shell.note(shell.paint('dim', `start it: wf start ${workflow.id} --watch`));
  } else if (!options.watch) {
    shell.printMessage(WorkflowSchema, workflow);
  }
  return options.watch ? follow(shell, client, workflow.id, { json: options.json === true }) : exit.ok;
}

async function readInputs(shell: Shell, path: string): Promise<JsonObject> {
  const source = await readSource(shell.terminal, path);
  let inputs: unknown;
  try {
    inputs = parse(source, { maxAliasCount: 100 });
  } catch (thrown) {
    throw new CommandError(`--inputs-file ${path}: ${thrown instanceof Error ? thrown.message.split('\n')[0] : 'no JSON or YAML'}`);
  }
  if (typeof inputs !== 'object' || inputs === null || Array.isArray(inputs)) {
    throw new CommandError(`--inputs-file ${path}: must hold an object, input name to value`);
  }
  return JSON.parse(JSON.stringify(inputs)) as JsonObject;
}

/** The problems of a refused file, as `wf validate` prints them. */
function withFile(thrown: unknown, file: string): unknown {
  if (!(thrown instanceof WorkflowError) || thrown.problems.length === 0) return thrown;
  const [first, ...more] = thrown.problems.map((problem) => problemLine(file, problem));
  return new CommandError(first, exit.usage, more);
}
