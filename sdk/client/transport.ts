/**
 * The way to the server: Connect over `fetch`, so that the same code runs in Node 20 and later and in browsers; in Node the unary calls go a cheaper way.
 */
import { Code, ConnectError, type Interceptor, type Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-web';
import { addressList } from '@workflow-orchestrator/proto';
import { WorkflowError } from './error.ts';
import { nodeUnary } from './node-unary.ts';
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

/** The addresses of one text or several, each once. Throws `invalid_argument` for one that is none, or for none at all. */
export function httpAddresses(given: string | readonly string[]): string[] {
  const addresses = addressList(given);
  if (addresses.length === 0)
    throw new WorkflowError('invalid_argument', 'no address of a coordinator is given, for instance http://localhost:8000');
  return [...new Set(addresses.map(httpAddress))];
}

/** Calls to the coordinator at `address` (of `httpAddress`), with the token if there is one. `fetch`: instead of what the platform has. */
export function createTransport(address: string, token: string | null, fetch?: typeof globalThis.fetch): Transport {
  const send = fetch ?? globalThis.fetch;
  const transport = createConnectTransport({
    baseUrl: address,
    useBinaryFormat: true,
    interceptors: token === null ? [] : [bearer(token)],
    fetch: async (input, init) => {
      try {
        return watched(address, await send(input, init));
      } catch (thrown) {
        throw unavailable(`no coordinator answers at ${address}`, thrown);
      }
    },
  });
  const unary = fetch === undefined ? nodeUnary(address, token, unavailable) : null;
  return unary === null ? transport : { unary, stream: transport.stream };
}

function bearer(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set('Authorization', `Bearer ${token}`);
    return next(request);
  };
}

/** The same answer; where the connection breaks while its body is read, that is UNAVAILABLE too. */
function watched(address: string, response: Response): Response {
  if (response.body === null) return response;
  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (thrown) {
        controller.error(unavailable(`the connection to ${address} broke`, thrown));
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return new Response(body, response);
}

/** What `fetch` throws for any network failure is a bare TypeError: it becomes UNAVAILABLE, in words that name the address. */
function unavailable(what: string, thrown: unknown): unknown {
  const why = whyUnreachable(thrown);
  return why === null ? thrown : new ConnectError(`${what} (${why})`, Code.Unavailable, undefined, undefined, thrown);
}

/** Why the network failed, in few words; null for what is no failure of the network. */
export function whyUnreachable(thrown: unknown): string | null {
  if (!(thrown instanceof TypeError)) return null;
  const code = networkCode(thrown);
  if (code === 'ECONNREFUSED') return 'connection refused';
  return code ?? (thrown.cause instanceof Error && thrown.cause.message !== '' ? thrown.cause.message : thrown.message);
}
