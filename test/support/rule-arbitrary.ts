import fc from 'fast-check';
import { type Cidr, parseCidr } from '../../src/base/ip.ts';
import type { DnsPattern, HttpRule, KafkaRule, L7Rules, PairRule } from '../../src/model/l7.ts';
import { type LabelSelector, makeSelector } from '../../src/model/selector.ts';
import {
  type CidrSpec,
  ENTITIES,
  type Peers,
  type PortRule,
  type Rule,
  type RuleItem,
  type ServiceSpec,
} from '../../src/policy/rule.ts';
import { selectorArbitrary } from './policy-gen.ts';

/*
 * Rules over the whole language as parsing makes them, for what must hold of any rule: parts that a rule lacks are
 * left out, names are in lower case, prefixes have no bits behind their length.
 */

const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined });

const cidr: fc.Arbitrary<Cidr> = fc
  .constantFrom('0.0.0.0/0', '10.0.0.0/8', '10.1.0.0/16', '192.0.2.7/32', '::/0', '2001:db8::/32')
  .map(parseCidr);

const exceptions = (around: Cidr): fc.Arbitrary<readonly Cidr[]> => {
  const within = around.family === 4 ? ['10.1.2.0/24', '10.1.2.3/32'] : ['2001:db8:1::/48'];
  const fits = around.length <= (around.family === 4 ? 16 : 32) && around.bytes[0] !== 192;
  return fits
    ? fc.array(fc.constantFrom(...within).map(parseCidr), { maxLength: 2 })
    : fc.constant<Cidr[]>([]);
};

const groupSelector: fc.Arbitrary<LabelSelector> = fc
  .constantFrom('a', 'b')
  .map((value) => makeSelector([{ source: 'cidrgroup', key: 'team', value }]));

const cidrSpec: fc.Arbitrary<CidrSpec> = fc.oneof(
  cidr.chain((prefix) =>
    exceptions(prefix).map((except) => ({ kind: 'cidr' as const, cidr: prefix, except })),
  ),
  fc.record({
    kind: fc.constant('group' as const),
    name: fc.constantFrom('g', 'h.i'),
    except: fc.array(cidr, { maxLength: 1 }),
  }),
  fc.record({
    kind: fc.constant('group-selector' as const),
    selector: groupSelector,
    except: fc.array(cidr, { maxLength: 1 }),
  }),
);

const service: fc.Arbitrary<ServiceSpec> = fc.oneof(
  fc.record({
    kind: fc.constant('name' as const),
    name: fc.constantFrom('web', 'db'),
    namespace: fc.constantFrom('default', 'prod'),
  }),
  fc.record({
    kind: fc.constant('selector' as const),
    selector: selectorArbitrary,
    namespace: fc.constantFrom('', 'prod'),
  }),
);

const dnsPattern: fc.Arbitrary<DnsPattern> = fc.oneof(
  fc.constantFrom('example.org', 'a_b.c').map((name) => ({ kind: 'name' as const, name })),
  fc
    .constantFrom('*', '*.example.org', '**.c', 'a*.b')
    .map((pattern) => ({ kind: 'pattern' as const, pattern })),
  fc.constantFrom('.*[.]c', '(a|b)').map((regex) => ({ kind: 'regex' as const, regex })),
);

const commonPeers: readonly fc.Arbitrary<Peers>[] = [
  fc.array(selectorArbitrary, { maxLength: 2 }).map((selectors) => ({ kind: 'endpoints', selectors })),
  fc
    .uniqueArray(fc.constantFrom(...ENTITIES), { maxLength: 2 })
    .map((entities) => ({ kind: 'entities', entities })),
  fc.array(cidr, { maxLength: 2 }).map((cidrs) => ({ kind: 'cidrs', cidrs })),
  fc.array(cidrSpec, { maxLength: 2 }).map((sets) => ({ kind: 'cidr-sets', sets })),
  fc.array(selectorArbitrary, { maxLength: 2 }).map((selectors) => ({ kind: 'nodes', selectors })),
];
const services: fc.Arbitrary<Peers> = fc
  .array(service, { maxLength: 2 })
  .map((list) => ({ kind: 'services', services: list }));
const fqdns: fc.Arbitrary<Peers> = fc
  .array(dnsPattern, { maxLength: 2 })
  .map((names) => ({ kind: 'fqdns', names }));

type Section = 'ingress' | 'ingressDeny' | 'egress' | 'egressDeny';

const PEERS: Readonly<Record<Section, fc.Arbitrary<Peers>>> = {
  ingress: fc.oneof(...commonPeers),
  ingressDeny: fc.oneof(...commonPeers),
  egress: fc.oneof(...commonPeers, services, fqdns),
  egressDeny: fc.oneof(...commonPeers, services),
};

const httpRule: fc.Arbitrary<HttpRule> = fc.record({
  path: optional(fc.constantFrom('/', '/v1/.*', '/[a-z]+/\\d{1,3}')),
  method: optional(fc.constantFrom('GET', 'GET|HEAD')),
  host: optional(fc.constantFrom('example\\.org', '.*\\.c')),
  headers: fc.array(fc.constantFrom('X-A', 'X-A: b c', 'x: 1'), { maxLength: 2 }),
  headerMatches: fc.array(
    fc
      .tuple(
        fc.constantFrom('X-A', 'x'),
        optional(fc.constantFrom('b', 'b c')),
        optional(fc.constantFrom('LOG' as const, 'ADD' as const, 'DELETE' as const, 'REPLACE' as const)),
      )
      .map(([name, value, mismatch]) => ({ name, value, ...(mismatch !== undefined && { mismatch }) })),
    { maxLength: 2 },
  ),
});

