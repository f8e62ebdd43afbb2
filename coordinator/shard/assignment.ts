/** What a worker is handed: one job of one workflow, as the message of the worker stream. */

import { create } from '@bufbuild/protobuf';
import type { Payload } from '@workflow-orchestrator/engine/definition';
import type { WorkflowState } from '@workflow-orchestrator/engine/machine';
import { type Assignment, AssignmentSchema, NamedPayloadSchema, PayloadSchema } from '@workflow-orchestrator/proto';

const EMPTY: Payload = { encoding: 'json', data: new Uint8Array() };

/** The assignment of a job that has just been leased. */
export function assignmentOf(state: WorkflowState, index: number): Assignment {
  const graphJob = state.graph.jobs[index]!;
  const job = state.jobs[index]!;
  const lease = job.lease!;
  const parameters = job.parameters ?? (graphJob.parameters.kind === 'static' ? graphJob.parameters.payload : EMPTY);
  const inputs =
    graphJob.inEdges.length === 0
      ? [named('', state.inputs)]
      : job.inputJobs.map((source) => named(state.graph.jobs[source]!.id, state.jobs[source]!.output ?? EMPTY));
  return create(AssignmentSchema, {
    leaseToken: lease.token,
    workflowId: state.id,
    workflowName: state.graph.name,
    jobId: graphJob.id,
    attempt: lease.attempt,
    type: graphJob.type,
    parameters: message(parameters),
    inputs,
    runTimeoutMs: BigInt(graphJob.timeouts.runMs ?? 0),
    heartbeatTimeoutMs: BigInt(graphJob.timeouts.heartbeatMs ?? 0),
    idempotencyKey: `${state.id}/${graphJob.id}/0`,
    fencingToken: BigInt(lease.fencingToken),
    maxAttempts: graphJob.retry.maxAttempts,
    ...(job.checkpoint === null ? {} : { checkpoint: message(job.checkpoint) }),
  });
}

function named(jobId: string, payload: Payload) {
  return create(NamedPayloadSchema, { jobId, payload: message(payload) });
}

function message(payload: Payload) {
  return create(PayloadSchema, { encoding: payload.encoding, data: payload.data });
}
