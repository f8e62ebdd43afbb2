/**
 * Whether a request may come from the web page that it comes from. Pure.
 *
 * A browser sends requests to this machine on behalf of any page, and a definition is a plain text that needs no preflight: without this check
 * a foreign page could run workflows on a developer's coordinator. Clients that are no browser send no `Origin`.
 */
import type { IncomingHttpHeaders } from 'node:http';

/** Who is let in from the web. */
export interface OriginPolicy {
  /** Origins besides the coordinator's own, such as `https://ops.example.com`. */
  readonly allowed: readonly string[];
  /** Serve only requests for an address or a name of this machine: set where nothing but the loopback address protects the coordinator. */
  readonly localNamesOnly: boolean;
}

/** Why the request is refused, for people; null when it may go on. */
export function originProblem(headers: IncomingHttpHeaders, policy: OriginPolicy): string | null {
  const host = headers[':authority'] ?? headers.host;
  const authority = Array.isArray(host) ? host[0] : host;
  if (policy.localNamesOnly && authority !== undefined && !isLocalName(authority)) {
    return `the host '${authority}' is no name of this machine; a coordinator without a token serves none but localhost`;
  }
  const { origin } = headers;
  if (origin === undefined || policy.allowed.includes(origin)) return null;
  return authority !== undefined && authorityOf(origin) === authority.toLowerCase()
    ? null
    : `requests from pages of ${origin} are not allowed`;
}

function authorityOf(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null;
}

/** `localhost`, a name below it, or an address: what no foreign name server can point elsewhere. */
function isLocalName(authority: string): boolean {
  const name = authority.toLowerCase().replace(/:\d+$/, '');
  return name === 'localhost' || name.endsWith('.localhost') || name.startsWith('[') || /^\d+(\.\d+){3}$/.test(name);
}
