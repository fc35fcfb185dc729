import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { PAIR_KINDS } from '../../src/model/l7.ts';
import { type MapStateVerdict, Protocol } from '../../src/model/map-state.ts';
import { makeSelector } from '../../src/model/selector.ts';
import type { Grant } from '../../src/policy/compile-rule.ts';
import { evaluateMapState } from '../../src/policy/index.ts';
import { ALL_L4, l4Matches } from '../../src/policy/l4.ts';
import { type MapStateItem, pruneShadowed } from '../../src/policy/map-state.ts';
import { EVERY_PEER } from '../../src/policy/peer-selector.ts';
import { addGrant } from '../../src/policy/resolve.ts';
import type { PortRule } from '../../src/policy/rule.ts';
import { BpfPolicyEngine } from '../support/bpf-policy-engine.ts';
import { disagreement, nothingSeen, pairDisagreement } from '../support/engine-comparison.ts';
import { packetArbitrary, testSeed, WORKLOADS } from '../support/policy-gen.ts';
import { type LanguageCase, languageCase, TEST_PROXY_PORTS } from '../support/policy-language.ts';
import { caseText, parseCase, shrinkCase } from '../support/policy-shrink.ts';
import { KNOWN } from '../support/policy-world.ts';
import { whyNoBpf } from '../support/privilege.ts';

const PACKETS = 125;
const DROP_PROXY_LOOKUP = 178;
/** Pairs of policy and packet; `npm test -- --suite nightly` asks for a million. */
const PAIRS = Number(process.env.CILIATE_POLICY_PAIRS ?? 50_000);
/** Protocols that the datapath carries at all; others it drops before any policy. */
const CARRIED: readonly number[] = Object.values(Protocol).filter((protocol) => protocol !== Protocol.any);
/** What the proxy's judges can say of a request, by its kind. */
const REQUEST_VERDICTS = [
  ...['http as it is', 'http changed', 'http deny', 'kafka allow', 'kafka deny', 'dns allow', 'dns deny'],
  ...['tls allow', 'tls deny'],
];
const REGRESSIONS = join(import.meta.dirname, '../fixtures/policy-regressions');

const skip = whyNoBpf();

