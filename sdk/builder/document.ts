/**
 * A workflow file as data, and the options in which code writes it: the words of the workflow language in camel case, typed.
 */

/** A JSON value, as parameters and inputs are written. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue | undefined };

/** `500ms`, `30s`, `5m`, `2h`, `1d`, or ISO 8601 (`PT30S`). A bare number is no duration. */
export type Duration = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}` | `P${string}`;

/** How attempts are repeated. */
export interface RetryOptions {
  /** Attempts at most, the first included. */
  readonly maxAttempts?: number;
  readonly initialDelay?: Duration;
  readonly factor?: number;
  readonly maxDelay?: Duration;
  /** 0 to 1. */
  readonly jitter?: number;
  /** Error codes that are retried; every retryable one when absent. */
  readonly on?: readonly string[];
  /** Error codes that are not. */
  readonly notOn?: readonly string[];
}

/** The four timeouts of a job. */
export interface TimeoutOptions {
  readonly queue?: Duration;
  readonly run?: Duration;
  readonly heartbeat?: Duration;
  readonly total?: Duration;
}

/** What a job may be told. `Known` are the ids of the jobs before it. */
export interface JobOptions<Known extends string = string> {
  /** What a worker must be able to do. */
  readonly type: string;
  /** For people. */
  readonly name?: string;
  readonly description?: string;
  /** Any string in it may hold `${{ expression }}`; see `expr`. */
  readonly parameters?: { readonly [key: string]: JsonValue | undefined };
  /** Jobs that run after this one SUCCEEDED. They may come later, so the compiler of the definition checks them, not TypeScript. */
  readonly onSuccess?: string | readonly string[];
  /** Jobs that run after this one FAILED; with `recover` the workflow is forgiven when they all SUCCEEDED. */
  readonly onFailure?: string | readonly string[] | { readonly run: string | readonly string[]; readonly recover?: boolean };
  /** Jobs before this one that must have SUCCEEDED. */
  readonly needs?: Known | readonly Known[];
  readonly alwaysRun?: boolean;
  /** An expression, with or without `${{ }}`. */
  readonly if?: string;
  readonly join?: 'all' | 'any' | 'all_done';
  readonly allowFailure?: boolean;
  readonly retry?: RetryOptions;
  /** Short for `timeouts.run`. */
  readonly timeout?: Duration;
  readonly timeouts?: TimeoutOptions;
  /** 0 to 9, 9 first. */
  readonly priority?: number;
  readonly requires?: { readonly labels: Readonly<Record<string, string>> };
  readonly forEach?: string | { readonly items: JsonValue; readonly maxParallel?: number; readonly failFast?: boolean };
  /** JSON Schema that the output is checked against. */
  readonly outputsSchema?: { readonly [key: string]: JsonValue | undefined };
}

/** What a workflow may be told. */
export interface WorkflowOptions {
  /** A label for people. */
  readonly version?: string;
  readonly description?: string;
  /** JSON Schema of each input; `required: true` on one is allowed. */
  readonly inputs?: { readonly [name: string]: { readonly [key: string]: JsonValue | undefined } };
  /** Computed when the workflow ends. */
  readonly outputs?: { readonly [name: string]: JsonValue };
  readonly timeout?: Duration;
  /** Time for `alwaysRun` jobs after a cancel or a timeout. */
  readonly cleanupTimeout?: Duration;
  readonly concurrency?: { readonly key: string; readonly limit?: number; readonly onLimit?: 'queue' | 'reject' | 'cancel_oldest' };
  /** An expression template such as `${{ inputs.order_id }}`. */
  readonly idempotencyKey?: string;
  /** Merged under every job. */
  readonly defaults?: { readonly timeout?: Duration; readonly timeouts?: TimeoutOptions; readonly retry?: RetryOptions };
  readonly schedule?: readonly {
    readonly cron: string;
    readonly timeZone?: string;
    readonly missed?: string;
    readonly inputs?: { readonly [name: string]: JsonValue };
  }[];
}

/** A workflow file as plain data: what YAML or JSON text of it parses to. */
export interface WorkflowDocument {
  readonly workflow: {
    readonly name: string;
    readonly jobs: readonly { readonly id: string; readonly [key: string]: JsonValue | undefined }[];
  } & {
    readonly [key: string]: JsonValue | undefined;
  };
}

/** Keys whose content is the user's own and is copied as it is. */
const verbatim = new Set(['parameters', 'inputs', 'outputs', 'outputsSchema', 'labels', 'items']);

/** Options in camel case as a document in the language's snake case; what is undefined is left out. */
export function toSnakeCase(options: object): Record<string, JsonValue> {
  const document: Record<string, JsonValue> = {};
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const word = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    document[word] = verbatim.has(key) ? plain(value) : inner(value);
  }
  return document;
}

function inner(value: unknown): JsonValue {
  if (Array.isArray(value)) return value.map(inner);
  return typeof value === 'object' && value !== null ? toSnakeCase(value) : plain(value);
}

/** A copy as JSON would make it: what a text of it means, without anything that JSON cannot say. */
function plain(value: unknown): JsonValue {
  return JSON.parse(JSON.stringify(value)) as JsonValue;
}
