/**
 * Sends one HTTP request of a job and says in the words of job errors what came of it.
 *
 * Invariants
 * 1. Every connection, those of redirects too, goes through the guarded connector.
 * 2. A redirect to another origin loses the credentials: authorization, cookies and whatever the caller marked as secret.
 * 3. A reply is read up to a limit in bytes, counted before and after decompression; the rest is never buffered.
 * 4. `target` is all that errors say of an address: URLs of the connections file may be secrets.
 */
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate } from 'node:zlib';
import { limits } from '@workflow-orchestrator/proto/limits';
import { type Dispatcher, request } from 'undici';
import { PermanentError, RetryableError } from '../errors.ts';
import { formatDuration } from '../fields/duration.ts';
import type { NetworkRules } from './address.ts';
import { AddressRefusedError, guardedAgent, type Resolve } from './connector.ts';

/** One request. */
export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  /** What people are told instead of the URL: `endpoint 'orders'`. */
  readonly target: string;
  /** Lower-case names. */
  readonly headers: ReadonlyMap<string, string>;
  /** Names of headers that must not reach another origin. */
  readonly secretHeaders: ReadonlySet<string>;
  readonly body: string | null;
  /** For all of it: redirects and the reply's body too. */
  readonly timeoutMs: number;
  readonly maxRedirects: number;
  readonly maxBytes: number;
}

