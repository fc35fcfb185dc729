import type { DnsPattern, ProxyPorts } from '../../src/model/l7.ts';
import type { Direction } from '../../src/model/map-state.ts';
import { type LabelSelector, type MatchExpression, makeSelector } from '../../src/model/selector.ts';
import {
  type CidrSpec,
  ENTITIES,
  type IcmpSpec,
  type Peers,
  type PortRule,
  type PortSpec,
  RULE_PROTOCOLS,
  type Rule,
  type RuleItem,
  type ServiceSpec,
} from '../../src/policy/rule.ts';
import { L7Maker, type LanguageRequests, SERVER_NAME_RULES } from './l7-language.ts';
import { SUBJECTS } from './policy-gen.ts';
import { KNOWN, NAMES, OUTSIDE, OWN_PORTS, PREFIXES } from './policy-world.ts';
import { Random } from './random.ts';

/** A new flow. Everything in it is an index or a number, so that a case is readable as JSON. */
export interface LanguagePacket {
  /** Index in SUBJECTS. */
  readonly subject: number;
  /** Index in OWN_PORTS: what the subject's endpoint calls its ports. */
  readonly ports: number;
  /** Index in KNOWN, or an address outside. */
  readonly peer: number | string;
  readonly direction: Direction;
  readonly protocol: number;
  /** Destination port, host order; of ICMP the type. */
  readonly port: number;
}

export interface LanguageOptions {
  readonly mode: 'default' | 'always' | 'never';
  readonly allowLocalhost: 'always' | 'policy';
}

/** One policy and the packets to try on it. */
export interface LanguageCase {
  readonly options: LanguageOptions;
  readonly rules: readonly Rule[];
  readonly packets: readonly LanguagePacket[];
  /** What is asked on each redirected flow; default nothing. */
  readonly requests?: LanguageRequests | undefined;
}

const VALUES: Readonly<Record<string, readonly string[]>> = {
  app: ['a', 'b', 'c'],
  org: ['empire', 'alliance'],
  tier: ['', 'front'],
  'io.kubernetes.pod.namespace': ['default', 'kube-system'],
};
const KEYS = Object.keys(VALUES);
const SOURCES = ['any', 'any', 'k8s', 'container'];
const RESERVED = [
  'host',
  'init',
  'health',
  'remote-node',
  'world',
  'world-ipv4',
  'world-ipv6',
  'kube-apiserver',
];
const PORTS = [1, 53, 79, 80, 81, 443, 444, 8000, 8080, 8999, 9000, 65535];
const RANGES: readonly (readonly [number, number])[] = [
  [80, 443],
  [1, 65535],
  [8000, 8999],
  [53, 80],
  [79, 81],
  [444, 9000],
  [65534, 65535],
];
/** Those that the packets of the tests can have: no errors, no neighbour discovery. */
const ICMP_TYPES: Readonly<Record<4 | 6, readonly number[]>> = { 4: [0, 8, 13], 6: [128, 129, 144] };

/** Where the proxy listens in the tests: nobody is there, and the packet is dropped for that reason. */
export const TEST_PROXY_PORTS: ProxyPorts = {
  'http-ingress': 20_001,
  'http-egress': 20_002,
  'kafka-ingress': 20_003,
  'kafka-egress': 20_004,
  'dns-ingress': 20_005,
  'dns-egress': 20_006,
  'tls-ingress': 20_020,
  'tls-egress': 20_021,
  'memcache-ingress': 20_007,
  'memcache-egress': 20_008,
  'cassandra-ingress': 20_009,
  'cassandra-egress': 20_010,
  'r2d2-ingress': 20_011,
  'r2d2-egress': 20_012,
};

/** Makes rules and packets over the whole language. */
class Generator {
  readonly #random: Random;
  readonly #l7: L7Maker;

  constructor(random: Random) {
    this.#random = random;
    this.#l7 = new L7Maker(random);
  }

