/**
 * Following a workflow to its end on a terminal: as a live picture where there is a cursor, as lines where there is none, as JSON lines.
 */
import { toJson } from '@bufbuild/protobuf';
import { Job_Status, JobSchema, type Workflow, WorkflowEventSchema, WorkflowSchema } from '@workflow-orchestrator/proto';
import type { WorkflowClient } from '../../client/client.ts';
import { toWorkflowError, type WorkflowError } from '../../client/error.ts';
import { isEnded } from '../../client/status.ts';
import type { WatchStep } from '../../client/watch.ts';
import { type ExitCode, exit, exitOfWorkflow } from '../exit.ts';
import { type GraphModel, modelOfDefinition } from '../graph/model.ts';
import type { Shell } from '../shell.ts';
import { LivePicture } from './live.ts';
import { picture, places } from './picture.ts';
import { afterStep, progressOf } from './progress.ts';
import { stepLine } from './steps.ts';

/** How to follow. */
export interface FollowOptions {
  readonly json: boolean;
  /** Told of the picture, so that other lines can go above it; null when it is gone. */
  readonly onPicture?: (picture: LivePicture | null) => void;
}

/** Follows until the end and says how it was. Interrupted, it leaves the workflow alone. */
export async function follow(shell: Shell, client: WorkflowClient, workflowId: string, options: FollowOptions): Promise<ExitCode> {
  const { terminal } = shell;
  try {
    // A watch is patient with lost connections; a coordinator that was never there is told at once.
    const workflow = await client.get(workflowId, { signal: terminal.interrupted });
    if (options.json) return await followAsJson(shell, client, workflowId);
    if (terminal.interactive) await followAsPicture(shell, client, workflow, options);
    else await followAsLines(shell, client, workflow);
    const ended = await client.get(workflowId);
    if (ended.outputs !== undefined && isEnded(ended)) shell.line(`outputs ${JSON.stringify(ended.outputs)}`);
    return exitOfWorkflow(ended.status);
  } catch (thrown) {
    if (!terminal.interrupted.aborted) throw thrown;
    if (!options.json) shell.note(`no longer watching; the workflow goes on: wf watch ${workflowId}`);
    return exit.interrupted;
  }
}

async function followAsJson(shell: Shell, client: WorkflowClient, workflowId: string): Promise<ExitCode> {
  for await (const step of client.watch(workflowId, { signal: shell.terminal.interrupted })) {
    shell.printJson(step.kind === 'event' ? { event: toJson(WorkflowEventSchema, step.event) } : { job: toJson(JobSchema, step.job) });
  }
  const workflow = await client.get(workflowId);
  shell.printJson({ workflow: toJson(WorkflowSchema, workflow) });
  return exitOfWorkflow(workflow.status);
}

async function followAsLines(shell: Shell, client: WorkflowClient, workflow: Workflow): Promise<void> {
  let view = progressOf({ ...workflow, jobs: [] });
  // Jobs are needed for their order only: the events tell the story from its beginning.
  for (const { id } of workflow.jobs) {
    (view.jobs as Map<string, unknown>).set(id, { id, status: 'PENDING', attempt: 0, fraction: null, remark: '', startMs: 0, endMs: 0 });
  }
  view = { ...view, remark: '', endMs: 0 };
  const tell = (step: WatchStep) => {
    const before = view.jobs.get(jobIdOf(step));
    view = afterStep(view, step);
    const line = stepLine(shell.terminal, step, before, view);
    if (line !== null) shell.line(line);
  };
  for await (const step of client.watch(workflow.id, { signal: shell.terminal.interrupted, onReconnect: say(shell) })) {
    tell(step);
    if (step.kind !== 'event' || step.event.seq !== workflow.lastEventSeq) continue;
    // That a job runs is live state and no event: what ran already when the watch began is told where the story reaches that moment.
    for (const job of workflow.jobs) if (job.status === Job_Status.RUNNING) tell({ kind: 'job', job });
  }
}

async function followAsPicture(shell: Shell, client: WorkflowClient, workflow: Workflow, options: FollowOptions): Promise<void> {
  const { terminal } = shell;
  const lines = places(await modelOf(client, workflow));
  let view = progressOf(workflow);
  let trouble = '';
  const live = new LivePicture(() => {
    const drawn = picture(terminal, view, lines, terminal.size(), Date.now());
    return trouble === '' ? drawn : [...drawn, shell.paint('yellow', trouble)];
  });
  options.onPicture?.(live);
  try {
    const onReconnect = (failure: WorkflowError) => {
      trouble = `connection lost, trying again: ${failure.message}`;
    };
    if (isEnded(workflow)) return;
    for await (const step of client.watch(workflow.id, { afterSeq: workflow.lastEventSeq, signal: terminal.interrupted, onReconnect })) {
      trouble = '';
      view = afterStep(view, step);
    }
  } finally {
    options.onPicture?.(null);
    live.stop();
  }
}

/** The shape of a workflow; a coordinator that no longer has the definition leaves a list. */
async function modelOf(client: WorkflowClient, workflow: Workflow): Promise<GraphModel> {
  try {
    return modelOfDefinition(await client.definition(workflow.definitionHash));
  } catch (thrown) {
    if (toWorkflowError(thrown).code !== 'not_found') throw thrown;
    const nodes = workflow.jobs.map(({ id, type }) => ({ id, type, inEdges: [], alwaysRun: false, condition: '', join: 'all' as const }));
    return { name: workflow.name, nodes };
  }
}

function jobIdOf(step: WatchStep): string {
  return step.kind === 'job' ? step.job.id : step.event.jobId;
}

function say(shell: Shell): (failure: WorkflowError, delayMs: number) => void {
  return (failure) => shell.note(`connection lost, trying again: ${failure.message}`);
}
