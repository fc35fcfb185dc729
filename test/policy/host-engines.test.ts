import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { formatCidr, parseIp } from '../../src/base/ip.ts';
import type { Identity } from '../../src/model/identity.ts';
import { labelSet } from '../../src/model/labels.ts';
import type { MapState } from '../../src/model/map-state.ts';
import {
  evaluateMapState,
  evaluateNaive,
  type PolicyEnforcement,
  type PrefixIdentity,
  readPolicy,
} from '../../src/policy/index.ts';
import type { Rule, RuleItem } from '../../src/policy/rule.ts';
import { buildFrame } from '../support/frames.ts';
import { testSeed, WORKLOADS } from '../support/policy-gen.ts';
import { CompiledCase } from '../support/policy-judges.ts';
import { type LanguageCase, type LanguagePacket, languageCase } from '../support/policy-language.ts';
import { CLUSTER_PORTS, INVENTORY, KNOWN, NAMES_OF, WORLD } from '../support/policy-world.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { dropReason } from '../support/program-cases.ts';
import { ProgramRig } from '../support/program-rig.ts';

const PACKETS = 100;
const CASES = 60;
const FLOWS = 40_000;
const POD_RANGES = ['10.50.0.0/16', 'fd50::/64'];
const NODE = { 4: parseIp('203.0.113.1'), 6: parseIp('fd99::1') } as const;
const CARRIED = [1, 6, 17, 58, 132];
const HOST = 1;

/** Nodes with the labels of workloads, so that the selectors of random rules pick some of them. */
const NODES: readonly Identity[] = WORKLOADS.slice(0, 12).map(({ labels }) => ({
  id: HOST,
  labels: labelSet([
    ...labels.filter(({ source }) => source === 'k8s'),
    { source: 'reserved', key: 'host', value: '' },
  ]),
}));

/** Rules of nodes have no L7 parts. */
function withoutL7(items: readonly RuleItem[] | undefined): readonly RuleItem[] | undefined {
  return items?.map(({ ports, ...item }) => ({
    ...item,
    ...(ports !== undefined && { ports: ports.map(({ ports: all }) => ({ ports: all })) }),
  })) as readonly RuleItem[] | undefined;
}

const ofNodes = (rule: Rule): Rule => ({
  ...rule,
  subjectKind: 'node',
  ingress: withoutL7(rule.ingress),
  egress: withoutL7(rule.egress),
});

function peerAddress(packet: LanguagePacket, n: number): Uint8Array {
  const { peer, protocol } = packet;
  if (typeof peer === 'string') return parseIp(peer);
  const v6 = protocol === 58 || (protocol !== 1 && n % 2 === 1);
  return parseIp(v6 ? `fd50::${(256 + peer).toString(16)}` : `10.50.1.${peer}`);
}

