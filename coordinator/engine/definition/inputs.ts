/**
 * The inputs of a workflow: what a file declares, and what a submit gives.
 *
 * Invariants
 * 1. A declared default fits its own schema.
 * 2. Prepared inputs hold only declared names, all defaults, and fit the schema.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import type { DeclaredInput } from './expression/variables.ts';
import { NAME, type Reading } from './fields.ts';
import type { Graph, InputProblem, Json } from './graph.ts';
import { type MapNode, type Node, toJson, valueAt } from './node.ts';
import { jsonDepthFits } from './payload.ts';
import { quote } from './problem.ts';
import { follow, type Schema, SchemaCheck } from './schema/check.ts';
import { type Validator, validatorOf } from './schema/validator.ts';
import { Suggestions } from './suggest.ts';

/** The inputs that a file declares. */
export interface Inputs {
  readonly declared: readonly DeclaredInput[];
  /** Name to index. */
  readonly indexOf: ReadonlyMap<string, number>;
  readonly schema: Json;
  readonly prepare: Graph['prepareInputs'];
}

interface Input extends DeclaredInput {
  readonly required: boolean;
  /** Undefined when it has none. */
  readonly fallback: Json | undefined;
}

/** Reads and checks `inputs`. */
export function readInputs(reading: Reading, node: MapNode | null): Inputs {
  const inputs: Input[] = [];
  const schemas: [string, Schema][] = [];
  let usable = true;
  if (node !== null) {
    const check = new SchemaCheck(reading, ([first, ...rest]) => (first === 'properties' ? follow(node, rest) : undefined));
    for (const { name, at, value } of node.entries.values()) {
      if (!NAME.test(name) || name.length > limits.nameLength) {
        const hint = `1 to ${limits.nameLength} of A-Z a-z 0-9 . _ -`;
        reading.problems.addKey(node, name, at, 'bad-name', `the input ${quote(name)} has no valid name`, hint);
      }
      const [input, schema] = readInput(check, name, value);
      inputs.push(input);
      schemas.push([name, schema]);
    }
    usable = check.finish(node);
  }
  const validate = validatorOf({ type: 'object', properties: Object.fromEntries(schemas) as Json });
  if (node !== null && usable) checkDefaults(reading, node, inputs, validate);
  return {
    declared: inputs,
    indexOf: new Map(inputs.map(({ name }, index) => [name, index])),
    schema: node === null ? null : publicSchema(node, inputs),
    prepare: preparation(inputs, validate),
  };
}

function readInput(check: SchemaCheck, name: string, node: Node): [Input, Schema] {
  // `env:` without anything is an input of any type.
  const empty = node.kind === 'scalar' && node.value === null;
  const required = valueAt(node, 'required');
  const flag = required?.kind === 'scalar' && typeof required.value === 'boolean' ? required.value : undefined;
  const schema = empty ? true : check.schema(node, flag === undefined ? [] : ['required']);
  const fallback = valueAt(node, 'default');
  const input = {
    name,
    required: flag ?? false,
    fallback: fallback === undefined || fallback.kind === 'broken' ? undefined : toJson(fallback),
    integer: isType(node, 'integer'),
  };
  const present = input.required || fallback !== undefined;
  return [{ ...input, type: present ? celType(node) : 'dyn' }, schema];
}

function isType(node: Node, type: string): boolean {
  const said = valueAt(node, 'type');
  return said?.kind === 'scalar' && said.value === type;
}

/** The CEL type of an input that is always there. */
function celType(node: Node): string {
  const said = valueAt(node, 'type');
  switch (said?.kind === 'scalar' ? said.value : undefined) {
    case 'string':
      return 'string';
    case 'boolean':
      return 'bool';
    case 'integer':
      return 'int';
    case 'number':
      return 'double';
    case 'object':
      return 'map';
    case 'array': {
      const items = valueAt(node, 'items');
      return items !== undefined && isType(items, 'string') && valueAt(node, 'prefixItems') === undefined ? 'list<string>' : 'list';
    }
    default:
      return 'dyn';
  }
}

