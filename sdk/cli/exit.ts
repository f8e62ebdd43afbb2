/**
 * How `wf` ends: a number for scripts, one clear line for people.
 */
import { toJson } from '@bufbuild/protobuf';
import { DefinitionProblemSchema, FieldViolationSchema, Workflow_Status } from '@workflow-orchestrator/proto';
import type { limits } from '@workflow-orchestrator/proto/limits';
import { toWorkflowError, WorkflowError, type WorkflowErrorCode } from '../client/error.ts';

/** Exit codes that scripts can use. */
export const exit = {
  /** Done; a workflow that was followed SUCCEEDED. */
  ok: 0,
  /** The workflow FAILED. */
  failed: 1,
  /** The command line or the input is not right; a definition was refused. */
  usage: 2,
  /** There is no such workflow, job, worker or definition. */
  notFound: 3,
  /** The workflow was CANCELLED. */
  cancelled: 4,
  /** The coordinator does not answer, or has no room now. */
  unavailable: 5,
  /** The coordinator refused: token, permission, a state that does not allow it; or it failed itself. */
  refused: 6,
  /** A fault of `wf` itself. */
  fault: 70,
  /** Interrupted by the user. */
  interrupted: 130,
} as const;

/** One of the numbers above. */
export type ExitCode = (typeof exit)[keyof typeof exit];

/** A reason to end that is not the server's: shown as it is. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly code: ExitCode;
  /** More lines for people, below the message. */
  readonly details: readonly string[];

  constructor(message: string, code: ExitCode = exit.usage, details: readonly string[] = []) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/** The exit code that says how a workflow ended. */
export function exitOfWorkflow(status: Workflow_Status): ExitCode {
  switch (status) {
    case Workflow_Status.FAILED:
      return exit.failed;
    case Workflow_Status.CANCELLED:
      return exit.cancelled;
    default:
      return exit.ok;
  }
}

const exitOfCode: Partial<Record<WorkflowErrorCode, ExitCode>> = {
  invalid_argument: exit.usage,
  already_exists: exit.usage,
  out_of_range: exit.usage,
  not_found: exit.notFound,
  unavailable: exit.unavailable,
  deadline_exceeded: exit.unavailable,
  resource_exhausted: exit.unavailable,
  canceled: exit.interrupted,
};

/** Limits of what is sent, not of the room that the coordinator has: trying again later helps nobody. */
const ownLimits: readonly string[] = ['requestBytes', 'batchRequestBytes'] satisfies (keyof typeof limits)[];

function exitOfError(error: WorkflowError): ExitCode {
  if (error.resource?.type === 'file') return exit.usage;
  if (error.reason === 'LIMIT_EXCEEDED' && ownLimits.includes(error.metadata.limit ?? '')) return exit.usage;
  return exitOfCode[error.code] ?? exit.refused;
}

/** What to say about anything that was thrown, and the number to end with. Null says that there is nothing to say. */
export interface Farewell {
  readonly code: ExitCode;
  readonly lines: readonly string[];
  /** For `--json`. */
  readonly json: object;
}

/** Turns a thrown error into a farewell; null when it is a fault of this program, which must not look like the user's. */
export function farewellOf(thrown: unknown): Farewell | null {
  if (thrown instanceof CommandError) {
    return { code: thrown.code, lines: [thrown.message, ...thrown.details], json: { message: thrown.message, details: thrown.details } };
  }
  if (!(thrown instanceof WorkflowError)) return null;
  const error = toWorkflowError(thrown);
  const code = exitOfError(error);
  const lines = [
    error.message,
    ...error.problems.map(
      (problem) => `${problem.line}:${problem.column}: ${problem.message}${problem.hint === '' ? '' : ` (${problem.hint})`}`,
    ),
    ...error.violations.map((violation) => `${violation.field}: ${violation.description}`),
    ...(error.retryDelayMs === null ? [] : [`it had no effect; try again in ${error.retryDelayMs} ms`]),
  ];
  const json = {
    code: error.code,
    message: error.message,
    ...(error.reason === '' ? {} : { reason: error.reason, metadata: error.metadata }),
    ...(error.resource === null ? {} : { resource: error.resource }),
    ...(error.problems.length === 0 ? {} : { problems: error.problems.map((problem) => toJson(DefinitionProblemSchema, problem)) }),
    ...(error.violations.length === 0 ? {} : { violations: error.violations.map((violation) => toJson(FieldViolationSchema, violation)) }),
    ...(error.retryDelayMs === null ? {} : { retryDelayMs: error.retryDelayMs }),
  };
  return { code, lines, json };
}
