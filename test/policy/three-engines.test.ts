import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { type MapStateVerdict, Protocol } from '../../src/model/map-state.ts';
import type { Grant } from '../../src/policy/compile-rule.ts';
import { evaluateMapState } from '../../src/policy/index.ts';
import { ALL_L4, l4Matches } from '../../src/policy/l4.ts';
import { type MapStateItem, pruneShadowed } from '../../src/policy/map-state.ts';
import { EVERY_PEER } from '../../src/policy/peer-selector.ts';
import { addGrant } from '../../src/policy/resolve.ts';
import { BpfPolicyEngine } from '../support/bpf-policy-engine.ts';
import { packetArbitrary, testSeed, WORKLOADS } from '../support/policy-gen.ts';
import { addressOf, CompiledCase, NaiveCase, type Outcome, subjectOf } from '../support/policy-judges.ts';
import { type LanguageCase, type LanguagePacket, languageCase } from '../support/policy-language.ts';
import { caseText, shrinkCase } from '../support/policy-shrink.ts';
import { KNOWN } from '../support/policy-world.ts';
import { whyNoBpf } from '../support/privilege.ts';

const PACKETS = 200;
/** Pairs of policy and packet; `npm test -- --suite nightly` asks for a million. */
const PAIRS = Number(process.env.CILIATE_POLICY_PAIRS ?? 50_000);
/** Protocols that the datapath carries at all; others it drops before any policy. */
const CARRIED: readonly number[] = Object.values(Protocol).filter((protocol) => protocol !== Protocol.any);
const DROP_PROXY_LOOKUP = 178;

/** What the programs say where an outcome is one that they see. */
const BPF_OUTCOMES: Readonly<Record<number, Outcome>> = {
  0: 'allow',
  133: 'deny 133',
  181: 'deny 181',
  [DROP_PROXY_LOOKUP]: 'redirect',
};

/** Packets by subject and named ports: the endpoint changes its policy once for all of them. */
function bySubject(packets: readonly LanguagePacket[]): readonly (readonly LanguagePacket[])[] {
  const groups = new Map<string, LanguagePacket[]>();
  for (const packet of packets) {
    const key = `${packet.subject} ${packet.ports}`;
    const group = groups.get(key) ?? [];
    group.push(packet);
    groups.set(key, group);
  }
  return [...groups.values()];
}

const skip = whyNoBpf();

describe('naive rules, interpreted map state and the BPF programs', { skip: skip ?? false }, () => {
  let engine: BpfPolicyEngine | undefined;
  before(async () => {
    engine = await BpfPolicyEngine.create(KNOWN);
  });
  after(() => engine?.close());

  /** What the engines say where they do not agree; counts outcomes where they do. */
  async function disagreement(
    policyCase: LanguageCase,
    seen = new Map<Outcome, number>(),
  ): Promise<string | undefined> {
    assert.ok(engine !== undefined);
    const compiled = new CompiledCase(policyCase);
    const naive = new NaiveCase(policyCase);
    engine.setPrefixes(compiled.resolver.prefixes());
    for (const group of bySubject(policyCase.packets)) {
      const [first] = group;
      assert.ok(first !== undefined);
      const { mapState, enforcement, conflict } = compiled.policyOf(first);
      await engine.setPolicy(subjectOf(first), mapState, enforcement);
      for (const packet of group) {
        const peer = typeof packet.peer === 'string' ? addressOf(packet.peer) : packet.peer;
        const bpf = BPF_OUTCOMES[engine.verdict({ ...packet, peer })];
        const said = [naive.outcome(packet), compiled.outcome(packet)];
        // Where rules contradict each other the programs only know that nothing passes.
        const expected = conflict === undefined ? said[0] : 'deny 133';
        if (said[0] !== said[1] || bpf !== expected)
          return `rules: ${said[0]}, map state: ${said[1]}, BPF: ${bpf}`;
        seen.set(String(said[0]), (seen.get(String(said[0])) ?? 0) + 1);
      }
    }
    return undefined;
  }

  async function failWith(policyCase: LanguageCase, seed: number): Promise<never> {
    const smallest = await shrinkCase(policyCase, async (one) => (await disagreement(one)) !== undefined);
    return assert.fail(
      `seed ${seed}: ${await disagreement(smallest)}; keep this in test/fixtures/policy-regressions:\n${caseText(smallest)}`,
    );
  }

  it('agree on random policies and packets over the whole language', async (t) => {
    const seed = testSeed();
    const seen = new Map<Outcome, number>();
    for (let i = 0; i < PAIRS / PACKETS; i++) {
      const policyCase = languageCase(seed + i, PACKETS);
      if ((await disagreement(policyCase, seen)) !== undefined) await failWith(policyCase, seed + i);
    }
    t.diagnostic(`seed ${seed}: ${JSON.stringify(Object.fromEntries(seen))}`);
    assert.ok([...seen.values()].reduce((sum, count) => sum + count) >= PAIRS);
    for (const outcome of ['allow', 'deny 133', 'deny 181', 'redirect'])
      assert.ok((seen.get(outcome) ?? 0) > PAIRS / 250, `${outcome} is common`);
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
    const identity = fc.constantFrom(0, ...KNOWN.slice(0, 14).map(({ id }) => id));
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
          for (const { peer, direction, protocol, port } of packets) {
            if (!CARRIED.includes(protocol)) continue;
            const type = protocol === Protocol.icmp ? 8 : protocol === Protocol.icmpv6 ? 128 : port;
            const query = { direction, identity: peer.id, protocol, port: type };
            const found = evaluateMapState(mapState, { ingress: true, egress: false }, query);
            const passed = found.kind === 'allow' ? 0 : DROP_PROXY_LOOKUP;
            const expected = found.kind === 'deny' ? found.reason : passed;
            const index = KNOWN.findIndex(({ id }) => id === peer.id);
            const verdictOf = engine.verdict({ peer: index, direction, protocol, port: type });
            assert.equal(verdictOf, expected, JSON.stringify(query));
            reasons.set(expected, (reasons.get(expected) ?? 0) + 1);
          }
        },
      ),
      { interruptAfterTimeLimit: 30_000, markInterruptAsFailure: true, seed, numRuns: 60 },
    );
    t.diagnostic(`seed ${seed}: ${JSON.stringify(Object.fromEntries(reasons))}`);
    assert.deepEqual([...reasons.keys()].sort(), [0, 133, DROP_PROXY_LOOKUP, 181], 'every outcome occurs');
  });
});
