import fc from 'fast-check';
import { type Identity, RESERVED_IDENTITIES } from '../../src/model/identity.ts';
import { type Label, labelSet } from '../../src/model/labels.ts';
import type { Direction } from '../../src/model/map-state.ts';
import { type LabelSelector, type MatchExpression, makeSelector } from '../../src/model/selector.ts';
import {
  ENTITIES,
  type Peers,
  type PortRule,
  type PortSpec,
  type Rule,
  type RuleItem,
} from '../../src/policy/rule.ts';

/** One policy and the packets to try on it. */
export interface PolicyCase {
  readonly rules: readonly Rule[];
  readonly packets: readonly PolicyPacket[];
}

/** A new flow between a subject and a peer. */
export interface PolicyPacket {
  readonly subject: Identity;
  /** Identity 0 for a peer that is not known. */
  readonly peer: Identity;
  readonly direction: Direction;
  readonly protocol: number;
  /** Destination port, host order; 0 for protocols without ports. */
  readonly port: number;
}

const KEYS: Readonly<Record<string, readonly string[]>> = {
  app: ['a', 'b', 'c'],
  org: ['empire', 'alliance'],
  tier: ['', 'front'],
};
const NAMESPACES = ['default', 'kube-system'];
const NAMESPACE_KEY = 'io.kubernetes.pod.namespace';
const CLUSTER_KEY = 'io.cilium.k8s.policy.cluster';

function workload(index: number): Identity {
  const pick = <T>(values: readonly T[], shift: number): T | undefined =>
    values[(index >> shift) % (values.length + 1)];
  const labels: Label[] = [];
  const add = (source: string, key: string, value: string | undefined): void => {
    if (value !== undefined) labels.push({ source, key, value });
  };
  add('k8s', 'app', pick(KEYS.app ?? [], 0));
  add(index % 5 === 0 ? 'container' : 'k8s', 'org', pick(KEYS.org ?? [], 1));
  add('k8s', 'tier', pick(KEYS.tier ?? [], 2));
  add('container', 'app', index % 7 === 0 ? 'b' : undefined);
  add('k8s', NAMESPACE_KEY, pick(NAMESPACES, 3));
  add('k8s', CLUSTER_KEY, index % 4 === 0 ? 'other' : index % 4 === 1 ? 'default' : undefined);
  return { id: 256 + 37 * index, labels: labelSet(labels) };
}

/** Identities with many different label sets; the same at every call. */
export const WORKLOADS: readonly Identity[] = Array.from({ length: 32 }, (_, index) => workload(index));

/** Every peer that packets come from: unknown, reserved, and workloads. */
export const PEERS: readonly Identity[] = [...RESERVED_IDENTITIES, ...WORKLOADS];

/** Whose policy is asked for: workloads, an endpoint without labels yet, the health endpoint. */
export const SUBJECTS: readonly Identity[] = [
  ...WORKLOADS.slice(0, 12),
  ...RESERVED_IDENTITIES.filter(({ id }) => id === 4 || id === 5),
];

const source = fc.constantFrom('any', 'any', 'k8s', 'container');

const matchLabel = fc
  .constantFrom(...Object.keys(KEYS), NAMESPACE_KEY)
  .chain((key) =>
    fc.record({ source, key: fc.constant(key), value: fc.constantFrom(...(KEYS[key] ?? NAMESPACES)) }),
  );

const matchExpression: fc.Arbitrary<MatchExpression> = fc
  .constantFrom(...Object.keys(KEYS), NAMESPACE_KEY)
  .chain((key) => {
    const values = fc.uniqueArray(fc.constantFrom(...(KEYS[key] ?? NAMESPACES)), { minLength: 1 });
    const named = { source, key: fc.constant(key) };
    return fc.oneof(
      fc.record({ ...named, operator: fc.constantFrom('In' as const, 'NotIn' as const), values }),
      fc.record({
        ...named,
        operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const),
        values: fc.constant([]),
      }),
    );
  });

const reservedSelector: fc.Arbitrary<LabelSelector> = fc
  .constantFrom('host', 'init', 'health', 'remote-node', 'world')
  .map((key) => makeSelector([{ source: 'reserved', key, value: '' }]));

const labelSelector: fc.Arbitrary<LabelSelector> = fc
  .tuple(
    fc.uniqueArray(matchLabel, { maxLength: 2, selector: ({ source: from, key }) => `${from}:${key}` }),
    fc.array(matchExpression, { maxLength: 1 }),
  )
  .map(([labels, expressions]) => makeSelector(labels, expressions));

