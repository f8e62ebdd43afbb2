/**
 * A gRPC client that knows nothing but an address: it asks the server's reflection for the contracts, as grpcurl does, and speaks JSON.
 * The wire is grpc-js, an implementation that shares nothing with the server.
 */
import {
  create,
  createFileRegistry,
  type DescMethod,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { AnySchema, type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import grpc from '@grpc/grpc-js';
import { reflectionV1 } from '@workflow-orchestrator/proto/vendor';

const { ServerReflectionRequestSchema, ServerReflectionResponseSchema } = reflectionV1;

/** A call that failed. */
export class GrpcError extends Error {
  /** Number of the status, such as 5 for NOT_FOUND. */
  readonly code: number;
  /** Messages of `grpc-status-details-bin` by their type, as JSON. */
  readonly details: Record<string, JsonValue>;
  readonly metadata: Record<string, string>;

  constructor(code: number, message: string, details: Record<string, JsonValue>, metadata: Record<string, string>) {
    super(message);
    this.name = 'GrpcError';
    this.code = code;
    this.details = details;
    this.metadata = metadata;
  }
}

/** Options of one call. */
export interface GrpcCallOptions {
  readonly deadlineMs?: number;
  readonly metadata?: Record<string, string>;
  /** Breaks the call off when it is aborted. */
  readonly signal?: AbortSignal;
}

/** A client of one server. */
export interface GrpcClient {
  /** Full names of the services. */
  readonly services: readonly string[];
  readonly registry: FileRegistry;
  /** A unary call by `package.Service/Method`. Rejects with `GrpcError`. */
  call(name: string, request?: JsonObject, options?: GrpcCallOptions): Promise<JsonObject>;
  /** A server-streaming call. Throws `GrpcError`; leaving the loop cancels the call. */
  stream(name: string, request?: JsonObject, options?: GrpcCallOptions): AsyncGenerator<JsonObject, void>;
  /** A unary call with a request that is bytes already, for requests that no good client would send. */
  callBytes(name: string, request: Uint8Array, options?: GrpcCallOptions): Promise<Uint8Array>;
  close(): void;
}

/** How to reach a server. */
export interface GrpcClientOptions {
  readonly token?: string;
  /** Version of reflection to ask by. */
  readonly reflection?: 'v1' | 'v1alpha';
  /** Further options of grpc-js. */
  readonly channel?: grpc.ChannelOptions;
}

/** Connects to `address` (`host:port`) and learns its services. Rejects with `GrpcError`. */
export async function connectGrpc(address: string, options: GrpcClientOptions = {}): Promise<GrpcClient> {
  const wire = new grpc.Client(address, grpc.credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    'grpc.enable_retries': 0,
    ...options.channel,
  });
  const authorization: Record<string, string> = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
  try {
    const { services, registry } = await learn(wire, options.reflection ?? 'v1', metadataOf(authorization));
    return createClient(wire, services, registry, authorization);
  } catch (error) {
    wire.close();
    throw error;
  }
}

function createClient(
  wire: grpc.Client,
  services: readonly string[],
  registry: FileRegistry,
  authorization: Record<string, string>,
): GrpcClient {
  const methodOf = (name: string): DescMethod => {
    const [service, method] = name.split('/');
    const found = registry.getService(service)?.methods.find((one) => one.name === method);
    if (found === undefined) throw new Error(`the server told nothing about ${name}`);
    return found;
  };
  const begin = (options: GrpcCallOptions = {}): [grpc.Metadata, grpc.CallOptions] => [
    metadataOf({ ...authorization, ...options.metadata }),
    options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs },
  ];
  const callBytes = (name: string, request: Uint8Array, options?: GrpcCallOptions) =>
    new Promise<Uint8Array>((resolve, reject) => {
      const done = (error: grpc.ServiceError | null, response?: Buffer) =>
        error === null ? resolve(response as Buffer) : reject(readError(error, registry));
      const call = wire.makeUnaryRequest(`/${name}`, asIs, asIs, Buffer.from(request), ...begin(options), done);
      options?.signal?.addEventListener('abort', () => call.cancel());
    });

  return {
    services,
    registry,
    callBytes,
    async call(name, request = {}, options) {
      const { input, output } = methodOf(name);
      const response = await callBytes(name, toBinary(input, fromJson(input, request, { registry })), options);
      return toJson(output, fromBinary(output, response), { registry }) as JsonObject;
    },
    async *stream(name, request = {}, options) {
      const { input, output } = methodOf(name);
      const bytes = Buffer.from(toBinary(input, fromJson(input, request, { registry })));
      const call = wire.makeServerStreamRequest(`/${name}`, asIs, asIs, bytes, ...begin(options));
      options?.signal?.addEventListener('abort', () => call.cancel());
      try {
        for await (const item of call) yield toJson(output, fromBinary(output, item as Buffer), { registry }) as JsonObject;
      } catch (error) {
        throw readError(error as grpc.ServiceError, registry);
      } finally {
        call.cancel();
      }
    },
    close: () => wire.close(),
  };
}

