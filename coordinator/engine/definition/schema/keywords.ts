/**
 * The keywords of JSON Schema, draft 2020-12, and what each may hold.
 */

/** What a keyword holds. `names`: a list of texts. `nameLists`: a map of such lists. */
export type KeywordKind =
  | 'schema'
  | 'schemas'
  | 'schemaMap'
  | 'patternMap'
  | 'count'
  | 'number'
  | 'positive'
  | 'text'
  | 'names'
  | 'nameLists'
  | 'flag'
  | 'pattern'
  | 'type'
  | 'enum'
  | 'any'
  | 'ref'
  | 'format'
  | 'refused';

/** Every keyword that is known. */
export const keywords: Readonly<Record<string, KeywordKind>> = Object.assign(Object.create(null) as Record<string, KeywordKind>, {
  $ref: 'ref',
  $defs: 'schemaMap',
  definitions: 'schemaMap',
  $comment: 'text',
  $schema: 'text',
  $id: 'refused',
  $anchor: 'refused',
  $dynamicRef: 'refused',
  $dynamicAnchor: 'refused',
  $recursiveRef: 'refused',
  $recursiveAnchor: 'refused',
  $vocabulary: 'refused',
  nullable: 'refused',
  allOf: 'schemas',
  anyOf: 'schemas',
  oneOf: 'schemas',
  not: 'schema',
  if: 'schema',
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema.
  then: 'schema',
  else: 'schema',
  dependentSchemas: 'schemaMap',
  prefixItems: 'schemas',
  items: 'schema',
  contains: 'schema',
  properties: 'schemaMap',
  patternProperties: 'patternMap',
  additionalProperties: 'schema',
  propertyNames: 'schema',
  unevaluatedItems: 'schema',
  unevaluatedProperties: 'schema',
  type: 'type',
  enum: 'enum',
  const: 'any',
  multipleOf: 'positive',
  maximum: 'number',
  exclusiveMaximum: 'number',
  minimum: 'number',
  exclusiveMinimum: 'number',
  maxLength: 'count',
  minLength: 'count',
  maxItems: 'count',
  minItems: 'count',
  maxContains: 'count',
  minContains: 'count',
  maxProperties: 'count',
  minProperties: 'count',
  pattern: 'pattern',
  uniqueItems: 'flag',
  required: 'names',
  dependentRequired: 'nameLists',
  format: 'format',
  contentEncoding: 'text',
  contentMediaType: 'text',
  contentSchema: 'any',
  title: 'text',
  description: 'text',
  default: 'any',
  examples: 'any',
  deprecated: 'flag',
  readOnly: 'flag',
  writeOnly: 'flag',
});

/** Why a keyword is refused. */
export const refusals: Readonly<Record<string, string>> = {
  nullable: "write type: [string, 'null']",
};

/** Keywords whose schemas are applied to the same value: a cycle of these never ends. */
export const IN_PLACE: ReadonlySet<string> = new Set(['$ref', 'allOf', 'anyOf', 'oneOf', 'not', 'if', 'then', 'else', 'dependentSchemas']);

/** Annotations of other dialects: allowed, without a meaning. */
export const ANNOTATIONS: readonly string[] = ['example', 'externalDocs', 'discriminator', 'xml', 'unit', 'order', 'group', 'label'];

export const TYPES = ['string', 'number', 'integer', 'boolean', 'object', 'array', 'null'] as const;
