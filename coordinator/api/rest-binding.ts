/**
 * What the `google.api.http` annotations of a method say, checked and compiled once. Pure.
 * Of the annotation language the part is taken that the contracts use: literal segments, `{field}` for a plain field of the request, `body`,
 * `response_body` and `additional_bindings`. Anything else is refused when the server is made, not when it is called.
 */
import { type DescField, getOption, hasOption } from '@bufbuild/protobuf';
import { type HttpRule, http } from '@workflow-orchestrator/proto/vendor';
import type { Endpoint } from './endpoint.ts';

/** HTTP verbs of the annotations. */
export type Verb = 'GET' | 'PUT' | 'POST' | 'DELETE' | 'PATCH';

/** Where the body of a request goes: nowhere, into the request as a whole, or into one text field of it. */
export type BodyTarget = { readonly kind: 'none' } | { readonly kind: 'whole' } | { readonly kind: 'text'; readonly field: DescField };

/** One way to call one method over REST. */
export interface Binding {
  readonly endpoint: Endpoint;
  readonly verb: Verb;
  /** As annotated: `/workflows/{workflow_id}/start`. */
  readonly path: string;
  /** Fields of the request in the path, in its order. */
  readonly pathFields: readonly DescField[];
  readonly body: BodyTarget;
  /** Field of the response that is the answer; null when all of it is. */
  readonly responseField: DescField | null;
}

/** The bindings of an endpoint, the main one first; none when the method is not annotated. Throws on an annotation that cannot be kept. */
export function bindingsOf(endpoint: Endpoint): Binding[] {
  if (!hasOption(endpoint.method, http)) return [];
  const rule = getOption(endpoint.method, http);
  return [rule, ...rule.additionalBindings].map((one) => compile(endpoint, one));
}

function compile(endpoint: Endpoint, rule: HttpRule): Binding {
  const { pattern } = rule;
  if (pattern.case === undefined || pattern.case === 'custom') throw new Error(`${endpoint.name}: its HTTP annotation names no verb`);
  const path = pattern.value;
  if (!/^(\/[A-Za-z0-9._-]+|\/\{\w+\})+$/.test(path)) throw new Error(`${endpoint.name}: cannot serve the path '${path}'`);
  const pathFields = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => plainField(endpoint, name));
  return {
    endpoint,
    verb: verbs[pattern.case],
    path,
    pathFields,
    body: bodyTarget(endpoint, rule.body),
    responseField: responseField(endpoint, rule),
  };
}

const verbs = { get: 'GET', put: 'PUT', post: 'POST', delete: 'DELETE', patch: 'PATCH' } as const;

function plainField(endpoint: Endpoint, name: string): DescField {
  const field = endpoint.input.fields.find((one) => one.name === name);
  if (field?.fieldKind !== 'scalar')
    throw new Error(`${endpoint.name}: '${name}' in its path is no plain field of ${endpoint.input.typeName}`);
  return field;
}

function bodyTarget(endpoint: Endpoint, body: string): BodyTarget {
  if (body === '') return { kind: 'none' };
  return body === '*' ? { kind: 'whole' } : { kind: 'text', field: plainField(endpoint, body) };
}

function responseField(endpoint: Endpoint, rule: HttpRule): DescField | null {
  if (rule.responseBody === '') return null;
  const field = endpoint.output.fields.find((one) => one.name === rule.responseBody);
  if (field?.fieldKind !== 'message')
    throw new Error(`${endpoint.name}: '${rule.responseBody}' is no message in ${endpoint.output.typeName}`);
  return field;
}
