/**
 * `wf db demo`: a workflow is stopped half-way by a coordinator that dies, and goes on where it was.
 *
 * It keeps state where DATABASE_URL and REDIS_URL say, else in a folder of its own that is removed at the end. Each step is checked, not only told.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { Job_Status, type Workflow, Workflow_Status } from '@workflow-orchestrator/proto';
import { coordinatorSettings, resolveSettings } from '@workflow-orchestrator/proto/settings';
import { WorkflowClient } from '../../client/client.ts';
import { CommandError, type ExitCode, exit } from '../exit.ts';
import { Stack } from '../process/stack.ts';
import type { Shell } from '../shell.ts';

/** The second job needs a worker that comes only after the crash. */
const WORKFLOW = `workflow:
  name: persistence-demo
  jobs:
    - { id: before, type: processing, parameters: { operation: transform, data: { order: 4711 } }, on_success: after }
    - { id: after, type: processing, parameters: { operation: transform }, requires: { labels: { shift: second } } }
`;
const STEP_MS = 30_000;

/** Runs it; exit code 0 when everything was as it must be. */
export async function runDemo(shell: Shell): Promise<ExitCode> {
  const { terminal } = shell;
  const settings = resolveSettings(coordinatorSettings, [], terminal.env);
  if (settings.kind === 'bad') throw new CommandError(settings.problems[0], exit.usage, settings.problems.slice(1));
  const { databaseUrl, redisUrl } = settings.values;
  const folder = await mkdtemp(join(tmpdir(), 'workflow-demo-'));
  const env = { ...terminal.env, LOG_LEVEL: 'warn', DATA_DIR: join(folder, 'data'), WORKFLOW_TOKEN: '' };
  const kept = databaseUrl !== null ? 'PostgreSQL' : redisUrl !== null ? 'Redis' : 'the embedded journal';
  try {
    await walk(shell, env, kept);
    return exit.ok;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function walk(shell: Shell, env: Readonly<Record<string, string | undefined>>, kept: string): Promise<void> {
  const { terminal } = shell;
  const say = (step: number, text: string): void => shell.line(`${shell.paint('bold', `${step}.`)} ${text}`);
  const start = (port: number, workers: number, workerEnv: Readonly<Record<string, string>>) =>
    Stack.start({
      host: '127.0.0.1',
      port,
      workers,
      env,
      workerEnv,
      onLine: () => {},
      onStarted: () => {},
      onNote: (text) => shell.line(shell.paint('dim', `   ${text}`)),
      interrupted: terminal.interrupted,
      forced: terminal.forced,
    });

  const stack = await start(0, 1, {});
  let second: Stack | null = null;
  try {
    const client = new WorkflowClient(`http://127.0.0.1:${stack.port}`, { retry: { maxAttempts: 30 } });
    say(1, `a coordinator that keeps state in ${kept}, and one worker`);
    const { id } = await client.submitAndStartWorkflow({ yaml: WORKFLOW }, { idempotencyKey: `demo-${Date.now()}` });
    const before = await until(client, id, (workflow) => statusOf(workflow, 'before') === Job_Status.SUCCEEDED);
    say(2, `workflow ${id}: job 'before' has run; job 'after' waits for a worker with the label shift=second`);
    const ranAt = endOf(before, 'before');

    const killed = stack.coordinatorPid;
    if (killed === undefined) throw new CommandError('the coordinator is not there', exit.refused);
    process.kill(killed, 'SIGKILL');
    say(3, `kill -9 of the coordinator (pid ${killed}), in the middle of the workflow`);
    while (stack.coordinatorPid === killed) await pause(20);
    const again = await until(client, id, () => true);
    expect(again.status === Workflow_Status.RUNNING, 'the workflow is still RUNNING');
    expect(endOf(again, 'before') === ranAt, "job 'before' is still what it was");
    say(4, `a new coordinator (pid ${stack.coordinatorPid}) has read its state: the workflow is RUNNING, job 'before' ended when it ended`);

    await stack.stop();
    say(5, 'everything is stopped, and started again with a worker of the second shift');
    second = await start(stack.port, 1, { WORKER_LABELS: 'shift=second' });
    const end = await until(client, id, (workflow) => workflow.status === Workflow_Status.SUCCEEDED);
    expect(endOf(end, 'before') === ranAt, "job 'before' ran once");
    say(6, `the workflow has SUCCEEDED: job 'before' ran once, job 'after' after two restarts`);
  } finally {
    await second?.stop();
    await stack.stop();
  }
}

async function until(client: WorkflowClient, id: string, isIt: (workflow: Workflow) => boolean): Promise<Workflow> {
  const deadline = performance.now() + STEP_MS;
  for (;;) {
    const workflow = await client.get(id);
    if (isIt(workflow)) return workflow;
    if (performance.now() > deadline) throw new CommandError(`workflow ${id} did not come so far within ${STEP_MS / 1000} s`, exit.refused);
    await pause(50);
  }
}

function statusOf(workflow: Workflow, job: string): Job_Status | undefined {
  return workflow.jobs.find(({ id }) => id === job)?.status;
}

/** When a job ended, milliseconds since 1970; 0 when it has not. */
function endOf(workflow: Workflow, job: string): number {
  const endTime = workflow.jobs.find(({ id }) => id === job)?.endTime;
  return endTime === undefined ? 0 : timestampMs(endTime);
}

function expect(isSo: boolean, what: string): void {
  if (!isSo) throw new CommandError(`it is not so that ${what}`, exit.refused);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