const asIs = (bytes: Buffer): Buffer => bytes;

function metadataOf(entries: Record<string, string>): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(entries)) metadata.set(name, value);
  return metadata;
}

/** Asks the server's reflection for its services and all files behind them. */
async function learn(
  wire: grpc.Client,
  version: 'v1' | 'v1alpha',
  metadata: grpc.Metadata,
): Promise<{ services: string[]; registry: FileRegistry }> {
  const call = wire.makeBidiStreamRequest(`/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`, asIs, asIs, metadata);
  const answers = call[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  type Asked = reflectionV1.ServerReflectionRequest['messageRequest'];
  const ask = async (messageRequest: Asked): Promise<reflectionV1.ServerReflectionResponse['messageResponse']> => {
    const request = fromJson(ServerReflectionRequestSchema, {});
    call.write(Buffer.from(toBinary(ServerReflectionRequestSchema, { ...request, messageRequest })));
    const { value } = await answers.next();
    const { messageResponse } = fromBinary(ServerReflectionResponseSchema, value as Buffer);
    if (messageResponse.case === 'errorResponse')
      throw new GrpcError(messageResponse.value.errorCode, messageResponse.value.errorMessage, {}, {});
    return messageResponse;
  };

  try {
    const list = await ask({ case: 'listServices', value: '' });
    const services = list.case === 'listServicesResponse' ? list.value.service.map(({ name }) => name) : [];
    const files = new Map<string, FileDescriptorProto>();
    for (const service of services) {
      const answer = await ask({ case: 'fileContainingSymbol', value: service });
      if (answer.case !== 'fileDescriptorResponse') continue;
      for (const bytes of answer.value.fileDescriptorProto) {
        const file = fromBinary(FileDescriptorProtoSchema, bytes);
        files.set(file.name, file);
      }
    }
    return { services, registry: createFileRegistry(create(FileDescriptorSetSchema, { file: inOrder(files) })) };
  } catch (error) {
    throw error instanceof GrpcError || !(error instanceof Error && 'code' in error) ? error : readError(error as grpc.ServiceError, null);
  } finally {
    call.on('error', () => {});
    call.end();
    call.resume();
  }
}

/** Files so that each comes after those that it imports. Throws when the server left one out. */
function inOrder(files: ReadonlyMap<string, FileDescriptorProto>): FileDescriptorProto[] {
  const ordered = new Set<FileDescriptorProto>();
  const visit = (name: string) => {
    const file = files.get(name);
    if (file === undefined) throw new Error(`the server left out ${name}`);
    if (ordered.has(file)) return;
    for (const dependency of file.dependency) visit(dependency);
    ordered.add(file);
  };
  for (const name of files.keys()) visit(name);
  return [...ordered];
}

/** A message as the wire has it: five bytes, then itself. For tests that speak HTTP/2 by hand. */
export function grpcFrame(body: Uint8Array, compressed = false): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = compressed ? 1 : 0;
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
}

/** The error with its details read: `google.rpc.Status` has them in field 3, each a `google.protobuf.Any`. */
function readError(error: grpc.ServiceError, registry: FileRegistry | null): GrpcError {
  const details: Record<string, JsonValue> = {};
  const [status] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (Buffer.isBuffer(status) && registry !== null) {
    const reader = new BinaryReader(status);
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field !== 3) {
        reader.skip(wireType, field);
        continue;
      }
      const any = fromBinary(AnySchema, reader.bytes());
      const type = any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1);
      const schema = registry.getMessage(type);
      details[type] = schema === undefined ? null : toJson(schema, fromBinary(schema, any.value), { registry });
    }
  }
  const metadata = Object.fromEntries(Object.entries(error.metadata?.getMap() ?? {}).map(([name, value]) => [name, String(value)]));
  return new GrpcError(error.code, error.details, details, metadata);
}
