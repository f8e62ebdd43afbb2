/** Expected failures of service methods, each with its code and its machine-readable details. */
import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import type { InputProblem, Problem } from '@workflow-orchestrator/engine/definition';
import {
  type DefinitionProblem,
  DefinitionProblemSchema,
  DefinitionProblemsSchema,
  ErrorInfoSchema,
  FieldViolationsSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from '@workflow-orchestrator/proto';
import { OutcomeUnknown, ShardAway, ShardStopped } from '../../shard/requests.ts';
import { StoreUnavailable } from '../../store/store.ts';

/** Pause before a caller comes back after it has been everywhere else. */
const RETRY_ELSEWHERE_MS = 250;

/** A problem of a definition as message. */
export function problemMessage(problem: Problem): DefinitionProblem {
  return create(DefinitionProblemSchema, problem);
}

/** The definition is refused; every problem is in the details, the first one in the message. */
export function badDefinition(problems: readonly Problem[]): ConnectError {
  const first = problems[0]!;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  const hint = first.hint === '' ? '' : `; ${first.hint}`;
  const path = first.path === '' ? '' : `${first.path}: `;
  const message = `line ${first.line}, column ${first.column}: ${path}${first.message}${hint}${more}`;
  return new ConnectError(message, Code.InvalidArgument, undefined, [
    { desc: DefinitionProblemsSchema, value: { problems: problems.map(problemMessage) } },
    { desc: ErrorInfoSchema, value: { reason: 'BAD_DEFINITION' } },
  ]);
}

/** Inputs do not fit the definition. */
export function badInputs(problems: readonly InputProblem[]): ConnectError {
  const message = problems.map(({ path, message }) => `${path}: ${message}`).join('; ');
  const violations = problems.map(({ path, message }) => ({ field: path, description: message, rule: 'inputs' }));
  return new ConnectError(message, Code.InvalidArgument, undefined, [
    { desc: FieldViolationsSchema, value: { violations } },
    { desc: ErrorInfoSchema, value: { reason: 'BAD_INPUTS' } },
  ]);
}

/** One field of a request is wrong in a way that the message rules cannot say. */
export function badField(field: string, description: string): ConnectError {
  return new ConnectError(`${field}: ${description}`, Code.InvalidArgument, undefined, [
    { desc: FieldViolationsSchema, value: { violations: [{ field, description, rule: 'value' }] } },
  ]);
}

/** There is no such thing. */
export function notFound(resourceType: 'workflow' | 'job' | 'definition' | 'worker', resourceName: string): ConnectError {
  return new ConnectError(`there is no ${resourceType} '${resourceName}'`, Code.NotFound, undefined, [
    { desc: ResourceInfoSchema, value: { resourceType, resourceName } },
  ]);
}

/** The workflow is not in a state in which this can be done. */
export function wrongState(workflowId: string, reason: string, message: string): ConnectError {
  return new ConnectError(message, Code.FailedPrecondition, undefined, [
    { desc: ErrorInfoSchema, value: { reason } },
    { desc: ResourceInfoSchema, value: { resourceType: 'workflow', resourceName: workflowId } },
  ]);
}

/** The key belongs to another request. */
export function keyReused(key: string, workflowId: string): ConnectError {
  const message = `the idempotency key '${key}' was used for workflow ${workflowId} with another definition, inputs, labels or start`;
  return new ConnectError(message, Code.AlreadyExists, undefined, [
    { desc: ErrorInfoSchema, value: { reason: 'IDEMPOTENCY_KEY_REUSED', metadata: { key } } },
    { desc: ResourceInfoSchema, value: { resourceType: 'workflow', resourceName: workflowId } },
  ]);
}

/** What the shard answers; when it takes no more input, or what is behind it is away, the error that says so. */
export async function answered<T>(reply: Promise<T>): Promise<T> {
  try {
    return await reply;
  } catch (error) {
    throw translate(error);
  }
}

/** The same for what answers at once. */
export function translated<T>(ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    throw translate(error);
  }
}

function translate(error: unknown): unknown {
  if (error instanceof ShardStopped) return unavailable('ENDING', error.message);
  if (error instanceof OutcomeUnknown) return outcomeUnknown(error.message);
  if (error instanceof ShardAway) return unavailable('STANDBY', error.message);
  if (error instanceof StoreUnavailable) return unavailable('STORE_UNAVAILABLE', error.message);
  return error;
}

/** This coordinator cannot answer now; nothing was done. Another one, or the same a moment later, may. */
export function unavailable(reason: 'ENDING' | 'STANDBY' | 'STORE_UNAVAILABLE', message: string): ConnectError {
  return new ConnectError(message, Code.Unavailable, undefined, [
    { desc: ErrorInfoSchema, value: { reason } },
    { desc: RetryInfoSchema, value: { retryDelay: durationFromMs(RETRY_ELSEWHERE_MS) } },
  ]);
}

/** This coordinator cannot say whether it was done, and nobody else can. Without RetryInfo: only what may be done twice may be asked again. */
function outcomeUnknown(message: string): ConnectError {
  return new ConnectError(message, Code.Unavailable, undefined, [{ desc: ErrorInfoSchema, value: { reason: 'OUTCOME_UNKNOWN' } }]);
}

/** No room now; nothing was done. */
export function overloaded(message: string, retryAfterMs: number): ConnectError {
  return new ConnectError(`overloaded: ${message}`, Code.ResourceExhausted, undefined, [
    { desc: ErrorInfoSchema, value: { reason: 'OVERLOADED' } },
    { desc: RetryInfoSchema, value: { retryDelay: durationFromMs(retryAfterMs) } },
  ]);
}

/** A limit by its name. */
export function limitExceeded(limit: string, max: number, message: string): ConnectError {
  return new ConnectError(`${message} (limit ${limit}: ${max})`, Code.ResourceExhausted, undefined, [
    { desc: ErrorInfoSchema, value: { reason: 'LIMIT_EXCEEDED', metadata: { limit, max: String(max) } } },
  ]);
}
