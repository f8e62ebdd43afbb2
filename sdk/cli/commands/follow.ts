/**
 * `wf status`, `wf watch`, `wf logs`, `wf list`, `wf job`: look at workflows.
 */
import { toJson } from '@bufbuild/protobuf';
import {
  AttemptSchema,
  GetInfoResponseSchema,
  JobSchema,
  type LogLine,
  LogLine_Level,
  LogLineSchema,
  type Workflow,
  Workflow_Status,
  WorkflowSchema,
} from '@workflow-orchestrator/proto';
import type { Command } from 'commander';
import { type WorkflowStatusName, workflowStatusName } from '../../client/status.ts';
import { type ExitCode, exit, exitOfWorkflow } from '../exit.ts';
import { action, type CommonOptions, type Shell, withClient, withExamples } from '../shell.ts';
import { follow } from '../show/follow.ts';
import { infoLines, jobLines, workflowLines } from '../show/pages.ts';
import { statusText } from '../show/status.ts';
import { table } from '../show/table.ts';
import { clockText, elapsedText, timeText } from '../show/time.ts';
import { clean, type Style } from '../terminal.ts';
import { labelsOf, oneOf, timeOf, wholeNumber } from '../words.ts';

const collect = (word: string, before: string[]) => [...before, word];
const statusNames = Object.keys(Workflow_Status).filter((name) => name !== 'STATUS_UNSPECIFIED') as WorkflowStatusName[];

/** Adds the commands. */
export function registerFollow(program: Command, shell: Shell): void {
  const status = program
    .command('status')
    .argument('[id]', 'id of a workflow; without it the coordinator itself is shown')
    .description('show how a workflow stands, or how the coordinator is')
    .option('--exit-status', 'end with the exit code of the workflow: 1 when it FAILED, 4 when it was CANCELLED')
    .action(
      action<[string | undefined], CommonOptions & { readonly exitStatus?: boolean }>(shell, (options, id) =>
        showStatus(shell, options, id),
      ),
    );
  withExamples(
    withClient(status),
    'wf status',
    'wf status 01KAT3M5Z8V6Q2W4E9R7T1Y0P3',
    'wf status 01KAT3M5Z8V6Q2W4E9R7T1Y0P3 --json --exit-status',
  );

  const watch = program
    .command('watch')
    .argument('<id>', 'id of the workflow')
    .description('follow a workflow to its end; the exit code says how it ended')
    .action(
      action<[string], CommonOptions>(shell, (options, id) => follow(shell, shell.client(options), id, { json: options.json === true })),
    );
  withExamples(withClient(watch), 'wf watch 01KAT3M5Z8V6Q2W4E9R7T1Y0P3', 'wf watch 01KAT3M5Z8V6Q2W4E9R7T1Y0P3 --json | jq -c .event');

  const list = program
    .command('list')
    .description('list workflows, newest first')
    .option('-s, --status <status>', `only these (repeatable): ${statusNames.join(', ')}`, collect, [])
    .option('-n, --name <name>', 'only executions of this definition')
    .option('-l, --label <key=value>', 'only with this label (repeatable)', collect, [])
    .option('--since <time>', 'only submitted since then: 2026-11-23T10:00:00Z, or 2h for the last two hours')
    .option('--until <time>', 'only submitted before then')
    .option('--limit <n>', 'at most so many', '50')
    .option('--all', 'no limit')
    .action(action<[], ListOptions>(shell, (options) => listWorkflows(shell, options)));
  withExamples(withClient(list), 'wf list --status FAILED --since 1d', 'wf list --name data-pipeline --label team=data --all --json');

  const job = program
    .command('job')
    .argument('<id>', 'id of the workflow')
    .argument('<job>', 'id of the job')
    .description('show one job with its attempts, error and output')
    .action(action<[string, string], CommonOptions>(shell, (options, id, jobId) => showJob(shell, options, id, jobId)));
  withExamples(
    withClient(job),
    'wf job 01KAT3M5Z8V6Q2W4E9R7T1Y0P3 validate',
    'wf job 01KAT3M5Z8V6Q2W4E9R7T1Y0P3 validate --json | jq .output',
  );

  const logs = program
    .command('logs')
    .argument('<id>', 'id of the workflow')
    .description('print the lines that jobs wrote')
    .option('-f, --follow', 'go on until the workflow ends')
    .option('-j, --job <job>', 'only of this job')
    .action(action<[string], LogOptions>(shell, (options, id) => printLogs(shell, options, id)));
  withExamples(withClient(logs), 'wf logs 01KAT3M5Z8V6Q2W4E9R7T1Y0P3 --follow', 'wf logs 01KAT3M5Z8V6Q2W4E9R7T1Y0P3 --job validate');
}

