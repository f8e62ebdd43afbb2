/**
 * The words of the workflow language for the numbers of the contract.
 */
import { Job_SkipReason, Job_Status, Workflow_Status } from '@workflow-orchestrator/proto';

/** Where a workflow stands, as a word. */
export type WorkflowStatusName = Exclude<keyof typeof Workflow_Status, 'STATUS_UNSPECIFIED'>;
/** Where a job stands, as a word. */
export type JobStatusName = Exclude<keyof typeof Job_Status, 'STATUS_UNSPECIFIED'>;
/** Why a job was skipped, as a word. */
export type SkipReasonName = Exclude<keyof typeof Job_SkipReason, 'SKIP_REASON_UNSPECIFIED'>;

/** `SUCCEEDED` for 4; `UNKNOWN` for a status that this version does not know. */
export function workflowStatusName(status: Workflow_Status): WorkflowStatusName | 'UNKNOWN' {
  return wordOf(Workflow_Status, status) as WorkflowStatusName | 'UNKNOWN';
}

/** `RUNNING` for 3; `UNKNOWN` for a status that this version does not know. */
export function jobStatusName(status: Job_Status): JobStatusName | 'UNKNOWN' {
  return wordOf(Job_Status, status) as JobStatusName | 'UNKNOWN';
}

/** The word for a skip's reason, or null when the job was not skipped. */
export function skipReasonName(reason: Job_SkipReason): SkipReasonName | null {
  return reason === Job_SkipReason.SKIP_REASON_UNSPECIFIED ? null : (wordOf(Job_SkipReason, reason) as SkipReasonName);
}

/** Whether a workflow has come to an end that never changes again. */
export function isEnded(workflow: { readonly status: Workflow_Status }): boolean {
  const { status } = workflow;
  return status === Workflow_Status.SUCCEEDED || status === Workflow_Status.FAILED || status === Workflow_Status.CANCELLED;
}

/** Whether a job has come to an end that never changes again. */
export function isJobEnded(job: { readonly status: Job_Status }): boolean {
  return isJobEndedName(jobStatusName(job.status));
}

/** The same for the word. */
export function isJobEndedName(status: JobStatusName | 'UNKNOWN'): boolean {
  return status === 'SUCCEEDED' || status === 'FAILED' || status === 'CANCELLED' || status === 'SKIPPED';
}

function wordOf(words: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(words).find((word) => words[word] === value && !word.endsWith('UNSPECIFIED')) ?? 'UNKNOWN';
}
