/**
 * Checks JSON Schemas of a file and makes them ready for the validator.
 *
 * Invariants
 * 1. What passes here compiles: every keyword holds what it must, patterns and formats are known, references lead to a schema.
 * 2. Every fault is told at its own place, and a part with a fault checks nothing: no fault is told twice.
 * 3. The checked form is a JSON value of our own making: only known keywords, each schema with the steps that it costs.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { components } from '../cycles.ts';
import type { Reading } from '../fields.ts';
import type { Json } from '../graph.ts';
import { describe, type Entry, type MapNode, type Node, toJson } from '../node.ts';
import { quote } from '../problem.ts';
import { formats } from './format.ts';
import { ANNOTATIONS, IN_PLACE, type KeywordKind, keywords, refusals, TYPES } from './keywords.ts';

/** A schema of JSON, as the validator takes it. */
export type Schema = { readonly [keyword: string]: Json } | boolean;

/** What a schema costs, for each visit and for each key of the value. Read by the validator. */
export const STEPS = '$steps';

interface Located {
  readonly node: Node;
  /** The checked schema. */
  made: Record<string, Json>;
  /** Places of the schemas that are applied to the same value. */
  readonly inPlace: number[];
}

/** Checks the schemas of one root, whose local references lead to each other. */
export class SchemaCheck {
  readonly #reading: Reading;
  /** Resolves a JSON pointer to the node it names. */
  readonly #resolve: (pointer: readonly string[]) => Node | undefined;
  readonly #schemas: Located[] = [];
  readonly #placeOf = new Map<Node, number>();
  readonly #refs: { readonly from: number; readonly node: Node; readonly pointer: string }[] = [];
  #keywordCount = 0;

  constructor(reading: Reading, resolve: (pointer: readonly string[]) => Node | undefined) {
    this.#reading = reading;
    this.#resolve = resolve;
  }

  /** Checks one schema. `skip`: keywords of its top level that are no part of the language. */
  schema(node: Node, skip: readonly string[] = []): Schema {
    if (node.kind === 'broken') return true;
    const place = this.#schemas.length;
    this.#schemas.push({ node, made: {}, inPlace: [] });
    this.#placeOf.set(node, place);
    if (node.kind === 'scalar' && typeof node.value === 'boolean') return node.value;
    if (node.kind !== 'map') {
      this.#bad(node, `a schema must be a map, found ${describe(node)}`, 'write for instance { type: string }');
      return true;
    }
    const made: [string, Json][] = [];
    for (const entry of node.entries.values()) {
      if (skip.includes(entry.name)) continue;
      const value = this.#keyword(node, entry, place);
      if (value !== undefined) made.push([entry.name, value as Json]);
    }
    // One that checks nothing costs nothing: two bytes of text would become a page of code.
    if (made.length === 0) return true;
    this.#keywordCount += made.length;
    made.push([STEPS, costOf(node)]);
    const schema = Object.fromEntries(made);
    this.#schemas[place].made = schema;
    return schema;
  }

  /** To be called last: checks what concerns all schemas together. Whether a validator may be made of them. */
  finish(root: Node): boolean {
    const { problems } = this.#reading;
    if (this.#keywordCount > limits.schemaNodes) {
      const message = `${this.#keywordCount} keywords are more than schemaNodes (${limits.schemaNodes})`;
      problems.add(root, 'limit', message, 'describe less, or check it in a job');
    }
    for (const { from, node, pointer } of this.#refs) this.#reference(from, node, pointer);
    this.#checkEndless();
    return this.#keywordCount <= limits.schemaNodes;
  }

  #bad(node: Node, message: string, hint = ''): void {
    this.#reading.problems.add(node, 'bad-schema', message, hint);
  }

