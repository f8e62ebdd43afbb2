/**
 * What a job handler is given and what it may do: the whole surface between this library and people's code.
 */
import type { Logger } from './logger.ts';

/** A JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** One attempt of one job, as a handler sees it. `P` is the type of the parameters. */
export interface JobContext {
  /** Aborted when the attempt is cancelled, timed out, lost its lease, or the worker ends. `signal.reason` is the error that says which. */
  readonly signal: AbortSignal;
  /** Says how far it is: `fraction` 0 to 1, and words for people. Counts as a sign of life. */
  progress(fraction: number, message?: string): void;
  /** A sign of life alone, for `timeouts.heartbeat`. */
  heartbeat(): void;
  /** Stores how far it is; the next attempt gets it as `checkpoint`. At most 64 KiB of JSON; latest wins. Counts as a sign of life. */
  setCheckpoint(value: Json): void;
  /** What an earlier attempt stored; undefined when none did. */
  readonly checkpoint: Json | undefined;
  /** Lines for `wf logs`: bounded, sent at low priority. */
  readonly log: Logger;
  /** The same for every attempt of this job: pass it to systems that can refuse doubles. */
  readonly idempotencyKey: string;
  /** Grows with every assignment of this job: a store that keeps the highest one it saw can refuse an older attempt. */
  readonly fencingToken: bigint;
}

/** What is to be done. */
export interface Job<P = Json> {
  readonly workflowId: string;
  readonly workflowName: string;
  readonly id: string;
  readonly type: string;
  /** From 1. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** Always 0: the number of an element of `for_each`, which this version refuses. */
  readonly instance: number;
  readonly parameters: P;
  /** Output of the single job that this one came from; for several a map of id to output; for a root the workflow's inputs. */
  readonly input: Json;
}

/** A handler: its result is the job's output. Throw one of the errors of `errors.ts` to say what happens next. */
export type Handler<P = Json, R = Json> = (job: Job<P>, context: JobContext) => Promise<R> | R;
