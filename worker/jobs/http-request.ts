/** The HTTP part of jobs: what their parameters ask for, and what the reply is as output. */
import { limits } from '@workflow-orchestrator/proto/limits';
import type { HttpEndpoint } from '../connections/connections.ts';
import { httpMethods } from '../connections/sections.ts';
import { PermanentError, RetryableError } from '../errors.ts';
import { describe } from '../fields/describe.ts';
import type { Fields, ReadElement } from '../fields/fields.ts';
import type { Json } from '../handler.ts';
import type { HttpReply, HttpRequest } from '../http/client.ts';
import { isHeaderName, isHeaderValue, reservedHeader } from '../http/header.ts';
import { parseRetryAfterMs } from '../http/retry-after.ts';

/** What the parameters say of a request, whatever its address. */
export interface RequestOptions {
  /** Null: GET without a body, POST with one; or as the endpoint says. */
  readonly method: string | null;
  readonly headers: ReadonlyMap<string, string>;
  readonly query: ReadonlyMap<string, string>;
  /** Undefined: none was given. */
  readonly body: Json | undefined;
  readonly expected: readonly StatusPattern[];
  readonly timeoutMs: number | null;
  readonly maxRedirects: number;
  readonly response: 'full' | 'body' | 'none';
}

/** `201`, or a class such as `2xx`. */
export type StatusPattern = { readonly kind: 'status'; readonly status: number } | { readonly kind: 'class'; readonly hundreds: number };

/** Reads the parameters that every request has. */
export function readRequestOptions(fields: Fields): RequestOptions {
  const method = fields.text('method')?.toUpperCase() ?? null;
  if (method !== null && !httpMethods.includes(method)) fields.problem('method', `must be one of ${httpMethods.join(', ')}`);
  const headers = fields.map('headers', readHeader, { max: 100 }) ?? new Map<string, string>();
  const query = fields.map('query', readQuery, { max: 100 }) ?? new Map<string, string>();
  const bodyField = fields.exclusive(['body', 'data']);
  const [body, data] = [fields.json('body'), fields.json('data')];
  if (bodyField !== null && (method === 'GET' || method === 'HEAD'))
    fields.problem(bodyField, `a ${method} request has no body; use query`);
  return {
    method,
    headers: new Map([...headers].map(([name, value]) => [name.toLowerCase(), value])),
    query,
    body: body === undefined ? data : body,
    expected: fields.list('expect_status', readStatus, { min: 1, max: 100 }) ?? [{ kind: 'class', hundreds: 2 }],
    timeoutMs: fields.durationMs('timeout', { min: 1, max: limits.httpTimeoutMaxMs }) ?? null,
    maxRedirects: fields.integer('redirects', { min: 0, max: limits.httpRedirectsMax }) ?? limits.httpRedirects,
    response: fields.choice('response', ['full', 'body', 'none']) ?? 'full',
  };
}

/** Reads the parameter `url`. */
export function readUrl(fields: Fields): URL {
  const text = fields.requiredText('url', { max: 8_192 });
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '') return url;
  if (text !== '') {
    const hasPassword = url !== null && (url.username !== '' || url.password !== '');
    const why = hasPassword
      ? 'must have no user or password in it; use an endpoint of the connections file'
      : 'must be an http or https URL';
    fields.problem('url', why);
  }
  return new URL('http://invalid.invalid');
}

/** The request to an address that the job itself names. */
export function requestToUrl(url: URL, options: RequestOptions, fallbackBody: Json, idempotencyKey: string): HttpRequest {
  const method = options.method ?? (options.body === undefined ? 'GET' : 'POST');
  return {
    ...common(options, method, fallbackBody, idempotencyKey, new Map()),
    url: withQuery(url, options.query),
    target: `${url.origin}${url.pathname}`.slice(0, 200),
    secretHeaders: new Set(),
    timeoutMs: options.timeoutMs ?? limits.httpTimeoutMs,
  };
}

