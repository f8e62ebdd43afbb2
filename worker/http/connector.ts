/**
 * Opens connections for the HTTP client, and only such as the rules allow.
 *
 * Invariants
 * 1. Checked three times: an IP literal before anything is opened (no lookup is made for one), every address that a name resolves to,
 *    and the address that the socket is connected to in the end.
 * 2. A name is resolved once for a connection, and the connection is made to an address of that answer: a name that resolves
 *    differently the next time gains nothing.
 * 3. No connection is kept for a second request, so that no request goes out over a connection that was checked under another name.
 */
import { lookup as systemLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { limits } from '@workflow-orchestrator/proto/limits';
import { Agent, buildConnector } from 'undici';
import { isAllowed, type NetworkRules } from './address.ts';

/** An address that a name resolved to. */
export interface ResolvedAddress {
  readonly address: string;
  readonly family: number;
}

/** Resolves a name to all its addresses. */
export type Resolve = (host: string) => Promise<readonly ResolvedAddress[]>;

/** A connection was not made because the rules forbid it. */
export class AddressRefusedError extends Error {
  override readonly name = 'AddressRefusedError';
  readonly code = 'ADDRESS_REFUSED';
  constructor(host: string, address: string, port: number) {
    const where = host === address ? `${address} (port ${port})` : `${host}, which is ${address} (port ${port}),`;
    super(`${where} is not a public address; allow it under network.allow in the connections file if jobs are meant to reach it`);
  }
}

/** The system's resolver, as `getaddrinfo` answers. */
export const resolveBySystem: Resolve = (host) =>
  new Promise((resolve, reject) => {
    systemLookup(host, { all: true }, (error, addresses) => (error === null ? resolve(addresses) : reject(error)));
  });

/** An undici dispatcher that connects to allowed addresses only. */
export function guardedAgent(rules: NetworkRules, resolve: Resolve = resolveBySystem): Agent {
  const connect: buildConnector.connector = (options, callback) => {
    const host = options.hostname.replace(/^\[|\]$/g, '');
    const port = Number(options.port) || (options.protocol === 'https:' ? 443 : 80);
    if (isIP(host) !== 0 && !isAllowed(rules, host, host, port)) {
      callback(new AddressRefusedError(host, host, port), null);
      return;
    }
    const open = buildConnector({
      timeout: limits.httpConnectMs,
      allowH2: false,
      lookup: guardedLookup(rules, resolve, port),
    } as buildConnector.BuildOptions);
    open(options, (...[error, socket]) => {
      if (error !== null) {
        callback(error, null);
        return;
      }
      const address = socket.remoteAddress ?? '';
      if (isAllowed(rules, host, address, port)) {
        callback(null, socket);
        return;
      }
      socket.destroy();
      callback(new AddressRefusedError(host, address, port), null);
    });
  };
  // Pipelining 0: one request a connection.
  return new Agent({ connect, pipelining: 0, headersTimeout: 0, bodyTimeout: 0, maxHeaderSize: limits.httpHeaderBytes, allowH2: false });
}

/** A `lookup` for `net.connect` that answers with allowed addresses only. */
function guardedLookup(rules: NetworkRules, resolve: Resolve, port: number): LookupFunction {
  return (host, options, callback) => {
    resolve(host).then(
      (addresses) => {
        const wanted = addresses.filter(({ family }) => options.family === undefined || options.family === 0 || family === options.family);
        const allowed = wanted.filter(({ address }) => isAllowed(rules, host, address, port));
        if (allowed.length === 0) {
          const notFound = Object.assign(new Error(`${host} has no address`), { code: 'ENOTFOUND' });
          callback(wanted.length === 0 ? notFound : new AddressRefusedError(host, wanted[0].address, port), '', 0);
        } else if (options.all === true) {
          callback(null, [...allowed]);
        } else {
          callback(null, allowed[0].address, allowed[0].family);
        }
      },
      (error: NodeJS.ErrnoException) => callback(error, '', 0),
    );
  };
}
