import { isIP } from 'node:net';
import { SystemError } from '../base/errors.ts';
import type { FqdnLookup } from './fqdn-lookups.ts';

/** Endpoint, name, address, time of the lookup, TTL, time of expiry, 1 when it was kept for a connection. */
export type FqdnRow = readonly [number, string, string, number, number, number, 0 | 1];

export interface FqdnCacheJson {
  readonly version: 1;
  readonly lookups: readonly FqdnRow[];
}

/** A saved cache cannot be read. Code FQDN_CACHE_CORRUPT. */
export class FqdnCacheError extends SystemError {}

const LONGEST_NAME = 1024;
const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

function corrupt(what: string): FqdnCacheError {
  return new FqdnCacheError(`the cache of DNS names cannot be read: ${what}`, { code: 'FQDN_CACHE_CORRUPT' });
}

function parseRow(row: unknown, index: number): FqdnLookup {
  const [endpoint, name, address, lookupMs, ttlSeconds, expiresMs, retired] = Array.isArray(row) ? row : [];
  const numbers =
    [endpoint, lookupMs, ttlSeconds, expiresMs].every(isCount) && (retired === 0 || retired === 1);
  const isName = typeof name === 'string' && name.length <= LONGEST_NAME && !/[A-Z]/.test(name);
  if (!numbers || !isName || typeof address !== 'string' || isIP(address) === 0)
    throw corrupt(`entry ${index} is none`);
  return { endpoint, name, address, lookupMs, ttlSeconds, expiresMs, retired: retired === 1 };
}

/** @throws FqdnCacheError */
export function parseFqdnCache(json: unknown): readonly FqdnLookup[] {
  if (typeof json !== 'object' || json === null) throw corrupt('it is no object');
  const { version, lookups } = json as { readonly version?: unknown; readonly lookups?: unknown };
  if (version !== 1) throw corrupt(`version ${JSON.stringify(version)} is not 1`);
  if (!Array.isArray(lookups)) throw corrupt('it has no list of lookups');
  return lookups.map(parseRow);
}
