/**
 * Fields of a request from the query of a URL. Pure.
 *
 * Plain fields by name (`page_size` or `pageSize`), lists by repeating the parameter, maps as `labels[team]=data`, times as RFC 3339,
 * JSON objects as JSON text. Every wrong parameter is told at once.
 */
import { type DescEnum, type DescField, type JsonObject, type JsonValue, ScalarType } from '@bufbuild/protobuf';
import { nearest } from '@workflow-orchestrator/proto/nearest';
import type { Violation } from './errors.ts';
import type { Binding } from './rest-binding.ts';

/** A query as the server parsed it. */
export type Query = Readonly<Record<string, string | string[]>>;

/** Reads a query into `into`, in the JSON mapping of the request; gives what is wrong with it. */
export type ReadQuery = (query: Query, into: JsonObject) => Violation[];

/** Whether a field can be written in a query. */
function fitsQuery(field: DescField): boolean {
  if (field.fieldKind === 'message') return field.message.typeName in textForms;
  if (field.fieldKind === 'list') return field.listKind !== 'message';
  return field.fieldKind !== 'map' || field.mapKind !== 'message';
}

/**
 * Fields of a request that its query can give: those that neither the path nor the body gives already, nor excludes by being another choice
 * of the same oneof. A body that is the whole request leaves none.
 */
export function queryFields({ endpoint, pathFields, body }: Binding): DescField[] {
  if (body.kind === 'whole') return [];
  const taken = body.kind === 'text' ? [...pathFields, body.field] : pathFields;
  const excluded = taken.flatMap((field) => field.oneof?.fields ?? []);
  return endpoint.input.fields.filter((field) => !taken.includes(field) && !excluded.includes(field) && fitsQuery(field));
}

/** A reader for `fields`. */
export function createReadQuery(fields: readonly DescField[]): ReadQuery {
  const byName = new Map(fields.flatMap((field) => [[field.name, field] as const, [field.jsonName, field] as const]));
  const names = fields.map((field) => field.name);

  return (query, into) => {
    const violations: Violation[] = [];
    for (const parameter in query) {
      const given = query[parameter];
      const [name, key] = splitKey(parameter);
      const field = byName.get(name);
      if (field === undefined || (key !== null) !== (field.fieldKind === 'map')) {
        violations.push({ field: parameter, description: unknownParameter(name, names, field), rule: 'query' });
        continue;
      }
      const value = readField(field, key, typeof given === 'string' ? [given] : given, into[field.jsonName]);
      if ('wrong' in value) violations.push({ field: parameter, description: value.wrong, rule: 'query' });
      else into[field.jsonName] = value.right;
    }
    return violations;
  };
}

type Read = { readonly right: JsonValue } | { readonly wrong: string };

/** `labels[team]` is the key `team` of the map `labels`. */
function splitKey(parameter: string): [string, string | null] {
  const match = /^([^[]+)\[(.*)\]$/.exec(parameter);
  return match === null ? [parameter, null] : [match[1], match[2]];
}

function unknownParameter(name: string, names: readonly string[], field: DescField | undefined): string {
  if (field?.fieldKind === 'map') return `name an entry: ${name}[key]=value`;
  if (field !== undefined) return `'${name}' has no entries; write ${name}=value`;
  const meant = nearest(name, names);
  if (meant !== null) return `no such parameter; did you mean '${meant}'?`;
  return names.length === 0 ? 'no such parameter; this call takes none' : `no such parameter; known: ${names.join(', ')}`;
}

function readField(field: DescField, key: string | null, given: readonly string[], before: JsonValue | undefined): Read {
  switch (field.fieldKind) {
    case 'list':
      return readList(field, given);
    case 'map': {
      if (given.length > 1) return { wrong: 'is given more than once' };
      const value = field.mapKind === 'enum' ? readEnum(field.enum, given[0]) : readScalar(field.scalar as ScalarType, given[0]);
      return 'wrong' in value ? value : { right: { ...(before as JsonObject | undefined), [key ?? '']: value.right } };
    }
    case 'scalar':
      return given.length > 1 ? { wrong: 'is given more than once' } : readScalar(field.scalar, given[0]);
    case 'enum':
      return given.length > 1 ? { wrong: 'is given more than once' } : readEnum(field.enum, given[0]);
    case 'message':
      return given.length > 1 ? { wrong: 'is given more than once' } : textForms[field.message.typeName](given[0]);
  }
}

function readList(field: DescField & { fieldKind: 'list' }, given: readonly string[]): Read {
  const values: JsonValue[] = [];
  for (const text of given) {
    // Names of an enum hold no commas, so a list of them may be written with commas too.
    const parts = field.listKind === 'enum' ? text.split(',') : [text];
    for (const part of parts) {
      const value = field.listKind === 'enum' ? readEnum(field.enum, part) : readScalar(field.scalar as ScalarType, part);
      if ('wrong' in value) return value;
      values.push(value.right);
    }
  }
  return { right: values };
}

const truths: Readonly<Record<string, boolean>> = { true: true, '1': true, '': true, false: false, '0': false };

function readScalar(scalar: ScalarType, text: string): Read {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return { right: text };
    case ScalarType.BOOL:
      return text in truths ? { right: truths[text] } : { wrong: `${JSON.stringify(text)} is neither true nor false` };
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return text.trim() !== '' && Number.isFinite(Number(text))
        ? { right: Number(text) }
        : { wrong: `${JSON.stringify(text)} is not a number` };
    default: {
      const unsigned = [ScalarType.UINT32, ScalarType.UINT64, ScalarType.FIXED32, ScalarType.FIXED64].includes(scalar);
      const form = unsigned ? /^\d{1,20}$/ : /^-?\d{1,20}$/;
      return form.test(text) ? { right: text } : { wrong: `${JSON.stringify(text)} is not a whole number${unsigned ? ' from 0 on' : ''}` };
    }
  }
}

function readEnum(type: DescEnum, text: string): Read {
  const value = type.values.find((one) => one.name === text.toUpperCase() || String(one.number) === text);
  if (value !== undefined) return { right: value.name };
  const known = type.values.filter((one) => one.number !== 0).map((one) => one.name);
  return { wrong: `${JSON.stringify(text)} is none of ${known.join(', ')}` };
}

/** Messages with a form in text: those whose JSON mapping is a string, and JSON itself. */
const textForms: Readonly<Record<string, (text: string) => Read>> = {
  'google.protobuf.Timestamp': (text) =>
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/i.test(text)
      ? { right: text.toUpperCase() }
      : { wrong: `${JSON.stringify(text)} is not a time such as 2026-12-01T00:00:00Z` },
  'google.protobuf.Duration': (text) =>
    /^-?\d+(\.\d{1,9})?s$/.test(text) ? { right: text } : { wrong: `${JSON.stringify(text)} is not a duration such as 1.5s` },
  'google.protobuf.Struct': (text) => readJson(text, true),
  'google.protobuf.Value': (text) => readJson(text, false),
};

function readJson(text: string, objectOnly: boolean): Read {
  try {
    const right = JSON.parse(text) as JsonValue;
    const isObject = typeof right === 'object' && right !== null && !Array.isArray(right);
    return isObject || !objectOnly ? { right } : { wrong: 'is not a JSON object such as {"env":"prod"}' };
  } catch {
    return { wrong: objectOnly ? 'is not a JSON object such as {"env":"prod"}' : 'is not JSON' };
  }
}
