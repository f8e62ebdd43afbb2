/** JSON Schemas (2020-12, as OpenAPI 3.1 wants them) of messages in the protobuf JSON mapping, with the rules of their fields. Pure. */
import { type DescEnum, type DescField, type DescMessage, getOption, hasOption, ScalarType } from '@bufbuild/protobuf';
import { comments } from '@workflow-orchestrator/proto/comments';
import { fieldRules } from '@workflow-orchestrator/proto/vendor';

/** A JSON Schema. */
export type Schema = Record<string, unknown>;

const wellKnown: Readonly<Record<string, Schema>> = {
  'google.protobuf.Timestamp': { type: 'string', format: 'date-time' },
  'google.protobuf.Duration': { type: 'string', pattern: '^-?\\d+(\\.\\d{1,9})?s$' },
  'google.protobuf.Struct': { type: 'object', additionalProperties: true },
  'google.protobuf.Value': {},
  'google.protobuf.ListValue': { type: 'array', items: {} },
};

/** Name of a message among the components: without its package. */
export function schemaName(message: DescMessage): string {
  return message.typeName.slice(message.file.proto.package.length + 1);
}

/** A schema that says: such a message. */
export function messageRef(message: DescMessage): Schema {
  return wellKnown[message.typeName] ?? { $ref: `#/components/schemas/${schemaName(message)}` };
}

/** Schemas of `roots` and of all messages in them, by name. */
export function messageSchemas(roots: Iterable<DescMessage>): Record<string, Schema> {
  const found = new Map<string, DescMessage>();
  const visit = (message: DescMessage) => {
    if (message.typeName in wellKnown || found.has(schemaName(message))) return;
    found.set(schemaName(message), message);
    for (const field of message.fields) if (field.message !== undefined) visit(field.message);
  };
  for (const root of roots) visit(root);
  return Object.fromEntries([...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, message]) => [name, messageSchema(message)]));
}

function messageSchema(message: DescMessage): Schema {
  const choices = message.oneofs.map((oneof) => `At most one of ${oneof.fields.map((field) => field.jsonName).join(', ')}.`);
  const description = [comments[message.typeName] ?? '', ...choices].filter((text) => text !== '').join(' ');
  return {
    type: 'object',
    ...(description === '' ? {} : { description }),
    properties: Object.fromEntries(message.fields.map((field) => [field.jsonName, described(fieldSchema(field), fieldComment(field))])),
    additionalProperties: false,
  };
}

/** What a field is for, in the words of the contract. */
export function fieldComment(field: DescField): string {
  return comments[`${field.parent.typeName}.${field.name}`] ?? '';
}

/** A schema with a description, which may stand beside a `$ref` too. */
export function described(schema: Schema, description: string): Schema {
  return description === '' ? schema : { ...schema, description };
}

/** Schema of the values of a field. */
export function fieldSchema(field: DescField): Schema {
  const rules = hasOption(field, fieldRules) ? getOption(field, fieldRules).type : undefined;
  switch (field.fieldKind) {
    case 'scalar':
      return { ...scalarSchema(field.scalar), ...scalarRules(rules) };
    case 'enum':
      return enumSchema(field.enum);
    case 'message':
      return messageRef(field.message);
    case 'list': {
      const list = rules?.case === 'repeated' ? rules.value : undefined;
      const items = { ...elementSchema(field), ...scalarRules(list?.items?.type) };
      return { type: 'array', items, ...given({ minItems: list?.minItems, maxItems: list?.maxItems }) };
    }
    case 'map': {
      const map = rules?.case === 'map' ? rules.value : undefined;
      const values = { ...elementSchema(field), ...scalarRules(map?.values?.type) };
      return { type: 'object', additionalProperties: values, ...given({ maxProperties: map?.maxPairs }) };
    }
  }
}

function elementSchema(field: DescField & { fieldKind: 'list' | 'map' }): Schema {
  if (field.message !== undefined) return messageRef(field.message);
  return field.enum === undefined ? scalarSchema(field.scalar as ScalarType) : enumSchema(field.enum);
}

function enumSchema(type: DescEnum): Schema {
  return { type: 'string', enum: type.values.map((value) => value.name) };
}

function scalarSchema(scalar: ScalarType): Schema {
  switch (scalar) {
    case ScalarType.STRING:
      return { type: 'string' };
    case ScalarType.BOOL:
      return { type: 'boolean' };
    case ScalarType.BYTES:
      return { type: 'string', contentEncoding: 'base64' };
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return { type: 'number' };
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return { type: 'integer', minimum: 0 };
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return { type: 'integer', format: 'int32' };
    default:
      // 64-bit integers are strings in JSON, which would lose their last digits.
      return { type: 'string', format: 'int64', pattern: '^-?\\d+$' };
  }
}

type Rules = NonNullable<ReturnType<typeof getOption<typeof fieldRules, DescField>>['type']>;

/** The rules that JSON Schema has words for. */
function scalarRules(rules: Rules | undefined): Schema {
  if (rules?.case === 'string')
    return given({ minLength: rules.value.minLen, maxLength: rules.value.maxLen, pattern: rules.value.pattern || undefined });
  if (rules?.case === 'uint32' && rules.value.lessThan.case === 'lte') return { maximum: rules.value.lessThan.value };
  return {};
}

/** The entries that have a value; sizes are bigints in the contract, zero when they are not set. */
function given(entries: Record<string, bigint | string | undefined>): Schema {
  const set = Object.entries(entries).filter(([, value]) => value !== undefined && value !== 0n);
  return Object.fromEntries(set.map(([key, value]) => [key, typeof value === 'bigint' ? Number(value) : value]));
}
