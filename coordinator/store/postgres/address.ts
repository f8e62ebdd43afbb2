/**
 * Where a database is, as its URL says: `postgresql://user:password@host:5432/name?sslmode=verify-full&sslrootcert=/etc/ca.pem`. Several hosts stand with commas
 * in between: the first that takes writes is used. What a URL says that is not understood is refused, never passed over.
 */
import { userInfo } from 'node:os';

/** How the connection is protected; what libpq means by the same words. */
export interface TlsMode {
  readonly mode: 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
  /** Files in PEM; empty when not given. Without a root certificate those that Node trusts are. */
  readonly rootCertificate: string;
  readonly certificate: string;
  readonly key: string;
}

/** A database, as all connections to it need it. */
export interface Address {
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  readonly database: string;
  readonly user: string;
  readonly password: string;
  readonly tls: TlsMode;
  /** For people: without the password. */
  readonly shown: string;
}

const MODES: ReadonlySet<string> = new Set(['disable', 'prefer', 'require', 'verify-ca', 'verify-full']);
const KNOWN: ReadonlySet<string> = new Set([
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'host',
  // Said by people for other programs; what they ask for is so here in any case.
  'target_session_attrs',
  'connect_timeout',
  'application_name',
]);

/** Reads a URL. Throws with the reason when it is none. */
export function parseAddress(url: string): Address {
  const parts = /^(?:postgres|postgresql)(?:\+[a-z0-9]+)?:\/\/(?:([^/?#]*)@)?([^/?#@]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(url.trim());
  if (parts === null) throw new Error('the URL of the database does not look like postgresql://user:password@host:5432/name');
  const [, login = '', authority = '', path = '', query = ''] = parts;
  const search = new URLSearchParams(query);
  for (const name of search.keys()) {
    if (!KNOWN.has(name)) throw new Error(`the URL of the database says '${name}', which is not known; known are ${[...KNOWN].join(', ')}`);
  }
  const colon = login.indexOf(':');
  const user = decode(colon < 0 ? login : login.slice(0, colon)) || process.env.PGUSER || userInfo().username;
  const password = (colon < 0 ? '' : decode(login.slice(colon + 1))) || process.env.PGPASSWORD || '';
  const hosts = (search.get('host') ?? authority).split(',').map(hostOf);
  const database = decode(path) || user;
  const shown = `postgresql://${user}@${hosts.map(({ host, port }) => `${host}:${port}`).join(',')}/${database}`;
  return { hosts, database, user, password, tls: tlsOf(search), shown };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error('the URL of the database has a % that is not followed by two hex digits');
  }
}

function hostOf(text: string): Address['hosts'][number] {
  const parts = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d+))?$/.exec(decode(text));
  const port = Number(parts?.[2] ?? 5432);
  if (parts === null || port < 1 || port > 65_535) throw new Error(`the URL of the database names the host '${text}', which is none`);
  return { host: parts[1]!.replace(/^\[|\]$/g, '') || 'localhost', port };
}

function tlsOf(search: URLSearchParams): TlsMode {
  const [rootCertificate, certificate, key] = ['sslrootcert', 'sslcert', 'sslkey'].map((name) => search.get(name) ?? '') as [
    string,
    string,
    string,
  ];
  const asked = search.get('sslmode') ?? 'prefer';
  if (!MODES.has(asked)) throw new Error(`the URL of the database says sslmode=${asked}; known are ${[...MODES].join(', ')}`);
  if ((certificate === '') !== (key === '')) throw new Error('the URL of the database has only one of sslcert and sslkey');
  const mode = asked as TlsMode['mode'];
  // As libpq has it: with a root certificate at hand, `require` looks at it.
  return { mode: mode === 'require' && rootCertificate !== '' ? 'verify-ca' : mode, rootCertificate, certificate, key };
}
