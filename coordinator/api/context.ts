/**
 * What every service method is given, whatever face the call came through. The faces only translate.
 */
import type { DescMethod, DescService, MessageShape } from '@bufbuild/protobuf';

/** One call. */
export interface CallContext {
  /** Aborted when the caller is gone or the deadline has passed. */
  readonly signal: AbortSignal;
  /** Which face it came through: for metrics and logs. */
  readonly face: 'connect' | 'grpc' | 'rest';
  /** A request header by lower-case name, or null. */
  readonly header: (name: string) => string | null;
}

/** Implementation of one service: unary methods return a promise, server-streaming ones an async iterable. Errors are `ConnectError`s. */
export type ServiceMethods<S extends DescService> = {
  [K in keyof S['method']]: S['method'][K] extends DescMethod & { methodKind: 'server_streaming' }
    ? (request: MessageShape<S['method'][K]['input']>, context: CallContext) => AsyncIterable<MessageShape<S['method'][K]['output']>>
    : S['method'][K] extends DescMethod
      ? (request: MessageShape<S['method'][K]['input']>, context: CallContext) => Promise<MessageShape<S['method'][K]['output']>>
      : never;
};

/** A service and its implementation, as the faces mount it. */
export interface MountedService<S extends DescService = DescService> {
  readonly service: S;
  readonly methods: ServiceMethods<S>;
}

/** Pairs a service with its implementation, checked against the contract. */
export function mount<S extends DescService>(service: S, methods: ServiceMethods<S>): MountedService<S> {
  return { service, methods };
}
