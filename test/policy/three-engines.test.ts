import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { type MapState, type MapStateVerdict, Protocol } from '../../src/model/map-state.ts';
import type { Grant } from '../../src/policy/compile-rule.ts';
import {
  evaluateMapState,
  evaluateNaive,
  PolicyResolver,
  Repository,
  type ResolvedPolicy,
  type Rule,
  rulesText,
} from '../../src/policy/index.ts';
import { ALL_L4, l4Matches } from '../../src/policy/l4.ts';
import { type MapStateItem, pruneShadowed } from '../../src/policy/map-state.ts';
import { EVERY_PEER } from '../../src/policy/peer-selector.ts';
import { addGrant } from '../../src/policy/resolve.ts';
import { BpfPolicyEngine } from '../support/bpf-policy-engine.ts';
import {
  PEERS,
  type PolicyCase,
  type PolicyPacket,
  packetArbitrary,
  policyCaseArbitrary,
  testSeed,
  WORKLOADS,
} from '../support/policy-gen.ts';
import { whyNoBpf } from '../support/privilege.ts';

const PACKETS = 40;
const RUNS = 340;
/** Bounds the search for the smallest failing case. */
const BOUND = { interruptAfterTimeLimit: 30_000, markInterruptAsFailure: true } as const;
const OPTIONS = { mode: 'default', allowLocalhost: 'always', clusterName: 'default' } as const;
/** Protocols that the datapath carries at all; others it drops before any policy. */
const CARRIED: readonly number[] = Object.values(Protocol).filter((protocol) => protocol !== Protocol.any);
const DROP_PROXY_LOOKUP = 178;

function resolve(rules: readonly Rule[]): PolicyResolver {
  const repository = Repository.empty();
  repository.add(rules);
  const resolver = new PolicyResolver(OPTIONS);
  resolver.updateIdentities({ upserts: WORKLOADS });
  resolver.setRules(repository.snapshot());
  return resolver;
}

/** Packets by subject: the endpoint changes its policy once for all of a subject's. */
function bySubject(packets: readonly PolicyPacket[]): PolicyPacket[][] {
  const groups = new Map<number, PolicyPacket[]>();
  for (const packet of packets) {
    if (!CARRIED.includes(packet.protocol)) continue;
    const group = groups.get(packet.subject.id) ?? [];
    group.push(packet);
    groups.set(packet.subject.id, group);
  }
  return [...groups.values()];
}

/** The drop reason of the interpreted map state, 0 for a packet that passes. */
function interpret(
  mapState: MapState,
  enforcement: ResolvedPolicy['enforcement'],
  packet: PolicyPacket,
): number {
  const { direction, peer, protocol, port } = packet;
  // Of ICMP the type stands where the port would.
  const type = protocol === Protocol.icmp ? 8 : protocol === Protocol.icmpv6 ? 128 : port;
  const verdict = evaluateMapState(mapState, enforcement, {
    direction,
    identity: peer.id,
    protocol,
    port: type,
  });
  if (verdict.kind === 'deny') return verdict.reason;
  return verdict.kind === 'redirect' ? DROP_PROXY_LOOKUP : 0;
}

const skip = whyNoBpf();

