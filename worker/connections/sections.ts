/**
 * Reads the sections of a connections file, once its `${NAME}`s are filled in. Pure, but for schema files, which come in as a function.
 */
import { isAbsolute, join, normalize, sep } from 'node:path';
import { limits } from '@workflow-orchestrator/proto/limits';
import { describe, isObject } from '../fields/describe.ts';
import { Fields, type ReadElement, textElement } from '../fields/fields.ts';
import type { Path } from '../fields/path.ts';
import type { Json } from '../handler.ts';
import { type AllowRule, parseAllowRule } from '../http/address.ts';
import { isHeaderName, isHeaderValue, reservedHeader } from '../http/header.ts';
import type { Channel, Endpoint, StoreConnection, TableConnection } from './connections.ts';

/** An entry under a name: `read` gets its fields and closes them. */
export function readNamed<T>(top: Fields, section: string, read: (fields: Fields, name: string) => T): Map<string, T> {
  const element: ReadElement<T> = (value, path, problem) => {
    const name = String(path.at(-1));
    if (!/^[A-Za-z0-9._-]{1,128}$/.test(name)) problem(`the name must be 1 to ${limits.nameLength} of A-Z a-z 0-9 . _ -`);
    return read(new Fields(value, path, top.problems), name);
  };
  return top.map(section, element, { max: 10_000 }) ?? new Map();
}

/** An entry of `endpoints`. */
export function readEndpoint(fields: Fields, name: string): Endpoint {
  const kind = fields.choice('kind', ['http', 'store']) ?? (fields.has('store') && !fields.has('url') ? 'store' : 'http');
  if (kind === 'store') {
    const store = fields.requiredText('store');
    const operation = fields.requiredChoice('operation', ['append', 'put', 'insert', 'upsert']);
    const field = operation === 'insert' || operation === 'upsert' ? 'table' : 'key';
    const target = fields.requiredText(field, { max: limits.storeKeyLength });
    fields.close('an endpoint of kind store');
    return { kind, name, store, operation, target };
  }
  const method = fields.text('method')?.toUpperCase() ?? 'POST';
  if (!httpMethods.includes(method)) fields.problem('method', `must be one of ${httpMethods.join(', ')}`);
  const endpoint: Endpoint = { kind, name, url: readUrl(fields), method, headers: readHeaders(fields), timeoutMs: readTimeout(fields) };
  fields.close('an endpoint of kind http');
  return endpoint;
}

/** Methods that jobs may use. */
export const httpMethods: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** An entry of `channels`. */
export function readChannel(fields: Fields, name: string): Channel {
  const kind = fields.requiredChoice('kind', ['log', 'webhook']);
  if (kind === 'log') {
    const level = fields.choice('level', ['info', 'warn', 'error']) ?? 'info';
    fields.close('a channel of kind log');
    return { kind, name, level };
  }
  const format = fields.choice('format', ['json', 'slack', 'discord']) ?? 'json';
  const channel: Channel = { kind, name, url: readUrl(fields), headers: readHeaders(fields), format, timeoutMs: readTimeout(fields) };
  fields.close('a channel of kind webhook');
  return channel;
}

/** An entry of `stores`. */
export function readStore(fields: Fields, name: string, dataFolder: string | null): StoreConnection {
  const kind = fields.requiredChoice('kind', ['file', 'postgres', 'redis']);
  switch (kind) {
    case 'file': {
      const folder = fields.text('folder') ?? 'store';
      fields.close('a store of kind file');
      if (dataFolder === null) fields.problem(null, 'a file store needs the data folder of the worker: set DATA_DIR');
      if (isAbsolute(folder) || normalize(folder).split(sep).includes('..'))
        fields.problem('folder', 'must be a folder below the data folder');
      return { kind, name, folder: join(dataFolder ?? sep, folder) };
    }
    case 'postgres': {
      const url = readServerUrl(fields, ['postgres:', 'postgresql:']);
      const maxConnections = fields.integer('max_connections', { min: 1, max: 100 }) ?? 4;
      const read: ReadElement<TableConnection> = (value, path) => readTable(new Fields(value, path, fields.problems), String(path.at(-1)));
      const tables = fields.map('tables', read) ?? new Map();
      if (tables.size === 0) fields.problem('tables', 'is required: the tables that jobs may use, each with its columns');
      fields.close('a store of kind postgres');
      return { kind, name, url, tables, maxConnections };
    }
    case 'redis': {
      const url = readServerUrl(fields, ['redis:', 'rediss:']);
      const prefix = fields.text('prefix', { max: 128 }) ?? 'workflow:';
      fields.close('a store of kind redis');
      return { kind, name, url, prefix };
    }
    default:
      return kind satisfies never;
  }
}

