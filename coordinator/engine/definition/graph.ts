/**
 * The compiled form of a definition: what the state machine runs on.
 *
 * Invariants
 * 1. Immutable once made, and shared by every workflow of the same definition.
 * 2. Jobs are named by their index, their place in the file, from 0. Only the edges of the shell speak of job ids.
 * 3. The graph of in-edges is acyclic; `order` lists every job after all its sources.
 * 4. Durations are whole milliseconds; an absent one is null, never 0.
 * 5. Expressions are compiled and type-checked; evaluating one never throws: a failure is a value.
 */

/** A JSON value, as expressions and templates see it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A value as bytes, unparsed until an expression reads it. Encoding `json` is UTF-8 JSON text; no data is null. */
export interface Payload {
  readonly encoding: string;
  readonly data: Uint8Array;
}

/** Why an expression has no value. Becomes a job's error `EXPRESSION_ERROR`. */
export interface ExpressionFailure {
  readonly kind: 'failure';
  /** For people: the expression, where it failed and why. */
  readonly message: string;
}

/** An expression's value, or why there is none. */
export type ExpressionResult<T> = { readonly kind: 'value'; readonly value: T } | ExpressionFailure;

/** What expressions may read (workflow-language: Expressions). A name that is not set reads as null. */
export interface Scope {
  readonly inputs: Json;
  /** By job id; called only for jobs that the expression names. */
  readonly job: (index: number) => JobScope;
  readonly workflow: { readonly id: string; readonly name: string; readonly status: string };
  /** Set in a job that a failure edge opened. */
  readonly failure: { readonly job: string; readonly error: ErrorScope; readonly attempts: number } | null;
}

/** A job as expressions see it. */
export interface JobScope {
  readonly output: Json;
  readonly status: string;
  readonly error: ErrorScope | null;
}

/** An error as expressions see it. */
export interface ErrorScope {
  readonly code: string;
  readonly message: string;
}

/** A compiled `if`. */
export interface Condition {
  readonly source: string;
  readonly evaluate: (scope: Scope) => ExpressionResult<boolean>;
}

/** Compiled `parameters` or `outputs`: a fixed payload when no string in it holds an expression. */
export type Template =
  | { readonly kind: 'static'; readonly payload: Payload }
  | { readonly kind: 'dynamic'; readonly render: (scope: Scope) => ExpressionResult<Payload> };

/** `success`: taken when the source SUCCEEDED (or FAILED with allow_failure). `failure`: taken when it FAILED. */
export type EdgeKind = 'success' | 'failure';

/** An edge between two jobs, by index. */
export interface Edge {
  readonly source: number;
  readonly target: number;
  readonly kind: EdgeKind;
}

/** How attempts are repeated. */
export interface RetryPolicy {
  /** Attempts at most, the first included: 1 to 20. */
  readonly maxAttempts: number;
  /**
   * Attempts at most when the last one was lost with its worker. Equals `maxAttempts` where the file writes `max_attempts`;
   * otherwise 1 + `limits.lostWorkerRedeliveries`: a handler's error is not retried by default, but losing a machine is no outcome of the job.
   */
  readonly maxAttemptsWhenLost: number;
  readonly initialDelayMs: number;
  readonly factor: number;
  readonly maxDelayMs: number;
  /** 0 to 1: the delay is spread over `delay * (1 - jitter) .. delay * (1 + jitter)`. */
  readonly jitter: number;
  /** Error codes that are retried; every retryable one when empty. */
  readonly on: readonly string[];
  /** Error codes that are not. */
  readonly notOn: readonly string[];
}

/** The four timeouts of a job. */
export interface JobTimeouts {
  /** READY without a worker for this long: FAILED with QUEUE_TIMEOUT. Counted anew for each attempt. */
  readonly queueMs: number | null;
  /** An attempt that runs for this long fails with TIMEOUT. */
  readonly runMs: number | null;
  /** An attempt whose handler shows no life for this long fails with HEARTBEAT_TIMEOUT. */
  readonly heartbeatMs: number | null;
  /** From the first READY on, over all attempts and delays: FAILED with TOTAL_TIMEOUT. */
  readonly totalMs: number | null;
}

/** One job of the graph. */
export interface GraphJob {
  readonly index: number;
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly inEdges: readonly Edge[];
  readonly outEdges: readonly Edge[];
  readonly alwaysRun: boolean;
  /** `always_run` without in-edges: runs when every job that is no finaliser has ended. */
  readonly finaliser: boolean;
  readonly condition: Condition | null;
  readonly join: 'all' | 'any' | 'all_done';
  readonly allowFailure: boolean;
  /** Set when `on_failure` says `recover: true`: its failure is forgiven when every job its failure edges ran SUCCEEDED. */
  readonly recover: boolean;
  readonly retry: RetryPolicy;
  readonly timeouts: JobTimeouts;
  /** 0 to 9, 9 first. */
  readonly priority: number;
  /** Labels that a worker must have, each with this very value. */
  readonly requiredLabels: ReadonlyMap<string, string>;
  readonly parameters: Template;
  /** Checks an output against `outputs_schema`: null when it fits, else what does not. Null when there is no schema. */
  readonly checkOutput: ((output: Json) => string | null) | null;
}

/** A compiled definition. */
export interface Graph {
  /** SHA-256 of the canonical form, lower-case hex. */
  readonly hash: string;
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly jobs: readonly GraphJob[];
  /** Job id to index. */
  readonly indexOf: ReadonlyMap<string, number>;
  /** Job indexes, sources before targets. */
  readonly order: readonly number[];
  /**
   * Whether `target` is reachable from `source` along the outcome that did happen: first along out-edges of `source` of the kind `outcome`,
   * from there along edges of either kind (workflow-language section 2.3). False for `source === target`.
   */
  readonly reachable: (source: number, outcome: EdgeKind, target: number) => boolean;
  readonly timeoutMs: number | null;
  /** Time for always_run jobs after a cancel or timeout; 5 minutes when the file says nothing. */
  readonly cleanupTimeoutMs: number;
  /** A running job that was told to stop and has not after this long is CANCELLED without its worker: `limits.cancelGraceMs`. */
  readonly cancelGraceMs: number;
  /** Parameters and inputs of one job together, in bytes, at most: `limits.assignmentBytes`. More is the error INPUT_TOO_LARGE. */
  readonly assignmentBytes: number;
  readonly outputs: Template | null;
  /** Fills defaults in and checks inputs against the schema; every problem at once. */
  readonly prepareInputs: (
    inputs: Json,
  ) => { readonly kind: 'ok'; readonly inputs: Json } | { readonly kind: 'bad'; readonly problems: readonly InputProblem[] };
  /** The file's `idempotency_key` for these (prepared) inputs; null when it has none. */
  readonly idempotencyKey: ((inputs: Json) => ExpressionResult<string>) | null;
  /** JSON Schema of the inputs object, for people and pages; null when there are no inputs. */
  readonly inputsSchema: Json;
}

/** One input that does not fit. */
export interface InputProblem {
  /** `inputs.limit` */
  readonly path: string;
  readonly message: string;
}

/** One problem of a definition, as people and programs are told of it. */
export interface Problem {
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** `workflow.jobs[2].on_success` */
  readonly path: string;
  /** Stable lower-case word: `unknown-key`, `duplicate-id`, `cycle`, ... (definition/README.md lists them). */
  readonly rule: string;
  /** What is wrong and what was found. */
  readonly message: string;
  /** What would be right; may be empty. */
  readonly hint: string;
}
