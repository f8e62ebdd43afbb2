/**
 * One method of one service, as every face calls it: rules checked, deadline kept, errors made presentable, calls counted.
 * The faces only bring bytes in and out.
 *
 * Invariants
 * 1. A service method sees only requests that keep the rules of the contract.
 * 2. Every call that reaches an endpoint is counted once, with the code that its caller is told.
 * 3. A unary call answers by its deadline whatever the service does; a stream ends when its call is cancelled, and the service's iterator is told.
 */
import { performance } from 'node:perf_hooks';
import type { DescMessage, DescMethod, DescService, Message } from '@bufbuild/protobuf';
import type { ConnectError } from '@connectrpc/connect';
import { limits } from '@workflow-orchestrator/proto/limits';
import { type Call, callerGone, type Face } from './call.ts';
import { type ErrorLog, noRoom, presentable } from './errors.ts';
import type { ApiMetrics, CallMeter } from './metrics.ts';
import { createRuleValidator, createValidate, type Validate } from './validate.ts';

type UnaryMethod = (request: Message, call: Call) => Promise<Message>;
type StreamMethod = (request: Message, call: Call) => AsyncIterable<Message>;

/** Brings the request of a call, at once or when its bytes have arrived. */
export type Decode = () => Message | Promise<Message>;

/** What endpoints share. */
export interface EndpointContext {
  readonly metrics: ApiMetrics;
  readonly log: ErrorLog;
  /** Calls under way, so that streams can be ended when the server stops. */
  readonly openStreams: Set<Call>;
  /** Streams open at once. */
  readonly maxStreams: number;
}

/** One method, ready to be called. */
export class Endpoint {
  readonly method: DescMethod;
  readonly input: DescMessage;
  readonly output: DescMessage;
  /** `workflow.v1.WorkflowService/GetWorkflow`. */
  readonly name: string;
  /** Whether it answers with a stream. */
  readonly streams: boolean;
  /** Bytes of a request at most. */
  readonly requestBytes: number;
  readonly #implementation: (request: Message, call: Call) => unknown;
  readonly #validate: Validate;
  readonly #context: EndpointContext;
  readonly #meters = new Map<Face, CallMeter>();

  constructor(method: DescMethod, implementation: (request: Message, call: Call) => unknown, validate: Validate, context: EndpointContext) {
    this.method = method;
    this.input = method.input;
    this.output = method.output;
    this.name = `${method.parent.typeName}/${method.name}`;
    this.streams = method.methodKind === 'server_streaming';
    this.requestBytes = method.name.startsWith('Batch') ? limits.batchRequestBytes : limits.requestBytes;
    this.#implementation = implementation;
    this.#validate = validate;
    this.#context = context;
  }

  /**
   * Calls a unary method: `decode` receives and reads the request, `encode` writes the response; what either throws is the call's error.
   * Rejects with the `ConnectError` that the caller is to be told. Closes the call.
   */
  async unary<T>(call: Call, decode: Decode, encode: (response: Message) => T): Promise<T> {
    try {
      const decoded = decode();
      const request = decoded instanceof Promise ? await call.until(decoded) : decoded;
      const invalid = this.#validate(request);
      if (invalid !== null) throw invalid;
      const encoded = encode(await call.until((this.#implementation as UnaryMethod)(request, call)));
      this.#meter(call.face).ended(null, performance.now() - call.startedAtMs);
      return encoded;
    } catch (cause) {
      throw this.failed(call, cause);
    } finally {
      call.close();
    }
  }

  /**
   * Calls a server-streaming method; items come as `encode` writes them. Throws the `ConnectError` that the caller is to be told.
   * The next item is asked for only when the reader asks; leaving early, or cancelling the call, tells the service by `return()` and its signal.
   */
  async *stream<T>(call: Call, decode: Decode, encode: (item: Message) => T): AsyncGenerator<T, void, undefined> {
    const { metrics, openStreams, maxStreams } = this.#context;
    let iterator: AsyncIterator<Message> | null = null;
    let counted = false;
    try {
      const decoded = decode();
      const request = decoded instanceof Promise ? await call.until(decoded) : decoded;
      const invalid = this.#validate(request);
      if (invalid !== null) throw invalid;
      if (openStreams.size >= maxStreams) throw noRoom(`${maxStreams} streams are open, which is the most there may be`, 1000);
      openStreams.add(call);
      metrics.streams(1);
      iterator = (this.#implementation as StreamMethod)(request, call)[Symbol.asyncIterator]();
      for (let step = await call.until(iterator.next()); step.done !== true; step = await call.until(iterator.next()))
        yield encode(step.value);
      iterator = null;
      counted = true;
      this.#meter(call.face).ended(null, performance.now() - call.startedAtMs);
    } catch (cause) {
      counted = true;
      throw this.failed(call, cause);
    } finally {
      if (openStreams.delete(call)) metrics.streams(-1);
      if (!counted) this.failed(call, callerGone());
      if (iterator !== null) this.#leave(iterator, call);
      call.close();
    }
  }

  /** Counts a call that failed, and makes what was thrown presentable. For failures of a face before `unary` or `stream`, too. */
  failed(call: Call, cause: unknown): ConnectError {
    const error = this.#presentable(call, cause);
    this.#meter(call.face).ended(error.code, performance.now() - call.startedAtMs);
    return error;
  }

  /** A cancelled call says why it was cancelled, not which error the cancelling caused inside the service. */
  #presentable(call: Call, cause: unknown): ConnectError {
    const { cancelled } = call;
    if (cancelled !== null && (cause === cancelled || (cause instanceof Error && cause.name === 'AbortError'))) return cancelled;
    return presentable(cause, this.#context.log, { method: this.name, face: call.face });
  }

  /** Tells an iterator that nobody reads on. Not awaited: a service that is stuck must not hold the connection. */
  #leave(iterator: AsyncIterator<Message>, call: Call): void {
    call.cancel(callerGone());
    Promise.resolve(iterator.return?.()).catch((cause: unknown) => this.#presentable(call, cause));
  }

  #meter(face: Face): CallMeter {
    let meter = this.#meters.get(face);
    if (meter === undefined) {
      meter = this.#context.metrics.meter(face, this.name, this.streams);
      this.#meters.set(face, meter);
    }
    return meter;
  }
}

/** A mounted service of whatever kind: what `mount` makes. */
export interface AnyMountedService {
  readonly service: DescService;
  readonly methods: object;
}

/** The endpoints of all mounted services. Throws when a method is missing or of a kind that the faces cannot carry. */
export function createEndpoints(services: readonly AnyMountedService[], context: EndpointContext): Endpoint[] {
  const validator = createRuleValidator();
  return services.flatMap(({ service, methods }) =>
    service.methods.map((method) => {
      if (method.methodKind !== 'unary' && method.methodKind !== 'server_streaming')
        throw new Error(`${method} is neither unary nor server-streaming`);
      const implementation = (methods as Record<string, unknown>)[method.localName];
      if (typeof implementation !== 'function') throw new Error(`${method} is not implemented`);
      const call = implementation.bind(methods) as (request: Message, call: Call) => unknown;
      return new Endpoint(method, call, createValidate(method.input, validator), context);
    }),
  );
}