/** The final reply. */
export interface HttpReply {
  readonly status: number;
  /** Lower-case names; several values of one header joined by `, `. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** The client of one worker. */
export interface HttpClient {
  /**
   * The reply, whatever its status.
   * @throws PermanentError `ADDRESS_REFUSED`, `TLS_FAILED`, `TOO_MANY_REDIRECTS`, `BAD_REDIRECT`, `RESPONSE_TOO_LARGE`, `BAD_RESPONSE`
   * @throws RetryableError `HTTP_TIMEOUT`, `CONNECTION_FAILED`
   * @throws the signal's reason, when it is aborted
   */
  send(request: HttpRequest, signal: AbortSignal): Promise<HttpReply>;
  /** Ends what is still open. */
  close(): Promise<void>;
}

const credentials = new Set(['authorization', 'proxy-authorization', 'cookie']);

/** A client that reaches what the rules allow. */
export function openHttpClient(rules: NetworkRules, resolve?: Resolve): HttpClient {
  const agent = guardedAgent(rules, resolve);
  return {
    close: () => agent.destroy(),
    async send(wanted, signal) {
      const deadline = AbortSignal.timeout(wanted.timeoutMs);
      try {
        return await follow(agent, wanted, AbortSignal.any([signal, deadline]));
      } catch (error) {
        signal.throwIfAborted();
        if (deadline.aborted)
          throw new RetryableError(`${wanted.target} did not answer within ${formatDuration(wanted.timeoutMs)}`, { code: 'HTTP_TIMEOUT' });
        throw asJobError(error, wanted.target);
      }
    },
  };
}

/** Sends the request and follows redirects. */
async function follow(agent: Dispatcher, wanted: HttpRequest, signal: AbortSignal): Promise<HttpReply> {
  let { url, method, body } = wanted;
  let headers = new Map(wanted.headers);
  for (let redirects = 0; ; redirects += 1) {
    const reply = await request(url, {
      dispatcher: agent,
      method: method as Dispatcher.HttpMethod,
      headers: [...headers].flat(),
      body,
      signal,
    });
    const location = reply.headers.location;
    const isRedirect = [301, 302, 303, 307, 308].includes(reply.statusCode) && typeof location === 'string';
    if (!isRedirect || wanted.maxRedirects === 0) {
      return { status: reply.statusCode, headers: plainHeaders(reply.headers), body: await readBody(reply, wanted) };
    }
    reply.body.on('error', () => {});
    reply.body.destroy();
    if (redirects === wanted.maxRedirects)
      throw new PermanentError(`${wanted.target} redirected more than ${wanted.maxRedirects} times`, { code: 'TOO_MANY_REDIRECTS' });
    const next = redirectTarget(location, url, wanted.target);
    if (next.origin !== url.origin)
      headers = new Map([...headers].filter(([name]) => !credentials.has(name) && !wanted.secretHeaders.has(name)));
    // As browsers do: 303 always, and 301 and 302 after a POST, become a GET.
    if (reply.statusCode === 303 ? method !== 'HEAD' : reply.statusCode < 303 && method === 'POST') {
      method = 'GET';
      body = null;
      headers.delete('content-type');
    }
    url = next;
  }
}

function redirectTarget(location: string, from: URL, target: string): URL {
  const next = URL.canParse(location, from) ? new URL(location, from) : null;
  if (next !== null && /^https?:$/.test(next.protocol) && next.username === '' && next.password === '') return next;
  throw new PermanentError(`${target} redirected to something that is no plain http or https address`, { code: 'BAD_REDIRECT' });
}

async function readBody(reply: Dispatcher.ResponseData, wanted: HttpRequest): Promise<Buffer> {
  const tooLarge = () =>
    new PermanentError(`the reply of ${wanted.target} is larger than ${wanted.maxBytes} bytes`, { code: 'RESPONSE_TOO_LARGE' });
  const chunks: Buffer[] = [];
  let size = 0;
  // Leaving the loop destroys the stream, and with it the connection.
  for await (const chunk of reply.body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > wanted.maxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  const decompress = decompressors.get(String(reply.headers['content-encoding'] ?? 'identity').toLowerCase());
  if (decompress === undefined || body.length === 0) return body;
  try {
    return await decompress(body, { maxOutputLength: wanted.maxBytes });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge();
    throw new PermanentError(`the reply of ${wanted.target} is not compressed as it says`, { code: 'BAD_RESPONSE', cause: error });
  }
}

/** Some servers compress without being asked. */
const decompressors = new Map([
  ['gzip', promisify<Buffer, { maxOutputLength: number }, Buffer>(gunzip)],
  ['x-gzip', promisify<Buffer, { maxOutputLength: number }, Buffer>(gunzip)],
  ['deflate', promisify<Buffer, { maxOutputLength: number }, Buffer>(inflate)],
  ['br', promisify<Buffer, { maxOutputLength: number }, Buffer>(brotliDecompress)],
]);

function plainHeaders(headers: Dispatcher.ResponseData['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name.toLowerCase(), [value].flat().join(', ')]])),
  );
}

/** What a failed connection or a broken reply means for the job. */
function asJobError(error: unknown, target: string): Error {
  if (error instanceof PermanentError || error instanceof RetryableError) return error;
  if (error instanceof AddressRefusedError) return new PermanentError(`${target}: ${error.message}`, { code: error.code });
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (isCertificateProblem(code))
    return new PermanentError(`${target}: the certificate is not trusted (${code})`, { code: 'TLS_FAILED', cause: error });
  if (['UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_HTTP_PARSER'].includes(code) || code.startsWith('HPE_'))
    return new PermanentError(`${target} answered with something that is no proper HTTP reply (${code})`, {
      code: 'BAD_RESPONSE',
      cause: error,
    });
  if (code === 'UND_ERR_INVALID_ARG') return new PermanentError(`${target}: ${message}`, { code: 'INVALID_INPUT', cause: error });
  if (code === 'UND_ERR_CONNECT_TIMEOUT')
    return new RetryableError(`${target}: no connection within ${formatDuration(limits.httpConnectMs)}`, {
      code: 'HTTP_TIMEOUT',
      cause: error,
    });
  const reason = networkReasons[code] ?? (code === '' ? message : code);
  return new RetryableError(`${target}: ${reason}`, { code: 'CONNECTION_FAILED', cause: error, details: { reason: code } });
}

function isCertificateProblem(code: string): boolean {
  return (
    /^(CERT_|ERR_TLS_CERT|UNABLE_TO_(GET|VERIFY|DECODE)_)/.test(code) ||
    ['SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT'].includes(code)
  );
}

const networkReasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused (ECONNREFUSED)',
  ECONNRESET: 'the connection was closed before the reply was whole (ECONNRESET)',
  UND_ERR_SOCKET: 'the connection was closed before the reply was whole',
  ENOTFOUND: 'the host name has no address (ENOTFOUND)',
  EAI_AGAIN: 'the host name could not be resolved just now (EAI_AGAIN)',
  EHOSTUNREACH: 'the host cannot be reached (EHOSTUNREACH)',
  ENETUNREACH: 'the network cannot be reached (ENETUNREACH)',
};
