/** How a Redis is, in words for people. */
import type { TierHealth } from '../store.ts';
import type { ServerFacts } from './connection.ts';

/** What an operator should know about a server that is all there is. */
export function warnings(facts: ServerFacts): string[] {
  const found: string[] = [];
  if (!facts.isAppendOnly && facts.replicas === 0) {
    found.push('neither an append-only file nor a replica: what is acknowledged is lost with this server (set appendonly yes)');
  }
  if (facts.mayEvict) found.push('it may throw out the journal when its memory is short (set maxmemory-policy noeviction)');
  if (isBefore(facts.version, 6, 2)) found.push(`version ${facts.version} is too old: 6.2 is needed`);
  return found;
}

/** Health of the store. A server that answers is OK, and its detail says what it does not protect from. */
export function redisHealth(
  name: string,
  trouble: { readonly sinceMs: number; readonly message: string } | null,
  facts: ServerFacts | null,
): TierHealth {
  if (trouble !== null) return { name, health: 'DOWN', detail: `${trouble.message}, since ${new Date(trouble.sinceMs).toISOString()}` };
  if (facts === null) return { name, health: 'OK', detail: 'connected' };
  const protection = facts.isAppendOnly ? 'append-only file' : `${facts.replicas} replicas, no append-only file`;
  const warned = warnings(facts);
  return { name, health: 'OK', detail: `Redis ${facts.version}: ${warned.length > 0 ? warned.join('; ') : protection}` };
}

function isBefore(version: string, major: number, minor: number): boolean {
  const [first = 0, second = 0] = version.split('.').map(Number);
  return first < major || (first === major && second < minor);
}
