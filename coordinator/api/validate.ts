/**
 * The rules of the contracts (`buf.validate`) in front of every service method, so that all faces refuse the same requests with the same words.
 * Besides: values of `google.protobuf.Struct` and `Value` may not nest deeper than `limits.jsonDepth`.
 */
import { type DescField, type DescMessage, getOption, hasOption, type JsonValue, type Message } from '@bufbuild/protobuf';
import { pathToString } from '@bufbuild/protobuf/reflect';
import type { ListValue, Value } from '@bufbuild/protobuf/wkt';
import { createValidator, type Violation as RuleViolation } from '@bufbuild/protovalidate';
import type { ConnectError } from '@connectrpc/connect';
import { limits } from '@workflow-orchestrator/proto/limits';
import { fieldRules } from '@workflow-orchestrator/proto/vendor';
import { fieldError, type Violation } from './errors.ts';

/** Checks a request: null when it keeps the rules, else `invalid_argument` with all violations. A rule that cannot be evaluated throws. */
export type Validate = (request: Message) => ConnectError | null;

/** The validator that all checks may share: making one costs much more than a check. */
export function createRuleValidator(): ReturnType<typeof createValidator> {
  return createValidator({ regexMatch: createPatternMatch() });
}

/**
 * Matches patterns of the contracts by the engine of the language: ten times as fast as the validator's own, which keeps to linear time whatever the pattern.
 * Patterns are ours, and none of them can take longer than that.
 */
function createPatternMatch(): (pattern: string, text: string) => boolean {
  const compiled = new Map<string, RegExp>();
  return (pattern, text) => {
    let regex = compiled.get(pattern);
    if (regex === undefined) {
      regex = new RegExp(pattern, 'u');
      compiled.set(pattern, regex);
    }
    return regex.test(text);
  };
}

/** The check for requests of one type. */
export function createValidate(schema: DescMessage, validator: ReturnType<typeof createValidator> = createRuleValidator()): Validate {
  const overlong = compileSizes(schema);
  const tooDeep = compileProbe(schema, []) ?? (() => null);
  return (request) => {
    // What is too long or too deep is not looked into any further.
    const size = overlong(request);
    if (size !== null) return fieldError([size]);
    const path = tooDeep(request);
    if (path !== null)
      return fieldError([{ field: path, description: `nests deeper than ${limits.jsonDepth} levels`, rule: 'json.depth' }]);
    const result = validator.validate(schema, request);
    if (result.kind === 'valid') return null;
    if (result.kind === 'error') throw result.error;
    return fieldError(
      result.violations.map((violation) => ({
        field: pathToString(violation.field),
        description: inWords(violation),
        rule: violation.ruleId,
      })),
    );
  };
}

/** What a text must look like, for people: the patterns of the contracts that a request can break. */
const patternWords: Readonly<Record<string, string>> = {
  '^[0-9a-f]{64}$': 'must be the whole hash of a definition, 64 characters of 0-9 and a-f',
  '^[^=]{1,63}=.{0,255}$': 'must be written key=value',
};

/** The words of a broken rule; the validator's own where they can be understood without knowing the contracts. */
function inWords({ ruleId, message, field: path }: RuleViolation): string {
  const field = path.at(-1);
  if (field?.kind === 'oneof') return `exactly one of ${field.fields.map(({ name }) => name).join(', ')} is required`;
  if (ruleId === 'string.min_len' && message === 'must be at least 1 characters') return 'must not be empty';
  if (ruleId !== 'string.pattern') return message;
  const pattern = Object.keys(patternWords).find((one) => message.includes(one));
  return pattern === undefined ? message : patternWords[pattern];
}