/** An entry of `stores.<name>.tables`. */
function readTable(fields: Fields, name: string): TableConnection {
  const columns = fields.list('columns', textElement, { min: 1, max: 500 }) ?? [];
  const key = fields.list('key', textElement, { max: 32 }) ?? [];
  const idempotencyColumn = fields.text('idempotency_column') ?? null;
  if (!fields.has('columns')) fields.problem('columns', 'is required: the columns that jobs may set');
  for (const column of key) if (!columns.includes(column)) fields.problem('key', `'${column}' is not one of the columns`);
  if (idempotencyColumn !== null && columns.includes(idempotencyColumn))
    fields.problem('idempotency_column', 'must not be one of the columns: the worker sets it');
  fields.close('a table');
  return { name, columns, key, idempotencyColumn };
}

/** `network.allow`. */
export function readAllow(top: Fields): AllowRule[] {
  const network = top.object('network');
  if (network === undefined) return [];
  const read: ReadElement<AllowRule | null> = (value, _path, problem) => {
    const rule = typeof value === 'string' ? parseAllowRule(value) : null;
    if (rule === null)
      problem(
        `must be an address, a range or a host name, such as 10.0.0.0/8, 127.0.0.1:9000, localhost or *.svc.cluster.local, is ${describe(value)}`,
      );
    return rule;
  };
  const rules = network.list('allow', read) ?? [];
  network.close('network');
  return rules.filter((rule) => rule !== null);
}

/** An entry of `schemas`: the schema itself, or `{ file: path }`. */
export function readSchema(
  readFile: (file: string) => { readonly kind: 'ok'; readonly value: Json } | { readonly kind: 'bad'; readonly message: string },
  checkSchema: (schema: Json) => string | null,
): ReadElement<Json> {
  return (value: unknown, _path: Path, problem) => {
    let schema = value as Json;
    if (isObject(value) && Object.keys(value).length === 1 && typeof value.file === 'string') {
      const loaded = readFile(value.file);
      if (loaded.kind === 'bad') {
        problem(loaded.message);
        return true;
      }
      schema = loaded.value;
    }
    if (!isObject(schema) && typeof schema !== 'boolean') {
      problem(`must be a JSON Schema (an object, true or false) or { file: path }, is ${describe(schema)}`);
      return true;
    }
    const wrong = checkSchema(schema);
    if (wrong !== null) problem(`is no valid JSON Schema (draft 2020-12): ${wrong}`);
    return schema;
  };
}

function readUrl(fields: Fields): URL {
  const text = fields.requiredText('url');
  if (text === '') return new URL('http://invalid.invalid');
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '') return url;
  const what =
    url !== null && (url.username !== '' || url.password !== '')
      ? 'must have no user or password in it; use headers'
      : 'must be an http or https URL';
  fields.problem('url', what);
  return new URL('http://invalid.invalid');
}

function readServerUrl(fields: Fields, protocols: readonly string[]): string {
  const text = fields.requiredText('url').replace(/^(postgres(?:ql)?)\+[a-z0-9]+:/i, '$1:');
  if (text !== '' && !(URL.canParse(text) && protocols.includes(new URL(text).protocol)))
    fields.problem('url', `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`);
  return text;
}

function readHeaders(fields: Fields): Map<string, string> {
  const read: ReadElement<string> = (value, path, problem) => {
    const name = String(path.at(-1));
    const reserved = reservedHeader(name);
    if (!isHeaderName(name)) problem('is no name of an HTTP header');
    else if (reserved !== null) problem(reserved);
    if (typeof value === 'string' && isHeaderValue(value)) return value;
    problem('must be a text that fits into an HTTP header');
    return '';
  };
  const headers = fields.map('headers', read, { max: 100 }) ?? new Map<string, string>();
  return new Map([...headers].map(([name, value]) => [name.toLowerCase(), value]));
}

function readTimeout(fields: Fields): number {
  return fields.durationMs('timeout', { min: 1, max: limits.httpTimeoutMaxMs }) ?? limits.httpTimeoutMs;
}