async function showStatus(
  shell: Shell,
  options: CommonOptions & { readonly exitStatus?: boolean },
  id: string | undefined,
): Promise<ExitCode> {
  const client = shell.client(options);
  const { terminal } = shell;
  if (id === undefined) {
    const info = await client.info({ signal: terminal.interrupted });
    if (options.json) shell.printMessage(GetInfoResponseSchema, info);
    else for (const line of infoLines(terminal, client.address, info, Date.now())) shell.line(line);
    return exit.ok;
  }
  const workflow = await client.get(id, { signal: terminal.interrupted });
  if (options.json) shell.printMessage(WorkflowSchema, workflow);
  else for (const line of workflowLines(terminal, workflow, Date.now())) shell.line(line);
  return options.exitStatus ? exitOfWorkflow(workflow.status) : exit.ok;
}

interface ListOptions extends CommonOptions {
  readonly status: string[];
  readonly name?: string;
  readonly label: string[];
  readonly since?: string;
  readonly until?: string;
  readonly limit: string;
  readonly all?: boolean;
}

async function listWorkflows(shell: Shell, options: ListOptions): Promise<ExitCode> {
  const now = Date.now();
  const most = options.all ? Number.POSITIVE_INFINITY : wholeNumber('--limit', options.limit, 1, 1_000_000);
  const workflows = shell.client(options).list({
    status: options.status.flatMap((word) => word.split(',')).map((word) => oneOf('--status', word, statusNames)),
    name: options.name,
    labels: labelsOf('--label', options.label),
    submittedAfter: options.since === undefined ? undefined : timeOf('--since', options.since, now),
    submittedBefore: options.until === undefined ? undefined : timeOf('--until', options.until, now),
    pageSize: Math.min(most, 200),
    signal: shell.terminal.interrupted,
  });
  const found: Workflow[] = [];
  let more = false;
  for await (const workflow of workflows) {
    if (found.length >= most) {
      more = true;
      break;
    }
    found.push(workflow);
  }
  if (options.json) {
    shell.printJson({ workflows: found.map((workflow) => toJson(WorkflowSchema, workflow)), more });
    return exit.ok;
  }
  if (found.length === 0) {
    shell.note('no workflows');
    return exit.ok;
  }
  const rows = found.map((workflow) => [
    workflow.id,
    workflow.name,
    statusText(shell.terminal, workflowStatusName(workflow.status)),
    timeText(workflow.submitTime),
    elapsedText(workflow.startTime, workflow.endTime, now),
    Object.entries(workflow.labels)
      .map(([key, value]) => clean(`${key}=${value}`))
      .join(','),
  ]);
  for (const line of table(['ID', 'NAME', 'STATUS', 'SUBMITTED (UTC)', 'TOOK', 'LABELS'], rows)) shell.line(line);
  if (more) shell.note(`there are more; --limit or --all shows them`);
  return exit.ok;
}

async function showJob(shell: Shell, options: CommonOptions, id: string, jobId: string): Promise<ExitCode> {
  const client = shell.client(options);
  const call = { signal: shell.terminal.interrupted };
  const [job, attempts] = await Promise.all([client.job(id, jobId, call), client.attempts(id, jobId, call)]);
  if (options.json) {
    shell.printJson({ job: toJson(JobSchema, job), attempts: attempts.map((attempt) => toJson(AttemptSchema, attempt)) });
    return exit.ok;
  }
  for (const line of jobLines(shell.terminal, job, attempts, Date.now())) shell.line(line);
  return exit.ok;
}

interface LogOptions extends CommonOptions {
  readonly follow?: boolean;
  readonly job?: string;
}

const levels: Readonly<Record<number, { readonly word: string; readonly style: Style }>> = {
  [LogLine_Level.DEBUG]: { word: 'DEBUG', style: 'dim' },
  [LogLine_Level.WARN]: { word: 'WARN', style: 'yellow' },
  [LogLine_Level.ERROR]: { word: 'ERROR', style: 'red' },
};

async function printLogs(shell: Shell, options: LogOptions, id: string): Promise<ExitCode> {
  const onReconnect = (failure: Error) => shell.note(`connection lost, trying again: ${failure.message}`);
  const { interrupted } = shell.terminal;
  try {
    for await (const line of shell
      .client(options)
      .logs(id, { jobId: options.job, follow: options.follow, signal: interrupted, onReconnect })) {
      if (options.json) shell.printMessage(LogLineSchema, line);
      else for (const text of logText(shell, line)) shell.line(text);
    }
  } catch (thrown) {
    if (!interrupted.aborted) throw thrown;
    return exit.interrupted;
  }
  return exit.ok;
}

function logText(shell: Shell, line: LogLine): string[] {
  const { word, style } = levels[line.level] ?? { word: 'INFO', style: 'blue' as Style };
  const attempt = line.attempt > 1 ? `#${line.attempt}` : '';
  const text = `${clockText(Number(line.timeMs))} ${shell.paint(style, word.padEnd(5))} ${shell.paint('cyan', line.jobId + attempt)} ${clean(line.message)}`;
  return line.dropped > 0 ? [shell.paint('dim', `(${line.dropped} lines of ${line.jobId} were dropped)`), text] : [text];
}