describe('naive rules, interpreted map state and the BPF programs', { skip: skip ?? false }, () => {
  let engine: BpfPolicyEngine | undefined;
  before(async () => {
    engine = await BpfPolicyEngine.create(PEERS);
  });
  after(() => engine?.close());

  async function compareCase({ rules, packets }: PolicyCase): Promise<{ allowed: number; denied: number }> {
    assert.ok(engine !== undefined);
    const seen = { allowed: 0, denied: 0 };
    const resolver = resolve(rules);
    for (const group of bySubject(packets)) {
      const subject = group[0]?.subject;
      if (subject === undefined) continue;
      const { mapState, enforcement } = resolver.resolve(subject);
      await engine.setPolicy(subject, mapState, enforcement);
      for (const packet of group) {
        const naive = evaluateNaive(rules, OPTIONS, packet);
        const compiled = interpret(mapState, enforcement, packet);
        const bpf: number = engine.verdict(packet);
        if ((compiled === 0) !== naive || bpf !== compiled) {
          const found = `rules allow: ${naive}, map state: ${compiled}, BPF: ${bpf}`;
          const entries = [...mapState.keys()].join('\n');
          assert.fail(`${found}\n${JSON.stringify(packet)}\n${rulesText(rules)}\n${entries}`);
        }
        if (naive) seen.allowed++;
        else seen.denied++;
      }
    }
    return seen;
  }

  it('agree on random policies and packets', async (t) => {
    const seed = testSeed();
    const seen = { allowed: 0, denied: 0 };
    await fc.assert(
      fc.asyncProperty(policyCaseArbitrary(PACKETS), async (policyCase) => {
        const { allowed, denied } = await compareCase(policyCase);
        seen.allowed += allowed;
        seen.denied += denied;
      }),
      { ...BOUND, seed, numRuns: RUNS },
    );
    t.diagnostic(`seed ${seed}: ${seen.allowed} allowed, ${seen.denied} denied`);
    assert.ok(seen.allowed + seen.denied >= 10_000, 'ten thousand pairs');
    assert.ok(seen.allowed > 1000 && seen.denied > 1000, 'both verdicts are common');
  });

  it('agree where entries deny and redirect', async (t) => {
    const seed = testSeed();
    const verdict = fc.constantFrom<MapStateVerdict>(
      { kind: 'allow' },
      { kind: 'deny' },
      { kind: 'redirect', proxyPort: 10_000 },
    );
    const ports = fc.constantFrom([80, undefined], [0, undefined], [79, 81], [1, 65535], [443, 8999]);
    const l4 = fc.option(fc.tuple(ports, fc.constantFrom('TCP' as const, 'UDP' as const, 'ANY' as const)));
    const grant = fc
      .tuple(fc.constantFrom('ingress' as const, 'egress' as const), verdict, l4)
      .map(([direction, kind, port]): Grant => {
        const matches =
          port === null
            ? [ALL_L4]
            : l4Matches([{ ports: [{ port: port[0][0] ?? 0, endPort: port[0][1], protocol: port[1] }] }]);
        return { direction, peer: EVERY_PEER, l4: matches, verdict: kind, ruleId: 7, derivedFrom: [] };
      });
    const identity = fc.constantFrom(0, ...PEERS.slice(0, 14).map(({ id }) => id));
    const grants = fc.array(fc.tuple(grant, identity), { minLength: 2, maxLength: 12 });
    const reasons = new Map<number, number>();
    await fc.assert(
      fc.asyncProperty(
        grants,
        fc.array(packetArbitrary, { minLength: 40, maxLength: 40 }),
        async (all, packets) => {
          assert.ok(engine !== undefined);
          const mapState = new Map<string, MapStateItem>();
          for (const [item, peer] of all) addGrant(mapState, item, peer);
          pruneShadowed(mapState);
          const [subject] = WORKLOADS;
          assert.ok(subject !== undefined);
          await engine.setPolicy(subject, mapState, { ingress: true, egress: false });
          for (const packet of packets) {
            if (!CARRIED.includes(packet.protocol)) continue;
            const expected = interpret(mapState, { ingress: true, egress: false }, packet);
            assert.equal(engine.verdict(packet), expected, JSON.stringify(packet));
            reasons.set(expected, (reasons.get(expected) ?? 0) + 1);
          }
        },
      ),
      { ...BOUND, seed, numRuns: 60 },
    );
    t.diagnostic(`seed ${seed}: ${JSON.stringify(Object.fromEntries(reasons))}`);
    assert.deepEqual([...reasons.keys()].sort(), [0, 133, DROP_PROXY_LOOKUP, 181], 'every outcome occurs');
  });
});
