import { cidrContains, parseCidr, parseIp } from '../base/ip.ts';
import { compileDnsPattern, dnsPatternText, parseDnsPattern } from '../model/dns-pattern.ts';
import type { DnsPattern } from '../model/l7.ts';
import type { FqdnLookup } from './fqdn-lookups.ts';

/** `DNSLookup` of the API: the addresses that one endpoint was told for one name at one time. */
export interface DnsLookupJson {
  readonly 'endpoint-id': number;
  /** With the final dot. */
  readonly fqdn: string;
  readonly ips: readonly string[];
  /** Seconds, as told. */
  readonly ttl: number;
  /** `connection`: past its TTL, kept for a connection. */
  readonly source: 'lookup' | 'connection';
  readonly 'lookup-time': string;
  readonly 'expiration-time': string;
}

/** Filters of `/fqdn/cache`; undefined takes everything. */
export interface FqdnFilter {
  readonly matchPattern?: string | undefined;
  readonly cidr?: string | undefined;
  readonly source?: string | undefined;
  readonly endpoint?: number | undefined;
}

/** `NameManager` of the API. */
export interface NameManagerJson {
  readonly DNSPollNames: null;
  readonly FQDNPolicySelectors: readonly { readonly selectorString: string; readonly regexString: string }[];
}

/** RFC 3339, UTC, whole seconds where the time is one. */
function timeText(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

/**
 * @returns whether a name of the cache is one of a `matchpattern` as users give it
 * @throws DnsPatternError
 */
export function fqdnNameFilter(matchPattern: string): (name: string) => boolean {
  return compileDnsPattern(parseDnsPattern(matchPattern));
}

/** @throws DnsPatternError or UsageError when the filter cannot be read */
function filterOf(filter: FqdnFilter): (lookup: FqdnLookup) => boolean {
  const ofName = filter.matchPattern === undefined ? undefined : fqdnNameFilter(filter.matchPattern);
  const cidr = filter.cidr === undefined ? undefined : parseCidr(filter.cidr);
  return (lookup) =>
    (ofName === undefined || ofName(lookup.name)) &&
    (cidr === undefined || cidrContains(cidr, parseIp(lookup.address))) &&
    (filter.source === undefined || filter.source === sourceOf(lookup)) &&
    (filter.endpoint === undefined || filter.endpoint === lookup.endpoint);
}

const sourceOf = ({ retired }: FqdnLookup): 'lookup' | 'connection' => (retired ? 'connection' : 'lookup');

/**
 * Answer of `/fqdn/cache` and, with an endpoint in the filter, of `/fqdn/cache/{id}`.
 * @throws DnsPatternError or UsageError when the filter cannot be read
 */
export function fqdnCacheView(lookups: Iterable<FqdnLookup>, filter: FqdnFilter = {}): DnsLookupJson[] {
  const isWanted = filterOf(filter);
  const groups = new Map<string, { readonly first: FqdnLookup; readonly ips: string[] }>();
  for (const lookup of lookups) {
    if (!isWanted(lookup)) continue;
    const { endpoint, name, lookupMs, expiresMs, ttlSeconds } = lookup;
    const key = JSON.stringify([endpoint, name, lookupMs, expiresMs, ttlSeconds, lookup.retired]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { first: lookup, ips: [lookup.address] });
    else group.ips.push(lookup.address);
  }
  return [...groups.values()].map(({ first, ips }) => ({
    'endpoint-id': first.endpoint,
    fqdn: `${first.name}.`,
    ips: ips.sort(),
    ttl: first.ttlSeconds,
    source: sourceOf(first),
    'lookup-time': timeText(first.lookupMs),
    'expiration-time': timeText(first.expiresMs),
  }));
}

const RUN = '[-a-zA-Z0-9_]';

/** A regular expression (RE2 and JavaScript) for the names of a pattern, lower case with the final dot; to be shown. */
function regexText(pattern: DnsPattern): string {
  if (pattern.kind === 'regex') return `^(?i:${pattern.regex})$`;
  const text = dnsPatternText(pattern);
  if (text === '*') return `^(${RUN}+[.])*[.]?$`;
  const deep = pattern.kind === 'pattern' && text.startsWith('**.');
  const rest = (deep ? text.slice(3) : text).replaceAll('.', '[.]').replace(/\*+/g, `${RUN}*`);
  return `^${deep ? `(${RUN}+[.])+` : ''}${rest}[.]$`;
}

/** Answer of `/fqdn/names`: the selectors of `toFQDNs` in use. */
export function fqdnNamesView(selectors: Iterable<DnsPattern>): NameManagerJson {
  const FQDNPolicySelectors = [...selectors].map((pattern) => ({
    selectorString:
      pattern.kind === 'pattern'
        ? `MatchName: , MatchPattern: ${pattern.pattern}`
        : `MatchName: ${pattern.kind === 'name' ? pattern.name : pattern.regex}, MatchPattern: `,
    regexString: regexText(pattern),
  }));
  return { DNSPollNames: null, FQDNPolicySelectors };
}
