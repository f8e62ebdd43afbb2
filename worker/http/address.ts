/**
 * Which addresses a job may connect to. Pure.
 *
 * Invariants
 * 1. Only public unicast addresses are reachable, unless the connections file allows more: loopback, private, link-local
 *    (cloud metadata services among them), shared, documentation, multicast and reserved ones are refused.
 * 2. An IPv6 address that carries an IPv4 one (mapped, compatible, NAT64, 6to4, Teredo, ISATAP) is judged as that too.
 * 3. What is judged is an IP address, never a name: names are resolved first, and what they resolve to is judged.
 */
import { BlockList, isIP, isIPv4, SocketAddress } from 'node:net';

/** What `network.allow` of the connections file says. */
export interface NetworkRules {
  readonly allow: readonly AllowRule[];
}

/** One entry of `network.allow`. */
export type AllowRule =
  | { readonly kind: 'range'; readonly blocks: BlockList; readonly port: number | null; readonly source: string }
  /** A host name, or every name below a domain when `host` starts with a dot; whatever it resolves to. */
  | { readonly kind: 'host'; readonly host: string; readonly port: number | null; readonly source: string };

const notPublic = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const)
  notPublic.addSubnet(network, prefix, 'ipv4');

/** All that is allocated for public IPv6 unicast; everything else is refused. */
const publicIpv6 = new BlockList();
publicIpv6.addSubnet('2000::', 3, 'ipv6');
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['3fff::', 20],
  ['5f00::', 16],
] as const)
  notPublic.addSubnet(network, prefix, 'ipv6');

/** Whether an IP address is a public unicast one. Anything that is no IP address is not. */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !notPublic.check(address, 'ipv4');
  const groups = ipv6Groups(address);
  if (groups === null) return false;
  const embedded = embeddedIpv4(groups);
  // NAT64's own range is outside 2000::/3, and a gateway there reaches whatever the address carries.
  const isNat64 = groups[0] === 0x64 && groups[1] === 0xff9b && groups.slice(2, 6).every((group) => group === 0);
  if (embedded.some((ipv4) => notPublic.check(ipv4, 'ipv4'))) return false;
  if (isNat64) return true;
  const plain = groups.map((group) => group.toString(16)).join(':');
  if (isMapped(groups)) return true;
  return publicIpv6.check(plain, 'ipv6') && !notPublic.check(plain, 'ipv6');
}

/** Whether a connection to `address` (an IP address, what `host` resolved to) and `port` is allowed. */
export function isAllowed(rules: NetworkRules, host: string, address: string, port: number): boolean {
  if (isPublicAddress(address)) return true;
  const name = host
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');
  return rules.allow.some((rule) => {
    if (rule.port !== null && rule.port !== port) return false;
    switch (rule.kind) {
      case 'range':
        return inRange(rule.blocks, address);
      case 'host':
        return rule.host.startsWith('.') ? name.endsWith(rule.host) : name === rule.host;
      default:
        return rule satisfies never;
    }
  });
}

/**
 * Reads one entry of `network.allow`: `10.0.0.0/8`, `192.168.1.7`, `fd00::/8`, `localhost`, `*.svc.cluster.local`,
 * each with an optional `:port` (an IPv6 address in brackets then). Null when it is none of these.
 */
export function parseAllowRule(text: string): AllowRule | null {
  const source = text.trim();
  const split = /^(\[[^\]]+\](?:\/\d+)?|[^:]+)(?::(\d{1,5}))?$/.exec(source);
  const bare = isIP(source.split('/')[0]) === 6 ? source : split?.[1];
  if (bare === undefined) return null;
  const port = bare === source || split?.[2] === undefined ? null : Number(split[2]);
  if (port !== null && (port < 1 || port > 65_535)) return null;

  const [address, prefixText] = bare.replace(/[[\]]/g, '').split('/');
  const family = isIP(address);
  if (family !== 0) {
    const widest = family === 4 ? 32 : 128;
    if (prefixText !== undefined && !/^\d{1,3}$/.test(prefixText)) return null;
    const prefix = prefixText === undefined ? widest : Number(prefixText);
    if (prefix > widest) return null;
    const blocks = new BlockList();
    blocks.addSubnet(address, prefix, family === 4 ? 'ipv4' : 'ipv6');
    return { kind: 'range', blocks, port, source };
  }
  const host = bare.toLowerCase().replace(/\.$/, '');
  if (!/^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/.test(host)) return null;
  // `10.0.0` or `1.2.3.4.5` is a mistyped address, not a name.
  if (/^[\d.]+$/.test(host)) return null;
  return { kind: 'host', host: host.replace(/^\*/, ''), port, source };
}

/** An address is in a range as itself, or as the IPv4 address that it maps. */
function inRange(blocks: BlockList, address: string): boolean {
  if (isIPv4(address)) return blocks.check(address, 'ipv4');
  const groups = ipv6Groups(address);
  if (groups === null) return false;
  if (isMapped(groups)) return blocks.check(ipv4Of(groups[6], groups[7]), 'ipv4');
  return blocks.check(groups.map((group) => group.toString(16)).join(':'), 'ipv6');
}

/** The eight groups of an IPv6 address, without its zone; null when it is none. */
function ipv6Groups(address: string): number[] | null {
  const plain = address.replace(/^\[|\]$/g, '').split('%')[0];
  if (isIP(plain) !== 6) return null;
  const canonical = new SocketAddress({ address: plain, family: 'ipv6' }).address;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(canonical);
  const text =
    dotted === null
      ? canonical
      : `${dotted[1]}${((Number(dotted[2]) << 8) | Number(dotted[3])).toString(16)}:${((Number(dotted[4]) << 8) | Number(dotted[5])).toString(16)}`;
  const [head, tail] = text.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const middle = tail === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...middle, ...right].map((group) => Number.parseInt(group, 16));
}

function isMapped(groups: readonly number[]): boolean {
  return groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
}

/** Every IPv4 address that an IPv6 address carries. */
function embeddedIpv4(groups: readonly number[]): string[] {
  const found: string[] = [];
  const zeros = (from: number, to: number) => groups.slice(from, to).every((group) => group === 0);
  const last = ipv4Of(groups[6], groups[7]);
  if (zeros(0, 5) && (groups[5] === 0xffff || groups[5] === 0)) found.push(last);
  if (zeros(0, 4) && groups[4] === 0xffff && groups[5] === 0) found.push(last);
  if (groups[0] === 0x64 && groups[1] === 0xff9b) found.push(last);
  if (groups[0] === 0x2002) found.push(ipv4Of(groups[1], groups[2]));
  if (groups[0] === 0x2001 && groups[1] === 0) found.push(ipv4Of(groups[6] ^ 0xffff, groups[7] ^ 0xffff));
  if ((groups[4] & 0xfdff) === 0 && groups[5] === 0x5efe) found.push(last);
  return found;
}

function ipv4Of(high: number, low: number): string {
  return `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`;
}