  #expression(): MatchExpression {
    const random = this.#random;
    const key = random.pick(KEYS);
    const operator = random.pick(['In', 'NotIn', 'Exists', 'DoesNotExist'] as const);
    const values = operator.includes('In') ? [random.pick(VALUES[key] ?? [])] : [];
    return { source: random.pick(SOURCES), key, operator, values };
  }

  #selector(): LabelSelector {
    const random = this.#random;
    if (random.oneIn(7)) return makeSelector([]);
    if (random.oneIn(8)) return makeSelector([{ source: 'reserved', key: random.pick(RESERVED), value: '' }]);
    const label = () => {
      const key = random.pick(KEYS);
      return { source: random.pick(SOURCES), key, value: random.pick(VALUES[key] ?? []) };
    };
    const labels = new Map(random.list(0, 2, label).map((part) => [`${part.source}:${part.key}`, part]));
    const needed = labels.size === 0 ? 1 : 0;
    const more = random.oneIn(3) ? 1 : 0;
    return makeSelector(
      [...labels.values()],
      random.list(needed, Math.max(needed, more), () => this.#expression()),
    );
  }

  #cidrSpec(): CidrSpec {
    const random = this.#random;
    const except = random.oneIn(2) ? random.list(1, 2, () => random.pick(PREFIXES.slice(2))) : [];
    if (random.oneIn(4))
      return { kind: 'group', name: random.pick(['partners', 'office', 'missing']), except };
    const selector = makeSelector([{ source: 'cidrgroup', key: 'team', value: random.pick(['x', 'y']) }]);
    if (random.oneIn(6)) return { kind: 'group-selector', selector, except };
    return { kind: 'cidr', cidr: random.pick(PREFIXES), except };
  }

  #service(): ServiceSpec {
    const random = this.#random;
    const namespace = random.pick(['default', 'default', 'kube-system']);
    if (random.oneIn(2)) return { kind: 'name', name: random.pick(['outer', 'inner', 'missing']), namespace };
    const selector = makeSelector([{ source: 'any', key: 'kind', value: random.pick(['outer', 'inner']) }]);
    return { kind: 'selector', selector, namespace: random.pick(['', namespace]) };
  }

  #name(): DnsPattern {
    const text = this.#random.pick(NAMES);
    return text.includes('*') ? { kind: 'pattern', pattern: text } : { kind: 'name', name: text };
  }

  #peers(direction: Direction): Peers {
    const random = this.#random;
    const kinds: readonly Peers['kind'][] = [
      'endpoints',
      'endpoints',
      'entities',
      'cidrs',
      'cidr-sets',
      'nodes',
    ];
    const kind = random.pick(direction === 'egress' ? [...kinds, 'services', 'fqdns'] : kinds);
    switch (kind) {
      case 'endpoints':
        return { kind, selectors: random.list(0, 3, () => this.#selector()) };
      case 'entities':
        return { kind, entities: [...new Set(random.list(0, 3, () => random.pick(ENTITIES)))] };
      case 'cidrs':
        return { kind, cidrs: random.list(0, 2, () => random.pick(PREFIXES)) };
      case 'cidr-sets':
        return { kind, sets: random.list(1, 2, () => this.#cidrSpec()) };
      case 'services':
        return { kind, services: random.list(1, 2, () => this.#service()) };
      case 'fqdns':
        return { kind, names: random.list(1, 2, () => this.#name()) };
      case 'nodes':
        return {
          kind,
          selectors: [
            makeSelector([
              { source: random.pick(['node', 'any']), key: 'zone', value: random.pick(['a', 'b']) },
            ]),
          ],
        };
    }
  }

  #port(): PortSpec {
    const random = this.#random;
    const protocol = random.pick(RULE_PROTOCOLS);
    if (random.oneIn(7)) return { port: 0, endPort: undefined, protocol };
    if (random.oneIn(5))
      return { port: random.pick(['http', 'dns', 'web', 'none']), endPort: undefined, protocol };
    if (random.oneIn(3)) {
      const [port, endPort] = random.pick(RANGES);
      return { port, endPort, protocol };
    }
    return { port: random.pick(PORTS), endPort: undefined, protocol };
  }

  #portRule(direction: Direction, deny: boolean): PortRule {
    const random = this.#random;
    const ports = random.list(1, 3, () => this.#port());
    if (deny || !random.oneIn(2)) return { ports };
    if (random.oneIn(8))
      return { ports, serverNames: random.list(1, 3, () => random.pick(SERVER_NAME_RULES)) };
    return { ports, l7: this.#l7.rules(direction) };
  }

  #icmp(): IcmpSpec {
    const family = this.#random.pick([4, 6] as const);
    return { family, type: this.#random.pick(ICMP_TYPES[family]) };
  }

  #item(direction: Direction, deny: boolean): RuleItem {
    const random = this.#random;
    const peers = random.oneIn(4) ? undefined : this.#peers(direction);
    const withIcmp = random.oneIn(7);
    const withPorts = !withIcmp && !random.oneIn(3);
    return {
      peers,
      ports: withPorts ? random.list(1, 2, () => this.#portRule(direction, deny)) : undefined,
      ...(withIcmp && { icmps: random.list(1, 2, () => this.#icmp()) }),
      ...(!deny && random.oneIn(50) && { requires: random.list(1, 2, () => this.#selector()) }),
    };
  }

  #section(direction: Direction, deny: boolean): readonly RuleItem[] | undefined {
    const random = this.#random;
    if (random.oneIn(deny ? 1.4 : 2.5)) return undefined;
    return random.oneIn(12) ? [] : random.list(1, deny ? 2 : 3, () => this.#item(direction, deny));
  }

  rule(): Rule {
    const random = this.#random;
    const ingressDeny = random.oneIn(3) ? this.#section('ingress', true) : undefined;
    const egressDeny = random.oneIn(3) ? this.#section('egress', true) : undefined;
    const flag = () => random.pick([true, false, undefined]);
    return {
      subject: random.oneIn(2) ? makeSelector([]) : this.#selector(),
      ...(random.oneIn(20) && { subjectKind: 'node' }),
      ingress: this.#section('ingress', false),
      egress: this.#section('egress', false),
      ingressDeny,
      egressDeny,
      ...(random.oneIn(4) && { enableDefaultDeny: { ingress: flag(), egress: flag() } }),
      labels: [],
      description: undefined,
    };
  }

  packet(): LanguagePacket {
    const random = this.#random;
    const peer = random.oneIn(3) ? random.pick(OUTSIDE) : random.below(KNOWN.length);
    const v6 = typeof peer === 'string' ? peer.includes(':') : random.oneIn(2);
    const protocol = random.pick([6, 6, 6, 6, 17, 17, 132, v6 ? 58 : 1]);
    const isIcmp = protocol === 1 || protocol === 58;
    const near = random.pick([...PORTS, 2, 52, 54, 442, 7999, 65534]);
    const any = random.oneIn(7) ? 1 + random.below(65_535) : near;
    return {
      subject: random.below(SUBJECTS.length),
      ports: random.below(OWN_PORTS.length),
      peer,
      direction: random.pick(['ingress', 'egress']),
      protocol,
      port: isIcmp ? random.pick(ICMP_TYPES[v6 ? 6 : 4]) : any,
    };
  }
}

/** A policy with as many packets for few of its subjects, as setting up a policy costs more than judging a packet. */
export function languageCase(seed: number, packets: number): LanguageCase {
  const random = new Random(seed);
  const make = new Generator(random);
  const options: LanguageOptions = {
    mode: random.pick(['default', 'default', 'default', 'default', 'always', 'never']),
    allowLocalhost: random.pick(['always', 'policy']),
  };
  const rules = random.list(1, 6, () => make.rule());
  const subjects = random.list(3, 3, () => ({
    subject: random.below(SUBJECTS.length),
    ports: random.below(OWN_PORTS.length),
  }));
  const all = Array.from({ length: packets }, () => ({ ...make.packet(), ...random.pick(subjects) }));
  return { options, rules, packets: all, requests: new L7Maker(random).requests() };
}