function checkDefaults(reading: Reading, node: MapNode, inputs: readonly Input[], validate: Validator): void {
  const given = inputs.filter(({ fallback }) => fallback !== undefined);
  if (given.length === 0) return;
  for (const { path, message } of validate(Object.fromEntries(given.map(({ name, fallback }) => [name, fallback!])))) {
    const [name, ...inside] = path;
    const value = valueAt(valueAt(node, name ?? '') ?? node, 'default') ?? node;
    const at = inside.length === 0 ? 'the default' : `the default at ${inside.join('.')}`;
    reading.problems.add(follow(value, inside) ?? value, 'bad-default', `${at} ${message}`, 'the default must fit its own schema');
  }
}

/** The schema of the whole inputs object, as written, for people and pages. */
function publicSchema(node: MapNode, inputs: readonly Input[]): Json {
  const properties = [...node.entries.values()].map(({ name, value }) => {
    const json = toJson(value);
    if (typeof json !== 'object' || json === null || Array.isArray(json)) return [name, json ?? {}] as const;
    const { required, ...rest } = json as Record<string, Json>;
    return [name, typeof required === 'boolean' || required === undefined ? rest : json] as const;
  });
  const required = inputs.filter((input) => input.required).map(({ name }) => name);
  return {
    type: 'object',
    properties: Object.fromEntries(properties),
    ...(required.length > 0 ? { required } : {}),
    additionalProperties: false,
  };
}

/** Apart from the reading, so that the graph does not keep the file's tree alive. */
function preparation(inputs: readonly Input[], validate: Validator): Graph['prepareInputs'] {
  const known = new Map(inputs.map((input) => [input.name, input]));
  return (given) => prepare(known, validate, given);
}

function prepare(known: ReadonlyMap<string, Input>, validate: Validator, given: Json): ReturnType<Graph['prepareInputs']> {
  if (given !== null && (typeof given !== 'object' || Array.isArray(given))) return refused('inputs', 'must be a map of names to values');
  if (!jsonDepthFits(given)) return refused('inputs', `nest deeper than jsonDepth (${limits.jsonDepth})`);
  const values = new Map(Object.entries((given ?? {}) as Readonly<Record<string, Json>>));
  const problems: InputProblem[] = [];
  const suggestions = new Suggestions();
  for (const name of values.keys()) {
    if (known.has(name)) continue;
    if (problems.length === MAX_TOLD) break;
    const names = [...known.keys()].slice(0, 10).join(', ');
    const hint = suggestions.hint(name, known.keys(), names === '' ? 'the workflow takes none' : `known inputs: ${names}`);
    problems.push({ path: pathIn([name]), message: `no input ${quote(name)}; ${hint}` });
  }
  const prepared: [string, Json][] = [];
  for (const { name, required, fallback } of known.values()) {
    const value = values.has(name) ? values.get(name)! : fallback;
    if (value !== undefined) prepared.push([name, value]);
    else if (required) problems.push({ path: pathIn([name]), message: 'is required' });
  }
  const ready: Json = Object.fromEntries(prepared);
  for (const { path, message } of validate(ready)) problems.push({ path: pathIn(path), message });
  const text = JSON.stringify(ready);
  // A character has at most three bytes: small inputs are not encoded to be counted.
  const bytes = text.length * 3 <= limits.inputsBytes ? 0 : encoder.encode(text).length;
  if (bytes > limits.inputsBytes) {
    problems.push({ path: 'inputs', message: `have ${bytes} bytes, more than inputsBytes (${limits.inputsBytes})` });
  }
  return problems.length > 0 ? { kind: 'bad', problems } : { kind: 'ok', inputs: ready };
}

const encoder = new TextEncoder();
/** Unknown inputs that are told. */
const MAX_TOLD = 100;

function refused(path: string, message: string): ReturnType<Graph['prepareInputs']> {
  return { kind: 'bad', problems: [{ path, message }] };
}

/** `inputs.ports[0]` */
function pathIn(path: readonly string[]): string {
  return path.reduce((text, part) => {
    if (/^\d+$/.test(part)) return `${text}[${part}]`;
    return /^[\w-]+$/.test(part) ? `${text}.${part}` : `${text}[${JSON.stringify(part)}]`;
  }, 'inputs');
}
