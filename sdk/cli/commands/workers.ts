/**
 * `wf workers`, `wf workers drain`: see and drain workers.
 */
import { toJson } from '@bufbuild/protobuf';
import { type Worker, Worker_Status, WorkerSchema } from '@workflow-orchestrator/proto';
import type { Command } from 'commander';
import { type ExitCode, exit } from '../exit.ts';
import { action, type CommonOptions, type Shell, withClient, withExamples } from '../shell.ts';
import { table } from '../show/table.ts';
import { timeText } from '../show/time.ts';
import { clean, type Style } from '../terminal.ts';

/** Adds the commands. */
export function registerWorkers(program: Command, shell: Shell): void {
  const workers = program
    .command('workers')
    .description('list connected workers')
    .action(action<[], CommonOptions>(shell, (options) => listWorkers(shell, options)));
  withExamples(withClient(workers), 'wf workers', 'wf workers --json | jq -r .workers[].id', 'wf workers drain worker-1');

  const drain = workers
    .command('drain')
    .argument('<id>', 'id of the worker')
    .description('give a worker no more work; it ends when what it has is done')
    .option('-r, --reason <text>', 'why, for people', '')
    .action(
      action<[string], CommonOptions & { readonly reason: string }>(shell, async (_, id) => {
        // Options that the parent has too are the parent's, wherever they were written.
        const options = drain.optsWithGlobals<CommonOptions & { readonly reason: string }>();
        shell.json = options.json === true;
        const worker = await shell.client(options).drainWorker(id, { reason: options.reason, signal: shell.terminal.interrupted });
        if (options.json) shell.printMessage(WorkerSchema, worker);
        else shell.line(`${clean(worker.id)}  ${statusOf(worker).word}`);
        return exit.ok;
      }),
    );
  withExamples(withClient(drain), 'wf workers drain worker-1 --reason "new version"');
}

async function listWorkers(shell: Shell, options: CommonOptions): Promise<ExitCode> {
  const workers: Worker[] = [];
  for await (const worker of shell.client(options).workers({ signal: shell.terminal.interrupted })) workers.push(worker);
  if (options.json) {
    shell.printJson({ workers: workers.map((worker) => toJson(WorkerSchema, worker)) });
    return exit.ok;
  }
  if (workers.length === 0) {
    shell.note('no workers are connected; start one: wf worker');
    return exit.ok;
  }
  const rows = workers.map((worker) => {
    const { word, style } = statusOf(worker);
    const labels = Object.entries(worker.labels).map(([key, value]) => `${key}=${value}`);
    return [
      clean(worker.id),
      shell.paint(style, word),
      `${worker.running}/${worker.slots}`,
      timeText(worker.connectTime),
      clean(worker.types.join(',')),
      clean(labels.join(',')),
    ];
  });
  for (const line of table(['ID', 'STATUS', 'RUNNING', 'CONNECTED (UTC)', 'TYPES', 'LABELS'], rows)) shell.line(line);
  return exit.ok;
}

function statusOf(worker: Worker): { readonly word: string; readonly style: Style } {
  switch (worker.status) {
    case Worker_Status.ACTIVE:
      return { word: 'ACTIVE', style: 'green' };
    case Worker_Status.SUSPECT:
      return { word: 'SUSPECT', style: 'yellow' };
    case Worker_Status.DRAINING:
      return { word: 'DRAINING', style: 'yellow' };
    case Worker_Status.DISCONNECTED:
      return { word: 'DISCONNECTED', style: 'red' };
    default:
      return { word: 'UNKNOWN', style: 'dim' };
  }
}