describe('policies of nodes: naive rules, interpreted map state and the BPF programs', {
  skip: bpfOrSkip(),
}, () => {
  const rig = new ProgramRig();
  let told: readonly PrefixIdentity[] = [];
  let packets = 0;

  before(async () => {
    await rig.start(['203.0.113.1', 'fd99::1'], POD_RANGES);
    for (const [i, { id }] of KNOWN.entries()) {
      if (id === 0 || id === HOST) continue;
      await rig.setIdentity(`10.50.1.${i}/32`, id);
      await rig.setIdentity(`fd50::${(256 + i).toString(16)}/128`, id);
    }
  });
  after(() => rig.close());

  async function setPrefixes(wanted: readonly PrefixIdentity[]): Promise<void> {
    const kept = new Set(wanted.map(({ prefix }) => formatCidr(prefix)));
    await rig.ipcache.delete(
      told.map(({ prefix }) => prefix).filter((prefix) => !kept.has(formatCidr(prefix))),
    );
    for (const { prefix, identity } of wanted) await rig.setIdentity(formatCidr(prefix), identity.id);
    told = wanted;
  }

  function bpf(packet: LanguagePacket): string {
    const n = packets++;
    if (n % FLOWS === 0) rig.clearConntrack();
    const peer = peerAddress(packet, n);
    const own = NODE[peer.length === 4 ? 4 : 6];
    const inward = packet.direction === 'ingress';
    const data = buildFrame({
      sourceMac: new Uint8Array(6),
      destinationMac: new Uint8Array(6),
      source: inward ? peer : own,
      destination: inward ? own : peer,
      protocol: packet.protocol,
      sourcePort: 10_000 + (n % FLOWS),
      destinationPort: packet.port,
    });
    const result = inward ? rig.run('to_host', data) : rig.run('from_host', data, 0);
    return result.verdict === 'next' ? 'allow' : `deny ${dropReason(result)}`;
  }

  /** The first packet of which the engines do not say the same; counts what they say. */
  async function compare(
    one: LanguageCase,
    node: Identity,
    seen: Map<string, number>,
  ): Promise<string | undefined> {
    const compiled = new CompiledCase(one);
    const { mapState, enforcement } = compiled.resolver.resolve(node);
    await setPrefixes(compiled.resolver.prefixes());
    await setPolicy(mapState, enforcement);
    for (const packet of one.packets) {
      if (KNOWN[Number(packet.peer)]?.id === HOST || !CARRIED.includes(packet.protocol)) continue;
      const said = [naive(one, node, packet), interpreted(compiled, node, packet), bpf(packet)];
      if (new Set(said).size > 1)
        return `${said.join(', ')}: ${JSON.stringify([packet, node, one.options, one.rules])}`;
      seen.set(said[0] ?? '', (seen.get(said[0] ?? '') ?? 0) + 1);
    }
    return undefined;
  }

  function setPolicy(mapState: MapState, { ingress, egress }: PolicyEnforcement): Promise<void> {
    return rig.setHostPolicy(mapState, { ingress, egress });
  }

  function interpreted(compiled: CompiledCase, node: Identity, packet: LanguagePacket): string {
    const { mapState, enforcement } = compiled.resolver.resolve(node);
    const { direction, protocol, port } = packet;
    const query = { direction, identity: compiled.identityOf(packet), protocol, port };
    const verdict = evaluateMapState(mapState, enforcement, query);
    return verdict.kind === 'deny' ? `deny ${verdict.reason}` : verdict.kind;
  }

  function naive({ rules, options }: LanguageCase, subject: Identity, packet: LanguagePacket): string {
    const { peer, direction, protocol, port } = packet;
    const outside = typeof peer === 'string';
    const verdict = evaluateNaive(
      rules,
      { ...options, clusterName: 'default', inventory: INVENTORY, clusterPorts: CLUSTER_PORTS },
      {
        subject,
        namedPorts: [],
        peer: outside ? WORLD : (KNOWN[peer] ?? WORLD),
        ...(outside && { peerAddress: parseIp(peer), peerNames: NAMES_OF[peer] ?? [] }),
        direction,
        protocol,
        port,
      },
    );
    return verdict.kind === 'deny' ? `deny ${verdict.reason}` : verdict.kind;
  }

  it('agree on random rules over the whole language, and packets', async (t) => {
    const seed = testSeed();
    const seen = new Map<string, number>();
    for (let i = 0; i < CASES; i++) {
      const { rules, ...rest } = languageCase(seed + i, PACKETS);
      const node = NODES[i % NODES.length];
      assert.ok(node !== undefined);
      const problem = await compare({ ...rest, rules: rules.map(ofNodes) }, node, seen);
      assert.equal(problem, undefined, `seed ${seed + i}`);
    }
    t.diagnostic(`seed ${seed}: ${JSON.stringify(Object.fromEntries([...seen].sort()))}`);
    for (const outcome of ['allow', 'deny 133', 'deny 181'])
      assert.ok((seen.get(outcome) ?? 0) > 20, `${outcome} is common`);
  });

  it('leave rules of endpoints out, and those of nodes out of endpoints', () => {
    const [node] = NODES;
    const [pod] = WORKLOADS;
    assert.ok(node !== undefined && pod !== undefined);
    const closedBy = (selector: string, subject: Identity): boolean => {
      const rules = readPolicy(`- ${selector}: {}\n  ingress: [{}]\n`, { file: 'case.yaml' });
      const options = { mode: 'default', allowLocalhost: 'policy' } as const;
      const { resolver } = new CompiledCase({ options, rules, packets: [] });
      return resolver.resolve(subject).enforcement.ingress;
    };
    assert.deepEqual([closedBy('nodeSelector', node), closedBy('nodeSelector', pod)], [true, false]);
    assert.deepEqual([closedBy('endpointSelector', node), closedBy('endpointSelector', pod)], [false, true]);
  });
});
