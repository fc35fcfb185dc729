import Type from 'typebox';
import { int, known, list, type ModelOf, model, opt, str, timestamp } from './build.ts';

/** Addresses of a name that an endpoint saw in an answer; `source` is `connection` when only live flows keep them. */
export const DNSLookup = model('DNSLookup', {
  fqdn: opt(str),
  ips: opt(list(str)),
  'lookup-time': opt(timestamp),
  ttl: opt(Type.Integer({ description: 'seconds' })),
  'expiration-time': opt(timestamp),
  'endpoint-id': opt(int),
  source: opt(known('lookup', 'connection')),
});
export type DNSLookup = ModelOf<typeof DNSLookup>;
export const DNSLookups = Type.Array(DNSLookup);

export const SelectorEntry = model('SelectorEntry', { selectorString: opt(str), regexString: opt(str) });
export type SelectorEntry = ModelOf<typeof SelectorEntry>;

/** The names and patterns of `toFQDNs` in force. */
export const NameManager = model('NameManager', {
  DNSPollNames: opt(list(str)),
  FQDNPolicySelectors: opt(list(SelectorEntry)),
});
export type NameManager = ModelOf<typeof NameManager>;