  /** The value of a keyword for the validator; undefined when it checks nothing. */
  #keyword(map: MapNode, { name, at, value }: Entry, place: number): Json | Schema | undefined {
    const kind = keywords[name];
    if (kind === undefined) {
      const nearest = ANNOTATIONS.includes(name) || name.length < 4 ? null : this.#reading.suggestions.nearest(name, Object.keys(keywords));
      // Other keys are annotations, which the standard allows; one that is nearly a keyword is a misspelling.
      if (nearest !== null && !name.startsWith('x-')) {
        this.#reading.problems.addKey(map, name, at, 'unknown-key', `unknown keyword ${quote(name)}`, `did you mean '${nearest}'?`);
      }
      return undefined;
    }
    if (value.kind === 'broken') return undefined;
    if (kind === 'refused') {
      const hint = refusals[name] ?? 'use $ref with a local pointer such as #/$defs/name';
      this.#reading.problems.addKey(map, name, at, 'bad-schema', `the keyword ${quote(name)} is not supported`, hint);
      return undefined;
    }
    return this.#value(name, kind, value, place);
  }

  #value(name: string, kind: Exclude<KeywordKind, 'refused'>, node: Node, place: number): Json | Schema | undefined {
    switch (kind) {
      case 'schema':
        return this.#child(name, node, place);
      case 'schemas':
        if (node.kind === 'list' && node.items.length > 0) return node.items.map((item) => this.#child(name, item, place) as Json);
        return this.#wrong(node, `${name} must be a list of schemas that is not empty`);
      case 'schemaMap':
      case 'patternMap':
        return this.#schemaMap(name, kind, node, place);
      case 'count':
        return this.#scalar(node, `${name} must be a whole number from 0`, (value) => Number.isInteger(value) && (value as number) >= 0);
      case 'number':
        return this.#scalar(node, `${name} must be a number`, (value) => typeof value === 'number');
      case 'positive':
        return this.#scalar(node, `${name} must be a number above 0`, (value) => typeof value === 'number' && value > 0);
      case 'text':
        this.#scalar(node, `${name} must be text`, (value) => typeof value === 'string');
        return undefined;
      case 'flag':
        return this.#scalar(node, `${name} must be true or false`, (value) => typeof value === 'boolean');
      case 'names':
        return this.#names(name, node);
      case 'nameLists':
        if (node.kind !== 'map') return this.#wrong(node, `${name} must be a map of lists`);
        return Object.fromEntries([...node.entries.values()].map((entry) => [entry.name, this.#names(name, entry.value) ?? []]));
      case 'pattern':
        return this.#pattern(node);
      case 'type':
        return this.#type(node);
      case 'enum':
        if (node.kind === 'list' && node.items.length > 0) return toJson(node);
        return this.#wrong(node, 'enum must be a list of values that is not empty');
      case 'any':
        return name === 'const' ? toJson(node) : undefined;
      case 'format':
        return this.#format(node);
      case 'ref':
        if (node.kind !== 'scalar' || typeof node.value !== 'string') return this.#wrong(node, '$ref must be text');
        this.#refs.push({ from: place, node, pointer: node.value });
        return node.value;
    }
  }

  #child(name: string, node: Node, place: number): Schema {
    const child = this.#schemas.length;
    if (IN_PLACE.has(name)) this.#schemas[place].inPlace.push(child);
    return this.schema(node);
  }

  #schemaMap(name: string, kind: 'schemaMap' | 'patternMap', node: Node, place: number): Json | undefined {
    if (node.kind !== 'map') return this.#wrong(node, `${name} must be a map of schemas`);
    const made: [string, Json][] = [];
    for (const entry of node.entries.values()) {
      if (kind === 'patternMap') {
        const message = this.#reading.patterns.fault(entry.name);
        if (message !== null) {
          this.#reading.problems.addKey(node, entry.name, entry.at, 'bad-schema', `the pattern is not valid: ${message}`);
          continue;
        }
      }
      made.push([entry.name, this.#child(name, entry.value, place) as Json]);
    }
    return Object.fromEntries(made);
  }

  #scalar(node: Node, message: string, fits: (value: unknown) => boolean): Json | undefined {
    return node.kind === 'scalar' && fits(node.value) ? node.value : this.#wrong(node, message);
  }

  #names(name: string, node: Node): Json | undefined {
    const isText = (item: Node): boolean => item.kind === 'broken' || (item.kind === 'scalar' && typeof item.value === 'string');
    if (node.kind === 'list' && node.items.every(isText)) return [...new Set(toJson(node) as string[])];
    const hint = name === 'required' ? 'only an input itself may say required: true; inside of it, list the names' : '';
    return this.#wrong(node, `${name} must be a list of names`, hint);
  }

  #pattern(node: Node): Json | undefined {
    if (node.kind !== 'scalar' || typeof node.value !== 'string') return this.#wrong(node, 'pattern must be text');
    const message = this.#reading.patterns.fault(node.value);
    if (message === null) return node.value;
    this.#bad(node, `the pattern is not valid: ${message}`);
    return undefined;
  }

  #type(node: Node): Json | undefined {
    const items = node.kind === 'list' ? node.items : [node];
    if (items.length === 0) return this.#wrong(node, 'type must not be empty');
    let fits = true;
    for (const item of items) {
      if (item.kind === 'broken' || (item.kind === 'scalar' && TYPES.some((type) => type === item.value))) continue;
      fits = false;
      const said = item.kind === 'scalar' ? `${item.value}` : '';
      const hint = item.kind === 'scalar' && item.value === null ? "write 'null' in quotes" : `one of ${TYPES.join(', ')}`;
      this.#bad(item, `no type ${quote(said)}`, this.#reading.suggestions.hint(said, TYPES, hint));
    }
    return fits ? toJson(node) : undefined;
  }

  #format(node: Node): Json | undefined {
    if (node.kind !== 'scalar' || typeof node.value !== 'string') return this.#wrong(node, 'format must be text');
    if (Object.hasOwn(formats, node.value)) return node.value;
    const known = Object.keys(formats);
    const hint = this.#reading.suggestions.hint(node.value, known, `known formats: ${known.join(', ')}; or use pattern`);
    this.#bad(node, `no format ${quote(node.value)}`, hint);
    return undefined;
  }

  #wrong(node: Node, message: string, hint = ''): undefined {
    if (node.kind !== 'broken') this.#bad(node, `${message}, found ${describe(node)}`, hint);
    return undefined;
  }

  #reference(from: number, node: Node, pointer: string): void {
    const isLocal = pointer.startsWith('#');
    const target = isLocal ? this.#resolve(pointerParts(pointer)) : undefined;
    const place = target === undefined ? undefined : this.#placeOf.get(target);
    if (place !== undefined) {
      this.#schemas[from].inPlace.push(place);
      return;
    }
    delete this.#schemas[from].made.$ref;
    if (isLocal) this.#bad(node, `${quote(pointer)} leads to no schema`, 'a pointer from the root, such as #/$defs/name');
    else this.#bad(node, `${quote(pointer)} leads out of the file`, 'only local references such as #/$defs/name');
  }

  /** A schema that applies itself to the same value never ends. */
  #checkEndless(): void {
    const targets = this.#schemas.map(({ inPlace }) => inPlace);
    const component = components(targets);
    const size = new Map<number, number>();
    for (const group of component) size.set(group, (size.get(group) ?? 0) + 1);
    const told = new Set<number>();
    for (const [place, { node, made, inPlace }] of this.#schemas.entries()) {
      const group = component[place];
      if ((size.get(group) ?? 0) < 2 && !inPlace.includes(place)) continue;
      delete made.$ref;
      if (told.has(group)) continue;
      told.add(group);
      this.#bad(
        node,
        'this schema applies itself to the same value without end',
        'a recursive schema refers to itself below properties or items',
      );
    }
  }
}