/** Finds a list or map of the request itself that is longer than its rule allows. */
function compileSizes(schema: DescMessage): (message: Message) => Violation | null {
  const checks = schema.fields.flatMap((field) => {
    const rules = hasOption(field, fieldRules) ? getOption(field, fieldRules).type : undefined;
    const max = rules?.case === 'repeated' ? rules.value.maxItems : rules?.case === 'map' ? rules.value.maxPairs : undefined;
    return max === undefined || max === 0n
      ? []
      : [{ field, max: Number(max), rule: `${rules?.case}.${rules?.case === 'map' ? 'max_pairs' : 'max_items'}` }];
  });
  return (message) => {
    for (const { field, max, rule } of checks) {
      const value = fieldValue(message, field) as readonly unknown[] | Readonly<Record<string, unknown>>;
      const size = Array.isArray(value) ? value.length : Object.keys(value).length;
      if (size > max) return { field: field.name, description: `holds ${size}, and at most ${max} are allowed`, rule };
    }
    return null;
  };
}

/** Finds a JSON value that nests too deep in a message: its path from there, or null. */
type Probe = (message: Message) => string | null;

/** The probe for messages of one type; null when they can hold no JSON. Types that hold themselves are not followed twice. */
function compileProbe(schema: DescMessage, above: readonly DescMessage[]): Probe | null {
  if (above.includes(schema)) return null;
  const probes = schema.fields.flatMap((field) => compileFieldProbe(field, [...above, schema]) ?? []);
  if (probes.length === 0) return null;
  return (message) => {
    for (const probe of probes) {
      const path = probe(message);
      if (path !== null) return path;
    }
    return null;
  };
}

function compileFieldProbe(field: DescField, above: readonly DescMessage[]): Probe | null {
  if (field.message === undefined) return null;
  const ofElement = jsonProbes[field.message.typeName] ?? compileProbe(field.message, above);
  if (ofElement === null) return null;
  const join = (key: string, path: string | null) => (path === null ? null : `${field.name}${key}${path === '' ? '' : `.${path}`}`);
  return (message) => {
    const value = fieldValue(message, field);
    if (value === undefined || value === null) return null;
    if (field.fieldKind === 'list') return firstOf((value as Message[]).entries(), (key, element) => join(`[${key}]`, ofElement(element)));
    if (field.fieldKind === 'map') {
      return firstOf(Object.entries(value as Record<string, Message>), (key, element) =>
        join(`[${JSON.stringify(key)}]`, ofElement(element)),
      );
    }
    return join('', ofElement(value as Message));
  };
}

function firstOf<K, V>(entries: Iterable<[K, V]>, find: (key: K, value: V) => string | null): string | null {
  for (const [key, value] of entries) {
    const found = find(key, value);
    if (found !== null) return found;
  }
  return null;
}

function fieldValue(message: Message, field: DescField): unknown {
  const holder = message as unknown as Record<string, unknown>;
  if (field.oneof === undefined) return holder[field.localName];
  const choice = holder[field.oneof.localName] as { case?: string; value?: unknown };
  return choice.case === field.localName ? choice.value : undefined;
}

/** A field of type Struct is held as a plain JSON object; a Value, a ListValue and what is in them as messages. */
const jsonProbes: Readonly<Record<string, Probe>> = {
  'google.protobuf.Struct': (struct) => (nestsDeeper(struct as unknown as JsonValue, limits.jsonDepth) ? '' : null),
  'google.protobuf.Value': (value) => (valueNestsDeeper(value as Value, limits.jsonDepth) ? '' : null),
  'google.protobuf.ListValue': (list) =>
    (list as ListValue).values.some((value) => valueNestsDeeper(value, limits.jsonDepth - 1)) ? '' : null,
};

function nestsDeeper(value: JsonValue, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  for (const key in value) {
    if (nestsDeeper((value as Record<string, JsonValue>)[key], levels - 1)) return true;
  }
  return false;
}

function valueNestsDeeper(value: Value, levels: number): boolean {
  const { kind } = value;
  if (kind.case !== 'structValue' && kind.case !== 'listValue') return false;
  const elements = kind.case === 'structValue' ? Object.values(kind.value.fields) : kind.value.values;
  return levels === 0 || elements.some((element) => valueNestsDeeper(element, levels - 1));
}
