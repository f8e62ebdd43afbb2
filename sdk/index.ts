/**
 * The client library: submit, steer and follow workflows, and write them in code. Runs in Node 20 and later and in browsers.
 */

export type {
  Attempt,
  Definition,
  DefinitionProblem,
  FieldViolation,
  GetInfoResponse,
  Job,
  LogLine,
  ValidateDefinitionResponse,
  Worker,
  Workflow,
  WorkflowEvent,
} from '@workflow-orchestrator/proto';
export { Attempt_Outcome, Durability, Job_SkipReason, Job_Status, Worker_Status, Workflow_Status } from '@workflow-orchestrator/proto';
export * from './builder/builder.ts';
export type {
  Duration,
  JobOptions,
  JsonValue,
  RetryOptions,
  TimeoutOptions,
  WorkflowDocument,
  WorkflowOptions,
} from './builder/document.ts';
export type { CallOptions, Clock } from './client/call.ts';
export * from './client/client.ts';
export { WorkflowError, type WorkflowErrorCode } from './client/error.ts';
export type { LogOptions } from './client/logs.ts';
export type { Page } from './client/page.ts';
export type { RetryPolicy } from './client/retry.ts';
export type { DefinitionSource, WorkflowSource, YamlSource } from './client/source.ts';
export * from './client/status.ts';
export type { StreamOptions } from './client/stream.ts';
export type { BatchItem, BatchResult, SubmitInit } from './client/submit.ts';
export { jsonOf } from './client/value.ts';
export type { WaitOptions } from './client/wait.ts';
export type { WatchOptions, WatchStep } from './client/watch.ts';