/** The parts of a JSON pointer in a URI fragment. */
function pointerParts(pointer: string): string[] {
  if (pointer === '#' || pointer === '#/') return [];
  return pointer
    .slice(pointer.startsWith('#/') ? 2 : 1)
    .split('/')
    .map((part) => {
      try {
        return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
      } catch {
        return part;
      }
    });
}

/** The node that a pointer names below `root`. */
export function follow(root: Node, pointer: readonly string[]): Node | undefined {
  let node: Node | undefined = root;
  for (const part of pointer) {
    if (node?.kind === 'map') node = node.entries.get(part)?.value;
    else if (node?.kind === 'list' && /^\d{1,6}$/.test(part)) node = node.items[Number(part)];
    else return undefined;
  }
  return node;
}

/** What one visit of a schema costs: its keywords, and the lists that they compare with. */
function costOf(node: MapNode): Json {
  let visit = 2 + 2 * node.entries.size;
  for (const key of ['required', 'enum', 'properties', 'dependentRequired', 'dependentSchemas']) {
    const value = node.entries.get(key)?.value;
    if (value?.kind === 'list') visit += value.items.length / 4;
    else if (value?.kind === 'map') visit += value.entries.size / 4;
  }
  const patterns = node.entries.get('patternProperties')?.value;
  const open = ['additionalProperties', 'unevaluatedProperties', 'propertyNames'].some((key) => node.entries.has(key));
  return { visit: Math.ceil(visit), key: (patterns?.kind === 'map' ? patterns.entries.size : 0) + (open ? 1 : 0) };
}
