/**
 * The one error class of the client: what went wrong as a code, with everything that the server said about it as typed fields.
 */
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { type DurationSchema, durationMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  type DefinitionProblem,
  DefinitionProblemsSchema,
  ErrorInfoSchema,
  type FieldViolation,
  FieldViolationsSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from '@workflow-orchestrator/proto';

const codeNames = {
  [Code.Canceled]: 'canceled',
  [Code.Unknown]: 'unknown',
  [Code.InvalidArgument]: 'invalid_argument',
  [Code.DeadlineExceeded]: 'deadline_exceeded',
  [Code.NotFound]: 'not_found',
  [Code.AlreadyExists]: 'already_exists',
  [Code.PermissionDenied]: 'permission_denied',
  [Code.ResourceExhausted]: 'resource_exhausted',
  [Code.FailedPrecondition]: 'failed_precondition',
  [Code.Aborted]: 'aborted',
  [Code.OutOfRange]: 'out_of_range',
  [Code.Unimplemented]: 'unimplemented',
  [Code.Internal]: 'internal',
  [Code.Unavailable]: 'unavailable',
  [Code.DataLoss]: 'data_loss',
  [Code.Unauthenticated]: 'unauthenticated',
} as const satisfies Record<Code, string>;

/** What kind of thing went wrong; the codes of Connect and gRPC. */
export type WorkflowErrorCode = (typeof codeNames)[Code];

/** Everything but the message that an error may carry. */
export interface WorkflowErrorDetails {
  readonly reason?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly problems?: readonly DefinitionProblem[];
  readonly violations?: readonly FieldViolation[];
  readonly resource?: { readonly type: string; readonly name: string } | null;
  readonly retryDelayMs?: number | null;
  readonly cause?: unknown;
}

/** A call that did not lead to an answer, or a wait that did not lead to what was waited for. */
export class WorkflowError extends Error {
  override readonly name = 'WorkflowError';
  readonly code: WorkflowErrorCode;
  /** Why, as a stable upper-case word such as `IDEMPOTENCY_KEY_REUSED`; empty when the server named none. */
  readonly reason: string;
  /** Facts that belong to the reason. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Every problem of a refused definition, in the order of the file; empty otherwise. */
  readonly problems: readonly DefinitionProblem[];
  /** Every bad field of a refused request; empty otherwise. */
  readonly violations: readonly FieldViolation[];
  /** What the error is about, for instance `{ type: 'workflow', name: '01J...' }`. */
  readonly resource: { readonly type: string; readonly name: string } | null;
  /** Set when the request had no effect and may be sent again: not before this many milliseconds. */
  readonly retryDelayMs: number | null;

  constructor(code: WorkflowErrorCode, message: string, details: WorkflowErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = details.reason ?? '';
    this.metadata = details.metadata ?? {};
    this.problems = details.problems ?? [];
    this.violations = details.violations ?? [];
    this.resource = details.resource ?? null;
    this.retryDelayMs = details.retryDelayMs ?? null;
  }
}

/** Whatever was thrown on the way to the server and back, as a `WorkflowError`. */
export function toWorkflowError(thrown: unknown): WorkflowError {
  if (thrown instanceof WorkflowError) return thrown;
  const error = ConnectError.from(thrown);
  const info = firstDetail(error, ErrorInfoSchema);
  const resource = firstDetail(error, ResourceInfoSchema);
  const retry = firstDetail(error, RetryInfoSchema);
  return new WorkflowError(codeNames[error.code] ?? 'unknown', error.rawMessage || codeNames[error.code], {
    reason: info?.reason ?? '',
    metadata: info?.metadata ?? {},
    problems: firstDetail(error, DefinitionProblemsSchema)?.problems ?? [],
    violations: firstDetail(error, FieldViolationsSchema)?.violations ?? [],
    resource: resource ? { type: resource.resourceType, name: resource.resourceName } : null,
    retryDelayMs: retry ? delayOf(retry.retryDelay) : null,
    cause: error.cause ?? error,
  });
}

function firstDetail<D extends DescMessage>(error: ConnectError, schema: D): MessageShape<D> | undefined {
  return error.findDetails(schema)[0];
}

function delayOf(delay: MessageShape<typeof DurationSchema> | undefined): number {
  return delay === undefined ? 0 : Math.max(0, durationMs(delay));
}

/** Codes of errors that may be gone a moment later: the connection, the server's state, its load. */
const transientCodes: ReadonlySet<WorkflowErrorCode> = new Set([
  'unavailable',
  'unknown',
  'internal',
  'aborted',
  'deadline_exceeded',
  'data_loss',
  'resource_exhausted',
]);

/** Whether a stream that broke off with this error is worth opening again. */
export function isTransient(error: WorkflowError): boolean {
  return error.retryDelayMs !== null || transientCodes.has(error.code);
}
