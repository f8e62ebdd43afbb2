/**
 * The limits that worker sessions keep, as a value, so that a test can shorten them.
 */
import { limits } from '@workflow-orchestrator/proto/limits';

type StreamLimitName =
  | 'assignReplyMs'
  | 'cancelGraceMs'
  | 'checkpointBytes'
  | 'errorDetailsBytes'
  | 'errorMessageBytes'
  | 'errorStackBytes'
  | 'frameBytes'
  | 'frameEntries'
  | 'frameErrors'
  | 'goAwayMs'
  | 'handshakesPerSecond'
  | 'heartbeatIntervalMs'
  | 'helloTimeoutMs'
  | 'labelKeyLength'
  | 'labelValueLength'
  | 'leaseMs'
  | 'leaseTokenLength'
  | 'logBytesPerAttempt'
  | 'logLineBytes'
  | 'nameLength'
  | 'outboundDropBytes'
  | 'outboundPauseBytes'
  | 'outboundStallMs'
  | 'outputBytes'
  | 'reasonBytes'
  | 'reconnectGraceMs'
  | 'stallToleranceMs'
  | 'suspectMs'
  | 'workerInFlight'
  | 'workerSlots'
  | 'workers';

/** Limits of the worker stream by name; units as in `proto/limits.ts`. */
export type StreamLimits = { readonly [K in StreamLimitName]: number };

/** The limits of `proto/limits.ts`, with some of them replaced. */
export function streamLimits(overrides: Partial<StreamLimits> = {}): StreamLimits {
  return { ...limits, ...overrides };
}
