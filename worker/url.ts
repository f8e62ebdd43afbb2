/**
 * Addresses of coordinators, as people write them.
 */
import { workersPath } from '@workflow-orchestrator/proto';

/** The WebSocket URL of the worker stream at an address, or what is wrong with the address, in one line. */
export type StreamUrl = { readonly kind: 'url'; readonly url: string } | { readonly kind: 'bad'; readonly message: string };

/** Reads `http(s)://host:port` and `ws(s)://host:port`, each with or without `/workers`, also below a path of a proxy. */
export function streamUrl(address: string): StreamUrl {
  const example = 'for example http://localhost:8000';
  if (!URL.canParse(address)) return bad(address, `is no URL; ${example}`);
  const url = new URL(address);
  const secure = url.protocol === 'https:' || url.protocol === 'wss:';
  if (!secure && url.protocol !== 'http:' && url.protocol !== 'ws:') {
    return bad(address, `must begin with http://, https://, ws:// or wss://; ${example}`);
  }
  if (url.hostname === '') return bad(address, `names no host; ${example}`);
  if (url.username !== '' || url.password !== '')
    return bad(withoutUser(url), 'must not hold a user or password; the token goes into its own setting');
  if (url.hash !== '' || url.search !== '') return bad(address, "must not hold '?' or '#'");
  const path = url.pathname.replace(/\/+$/, '');
  url.protocol = secure ? 'wss:' : 'ws:';
  url.pathname = path.endsWith(workersPath) ? path : `${path}${workersPath}`;
  return { kind: 'url', url: url.href };
}

function withoutUser(url: URL): string {
  const shown = new URL(url);
  shown.username = '';
  shown.password = '';
  return shown.href;
}

function bad(address: string, what: string): StreamUrl {
  return { kind: 'bad', message: `the coordinator's address '${address}' ${what}` };
}