describe('naive rules, interpreted map state and the BPF programs', { skip: skip ?? false }, () => {
  let engine: BpfPolicyEngine | undefined;
  before(async () => {
    engine = await BpfPolicyEngine.create(KNOWN);
  });
  after(() => engine?.close());

  type Compare = (policyCase: LanguageCase) => Promise<string | undefined>;
  const three: Compare = (one) => disagreement(one, engine);

  async function failWith(policyCase: LanguageCase, seed: number, compare: Compare = three): Promise<never> {
    const smallest = await shrinkCase(policyCase, async (one) => (await compare(one)) !== undefined);
    return assert.fail(
      `seed ${seed}: ${await compare(smallest)}; keep this in test/fixtures/policy-regressions:\n${caseText(smallest)}`,
    );
  }

  it('agree on random policies, packets and requests over the whole language', async (t) => {
    assert.ok(engine !== undefined);
    const seed = testSeed();
    const seen = nothingSeen();
    for (let i = 0; i < PAIRS / PACKETS; i++) {
      const policyCase = languageCase(seed + i, PACKETS);
      if ((await disagreement(policyCase, engine, seen)) !== undefined) await failWith(policyCase, seed + i);
    }
    const { outcomes, requests } = seen;
    const shown = [outcomes, requests].map((counts) =>
      JSON.stringify(Object.fromEntries([...counts].sort())),
    );
    t.diagnostic(`seed ${seed}: ${shown.join(' ')}`);
    const count = (outcome: string): number => outcomes.get(outcome) ?? 0;
    const common = ['allow', 'deny 133', 'deny 181', 'redirect'];
    assert.ok(count('contradiction') + common.reduce((sum, one) => sum + count(one), 0) >= PAIRS);
    for (const outcome of common) assert.ok(count(outcome) > PAIRS / 250, `${outcome} is common`);
    const occurs = ([name, port]: [string, number]): boolean =>
      name === 'dns-ingress' || count(`redirect ${port}`) > 0;
    const isPair = ([name]: [string, number]): boolean => PAIR_KINDS.some((kind) => name.startsWith(kind));
    const ports = Object.entries(TEST_PROXY_PORTS);
    for (const port of ports.filter((one) => !isPair(one))) assert.ok(occurs(port), `${port} occurs`);
    assert.ok(ports.filter(isPair).some(occurs), 'a protocol of l7proto occurs');
    for (const verdict of REQUEST_VERDICTS) assert.ok((requests.get(verdict) ?? 0) > 0, `${verdict} occurs`);
  });

  it('agree where both ends are endpoints of the node, each with its policy', async (t) => {
    const programs = engine;
    assert.ok(programs !== undefined);
    const seed = testSeed();
    const seen = new Map<string, number>();
    for (let i = 0; i < PAIRS / (10 * PACKETS); i++) {
      const policyCase = languageCase(seed + i, PACKETS);
      if ((await pairDisagreement(policyCase, programs, seen)) !== undefined)
        await failWith(policyCase, seed + i, (one) => pairDisagreement(one, programs));
    }
    t.diagnostic(`seed ${seed}: ${JSON.stringify(Object.fromEntries([...seen].sort()))}`);
    assert.ok((seen.get('allow allow') ?? 0) > 0);
  });

  it('agree that a flow which both ends redirect goes to the proxy of its initiator', async () => {
    assert.ok(engine !== undefined);
    const everybody = makeSelector([]);
    const http: PortRule = {
      ports: [{ port: 80, endPort: undefined, protocol: 'TCP' }],
      l7: { kind: 'http', rules: [] },
    };
    const items = [{ peers: { kind: 'endpoints', selectors: [everybody] }, ports: [http] }] as const;
    const policyCase: LanguageCase = {
      options: { mode: 'default', allowLocalhost: 'policy' },
      rules: [{ subject: everybody, ingress: items, egress: items, labels: [], description: undefined }],
      packets: [0, 1].map((subject) => ({
        ...{ subject, ports: 0, peer: 0, direction: 'egress', protocol: 6, port: 80 },
      })),
    };
    const seen = new Map<string, number>();
    assert.equal(await pairDisagreement(policyCase, engine, seen), undefined);
    const { 'http-egress': egress, 'http-ingress': ingress } = TEST_PROXY_PORTS;
    assert.deepEqual([...seen.keys()], [`redirect ${egress} redirect ${ingress}`]);
  });

  for (const file of readdirSync(REGRESSIONS)) {
    it(`agree in the case that failed once: ${file}`, async () => {
      assert.ok(engine !== undefined);
      const policyCase = parseCase(readFileSync(join(REGRESSIONS, file), 'utf8'));
      assert.equal(await disagreement(policyCase, engine), undefined);
    });
  }

  it('agree where entries deny and redirect', async (t) => {
    const seed = testSeed();
    const verdict = fc.constantFrom<MapStateVerdict>(
      { kind: 'allow' },
      { kind: 'deny' },
      { kind: 'redirect', proxyPort: 10_000 },
      { kind: 'redirect', proxyPort: 10_001 },
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
          await engine.setPolicy(subject, { mapState, enforcement: { ingress: true, egress: false } });
          for (const { peer, direction, protocol, port } of packets) {
            if (!CARRIED.includes(protocol)) continue;
            const type = protocol === Protocol.icmp ? 8 : protocol === Protocol.icmpv6 ? 128 : port;
            const query = { direction, identity: peer.id, protocol, port: type };
            const found = evaluateMapState(mapState, { ingress: true, egress: false }, query);
            const passed = found.kind === 'allow' ? 0 : DROP_PROXY_LOOKUP;
            const reason = found.kind === 'deny' ? found.reason : passed;
            const hasPorts = protocol === Protocol.tcp || protocol === Protocol.udp;
            const proxyPort = found.kind === 'redirect' && hasPorts ? found.proxyPort : undefined;
            const index = KNOWN.findIndex(({ id }) => id === peer.id);
            const said = engine.verdict({ peer: index, direction, protocol, port: type });
            assert.deepEqual(said, { reason, proxyPort }, JSON.stringify(query));
            reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
          }
        },
      ),
      { interruptAfterTimeLimit: 30_000, markInterruptAsFailure: true, seed, numRuns: 60 },
    );
    t.diagnostic(`seed ${seed}: ${JSON.stringify(Object.fromEntries(reasons))}`);
    assert.deepEqual([...reasons.keys()].sort(), [0, 133, DROP_PROXY_LOOKUP, 181], 'every outcome occurs');
  });
});