const kafkaRule: fc.Arbitrary<KafkaRule> = fc
  .record({
    role: optional(fc.constantFrom('produce' as const, 'consume' as const)),
    apiKey: optional(fc.constantFrom('fetch', 'createtopics')),
    apiVersion: optional(fc.integer({ min: 0, max: 32767 })),
    clientId: optional(fc.constantFrom('c1', 'a b')),
    topic: optional(fc.constantFrom('t', 'T.1_2-3')),
  })
  .map((rule) => (rule.role === undefined ? rule : { ...rule, apiKey: undefined }));

const pairRule: fc.Arbitrary<PairRule> = fc.constantFrom<PairRule[]>(
  {},
  { cmd: 'READ' },
  { file: 'a.*', x: '' },
);

const some = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.array(arbitrary, { minLength: 1, maxLength: 2 });

const tcpL7: fc.Arbitrary<L7Rules> = fc.oneof(
  some(httpRule).map((rules) => ({ kind: 'http' as const, rules })),
  some(kafkaRule).map((rules) => ({ kind: 'kafka' as const, rules })),
  some(pairRule).map((rules) => ({ kind: 'r2d2' as const, rules })),
  fc
    .array(pairRule, { maxLength: 2 })
    .map((rules) => ({ kind: 'other' as const, protocol: 'spoken', rules })),
);
const dnsL7: fc.Arbitrary<L7Rules> = some(dnsPattern).map((rules) => ({ kind: 'dns', rules }));

const protocol = fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const, 'ANY' as const);
const anyPort = fc.oneof(
  fc.constantFrom([0, undefined], [80, undefined], [65535, undefined], [1, 65535], [8000, 8999]),
  fc.constantFrom('http', 'web-2').map((name) => [name, undefined] as const),
);
const plainPorts: fc.Arbitrary<PortRule> = some(
  fc.tuple(anyPort, protocol).map(([[port, endPort], proto]) => ({
    port: port ?? 0,
    endPort: endPort as number | undefined,
    protocol: proto,
  })),
).map((ports) => ({ ports }));
const namesPorts: fc.Arbitrary<PortRule> = plainPorts.map((rule) => ({
  ...rule,
  serverNames: ['a.b', '*.c'],
}));
const tcpPorts: fc.Arbitrary<PortRule> = tcpL7.map((l7) => ({
  ports: [
    { port: 80, endPort: undefined, protocol: 'TCP' },
    { port: 'http', endPort: undefined, protocol: 'TCP' },
  ],
  l7,
}));
const dnsPorts: fc.Arbitrary<PortRule> = dnsL7.map((l7) => ({
  ports: [{ port: 53, endPort: undefined, protocol: 'ANY' }],
  l7,
}));

const PORT_RULES: Readonly<Record<Section, fc.Arbitrary<PortRule>>> = {
  ingress: fc.oneof(plainPorts, tcpPorts, namesPorts),
  ingressDeny: plainPorts,
  egress: fc.oneof(plainPorts, tcpPorts, dnsPorts, namesPorts),
  egressDeny: plainPorts,
};

const icmps = fc.oneof(
  fc.array(
    fc.record({ family: fc.constantFrom(4 as const, 6 as const), type: fc.integer({ min: 0, max: 255 }) }),
    { minLength: 1, maxLength: 3 },
  ),
  fc.constant(Array.from({ length: 100 }, (_, type) => ({ family: 4 as const, type }))),
);

function itemArbitrary(section: Section): fc.Arbitrary<RuleItem> {
  const base = {
    peers: optional(PEERS[section]),
    requires: section.endsWith('Deny')
      ? fc.constant(undefined)
      : optional(fc.array(selectorArbitrary, { minLength: 1, maxLength: 1 })),
  };
  const bare = fc.record({ ...base, ports: fc.constant(undefined) });
  const withPorts = fc.record({ ...base, ports: some(PORT_RULES[section]) });
  const withIcmps = fc.record({ ...base, ports: fc.constant(undefined), icmps });
  return fc.oneof(bare, withPorts, withIcmps).map(({ requires, ...item }) => ({
    ...item,
    ...(requires !== undefined && { requires }),
  }));
}

const items = (section: Section): fc.Arbitrary<readonly RuleItem[] | undefined> =>
  optional(fc.array(itemArbitrary(section), { maxLength: 2 }));

/** A rule of any part of the language. */
export const languageRule: fc.Arbitrary<Rule> = fc
  .record({
    subject: selectorArbitrary,
    ingress: items('ingress'),
    egress: items('egress'),
    ingressDeny: items('ingressDeny'),
    egressDeny: items('egressDeny'),
    enableDefaultDeny: fc.constantFrom(undefined, { ingress: false }, { ingress: true, egress: false }),
    log: fc.constantFrom(undefined, 'seen'),
    labels: fc.constantFrom([], [{ source: 'k8s', key: 'a', value: 'b' }]),
    description: fc.constantFrom(undefined, 'text'),
  })
  .map(({ ingressDeny, egressDeny, enableDefaultDeny, log, ...rule }) => ({
    ...rule,
    ...(ingressDeny !== undefined && { ingressDeny }),
    ...(egressDeny !== undefined && { egressDeny }),
    ...(enableDefaultDeny !== undefined && { enableDefaultDeny }),
    ...(log !== undefined && { log }),
  }));
