/**
 * An assignment as the job that a handler is given (R24).
 */
import type { Assignment, NamedPayload } from '@workflow-orchestrator/proto';
import type { Job, Json } from '../handler.ts';
import { type Read, readPayload } from './value.ts';

/** A job whose parameters were not checked yet, or why its values cannot be read. */
export type ReadJob = { readonly kind: 'job'; readonly job: Job } | { readonly kind: 'problem'; readonly message: string };

/** Reads parameters and input. */
export function readJob(assignment: Assignment): ReadJob {
  const parameters = readPayload(assignment.parameters, 'the parameters');
  if (parameters.kind === 'problem') return parameters;
  const input = readInput(assignment.inputs);
  if (input.kind === 'problem') return input;
  const job: Job = {
    workflowId: assignment.workflowId,
    workflowName: assignment.workflowName,
    id: assignment.jobId,
    type: assignment.type,
    attempt: assignment.attempt,
    maxAttempts: assignment.maxAttempts,
    instance: assignment.instance,
    // Parameters that were left out are none.
    parameters: parameters.value ?? {},
    input: input.value,
  };
  return { kind: 'job', job };
}

/** One entry: its value. Several: a map of job id to output. None: null. */
export function readInput(inputs: readonly NamedPayload[]): Read {
  if (inputs.length === 0) return { kind: 'value', value: null };
  if (inputs.length === 1) return readPayload(inputs[0]!.payload, nameOf(inputs[0]!));
  const entries: [string, Json][] = [];
  for (const input of inputs) {
    const read = readPayload(input.payload, nameOf(input));
    if (read.kind === 'problem') return read;
    entries.push([input.jobId, read.value]);
  }
  // Not by assignment: a job may be called __proto__.
  return { kind: 'value', value: Object.fromEntries(entries) };
}

function nameOf({ jobId }: NamedPayload): string {
  return jobId === '' ? "the workflow's inputs" : `the output of job '${jobId}'`;
}
