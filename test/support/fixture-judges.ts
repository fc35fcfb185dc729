import { formatCidr, parseIp } from '../../src/base/ip.ts';
import { type Identity, RESERVED_IDENTITIES, ReservedIdentity } from '../../src/model/identity.ts';
import type { L7Peer, ProxyPorts } from '../../src/model/l7.ts';
import { evaluateMapState, evaluateNaive, PolicyResolver, Repository } from '../../src/policy/index.ts';
import { PrefixSet } from '../../src/policy/prefix-set.ts';
import { DnsJudge } from '../../src/proxy/dns/judge.ts';
import { HttpJudge, judgeRequest } from '../../src/proxy/http/judge.ts';
import { readTarget } from '../../src/proxy/http/path.ts';
import { PolicyTable } from '../../src/proxy/policy-table.ts';
import { type FixtureFlow, type PolicyFixture, selectorsOfNames } from './policy-fixture.ts';

const PROXY_PORTS: ProxyPorts = {
  'http-ingress': 11000,
  'http-egress': 11001,
  'kafka-ingress': 11002,
  'kafka-egress': 11003,
  'dns-ingress': 11004,
  'dns-egress': 11005,
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
    if (packet !== 'redirect' || (flow.http === undefined && flow.dns === undefined)) return packet;
    return this.#request(flow) ? 'allow' : 'deny';
  }

  #request(flow: FixtureFlow): boolean {
    const ingress = flow.direction === 'ingress';
    const own = { address: '10.0.0.1', identity: flow.subject.id, endpoint: 1 };
    const other = { address: '192.0.2.1', identity: this.identityOf(flow).id, endpoint: 0 };
    const client: L7Peer = { ...(ingress ? other : own), port: 40_000 };
    const server: L7Peer = { ...(ingress ? own : other), port: flow.port };
    const table = new PolicyTable(this.#resolver.l7Policy(), []);
    if (flow.dns !== undefined)
      return new DnsJudge().judge(table, { client, server }, flow.protocol, flow.dns).allowed;
    const judges = new HttpJudge((problem) => {
      throw new Error(problem);
    }).prepare(table, { client, server });
    const [method = 'GET', path = '/', host = 'example.org'] = flow.http ?? [];
    const understood = readTarget(method, path, host);
    if (judges === undefined || typeof understood === 'string') throw new Error(`${path} cannot be judged`);
    const joined = (name: string): string | undefined => flow.headers.get(name);
    return judgeRequest(judges, { method, hostText: host, understood, joined }, flow.direction).allowed;
  }
}

/** What becomes of a flow as the fixture's rules read; requests are not looked at. */
export function naivePacket(
  fixture: PolicyFixture,
  compiled: CompiledFixture,
  flow: FixtureFlow,
): 'allow' | 'deny' | 'redirect' {
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
  ).kind;
}
