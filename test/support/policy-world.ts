import { parseCidr, parseIp } from '../../src/base/ip.ts';
import { type Identity, RESERVED_IDENTITIES, ReservedIdentity } from '../../src/model/identity.ts';
import { labelSet } from '../../src/model/labels.ts';
import type { NamedPort } from '../../src/model/named-port.ts';
import type { PolicyInventory } from '../../src/model/policy-inventory.ts';
import { makeSelector } from '../../src/model/selector.ts';
import { WORKLOADS } from './policy-gen.ts';

/*
 * The cluster that random policies are judged in. It is the same in every case, so that a case is rules and packets and
 * nothing else.
 */

/** Identities of nodes with labels of their own, as fromNodes sees them. */
const NODES: readonly Identity[] = ['a', 'b'].map((zone, i) => ({
  id: (2 << 24) + i,
  labels: labelSet([
    { source: 'reserved', key: 'remote-node', value: '' },
    { source: 'node', key: 'zone', value: zone },
  ]),
}));

/** Who is known by an identity: nobody, the reserved ones, workloads, nodes. */
export const KNOWN: readonly Identity[] = [...RESERVED_IDENTITIES, ...WORKLOADS, ...NODES];

/** Addresses outside: in none of the prefixes below, in one, in several, and of names; one at least for each that may count. */
export const OUTSIDE: readonly string[] = [
  '8.8.8.8',
  '20.9.9.9',
  '20.9.0.1',
  '20.1.9.9',
  '20.1.2.9',
  '20.1.2.3',
  '198.51.100.7',
  '10.200.0.1',
  '2a00:8::1',
  '2a00:9::1',
  '2a00:1::1',
  '2a00:1:2::3',
  '2b00::5',
];

/** Prefixes that rules name: nested, whole families, and one around the range that endpoints have addresses in. */
export const PREFIXES = [
  '0.0.0.0/0',
  '20.0.0.0/8',
  '20.1.0.0/16',
  '20.1.2.0/24',
  '20.1.2.3/32',
  '20.9.0.1/32',
  '198.51.100.0/24',
  '10.0.0.0/8',
  '::/0',
  '2a00::/16',
  '2a00:1::/32',
  '2a00:1:2::3/128',
].map(parseCidr);

/** FQDN selectors that rules may name, and which of them names of an address match. */
export const NAMES = ['a.example.com', 'b.example.com', '*.example.com', '*'] as const;
export const NAMES_OF: Readonly<Record<string, readonly string[]>> = {
  '20.9.0.1': ['a.example.com', '*.example.com', '*'],
  '20.1.2.3': ['b.example.com', '*.example.com', '*'],
  '2b00::5': ['*'],
};

const label = (source: string, key: string, value: string) => ({ source, key, value });

export const INVENTORY: PolicyInventory = {
  cidrGroups: [
    {
      name: 'partners',
      labels: [label('cidrgroup', 'team', 'x')],
      cidrs: ['20.1.0.0/16', '2a00:1::/32'].map(parseCidr),
    },
    { name: 'office', labels: [label('cidrgroup', 'team', 'x')], cidrs: ['198.51.100.0/24'].map(parseCidr) },
  ],
  services: [
    { name: 'outer', namespace: 'default', labels: [label('k8s', 'kind', 'outer')], selector: undefined },
    {
      name: 'inner',
      namespace: 'default',
      labels: [label('k8s', 'kind', 'inner')],
      selector: makeSelector([{ source: 'k8s', key: 'app', value: 'a' }]),
    },
  ],
  addresses: [
    {
      name: 'outer',
      namespace: 'default',
      kind: 'endpoints',
      service: 'outer',
      addresses: ['8.8.8.8', '2a00:9::1'].map(parseIp),
    },
  ],
};

/** `http` has two numbers cluster-wide, so egress rules mean none by it. */
export const CLUSTER_PORTS: readonly NamedPort[] = [
  { name: 'http', protocol: 6, port: 80 },
  { name: 'http', protocol: 6, port: 8080 },
  { name: 'web', protocol: 6, port: 443 },
  { name: 'dns', protocol: 17, port: 53 },
  { name: 'dns', protocol: 6, port: 53 },
];

/** What endpoints call their own ports. */
export const OWN_PORTS: readonly (readonly NamedPort[])[] = [
  [],
  [
    { name: 'http', protocol: 6, port: 80 },
    { name: 'dns', protocol: 17, port: 53 },
  ],
  [
    { name: 'http', protocol: 6, port: 8080 },
    { name: 'web', protocol: 132, port: 443 },
  ],
];

/** The identity of an address that no rule gave one to. */
export const WORLD: Identity = RESERVED_IDENTITIES.find(({ id }) => id === ReservedIdentity.world) ?? {
  id: ReservedIdentity.world,
  labels: [],
};
