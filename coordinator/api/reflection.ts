/**
 * gRPC server reflection, v1 and v1alpha, over the descriptors of the mounted services: clients such as grpcurl then need no file.
 * Files are sent whole, custom options included, each answer with all that the file imports.
 */
import {
  create,
  type DescExtension,
  type DescFile,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { reflectionV1, reflectionV1alpha } from '@workflow-orchestrator/proto/vendor';
import { binaryOptions } from './codec.ts';
import { malformed } from './errors.ts';

type Response = MessageInitShape<typeof reflectionV1.ServerReflectionResponseSchema>;

/** Full paths of the reflection methods, each with what answers one message of it. */
export function createReflection(services: readonly DescService[]): Map<string, (request: Uint8Array) => Uint8Array> {
  const own = [reflectionV1.ServerReflection, reflectionV1alpha.ServerReflection];
  const index = indexOf([...services, ...own]);
  // Both versions have the same messages under different names, so their bytes are the same.
  const { ServerReflectionRequestSchema: requestSchema, ServerReflectionResponseSchema: responseSchema } = reflectionV1;
  const answer = (bytes: Uint8Array) => {
    const request = read(bytes);
    const response: Response = { validHost: request.host, originalRequest: request, messageResponse: answerTo(request, index) };
    return toBinary(responseSchema, create(responseSchema, response));
  };
  const read = (bytes: Uint8Array) => {
    try {
      return fromBinary(requestSchema, bytes, binaryOptions);
    } catch (cause) {
      throw malformed(`not a ServerReflectionRequest: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  };
  return new Map(own.map((service) => [`/${service.typeName}/ServerReflectionInfo`, answer]));
}

interface Index {
  readonly services: readonly string[];
  readonly files: ReadonlyMap<string, DescFile>;
  /** File by the full name of anything that it declares. */
  readonly symbols: ReadonlyMap<string, DescFile>;
  readonly extensions: readonly DescExtension[];
}

function indexOf(services: readonly DescService[]): Index {
  const files = new Map<string, DescFile>();
  for (const service of services) for (const file of withImports(service.file)) files.set(`${file.name}.proto`, file);
  const symbols = new Map([...files.values()].flatMap((file) => declaredIn(file).map((name) => [name, file])));
  const extensions = [...files.values()].flatMap((file) => [...file.extensions, ...file.messages.flatMap(nestedExtensions)]);
  return { services: services.map((service) => service.typeName), files, symbols, extensions };
}

function answerTo(request: reflectionV1.ServerReflectionRequest, index: Index): NonNullable<Response['messageResponse']> {
  const { messageRequest: asked } = request;
  switch (asked.case) {
    case 'listServices':
      return { case: 'listServicesResponse', value: { service: index.services.map((name) => ({ name })) } };
    case 'fileByFilename':
      return fileAnswer(index.files.get(asked.value), `no file '${asked.value}'`);
    case 'fileContainingSymbol':
      return fileAnswer(index.symbols.get(asked.value.replace(/^\./, '')), `no symbol '${asked.value}'`);
    case 'fileContainingExtension': {
      const { containingType, extensionNumber } = asked.value;
      const found = index.extensions.find((one) => one.extendee.typeName === containingType && one.number === extensionNumber);
      return fileAnswer(found?.file, `no extension ${extensionNumber} of '${containingType}'`);
    }
    case 'allExtensionNumbersOfType': {
      if (!index.symbols.has(asked.value)) return notFound(`no message '${asked.value}'`);
      const numbers = index.extensions.filter((one) => one.extendee.typeName === asked.value).map((one) => one.number);
      return { case: 'allExtensionNumbersResponse', value: { baseTypeName: asked.value, extensionNumber: numbers } };
    }
    case undefined:
      return { case: 'errorResponse', value: { errorCode: Code.InvalidArgument, errorMessage: 'the request asks nothing' } };
  }
}

function fileAnswer(file: DescFile | undefined, otherwise: string): NonNullable<Response['messageResponse']> {
  if (file === undefined) return notFound(otherwise);
  const fileDescriptorProto = withImports(file).map((one) => toBinary(FileDescriptorProtoSchema, one.proto));
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}

function notFound(errorMessage: string): NonNullable<Response['messageResponse']> {
  return { case: 'errorResponse', value: { errorCode: Code.NotFound, errorMessage } };
}

/** A file, then all that it imports, each once. */
function withImports(file: DescFile, seen = new Set<DescFile>()): DescFile[] {
  if (seen.has(file)) return [];
  seen.add(file);
  return [file, ...file.dependencies.flatMap((dependency) => withImports(dependency, seen))];
}

/** Full names of everything that a file declares. */
function declaredIn(file: DescFile): string[] {
  return [
    ...file.services.flatMap((service) => [service.typeName, ...service.methods.map((method) => `${service.typeName}.${method.name}`)]),
    ...file.enums.map((one) => one.typeName),
    ...file.extensions.map((one) => one.typeName),
    ...file.messages.flatMap(declaredInMessage),
  ];
}

function declaredInMessage(message: DescFile['messages'][number]): string[] {
  return [
    message.typeName,
    ...message.fields.map((field) => `${message.typeName}.${field.name}`),
    ...message.nestedEnums.map((one) => one.typeName),
    ...message.nestedExtensions.map((one) => one.typeName),
    ...message.nestedMessages.flatMap(declaredInMessage),
  ];
}

function nestedExtensions(message: DescFile['messages'][number]): DescExtension[] {
  return [...message.nestedExtensions, ...message.nestedMessages.flatMap(nestedExtensions)];
}