/**
 * The request to a named endpoint. `path` is below the endpoint's own.
 * @throws PermanentError `INVALID_INPUT`
 */
export function requestToEndpoint(
  endpoint: HttpEndpoint,
  path: string,
  options: RequestOptions,
  fallbackBody: Json,
  idempotencyKey: string,
): HttpRequest {
  const method = options.method ?? endpoint.method;
  const taken = [...options.headers.keys()].filter((name) => endpoint.headers.has(name));
  if (taken.length > 0)
    throw new PermanentError(`parameters.headers: ${taken.join(', ')} is set by endpoint '${endpoint.name}' itself`, {
      code: 'INVALID_INPUT',
    });
  return {
    ...common(options, method, fallbackBody, idempotencyKey, endpoint.headers),
    url: withQuery(below(endpoint, path), options.query),
    target: `endpoint '${endpoint.name}'`,
    secretHeaders: new Set(endpoint.headers.keys()),
    timeoutMs: options.timeoutMs ?? endpoint.timeoutMs,
  };
}

/**
 * The reply as the job's output.
 * @throws RetryableError `HTTP_STATUS` for 408, 425, 429 and 5xx, with the server's Retry-After
 * @throws PermanentError `HTTP_STATUS` for every other status that was not expected
 */
export function outputOf(reply: HttpReply, options: RequestOptions, target: string, nowMs: number): Json {
  const expected = options.expected.some((pattern) =>
    pattern.kind === 'status' ? pattern.status === reply.status : pattern.hundreds === Math.floor(reply.status / 100),
  );
  if (!expected) throw unexpectedStatus(reply, target, nowMs);
  const { 'set-cookie': _, ...headers } = reply.headers;
  switch (options.response) {
    case 'none':
      return { status: reply.status, headers };
    case 'body':
      return decodeBody(reply).body;
    case 'full':
      return { status: reply.status, headers, ...decodeBody(reply) };
    default:
      return options.response satisfies never;
  }
}

/** The error that an unexpected status is. */
export function unexpectedStatus(reply: HttpReply, target: string, nowMs: number): Error {
  const { status } = reply;
  const body = decodeBody(reply);
  const text = typeof body.body === 'string' ? body.body : JSON.stringify(body.body);
  const shown = text.slice(0, limits.httpErrorBodyBytes);
  const first = shown.replace(/\s+/g, ' ').slice(0, 200);
  const message = `${target} answered ${status}${body.encoding === undefined && first !== 'null' && first !== '' ? `: ${first}` : ''}`;
  const details: Json = { status, body: shown };
  const passing = status >= 500 || [408, 425, 429].includes(status);
  if (!passing) return new PermanentError(message, { code: 'HTTP_STATUS', details });
  return new RetryableError(message, {
    code: 'HTTP_STATUS',
    details,
    retryAfterMs: parseRetryAfterMs(reply.headers['retry-after'], nowMs),
  });
}

function common(
  options: RequestOptions,
  method: string,
  fallbackBody: Json,
  idempotencyKey: string,
  fixed: ReadonlyMap<string, string>,
): Pick<HttpRequest, 'method' | 'headers' | 'body' | 'maxRedirects' | 'maxBytes'> {
  const headers = new Map<string, string>([
    ['user-agent', 'workflow-worker'],
    ['accept', 'application/json, text/*;q=0.9, */*;q=0.8'],
  ]);
  if (method !== 'GET' && method !== 'HEAD') headers.set('idempotency-key', idempotencyKey);
  for (const [name, value] of [...options.headers, ...fixed]) headers.set(name, value);
  const wantsBody = ['POST', 'PUT', 'PATCH'].includes(method);
  const value = options.body !== undefined ? options.body : wantsBody ? fallbackBody : undefined;
  let body: string | null = null;
  if (value !== undefined && method !== 'GET' && method !== 'HEAD') {
    body = typeof value === 'string' ? value : JSON.stringify(value);
    if (!headers.has('content-type'))
      headers.set('content-type', typeof value === 'string' ? 'text/plain; charset=utf-8' : 'application/json');
  }
  return { method, headers, body, maxRedirects: options.maxRedirects, maxBytes: limits.httpReplyBytes };
}

