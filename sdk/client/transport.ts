/**
 * The way to the server: Connect over `fetch`, so that the same code runs in Node 20 and later and in browsers.
 */
import { Code, ConnectError, type Interceptor, type Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-web';
import { WorkflowError } from './error.ts';
import { networkCode } from './retry.ts';

/** The address of a coordinator as calls need it: `ws://host/workers` and `http://host/` are the same place. Throws `invalid_argument`. */
export function httpAddress(address: string): string {
  const bad = (hint: string) =>
    new WorkflowError(
      'invalid_argument',
      `${JSON.stringify(address)} is no address of a coordinator: ${hint}, for instance http://localhost:8000`,
    );
  if (address.startsWith('/')) return address.replace(/\/+$/, '') || '/';
  if (!URL.canParse(address)) throw bad('write a URL');
  const url = new URL(address);
  if (!/^(http|ws)s?:$/.test(url.protocol)) throw bad('it starts with http:// or https://');
  if (url.username !== '' || url.password !== '') throw bad('credentials belong into `token`');
  const path = url.protocol.startsWith('ws') ? url.pathname.replace(/\/workers\/?$/, '') : url.pathname;
  return `${url.protocol.replace(/^ws/, 'http')}//${url.host}${path.replace(/\/+$/, '')}`;
}

/** Calls to the coordinator at `address` (of `httpAddress`), with the token if there is one. */
export function createTransport(address: string, token: string | null, fetch: typeof globalThis.fetch = globalThis.fetch): Transport {
  return createConnectTransport({
    baseUrl: address,
    useBinaryFormat: true,
    interceptors: token === null ? [] : [bearer(token)],
    fetch: (input, init) => fetch(input, init).catch((thrown) => Promise.reject(unreachable(address, thrown))),
  });
}

function bearer(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set('Authorization', `Bearer ${token}`);
    return next(request);
  };
}

/** What `fetch` throws for any network failure is a bare TypeError: it becomes UNAVAILABLE, in words that name the address. */
function unreachable(address: string, thrown: unknown): unknown {
  if (!(thrown instanceof TypeError)) return thrown;
  const code = networkCode(thrown);
  const inner = thrown.cause instanceof Error && thrown.cause.message !== '' ? thrown.cause.message : thrown.message;
  const why = code === 'ECONNREFUSED' ? 'connection refused' : (code ?? inner);
  return new ConnectError(`no coordinator answers at ${address} (${why})`, Code.Unavailable, undefined, undefined, thrown);
}
