/**
 * A protoc plugin that writes the comments of the contracts to `comments.json`: full name of a message, field, enum, value, service or
 * method -> its leading comment. Generated descriptors carry no comments, and the OpenAPI document wants them.
 *
 * Plain JavaScript, so that any Node that runs buf can run it. Files outside the package `workflow` are left out; with none of them in the
 * request (the vendored module) nothing is written.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { CodeGeneratorRequestSchema, CodeGeneratorResponse_Feature, CodeGeneratorResponseSchema } from '@bufbuild/protobuf/wkt';

// Field numbers in google/protobuf/descriptor.proto, which source locations are addressed by.
const file = { message: 4, enum: 5, service: 6 };
const message = { field: 2, nested: 3, enum: 4, oneof: 8 };

/** Every named element of a file as [path in the descriptor, full name]. */
function* elements(proto) {
  const enumElements = function* (path, scope, value) {
    const name = `${scope}.${value.name}`;
    yield [path, name];
    for (const [i, entry] of value.value.entries()) yield [[...path, 2, i], `${name}.${entry.name}`];
  };
  const messageElements = function* (path, scope, value) {
    const name = `${scope}.${value.name}`;
    yield [path, name];
    for (const [i, field] of value.field.entries()) yield [[...path, message.field, i], `${name}.${field.name}`];
    for (const [i, oneof] of value.oneofDecl.entries()) yield [[...path, message.oneof, i], `${name}.${oneof.name}`];
    for (const [i, nested] of value.nestedType.entries()) yield* messageElements([...path, message.nested, i], name, nested);
    for (const [i, nested] of value.enumType.entries()) yield* enumElements([...path, message.enum, i], name, nested);
  };
  for (const [i, value] of proto.messageType.entries()) yield* messageElements([file.message, i], proto.package, value);
  for (const [i, value] of proto.enumType.entries()) yield* enumElements([file.enum, i], proto.package, value);
  for (const [i, value] of proto.service.entries()) {
    const name = `${proto.package}.${value.name}`;
    yield [[file.service, i], name];
    for (const [j, method] of value.method.entries()) yield [[file.service, i, 2, j], `${name}.${method.name}`];
  }
}

/** The comments of one file, by full name. */
function commentsOf(proto) {
  const byPath = new Map(
    (proto.sourceCodeInfo?.location ?? []).map((location) => [location.path.join('.'), location.leadingComments.trim()]),
  );
  return [...elements(proto)]
    .map(([path, name]) => [name, byPath.get(path.join('.')) ?? ''])
    .filter(([, comment]) => comment !== '')
    .map(([name, comment]) => [name, comment.replaceAll(/\s*\n\s*/g, ' ')]);
}

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const request = fromBinary(CodeGeneratorRequestSchema, Buffer.concat(chunks));
const ours = request.protoFile.filter((proto) => proto.package.startsWith('workflow.') && request.fileToGenerate.includes(proto.name));
const entries = ours.flatMap(commentsOf).sort(([a], [b]) => (a < b ? -1 : 1));
const content = `${JSON.stringify(Object.fromEntries(entries), null, 1)}\n`;
process.stdout.write(
  toBinary(
    CodeGeneratorResponseSchema,
    create(CodeGeneratorResponseSchema, {
      supportedFeatures: BigInt(CodeGeneratorResponse_Feature.PROTO3_OPTIONAL),
      file: ours.length === 0 ? [] : [{ name: 'comments.json', content }],
    }),
  ),
);
