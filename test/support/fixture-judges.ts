import { formatCidr, parseIp } from '../../src/base/ip.ts';
import { type Identity, RESERVED_IDENTITIES, ReservedIdentity } from '../../src/model/identity.ts';
import type { L7Rules, ProxyPorts } from '../../src/model/l7.ts';
import {
  evaluateMapState,
  evaluateNaive,
  type NaiveVerdict,
  PolicyResolver,
  Repository,
} from '../../src/policy/index.ts';
import { namedPortsText } from '../../src/policy/named-ports.ts';
import { PrefixSet } from '../../src/policy/prefix-set.ts';
import { ProxyJudge } from './l7-judges.ts';
import { dnsOracle, httpOracle, kafkaOracle, pairOracle, tlsOracle } from './l7-oracle.ts';
import { type FixtureFlow, type PolicyFixture, selectorsOfNames } from './policy-fixture.ts';

const PROXY_PORTS: ProxyPorts = {
  'http-ingress': 11000,
  'http-egress': 11001,
  'kafka-ingress': 11002,
  'kafka-egress': 11003,
  'dns-ingress': 11004,
  'dns-egress': 11005,
  'tls-ingress': 11020,
  'tls-egress': 11021,
  'memcache-ingress': 11006,
  'memcache-egress': 11007,
  'cassandra-ingress': 11008,
  'cassandra-egress': 11009,
  'r2d2-ingress': 11010,
  'r2d2-egress': 11011,
};

const WORLD: Identity = RESERVED_IDENTITIES.find(({ id }) => id === ReservedIdentity.world) ?? {
  id: ReservedIdentity.world,
  labels: [],
};

function makeResolver({ policy, flows, namedPorts, identities }: PolicyFixture): PolicyResolver {
  const repository = Repository.empty();
  repository.add(policy.rules.map(({ rule }) => rule));
  const resolver = new PolicyResolver({
    mode: 'default',
    allowLocalhost: 'policy',
    clusterName: 'default',
    proxyPorts: PROXY_PORTS,
  });
  resolver.updateIdentities({ upserts: identities.filter(({ id }) => id > 255) });
  resolver.setInventory(policy.inventory);
  resolver.setNamedPorts(namedPorts);
  resolver.setRules(repository.snapshot());
  const selectors = resolver.fqdnSelectors();
  const addresses = flows.flatMap(({ peer }) => ('address' in peer ? [peer] : []));
  resolver.setFqdnAddresses(
    new Map(addresses.map(({ address, names }) => [address, selectorsOfNames(selectors, names)])),
  );
  return resolver;
}

/** The compiled form of a fixture's policy: map states, and what the proxy judges by. */
export class CompiledFixture {
  readonly #fixture: PolicyFixture;
  readonly #resolver: PolicyResolver;

  constructor(fixture: PolicyFixture) {
    this.#fixture = fixture;
    this.#resolver = makeResolver(fixture);
  }

  /** As the ipcache has it: of the longest prefix around an address. */
  identityOf({ peer }: FixtureFlow): Identity {
    if (!('address' in peer)) return peer;
    const bytes = parseIp(peer.address);
    const prefixes = this.#resolver.prefixes();
    const narrowest = new PrefixSet(prefixes.map(({ prefix }) => prefix)).narrowest({
      family: bytes.length === 4 ? 4 : 6,
      bytes,
      length: bytes.length * 8,
    });
    const text = narrowest && formatCidr(narrowest);
    return prefixes.find(({ prefix }) => formatCidr(prefix) === text)?.identity ?? WORLD;
  }

