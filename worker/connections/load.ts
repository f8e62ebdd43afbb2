/**
 * Reads the connections file.
 *
 * Invariants
 * 1. All problems at once, each with file, line and column, path, and what would be right.
 * 2. A file with any problem gives nothing: a worker does not start with half of its connections.
 * 3. No message holds a value that came from the environment.
 * 4. A file that is no text is one problem, and no message holds what a terminal would obey.
 */
import { isUtf8 } from 'node:buffer';
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { limits } from '@workflow-orchestrator/proto/limits';
import { type Document, isCollection, isMap, isNode, LineCounter, parseDocument } from 'yaml';
import { Fields } from '../fields/fields.ts';
import { type FieldProblem, formatPath, formatProblem, type Path } from '../fields/path.ts';
import type { Json } from '../handler.ts';
import { checkSchema } from '../schema/compile.ts';
import { type Connections, noConnections } from './connections.ts';
import { substitute } from './environment.ts';
import { Redactor } from './redactor.ts';
import { readAllow, readChannel, readEndpoint, readNamed, readSchema, readStore } from './sections.ts';

/** The connections file cannot be used. `problems` has a line for each thing that is wrong. */
export class ConnectionsError extends Error {
  override readonly name = 'ConnectionsError';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** Where the connections come from. */
export interface ConnectionsSource {
  /** Path of the file as people gave it; null when there is none. */
  readonly file: string | null;
  /** Folder below which jobs may keep files; null when there is none. */
  readonly dataFolder: string | null;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * What the file names.
 * @throws ConnectionsError
 */
export function loadConnections(source: ConnectionsSource): Connections {
  const dataFolder = source.dataFolder === null ? null : resolve(source.dataFolder);
  if (source.file === null) return noConnections(dataFolder);
  const text = readText(source.file);
  if (text.kind === 'bad') throw new ConnectionsError([`${source.file}: ${text.message}`]);
  return parseConnections(text.value, { ...source, file: source.file, dataFolder });
}

/**
 * What the text of a connections file names.
 * @throws ConnectionsError
 */
export function parseConnections(text: string, source: ConnectionsSource & { readonly file: string }): Connections {
  const binary = binaryProblem(text);
  if (binary !== null) throw new ConnectionsError([`${source.file}: ${binary}`]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true });
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${source.file}:${line}:${col}`;
  };
  if (document.errors.length > 0)
    throw new ConnectionsError(document.errors.map((error) => `${at(error.pos[0])}: is no proper YAML: ${printable(error.message)}`));

  const problems: FieldProblem[] = [];
  const redactor = new Redactor();
  const { schemas: rawSchemas, ...rest } = plainObject(document, problems);
  const filled = substitute(rest, source.env, [], problems);
  for (const secret of filled.secrets) redactor.add(secret);
  // What a value without its variable looks like is no second problem.
  const unset = new Set(problems.map(({ path }) => formatPath(path)));
  const unsetProblems = problems.length;

  const top = new Fields({ ...(filled.value as object), ...(rawSchemas === undefined ? {} : { schemas: rawSchemas }) }, [], problems);
  const schemaFile = (path: string) => parseSchemaFile(resolve(dirname(source.file), path), path);
  const connections: Connections = {
    file: source.file,
    dataFolder: source.dataFolder,
    schemas: top.map('schemas', readSchema(schemaFile, checkSchema), { max: 10_000 }) ?? new Map(),
    endpoints: readNamed(top, 'endpoints', readEndpoint),
    channels: readNamed(top, 'channels', readChannel),
    stores: readNamed(top, 'stores', (fields, name) => readStore(fields, name, source.dataFolder)),
    network: { allow: readAllow(top) },
    redactor,
  };
  for (const store of connections.stores.values()) if (store.kind !== 'file') redactor.add(store.url);
  checkReferences(connections, problems);
  top.close('the connections file');
  if (problems.length === 0) return connections;

  const offsetOf = (path: Path) => locate(document, path);
  const ordered = problems
    .filter(({ path }, index) => index < unsetProblems || !unset.has(formatPath(path)))
    .map((problem) => ({ problem, offset: offsetOf(problem.path) }))
    .sort((left, right) => left.offset - right.offset);
  throw new ConnectionsError(ordered.map(({ problem, offset }) => printable(redactor.text(`${at(offset)}: ${formatProblem(problem)}`))));
}

/** An endpoint of kind store names a store, an operation that the store has, and a table that it knows. */
function checkReferences(connections: Connections, problems: FieldProblem[]): void {
  for (const endpoint of connections.endpoints.values()) {
    if (endpoint.kind !== 'store') continue;
    const path = ['endpoints', endpoint.name];
    const store = connections.stores.get(endpoint.store);
    if (store === undefined) {
      problems.push({
        path: [...path, 'store'],
        message: `no store '${endpoint.store}'; known: ${[...connections.stores.keys()].join(', ') || 'none'}`,
      });
      continue;
    }
    const operations = store.kind === 'postgres' ? ['insert', 'upsert'] : ['append', 'put'];
    if (!operations.includes(endpoint.operation))
      problems.push({
        path: [...path, 'operation'],
        message: `a ${store.kind} store has ${operations.join(' and ')}, not ${endpoint.operation}`,
      });
    else if (store.kind === 'postgres' && !store.tables.has(endpoint.target))
      problems.push({
        path: [...path, 'table'],
        message: `store '${store.name}' has no table '${endpoint.target}'; known: ${[...store.tables.keys()].join(', ')}`,
      });
  }
}

type Loaded<T> = { readonly kind: 'ok'; readonly value: T } | { readonly kind: 'bad'; readonly message: string };

function readText(file: string): Loaded<string> {
  try {
    const { size } = statSync(file);
    if (size > limits.connectionsFileBytes)
      return { kind: 'bad', message: `has ${size} bytes, at most ${limits.connectionsFileBytes} are read` };
    const bytes = readFileSync(file);
    return isUtf8(bytes) ? { kind: 'ok', value: bytes.toString() } : { kind: 'bad', message: 'is no text in UTF-8' };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return { kind: 'bad', message: code === 'ENOENT' ? 'there is no such file' : `cannot be read (${code})` };
  }
}

/** Why a text cannot be YAML or JSON at all, or null. */
function binaryProblem(text: string): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for; tab and line ends are text.
  const found = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.exec(text);
  if (found === null) return null;
  const code = found[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
  const line = text.slice(0, found.index).split('\n').length;
  return `is no text file: the control character U+${code} stands in line ${line}`;
}

/** A message without characters that a terminal would obey or cannot show. */
function printable(message: string): string {
  return message.replaceAll(/\p{C}+/gu, ' ');
}

/** A schema in a file of its own, JSON or YAML. */
function parseSchemaFile(file: string, shown: string): Loaded<Json> {
  const text = readText(file);
  if (text.kind === 'bad') return { kind: 'bad', message: `${shown}: ${text.message}` };
  const binary = binaryProblem(text.value);
  if (binary !== null) return { kind: 'bad', message: `${shown}: ${binary}` };
  const document = parseDocument(text.value, { prettyErrors: false });
  if (document.errors.length > 0)
    return { kind: 'bad', message: `${shown}: is neither JSON nor YAML: ${printable(document.errors[0].message)}` };
  return plainValue(document);
}

/** The document as an object; an empty file is an empty one. */
function plainObject(document: Document, problems: FieldProblem[]): Record<string, Json> {
  if (document.contents === null) return {};
  const plain = plainValue(document);
  if (plain.kind === 'ok' && isMap(document.contents)) return plain.value as Record<string, Json>;
  const noSections = 'must have the sections schemas, endpoints, channels, stores, network';
  problems.push({ path: [], message: plain.kind === 'bad' ? plain.message : noSections });
  return {};
}

/** The document's value. Aliases that would make it huge are refused. */
function plainValue(document: Document): Loaded<Json> {
  try {
    return { kind: 'ok', value: document.toJS({ maxAliasCount: limits.definitionAliasNodes }) as Json };
  } catch {
    return { kind: 'bad', message: `its aliases (*name) add more than ${limits.definitionAliasNodes} nodes` };
  }
}

/** Where in the text the value at a path begins; for a value that is missing, where its nearest surrounding begins. */
function locate(document: Document, path: Path): number {
  for (let length = path.length; length > 0; length -= 1) {
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const key = path[length - 1];
    if (isMap(parent)) {
      const pair = parent.items.find((item) => isNode(item.key) && String(item.key) === key);
      if (pair !== undefined && isNode(pair.key)) return pair.key.range?.[0] ?? 0;
    } else if (isCollection(parent)) {
      const node = parent.get(key, true);
      if (isNode(node)) return node.range?.[0] ?? 0;
    }
  }
  return 0;
}