/** The endpoint's URL with more path. Neither `..` nor `//host` leads out of what the endpoint is. */
function below(endpoint: HttpEndpoint, path: string): URL {
  if (path === '') return endpoint.url;
  const base = endpoint.url.pathname.replace(/\/$/, '');
  const url = new URL(endpoint.url);
  url.pathname = `${base}/${path.replace(/^\/+/, '')}`;
  // Servers that decode once more must not see another path than the one that was checked.
  const climbs = decodeURIComponentSafe(path)
    .split(/[/\\]/)
    .some((part) => decodeURIComponentSafe(part) === '..');
  if (!climbs && url.origin === endpoint.url.origin && url.pathname.startsWith(`${base}/`)) return url;
  throw new PermanentError(`parameters.path: ${JSON.stringify(path.slice(0, 200))} leads out of endpoint '${endpoint.name}'`, {
    code: 'INVALID_INPUT',
  });
}

function decodeURIComponentSafe(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function withQuery(url: URL, query: ReadonlyMap<string, string>): URL {
  const complete = new URL(url);
  for (const [name, value] of query) complete.searchParams.set(name, value);
  complete.hash = '';
  return complete;
}

/** The body as JSON where it is JSON, as text where it is text, else in base64, with `encoding` saying so. */
function decodeBody(reply: HttpReply): { body: Json; encoding?: string } {
  if (reply.body.length === 0) return { body: null };
  const contentType = (reply.headers['content-type'] ?? '').toLowerCase();
  const mime = contentType.split(';')[0].trim();
  if (/^application\/json$|^text\/json$|\+json$/.test(mime)) {
    try {
      return { body: JSON.parse(reply.body.toString('utf8')) as Json };
    } catch {
      return { body: reply.body.toString('utf8') };
    }
  }
  const charset = /charset="?([\w-]+)/.exec(contentType)?.[1];
  if (mime.startsWith('text/') || charset !== undefined || /^application\/(xml|javascript|x-www-form-urlencoded|yaml)$|\+xml$/.test(mime))
    return { body: decodeText(reply.body, charset ?? 'utf-8') };
  // Nothing was said of it: a text, if it is one.
  if (mime === '' && !reply.body.includes(0)) return { body: reply.body.toString('utf8') };
  return { body: reply.body.toString('base64'), encoding: 'base64' };
}

function decodeText(bytes: Buffer, charset: string): string {
  try {
    return new TextDecoder(charset).decode(bytes);
  } catch {
    return bytes.toString('utf8');
  }
}

const readHeader: ReadElement<string> = (value, path, problem) => {
  const name = String(path.at(-1));
  const reserved = reservedHeader(name);
  if (!isHeaderName(name)) problem('is no name of an HTTP header');
  else if (reserved !== null) problem(reserved);
  const text = typeof value === 'number' || typeof value === 'boolean' ? String(value) : value;
  if (typeof text === 'string' && isHeaderValue(text)) return text;
  problem(typeof text === 'string' ? 'has characters that no HTTP header may have' : `must be a text, is ${describe(value)}`);
  return '';
};

const readQuery: ReadElement<string> = (value, _path, problem) => {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return String(value);
  problem(`must be a text, a number, true or false, is ${describe(value)}`);
  return '';
};

const readStatus: ReadElement<StatusPattern> = (value, _path, problem) => {
  const text = String(value).toLowerCase();
  if (/^[1-5]xx$/.test(text)) return { kind: 'class', hundreds: Number(text[0]) };
  if (/^[1-5]\d\d$/.test(text)) return { kind: 'status', status: Number(text) };
  problem(`must be a status such as 201, or a class such as 2xx, is ${describe(value)}`);
  return { kind: 'class', hundreds: 2 };
};
