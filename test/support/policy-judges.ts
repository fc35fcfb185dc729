import { formatCidr, type IpBytes, parseIp } from '../../src/base/ip.ts';
import type { Identity, NumericIdentity } from '../../src/model/identity.ts';
import type { L7Rules } from '../../src/model/l7.ts';
import {
  contradictsNaive,
  evaluateMapState,
  evaluateNaive,
  type NaiveOptions,
  type NaiveVerdict,
  PolicyResolver,
  Repository,
  type ResolvedPolicy,
} from '../../src/policy/index.ts';
import { namedPortsText } from '../../src/policy/named-ports.ts';
import { PrefixSet } from '../../src/policy/prefix-set.ts';
import { ProxyJudge } from './l7-judges.ts';
import { SUBJECTS, WORKLOADS } from './policy-gen.ts';
import { type LanguageCase, type LanguagePacket, TEST_PROXY_PORTS } from './policy-language.ts';
import { CLUSTER_PORTS, INVENTORY, KNOWN, NAMES_OF, OUTSIDE, OWN_PORTS, WORLD } from './policy-world.ts';

/** What became of a packet: `allow`, `redirect`, `deny 133`, `deny 181`; `contradiction` locks the whole subject. */
export type Outcome = string;

function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new RangeError(`there is no number ${index}`);
  return item;
}

export function subjectOf(packet: LanguagePacket): Identity {
  return at(SUBJECTS, packet.subject);
}

/** The compiled form of a case's policy, as an agent would have it after all of its steps. */
export class CompiledCase {
  readonly resolver: PolicyResolver;
  readonly #set: PrefixSet;
  readonly #ids: ReadonlyMap<string, NumericIdentity>;

  constructor({ rules, options }: LanguageCase) {
    const repository = Repository.empty();
    repository.add(rules);
    const resolver = new PolicyResolver({ ...options, clusterName: 'default', proxyPorts: TEST_PROXY_PORTS });
    resolver.updateIdentities({ upserts: [...WORKLOADS, ...KNOWN.filter(({ id }) => id > 65_535)] });
    resolver.setInventory(INVENTORY);
    resolver.setNamedPorts(CLUSTER_PORTS);
    resolver.setRules(repository.snapshot());
    const used = new Set(resolver.fqdnSelectors().map(({ text }) => text));
    resolver.setFqdnAddresses(
      new Map(
        Object.entries(NAMES_OF).map(([ip, names]) => [ip, new Set(names.filter((name) => used.has(name)))]),
      ),
    );
    resolver.release(resolver.releasable());
    this.resolver = resolver;
    const prefixes = resolver.prefixes();
    this.#set = new PrefixSet(prefixes.map(({ prefix }) => prefix));
    this.#ids = new Map(prefixes.map(({ prefix, identity }) => [formatCidr(prefix), identity.id]));
  }

  policyOf(packet: LanguagePacket): ResolvedPolicy {
    return this.resolver.resolve(subjectOf(packet), at(OWN_PORTS, packet.ports));
  }

  /** As the ipcache has it: of the longest prefix around an address. */
  identityOf({ peer }: LanguagePacket): NumericIdentity {
    if (typeof peer === 'number') return at(KNOWN, peer).id;
    const bytes = parseIp(peer);
    const prefix = this.#set.narrowest({
      family: bytes.length === 4 ? 4 : 6,
      bytes,
      length: bytes.length * 8,
    });
    return (prefix && this.#ids.get(formatCidr(prefix))) ?? WORLD.id;
  }

  outcome(packet: LanguagePacket): Outcome {
    const { mapState, enforcement, conflict } = this.policyOf(packet);
    if (conflict !== undefined) return 'contradiction';
    const { direction, protocol, port } = packet;
    const identity = this.identityOf(packet);
    const verdict = evaluateMapState(mapState, enforcement, { direction, identity, protocol, port });
    return verdict.kind === 'deny' ? `deny ${verdict.reason}` : verdict.kind;
  }

  /** The proxy's judges under the policy of every subject that was asked for so far. */
  proxy(): ProxyJudge {
    return new ProxyJudge(this.resolver.l7Policy());
  }

  /** The proxy's port (host order) by the entry that decides; undefined when the flow does not pass the proxy. */
  proxyPort(packet: LanguagePacket): number | undefined {
    const { mapState, enforcement } = this.policyOf(packet);
    const { direction, protocol, port } = packet;
    const query = { direction, identity: this.identityOf(packet), protocol, port };
    const verdict = evaluateMapState(mapState, enforcement, query);
    return verdict.kind === 'redirect' ? verdict.proxyPort : undefined;
  }

  /** What the proxy would let through of a flow: the rules of every filter that matches its peer and port. */
  requests(packet: LanguagePacket): readonly string[] {
    const { direction, protocol, port } = packet;
    const subject = subjectOf(packet);
    const identity = this.identityOf(packet);
    const policy = this.resolver.l7Policy().subjects.find((one) => one.subject === subject.id);
    const filters = (policy?.[direction] ?? []).filter(
      (filter) =>
        (filter.protocol === 0 || filter.protocol === protocol) &&
        filter.firstPort <= port &&
        port <= filter.lastPort &&
        (filter.peers?.includes(identity) ?? true) &&
        (filter.portNames?.includes(portNamesOf(packet)) ?? true),
    );
    return requestTexts(filters.map(({ l7 }) => l7));
  }
}

