/**
 * The worker library: handlers on one side, the stream on the other. Everything about the protocol is decided in `session/`; this is its shell.
 *
 * Invariants
 * 1. A handler is called once per attempt, and `finish` once per call.
 * 2. All that waits in one turn of the event loop leaves in one write.
 * 3. Heartbeats are sent by the event loop that handlers run on: a handler that computes for seconds without awaiting stops them, and after
 *    `limits.leaseMs` (8 s) its lease is gone. Compute in a worker thread or a process, as the stock worker does. The lag is reported with each heartbeat.
 */
import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { type Assignment, CapabilitySchema } from '@workflow-orchestrator/proto';
import { limits as defaultLimits } from '@workflow-orchestrator/proto/limits';
import type { AttemptContext } from './attempt/context.ts';
import { type Registration, runAttempt } from './attempt/run.ts';
import { type Accepted, type Checked, compileSchema, type Schema } from './attempt/schema.ts';
import { consoleLogger } from './console-logger.ts';
import { deferred } from './deferred.ts';
import type { Handler, Json } from './handler.ts';
import { checkOptions, checkSlots, type WorkerOptions } from './options.ts';
import { type StreamEvent, WorkerStream } from './stream.ts';

/** What happens to a worker and its attempts. */
export type WorkerEvent =
  | StreamEvent
  | {
      readonly kind: 'attemptStarted';
      readonly workflowId: string;
      readonly jobId: string;
      readonly type: string;
      readonly attempt: number;
    }
  | {
      readonly kind: 'attemptEnded';
      readonly workflowId: string;
      readonly jobId: string;
      readonly type: string;
      readonly attempt: number;
      readonly outcome: 'succeeded' | 'failed' | 'cancelled';
      readonly durationMs: number;
    };

/** Where a worker stands. */
export interface WorkerState {
  /** `waiting`: for the next try to connect. */
  readonly phase: 'idle' | 'waiting' | 'connecting' | 'greeting' | 'ready' | 'draining' | 'closed';
  readonly id: string;
  /** Where it is connected, or null. */
  readonly url: string | null;
  readonly slots: number;
  /** Attempts whose handlers run. */
  readonly running: number;
  /** Results that wait for their ack. */
  readonly resultsWaiting: number;
}

/** How a type of job is handled. */
export interface HandleOptions<Input extends Schema, Output extends Schema> {
  /** Schema of the **parameters** of the job. What does not fit fails with INVALID_INPUT, not retryable, all violations in the details. */
  readonly input?: Input;
  /** Schema of what the handler returns. What does not fit fails with OUTPUT_SCHEMA, not retryable. */
  readonly output?: Output;
  /** At most this many of this type at once. Default: as many as the worker has slots. */
  readonly slots?: number;
}

/** A program that runs jobs. */
export interface Worker {
  /** Registers the handler of a type, before `start`. The type of the parameters follows from a Standard Schema such as a zod object. */
  handle<Input extends Schema = true, Output extends Schema = true>(
    type: string,
    options: HandleOptions<Input, Output>,
    handler: Handler<Checked<Input>, Accepted<Output>>,
  ): Worker;
  handle<Parameters = Json>(type: string, handler: Handler<Parameters, unknown>): Worker;
  /** Connects, and stays connected. Resolves when a coordinator has taken the worker; rejects only when the worker was stopped before. */
  start(): Promise<void>;
  /** Takes no more work; resolves when what it has is done and delivered, and the connection is closed. */
  drain(reason?: string): Promise<void>;
  /** Drains for at most `graceMs` (default 30 s). What still runs then is told to stop and offered to other workers. */
  stop(options?: { readonly graceMs?: number; readonly reason?: string }): Promise<void>;
  /** Resolves when the worker has ended, for whatever reason: also when the coordinator asked it to drain. */
  readonly done: Promise<void>;
  state(): WorkerState;
}

const defaultGraceMs = 30_000;

