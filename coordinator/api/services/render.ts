/** States of the engine as the messages that clients see. The only place where this is said. */
import { create, fromJson, type JsonObject, type JsonValue, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs, type Value, ValueSchema } from '@bufbuild/protobuf/wkt';
import { type GraphJob, type Payload, readPayload } from '@workflow-orchestrator/engine/definition';
import { hasEnded, type JobError, type JobState, jobStatus, type WorkflowState } from '@workflow-orchestrator/engine/machine';
import {
  type Attempt,
  Attempt_Outcome,
  AttemptSchema,
  type Durability,
  type Error as ErrorMessage,
  ErrorSchema,
  type Job,
  Job_SkipReason,
  Job_Status,
  type JobCountsSchema,
  JobSchema,
  type Workflow,
  Workflow_Status,
  WorkflowSchema,
} from '@workflow-orchestrator/proto';

/** How much of a workflow is rendered. */
export type View = 'summary' | 'full';

/** A workflow as it stands at `now` (milliseconds since 1970). */
export function renderWorkflow(state: WorkflowState, view: View, durability: Durability, now: number): Workflow {
  const { graph } = state;
  return create(WorkflowSchema, {
    id: state.id,
    name: graph.name,
    version: graph.version,
    definitionHash: graph.hash,
    status: Workflow_Status[state.status],
    labels: state.labels,
    cancelRequested: state.cancelRequestedAt !== 0,
    jobCounts: countJobs(state, now),
    lastEventSeq: BigInt(state.seq),
    durability,
    idempotencyKey: state.idempotencyKey,
    submitTime: timestampFromMs(state.submittedAt),
    ...time('startTime', state.startedAt),
    ...time('endTime', state.endedAt),
    ...(state.error === null ? {} : { error: renderError(state.error, state.errorJob === null ? '' : graph.jobs[state.errorJob]!.id) }),
    ...(view === 'summary'
      ? {}
      : {
          inputs: object(state.inputs),
          jobs: state.jobs.map((job, index) => renderJob(state, index, job, now)),
          ...(state.outputs === null ? {} : { outputs: object(state.outputs) }),
        }),
  });
}

/** Job `index` in the state `job`, which may be a live one of a moment ago. */
export function renderJob(state: WorkflowState, index: number, job: JobState, now: number): Job {
  const graphJob = state.graph.jobs[index]!;
  const { lease } = job;
  const last = job.attempts.at(-1);
  const status = jobStatus(job, now);
  return create(JobSchema, {
    id: graphJob.id,
    name: graphJob.name,
    type: graphJob.type,
    status: Job_Status[status],
    skipReason: job.skipReason === null ? Job_SkipReason.SKIP_REASON_UNSPECIFIED : Job_SkipReason[job.skipReason],
    causes: job.causes.map((cause) => state.graph.jobs[cause]!.id),
    attempt: lease?.attempt ?? last?.number ?? 0,
    maxAttempts: graphJob.retry.maxAttempts,
    workerId: lease?.workerId ?? last?.workerId ?? '',
    ...time('readyTime', job.readyAt),
    ...time('startTime', lease === null ? (last?.startMs ?? 0) : (lease.acceptedAt ?? 0)),
    ...time('endTime', job.endedAt),
    ...(status === 'RETRYING' ? time('nextAttemptTime', job.notBefore) : {}),
    ...(job.output === null ? {} : { output: renderValue(job.output) }),
    ...(job.error === null ? {} : { error: renderError(job.error, '') }),
    ...(job.phase === 'PENDING' || job.phase === 'SKIPPED' ? {} : parametersOf(job, graphJob)),
    ...(lease?.progress == null ? {} : { progress: lease.progress, progressMessage: lease.progressMessage }),
  });
}

/** The attempts of job `index`, oldest first; the one that runs last. */
export function renderAttempts(job: JobState): Attempt[] {
  const attempts = job.attempts.map((attempt) =>
    create(AttemptSchema, {
      number: attempt.number,
      workerId: attempt.workerId,
      outcome: Attempt_Outcome[attempt.outcome],
      ...time('startTime', attempt.startMs),
      ...time('endTime', attempt.endMs),
      ...(attempt.error === null ? {} : { error: renderError(attempt.error, '') }),
    }),
  );
  const { lease } = job;
  if (lease?.acceptedAt != null) {
    attempts.push(create(AttemptSchema, { number: lease.attempt, workerId: lease.workerId, startTime: timestampFromMs(lease.acceptedAt) }));
  }
  return attempts;
}

/** An error as clients see it, with its details parsed. The stack stays inside. */
export function renderError(error: JobError, jobId: string): ErrorMessage {
  const { code, message, retryable } = error;
  return create(ErrorSchema, {
    code,
    message,
    retryable,
    jobId,
    ...(error.details === null ? {} : { details: renderValue(error.details) }),
  });
}

function countJobs(state: WorkflowState, now: number): MessageInitShape<typeof JobCountsSchema> {
  const counts = {
    total: state.jobs.length,
    pending: 0,
    ready: 0,
    running: 0,
    retrying: 0,
    succeeded: 0,
    failed: 0,
    cancelled: 0,
    skipped: 0,
  };
  for (const job of state.jobs) counts[jobStatus(job, now).toLowerCase() as Exclude<keyof typeof counts, 'total'>] += 1;
  return counts;
}

function parametersOf(job: JobState, graphJob: GraphJob): { parameters?: Value } {
  if (job.parameters !== null) return { parameters: renderValue(job.parameters) };
  // A dynamic template that was never rendered has nothing to show.
  return graphJob.parameters.kind === 'static' && (job.readyAt !== 0 || hasEnded(job.phase))
    ? { parameters: renderValue(graphJob.parameters.payload) }
    : {};
}

function time<K extends string>(key: K, ms: number): { [P in K]?: ReturnType<typeof timestampFromMs> } {
  return (ms === 0 ? {} : { [key]: timestampFromMs(ms) }) as { [P in K]?: ReturnType<typeof timestampFromMs> };
}

/** A payload as the value it stands for. */
export function renderValue(payload: Payload): Value {
  return fromJson(ValueSchema, readPayload(payload) as JsonValue);
}

function object(payload: Payload): JsonObject {
  const json = readPayload(payload);
  return (typeof json === 'object' && json !== null && !Array.isArray(json) ? json : {}) as JsonObject;
}
