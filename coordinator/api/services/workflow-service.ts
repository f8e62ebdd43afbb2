/** Submit, steer and follow workflows: the one implementation behind all faces. */
import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  BatchSubmitResultSchema,
  BatchSubmitWorkflowsResponseSchema,
  CancelWorkflowResponseSchema,
  type Durability,
  GetJobResponseSchema,
  GetWorkflowResponseSchema,
  type Job_Status,
  ListAttemptsResponseSchema,
  ListJobsResponseSchema,
  type ListWorkflowsRequest,
  ListWorkflowsResponseSchema,
  PauseWorkflowResponseSchema,
  ResumeWorkflowResponseSchema,
  StartWorkflowResponseSchema,
  SubmitWorkflowResponseSchema,
  type Workflow,
  Workflow_Status,
  Workflow_View,
  WorkflowService,
} from '@workflow-orchestrator/proto';
import type { ClientCommand, Submission, SubmitReply } from '../../shard/requests.ts';
import type { ShardClient } from '../../shard/seat.ts';
import type { ListFilter } from '../../store/store.ts';
import { type MountedService, mount } from '../context.ts';
import { answered, badField, keyReused, notFound, overloaded, wrongState } from './failures.ts';
import type { Logs } from './logs.ts';
import { OpenStreams } from './open-streams.ts';
import { pageSize, pageTokenOf, readPagePlace, readPageToken } from './pages.ts';
import { readLogs } from './read-logs.ts';
import { type Found, Reader } from './reader.ts';
import { renderAttempts, renderJob, renderWorkflow } from './render.ts';
import type { Submissions } from './submissions.ts';
import { Watches } from './watch.ts';

/** What the workflow service works on. */
export interface WorkflowServiceParts {
  readonly shard: ShardClient;
  readonly submissions: Submissions;
  readonly logs: Logs;
}

/** The workflow service over one shard. */
export function workflowService({ shard, submissions, logs }: WorkflowServiceParts): MountedService<typeof WorkflowService> {
  const { durability } = shard;
  const streams = new OpenStreams();
  const reader = new Reader(shard);
  const watches = new Watches({ shard, reader, streams });

  const steer = async (workflowId: string, command: ClientCommand): Promise<Workflow> => {
    const reply = await answered(shard.command(workflowId, command));
    if (reply.kind === 'not-found') {
      const { state } = await reader.find(workflowId);
      throw wrongState(workflowId, 'WORKFLOW_ENDED', `the workflow has ended: ${state.status}`);
    }
    if (reply.kind === 'ignored' && reply.reason !== 'duplicate') {
      throw wrongState(workflowId, reply.reason === 'ended' ? 'WORKFLOW_ENDED' : 'WRONG_STATE', reply.message);
    }
    return renderWorkflow(reply.state, 'full', durability, reply.at);
  };

  const readJob = async <T>(workflowId: string, jobId: string, view: (found: Found, index: number) => T): Promise<T> => {
    const found = await reader.find(workflowId);
    const index = found.state.graph.indexOf.get(jobId);
    if (index === undefined) throw notFound('job', jobId);
    return view(found, index);
  };

  return mount(WorkflowService, {
    async submitWorkflow(request) {
      const submission = (await submissions.prepare(request))();
      const [reply] = await answered(shard.submit([submission]));
      const accepted = acceptedOf(reply!, submission);
      const workflow = renderWorkflow(accepted.state, 'full', durability, accepted.at);
      return create(SubmitWorkflowResponseSchema, { workflow, existed: accepted.existed });
    },

    async batchSubmitWorkflows({ requests }) {
      const prepared = await Promise.all(
        requests.map((request) => submissions.prepare(request).catch((error: unknown) => ConnectError.from(error))),
      );
      const submitted = prepared.map((item) => (item instanceof ConnectError ? item : item()));
      const replies = await answered(shard.submit(submitted.filter((item): item is Submission => !(item instanceof ConnectError))));
      let next = 0;
      const results = submitted.map((item) =>
        item instanceof ConnectError ? refusal(item) : batchResult(replies[next++]!, item, durability),
      );
      return create(BatchSubmitWorkflowsResponseSchema, { results });
    },

    async startWorkflow({ workflowId }) {
      return create(StartWorkflowResponseSchema, { workflow: await steer(workflowId, { kind: 'start' }) });
    },

    async cancelWorkflow({ workflowId, reason, force }) {
      return create(CancelWorkflowResponseSchema, { workflow: await steer(workflowId, { kind: 'cancel', reason, force }) });
    },

    async pauseWorkflow({ workflowId }) {
      return create(PauseWorkflowResponseSchema, { workflow: await steer(workflowId, { kind: 'pause' }) });
    },

    async resumeWorkflow({ workflowId }) {
      return create(ResumeWorkflowResponseSchema, { workflow: await steer(workflowId, { kind: 'resume' }) });
    },

    async getWorkflow({ workflowId, view }) {
      const { state, at } = await reader.find(workflowId);
      const workflow = renderWorkflow(state, view === Workflow_View.SUMMARY ? 'summary' : 'full', durability, at);
      return create(GetWorkflowResponseSchema, { workflow });
    },

    async listWorkflows(request, { signal }) {
      const filter = filterOf(request);
      // One more than a page, to know whether there is a next one.
      const { states, at } = await reader.list({ ...filter, limit: filter.limit + 1 }, signal);
      const page = states.slice(0, filter.limit);
      return create(ListWorkflowsResponseSchema, {
        workflows: page.map((state) => renderWorkflow(state, 'summary', durability, at)),
        nextPageToken: states.length > page.length ? pageTokenOf('workflows', page.at(-1)!.id) : '',
      });
    },

    watchWorkflow: (request, context) => watches.watch(request, context),

    async listJobs({ workflowId, status, pageSize: size, pageToken }) {
      const limit = pageSize(size, 100);
      const start = readPagePlace('jobs', pageToken);
      const { state, at } = await reader.find(workflowId);
      const wanted = new Set<Job_Status>(status);
      const jobs = [];
      let index = start;
      for (; index < state.jobs.length && jobs.length < limit; index++) {
        const job = renderJob(state, index, state.jobs[index]!, at);
        if (wanted.size === 0 || wanted.has(job.status)) jobs.push(job);
      }
      return create(ListJobsResponseSchema, { jobs, nextPageToken: index < state.jobs.length ? pageTokenOf('jobs', String(index)) : '' });
    },

    async getJob({ workflowId, jobId }) {
      const job = await readJob(workflowId, jobId, ({ state, at }, index) => renderJob(state, index, state.jobs[index]!, at));
      return create(GetJobResponseSchema, { job });
    },

    async listAttempts({ workflowId, jobId }) {
      const attempts = await readJob(workflowId, jobId, ({ state }, index) => renderAttempts(state.jobs[index]!));
      return create(ListAttemptsResponseSchema, { attempts });
    },

    readLogs: (request, context) => readLogs({ shard, reader, logs, streams }, request, context),
  });
}