  /** Texts of the FQDN selectors in use that the peer's names match. */
  selectorsOf({ peer }: FixtureFlow): readonly string[] {
    return 'address' in peer ? [...selectorsOfNames(this.#resolver.fqdnSelectors(), peer.names)] : [];
  }

  /** `allow`, `deny` or `redirect` of the packet, before the proxy. */
  packet(flow: FixtureFlow): 'allow' | 'deny' | 'redirect' {
    const { namedPorts } = this.#fixture;
    const { mapState, enforcement, conflict } = this.#resolver.resolve(flow.subject, namedPorts);
    if (conflict !== undefined)
      throw new Error(`the rules contradict each other: ${JSON.stringify(conflict)}`);
    const { direction, protocol, port } = flow;
    return evaluateMapState(mapState, enforcement, {
      direction,
      protocol,
      port,
      identity: this.identityOf(flow).id,
    }).kind;
  }

  /** The verdict on a flow with its request, if it has one. */
  verdict(flow: FixtureFlow): 'allow' | 'deny' | 'redirect' {
    const packet = this.packet(flow);
    if (packet !== 'redirect' || !hasRequest(flow)) return packet;
    return this.request(flow) === 'deny' ? 'deny' : 'allow';
  }

  /** What the proxy says of the flow's request: `deny`, `as it is`, or the changes under which it passes. */
  request(flow: FixtureFlow): string {
    const judge = new ProxyJudge(this.#resolver.l7Policy());
    const { direction, protocol, port } = flow;
    const peer = this.identityOf(flow).id;
    const portNames = namedPortsText(this.#fixture.namedPorts);
    const judged = { direction, subject: flow.subject.id, peer, protocol, port, portNames };
    const plain = (allowed: boolean): string => (allowed ? 'as it is' : 'deny');
    if (flow.http !== undefined) return judge.http(judged, flow.http);
    if (flow.kafka !== undefined) return plain(judge.kafka(judged, flow.kafka));
    if (flow.sni !== undefined) return plain(judge.tls(judged, flow.sni));
    if (flow.pair !== undefined) return plain(judge.pair(judged, flow.pair));
    return plain(judge.dns(judged, flow.dns ?? ''));
  }
}

export function hasRequest({ http, kafka, dns, sni, pair }: FixtureFlow): boolean {
  return (http ?? kafka ?? dns ?? sni ?? pair) !== undefined;
}

/** What becomes of a flow with its request, if it has one, as the fixture's rules read. */
export function naiveVerdict(
  fixture: PolicyFixture,
  compiled: CompiledFixture,
  flow: FixtureFlow,
): 'allow' | 'deny' | 'redirect' {
  const packet = naivePacket(fixture, compiled, flow);
  if (packet.kind !== 'redirect' || !hasRequest(flow)) return packet.kind;
  const requests = packet.requests.map((l7) => withSecrets(l7, fixture));
  if (flow.http !== undefined) return httpOracle(requests, flow.http) === 'deny' ? 'deny' : 'allow';
  if (flow.kafka !== undefined) return kafkaOracle(requests, flow.kafka) ? 'allow' : 'deny';
  if (flow.sni !== undefined) return tlsOracle(requests, flow.sni) ? 'allow' : 'deny';
  if (flow.pair !== undefined) return pairOracle(requests, flow.pair) ? 'allow' : 'deny';
  return dnsOracle(requests, flow.dns ?? '') ? 'allow' : 'deny';
}

/** The rules with the values of the fixture's Secrets in the place of their names. */
function withSecrets(l7: L7Rules | undefined, { policy }: PolicyFixture): L7Rules | undefined {
  if (l7?.kind !== 'http') return l7;
  const secrets = policy.inventory.secrets ?? [];
  const rules = l7.rules.map((rule) => ({
    ...rule,
    headerMatches: rule.headerMatches.map((match) => {
      const { secret } = match;
      const found = secrets.find((one) => one.name === secret?.name && one.namespace === secret.namespace);
      return found === undefined ? match : { ...match, value: found.value };
    }),
  }));
  return { kind: 'http', rules };
}

function naivePacket(fixture: PolicyFixture, compiled: CompiledFixture, flow: FixtureFlow): NaiveVerdict {
  const { policy, namedPorts } = fixture;
  const { subject, peer, direction, protocol, port } = flow;
  const outside = 'address' in peer;
  return evaluateNaive(
    policy.rules.map(({ rule }) => rule),
    {
      mode: 'default',
      allowLocalhost: 'policy',
      clusterName: 'default',
      inventory: policy.inventory,
      clusterPorts: namedPorts,
    },
    {
      subject,
      namedPorts,
      peer: compiled.identityOf(flow),
      ...(outside && { peerAddress: parseIp(peer.address), peerNames: compiled.selectorsOf(flow) }),
      direction,
      protocol,
      port,
    },
  );
}
