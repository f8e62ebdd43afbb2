/**
 * The limits that a worker keeps, as a value, so that a test can shorten them.
 */
import { limits } from '@workflow-orchestrator/proto/limits';

type WorkerLimitName =
  | 'cancelGraceMs'
  | 'checkpointBytes'
  | 'connectTimeoutMs'
  | 'errorDetailsBytes'
  | 'errorMessageBytes'
  | 'errorStackBytes'
  | 'frameBytes'
  | 'frameEntries'
  | 'frameErrors'
  | 'heartbeatIntervalMs'
  | 'leaseMs'
  | 'logBytesPerAttempt'
  | 'logLineBytes'
  | 'outboundPauseBytes'
  | 'outputBytes'
  | 'reasonBytes'
  | 'reconnectGraceMs'
  | 'reconnectMaxMs'
  | 'reconnectMinMs'
  | 'resultResendMs'
  | 'stallToleranceMs'
  | 'welcomeTimeoutMs'
  | 'workerLogBytes'
  | 'workerResultBytesKept'
  | 'workerResultsKept';

/** Limits of a worker by name; units as in `proto/limits.ts`. */
export type WorkerLimits = { readonly [K in WorkerLimitName]: number };

/** The limits of `proto/limits.ts`, with some of them replaced. */
export function workerLimits(overrides: Partial<WorkerLimits> = {}): WorkerLimits {
  return { ...limits, ...overrides };
}