/** How the subject's endpoint names its ports. */
export function portNamesOf({ ports }: LanguagePacket): string {
  return namedPortsText(at(OWN_PORTS, ports));
}

/** What lets requests of a redirected flow through, as texts; `every` is what lets through all of them. */
function requestTexts(requests: readonly (L7Rules | undefined)[]): readonly string[] {
  return [...new Set(requests.map((l7) => (l7 === undefined ? 'every' : JSON.stringify(l7))))].sort();
}

const PEERS = [
  ...KNOWN.map((identity) => ({ identity })),
  ...OUTSIDE.map((text) => ({ identity: WORLD, address: parseIp(text), names: NAMES_OF[text] ?? [] })),
];

/** The policy of a case as its rules read. */
export class NaiveCase {
  readonly #case: LanguageCase;
  readonly #options: NaiveOptions;
  readonly #contradictions = new Map<string, boolean>();

  constructor(policyCase: LanguageCase) {
    this.#case = policyCase;
    this.#options = {
      ...policyCase.options,
      clusterName: 'default',
      inventory: INVENTORY,
      clusterPorts: CLUSTER_PORTS,
    };
  }

  #contradicts(packet: LanguagePacket): boolean {
    const key = `${packet.subject} ${packet.ports}`;
    const known = this.#contradictions.get(key);
    if (known !== undefined) return known;
    const query = { subject: subjectOf(packet), namedPorts: at(OWN_PORTS, packet.ports) };
    const found = contradictsNaive(this.#case.rules, this.#options, query, PEERS);
    this.#contradictions.set(key, found);
    return found;
  }

  outcome(packet: LanguagePacket): Outcome {
    if (this.#contradicts(packet)) return 'contradiction';
    const verdict = this.#verdict(packet);
    return verdict.kind === 'deny' ? `deny ${verdict.reason}` : verdict.kind;
  }

  /** What lets requests of a redirected flow through. */
  requests(packet: LanguagePacket): readonly string[] {
    return requestTexts(this.redirect(packet)?.requests ?? []);
  }

  /** Of a flow that passes the proxy: the kind of its requests, and what lets them through. */
  redirect(packet: LanguagePacket): Extract<NaiveVerdict, { kind: 'redirect' }> | undefined {
    const verdict = this.#verdict(packet);
    return verdict.kind === 'redirect' ? verdict : undefined;
  }

  /** The port at which the proxy that judges the flow's requests listens; 0 where nobody judges them. */
  proxyPort(packet: LanguagePacket): number | undefined {
    const redirect = this.redirect(packet);
    if (redirect === undefined) return undefined;
    const ports: Readonly<Record<string, number>> = TEST_PROXY_PORTS;
    return ports[`${redirect.l7}-${packet.direction}`] ?? 0;
  }

  #verdict(packet: LanguagePacket): NaiveVerdict {
    const { peer, direction, protocol, port } = packet;
    const outside = typeof peer === 'string';
    return evaluateNaive(this.#case.rules, this.#options, {
      subject: subjectOf(packet),
      namedPorts: at(OWN_PORTS, packet.ports),
      peer: outside ? WORLD : at(KNOWN, peer),
      ...(outside && { peerAddress: addressOf(peer), peerNames: NAMES_OF[peer] ?? [] }),
      direction,
      protocol,
      port,
    });
  }
}

const addresses = new Map(OUTSIDE.map((text) => [text, parseIp(text)]));

export function addressOf(text: string): IpBytes {
  return addresses.get(text) ?? parseIp(text);
}