/** Makes a worker. Throws a TypeError when an option makes no sense. */
export function createWorker(options: WorkerOptions = {}): Worker {
  const checked = checkOptions(options, process.env);
  const log = options.log ?? consoleLogger();
  const registrations = new Map<string, Registration>();
  const tell = (event: WorkerEvent) => options.onEvent?.(event);
  const done = deferred();
  let stream: WorkerStream | null = null;
  let starting: Promise<void> | null = null;
  let endedBeforeStart = false;

  function register(type: string, handleOptions: HandleOptions<Schema, Schema>, handler: Handler<never, unknown>): void {
    if (starting !== null) throw new TypeError(`handle('${type}') comes too late: the worker has started`);
    if (type.length === 0 || type.length > defaultLimits.nameLength) {
      throw new TypeError(`the type of a job has 1 to ${defaultLimits.nameLength} characters, not ${type.length}`);
    }
    if (registrations.has(type)) throw new TypeError(`the type '${type}' has a handler already`);
    if (typeof handler !== 'function') throw new TypeError(`the handler of '${type}' must be a function`);
    const { input, output, slots = 0 } = handleOptions;
    checkSlots(slots, `slots of '${type}'`, 0);
    registrations.set(type, {
      type,
      slots,
      handler,
      input: input === undefined ? null : compileSchema(input, `the input schema of '${type}'`),
      output: output === undefined ? null : compileSchema(output, `the output schema of '${type}'`),
    });
  }

  function run(assignment: Assignment, context: AttemptContext) {
    const { workflowId, jobId, type, attempt } = assignment;
    const startedAt = performance.now();
    tell({ kind: 'attemptStarted', workflowId, jobId, type, attempt });
    return runAttempt(registrations.get(type)!, assignment, context).then((outcome) => {
      const durationMs = performance.now() - startedAt;
      tell({ kind: 'attemptEnded', workflowId, jobId, type, attempt, outcome: outcome.kind, durationMs });
      return outcome;
    });
  }

  function open(): WorkerStream {
    return new WorkerStream({
      profile: {
        workerId: checked.id,
        instanceId: randomUUID(),
        build: checked.build,
        sdk: `@workflow-orchestrator/worker, Node ${process.version}`,
        labels: checked.labels,
        capabilities: [...registrations.values()].map(({ type, slots }) => create(CapabilitySchema, { type, slots })),
        slots: checked.slots,
      },
      urls: checked.urls,
      token: checked.token,
      limits: options.limits ?? {},
      log,
      run,
      onEvent(event) {
        tell(event);
        if (event.kind === 'ended') done.resolve();
      },
    });
  }

  const worker: Worker = {
    handle(type: string, first: HandleOptions<Schema, Schema> | Handler<never, unknown>, second?: Handler<never, unknown>) {
      if (typeof first === 'function') register(type, {}, first);
      else register(type, first, second!);
      return worker;
    },
    start() {
      if (starting !== null) return starting;
      if (endedBeforeStart) return Promise.reject(new Error('the worker was stopped before it started'));
      if (registrations.size === 0) return Promise.reject(new TypeError('the worker has no handler; call handle() first'));
      stream = open();
      starting = stream.start();
      return starting;
    },
    drain(reason = 'the program asked for it') {
      if (stream === null) endBeforeStart();
      else stream.drain(reason);
      return done.promise;
    },
    stop({ graceMs = defaultGraceMs, reason = 'the program ends' } = {}) {
      if (stream === null) endBeforeStart();
      else stream.stop(reason, graceMs);
      return done.promise;
    },
    done: done.promise,
    state() {
      if (stream !== null) return stream.state();
      const phase = endedBeforeStart ? 'closed' : 'idle';
      return { phase, id: checked.id, url: null, slots: checked.slots, running: 0, resultsWaiting: 0 };
    },
  };

  function endBeforeStart(): void {
    endedBeforeStart = true;
    done.resolve();
  }

  return worker;
}
