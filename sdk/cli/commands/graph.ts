/**
 * `wf graph`, `wf plan`: what a workflow looks like and what it will do.
 */

import { setImmediate } from 'node:timers/promises';
import { nearest } from '@workflow-orchestrator/proto/nearest';
import type { Command } from 'commander';
import { WorkflowError } from '../../client/error.ts';
import { type JobStatusName, jobStatusName } from '../../client/status.ts';
import { CommandError, type ExitCode, exit } from '../exit.ts';
import { dotGraph, mermaidGraph } from '../graph/drawing.ts';
import { type GraphModel, modelOfDefinition, modelOfGraph } from '../graph/model.ts';
import { asciiGraph } from '../graph/tree.ts';
import { CaseFinder, type JobCases } from '../plan/cases.ts';
import { type PlannedOutcome, plannedOutcomes } from '../plan/derive.ts';
import { casesJson, casesText, endJson, endText } from '../plan/print.ts';
import { Planner } from '../plan/scenario.ts';
import { action, type CommonOptions, type Shell, withClient, withExamples, withJson } from '../shell.ts';
import { oneOf, pairs } from '../words.ts';
import { compileFile, isFile } from './file.ts';

const collect = (word: string, before: string[]) => [...before, word];
const formats = ['ascii', 'mermaid', 'dot'] as const;

/** Adds the commands. */
export function registerGraph(program: Command, shell: Shell): void {
  const graph = program
    .command('graph')
    .argument('<file|id>', 'a workflow file, the id of a workflow, or the hash of a definition')
    .description('draw the graph of a workflow')
    .option('-f, --format <format>', formats.join(', '), 'ascii')
    .action(action<[string], CommonOptions & { readonly format: string }>(shell, (options, subject) => drawGraph(shell, options, subject)));
  withExamples(
    withClient(graph),
    'wf graph workflow.yaml',
    'wf graph workflow.yaml --format dot | dot -Tsvg > graph.svg',
    'wf graph 01KAT3M5Z8V6Q2W4E9R7T1Y0P3 --format mermaid',
  );

  const plan = program
    .command('plan')
    .argument('<file>', 'YAML or JSON file of the workflow; - reads stdin')
    .description('say what would run: every job by the outcomes of its ancestors, or with --outcome the end of one scenario')
    .option(
      '-o, --outcome <job=outcome>',
      `how a job ends if it runs (repeatable): ${plannedOutcomes.join(', ')}; IF_FALSE: its condition does not hold`,
      collect,
      [],
    )
    .option('-j, --job <job>', 'only this job (repeatable)', collect, [])
    .action(action<[string], PlanOptions>(shell, (options, file) => planFile(shell, options, file)));
  withExamples(
    withJson(plan),
    'wf plan workflow.yaml',
    'wf plan workflow.yaml --job save',
    'wf plan workflow.yaml --outcome validate=FAILED',
    'wf plan workflow.yaml --outcome validate=SUCCEEDED --outcome process=IF_FALSE --json',
  );
}

async function drawGraph(shell: Shell, options: CommonOptions & { readonly format: string }, subject: string): Promise<ExitCode> {
  const format = oneOf('--format', options.format, formats);
  const { model, statuses } = await modelOf(shell, options, subject);
  if (options.json) {
    const jobs = model.nodes.map((node) => ({ ...node, ...(statuses.has(node.id) ? { status: statuses.get(node.id) } : {}) }));
    shell.printJson({ name: model.name, jobs });
    return exit.ok;
  }
  switch (format) {
    case 'ascii':
      shell.terminal.write(asciiGraph(model, statuses));
      break;
    case 'mermaid':
      shell.terminal.write(mermaidGraph(model, statuses));
      break;
    case 'dot':
      shell.terminal.write(dotGraph(model, statuses));
      break;
    default:
      format satisfies never;
  }
  return exit.ok;
}

type Statuses = ReadonlyMap<string, JobStatusName | 'UNKNOWN'>;

async function modelOf(shell: Shell, options: CommonOptions, subject: string): Promise<{ model: GraphModel; statuses: Statuses }> {
  const none: Statuses = new Map();
  if (await isFile(subject)) return { model: modelOfGraph(await compileFile(shell.terminal, subject)), statuses: none };
  const client = shell.client(options);
  const call = { signal: shell.terminal.interrupted };
  if (/^[0-9a-f]{64}$/.test(subject)) return { model: modelOfDefinition(await client.definition(subject, call)), statuses: none };
  const workflow = await client.get(subject, call).catch((thrown) => {
    if (options.json || !(thrown instanceof WorkflowError) || thrown.code !== 'not_found') throw thrown;
    throw new CommandError(`${thrown.message}, and no file of that name`, exit.notFound);
  });
  const definition = await client.definition(workflow.definitionHash, call);
  return { model: modelOfDefinition(definition), statuses: new Map(workflow.jobs.map((job) => [job.id, jobStatusName(job.status)])) };
}

interface PlanOptions {
  readonly json?: boolean;
  readonly outcome: string[];
  readonly job: string[];
}

async function planFile(shell: Shell, options: PlanOptions, file: string): Promise<ExitCode> {
  const graph = await compileFile(shell.terminal, file);
  const indexOf = (option: string, id: string): number => {
    const index = graph.indexOf.get(id);
    if (index !== undefined) return index;
    const near = nearest(id, graph.indexOf.keys());
    throw new CommandError(`${option}: no job ${JSON.stringify(id)} in ${graph.name}${near === null ? '' : `; did you mean ${near}?`}`);
  };
  const planner = new Planner(graph);
  if (options.outcome.length > 0) {
    const outcomes = new Map<number, PlannedOutcome>();
    for (const [id, word] of pairs('--outcome', options.outcome))
      outcomes.set(indexOf('--outcome', id), oneOf(`--outcome ${id}`, word, plannedOutcomes));
    const end = planner.run((index) => outcomes.get(index) ?? 'SUCCEEDED');
    if (options.json) shell.printJson(endJson(graph, end));
    else for (const line of endText(shell.terminal, graph, end)) shell.line(line);
    return exit.ok;
  }
  const jobs = options.job.length > 0 ? options.job.map((id) => indexOf('--job', id)) : graph.jobs.map((job) => job.index);
  const finder = new CaseFinder(planner);
  const cases: JobCases[] = [];
  for (const job of jobs) {
    cases.push(finder.casesOf(job));
    // A large graph takes seconds: Ctrl-C is to be heard meanwhile.
    await setImmediate();
    if (shell.terminal.interrupted.aborted) return exit.interrupted;
  }
  if (options.json) shell.printJson(casesJson(graph, cases));
  else for (const line of casesText(graph, cases)) shell.line(line);
  return exit.ok;
}