function acceptedOf(reply: SubmitReply, submission: Submission): Extract<SubmitReply, { kind: 'accepted' }> {
  switch (reply.kind) {
    case 'accepted':
      return reply;
    case 'key-reused':
      throw keyReused(submission.idempotencyKey, reply.workflowId);
    case 'overloaded':
      throw overloaded(reply.message, reply.retryAfterMs);
    default:
      return reply satisfies never;
  }
}

function batchResult(reply: SubmitReply, submission: Submission, durability: Durability) {
  try {
    const { state, existed } = acceptedOf(reply, submission);
    return create(BatchSubmitResultSchema, { workflowId: state.id, existed, durability });
  } catch (error) {
    return refusal(ConnectError.from(error));
  }
}

function refusal(error: ConnectError) {
  const code = Code[error.code]!.replace(/(?<!^)[A-Z]/g, '_$&').toLowerCase();
  return create(BatchSubmitResultSchema, { errorCode: code, errorMessage: error.rawMessage });
}

function filterOf(request: ListWorkflowsRequest): ListFilter {
  const statuses = new Set(
    request.status.filter((status) => status !== Workflow_Status.STATUS_UNSPECIFIED).map((status) => STATUS_NAMES.get(status)!),
  );
  const labels = new Map<string, string>();
  for (const label of request.label) {
    const at = label.indexOf('=');
    if (at < 1) throw badField('label', `'${label}' is not of the form key=value`);
    labels.set(label.slice(0, at), label.slice(at + 1));
  }
  return {
    statuses,
    name: request.name,
    submittedAfter: request.submittedAfter === undefined ? 0 : timestampMs(request.submittedAfter),
    submittedBefore: request.submittedBefore === undefined ? Number.POSITIVE_INFINITY : timestampMs(request.submittedBefore),
    labels,
    beforeId: readPageToken('workflows', request.pageToken),
    limit: pageSize(request.pageSize, 50),
  };
}

const STATUS_NAMES = new Map<Workflow_Status, string>(
  Object.entries(Workflow_Status).map(([name, value]) => [value as Workflow_Status, name]),
);
