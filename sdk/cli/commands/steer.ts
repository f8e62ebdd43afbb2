/**
 * `wf cancel`, `wf pause`, `wf resume`: steer a workflow.
 */
import { type Workflow, WorkflowSchema } from '@workflow-orchestrator/proto';
import type { Command } from 'commander';
import { isEnded, workflowStatusName } from '../../client/status.ts';
import { type ExitCode, exit } from '../exit.ts';
import { action, type CommonOptions, type Shell, withClient, withExamples } from '../shell.ts';
import { statusText } from '../show/status.ts';

/** Adds the commands. */
export function registerSteer(program: Command, shell: Shell): void {
  const cancel = program
    .command('cancel')
    .argument('<id>', 'id of the workflow')
    .description('ask a workflow to end')
    .option('-r, --reason <text>', 'why, for people; kept with the workflow', '')
    .option('-f, --force', 'end jobs with always_run too')
    .action(
      action<[string], CommonOptions & { readonly reason: string; readonly force?: boolean }>(shell, async (options, id) => {
        const { reason, force = false } = options;
        return print(shell, options, await shell.client(options).cancel(id, { reason, force, signal: shell.terminal.interrupted }));
      }),
    );
  withExamples(
    withClient(cancel),
    'wf cancel 01KAT3M5Z8V6Q2W4E9R7T1Y0P3 --reason "wrong input"',
    'wf cancel 01KAT3M5Z8V6Q2W4E9R7T1Y0P3 --force',
  );

  const pause = program
    .command('pause')
    .argument('<id>', 'id of the workflow')
    .description('dispatch no new jobs of a workflow; what runs goes on')
    .action(
      action<[string], CommonOptions>(shell, async (options, id) =>
        print(shell, options, await shell.client(options).pause(id, { signal: shell.terminal.interrupted })),
      ),
    );
  withExamples(withClient(pause), 'wf pause 01KAT3M5Z8V6Q2W4E9R7T1Y0P3');

  const resume = program
    .command('resume')
    .argument('<id>', 'id of the workflow')
    .description('go on with a paused workflow')
    .action(
      action<[string], CommonOptions>(shell, async (options, id) =>
        print(shell, options, await shell.client(options).resume(id, { signal: shell.terminal.interrupted })),
      ),
    );
  withExamples(withClient(resume), 'wf resume 01KAT3M5Z8V6Q2W4E9R7T1Y0P3');
}

function print(shell: Shell, options: CommonOptions, workflow: Workflow): ExitCode {
  if (options.json) shell.printMessage(WorkflowSchema, workflow);
  else {
    const onItsWay = workflow.cancelRequested && !isEnded(workflow) ? ', being cancelled' : '';
    shell.line(`${workflow.id}  ${workflow.name}  ${statusText(shell.terminal, workflowStatusName(workflow.status))}${onItsWay}`);
  }
  return exit.ok;
}