/** Selectors of subjects and peers, the empty one among them. */
export const selectorArbitrary: fc.Arbitrary<LabelSelector> = fc.oneof(
  { arbitrary: labelSelector, weight: 6 },
  { arbitrary: reservedSelector, weight: 1 },
);

const PORTS = [1, 53, 79, 80, 81, 443, 444, 8000, 8080, 8999, 9000, 65535] as const;
const RANGES = [
  [80, 443],
  [1, 65535],
  [8000, 8999],
  [53, 80],
  [79, 81],
  [444, 9000],
  [65534, 65535],
] as const;

const portSpec: fc.Arbitrary<PortSpec> = fc
  .tuple(
    fc.oneof(
      { arbitrary: fc.constantFrom(...PORTS).map((port) => [port, undefined] as const), weight: 4 },
      { arbitrary: fc.constantFrom(...RANGES), weight: 2 },
      { arbitrary: fc.constant([0, undefined] as const), weight: 1 },
    ),
    fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const, 'ANY' as const),
  )
  .map(([[port, endPort], protocol]) => ({ port, endPort, protocol }));

const portRule: fc.Arbitrary<PortRule> = fc.record({
  ports: fc.array(portSpec, { minLength: 1, maxLength: 3 }),
});

const peers: fc.Arbitrary<Peers> = fc.oneof(
  {
    arbitrary: fc.record({
      kind: fc.constant('endpoints' as const),
      selectors: fc.array(selectorArbitrary, { maxLength: 3 }),
    }),
    weight: 3,
  },
  {
    arbitrary: fc.record({
      kind: fc.constant('entities' as const),
      entities: fc.uniqueArray(fc.constantFrom(...ENTITIES), { maxLength: 3 }),
    }),
    weight: 1,
  },
);

const ruleItem: fc.Arbitrary<RuleItem> = fc.record({
  peers: fc.option(peers, { nil: undefined, freq: 4 }),
  ports: fc.option(fc.array(portRule, { minLength: 1, maxLength: 2 }), { nil: undefined, freq: 2 }),
});

const section = fc.option(fc.array(ruleItem, { minLength: 1, maxLength: 3 }), { nil: undefined, freq: 2 });

/** Rules as sanitisation gives them, without an object around them. */
export const ruleArbitrary: fc.Arbitrary<Rule> = fc
  .record({
    subject: selectorArbitrary,
    ingress: section,
    egress: section,
    labels: fc
      .uniqueArray(fc.constantFrom('one', 'two', 'three'), { maxLength: 2 })
      .map((values) => values.map((value) => ({ source: 'unspec', key: value, value: 'rule' }))),
    description: fc.constant(undefined),
  })
  .filter(({ ingress, egress }) => ingress !== undefined || egress !== undefined);

export const ruleSetArbitrary: fc.Arbitrary<readonly Rule[]> = fc.array(ruleArbitrary, { maxLength: 6 });

const PORT_PROTOCOLS = [6, 17, 132];

/** Packets, most of them to the ports that rules name and to their neighbours. */
export const packetArbitrary: fc.Arbitrary<PolicyPacket> = fc
  .record({
    subject: fc.constantFrom(...SUBJECTS),
    peer: fc.constantFrom(...PEERS),
    direction: fc.constantFrom('ingress' as const, 'egress' as const),
    protocol: fc.constantFrom(6, 6, 6, 17, 17, 132, 1, 58, 47),
    port: fc.oneof(
      { arbitrary: fc.constantFrom(...PORTS, 2, 52, 54, 442, 7999, 65534), weight: 6 },
      { arbitrary: fc.integer({ min: 1, max: 65535 }), weight: 1 },
    ),
  })
  .map((packet) => (PORT_PROTOCOLS.includes(packet.protocol) ? packet : { ...packet, port: 0 }));

/** A policy with as many packets. */
export function policyCaseArbitrary(packets: number): fc.Arbitrary<PolicyCase> {
  return fc.record({
    rules: ruleSetArbitrary,
    packets: fc.array(packetArbitrary, { minLength: packets, maxLength: packets }),
  });
}

/** `CILIATE_TEST_SEED`, or a number of the clock; the test prints it so that a failure can be repeated. */
export function testSeed(): number {
  const given = process.env.CILIATE_TEST_SEED;
  return given === undefined ? Date.now() & 0x7fffffff : Number(given);
}
