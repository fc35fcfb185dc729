import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseCidr } from '../../src/base/ip.ts';
import { parseLabels } from '../../src/model/labels.ts';
import { type TraceL4, type TraceParty, tracePolicy } from '../../src/policy/index.ts';
import { testSeed } from '../support/policy-gen.ts';
import { NaiveCase, subjectOf } from '../support/policy-judges.ts';
import { type LanguageCase, type LanguagePacket, languageCase } from '../support/policy-language.ts';
import { CLUSTER_PORTS, INVENTORY, KNOWN, OWN_PORTS } from '../support/policy-world.ts';

const CASES = 150;
const PACKETS = 100;

/** One real name of each address that selectors of names match. */
const LOOKED_UP: Readonly<Record<string, string>> = {
  '20.9.0.1': 'a.example.com',
  '20.1.2.3': 'b.example.com',
  '2b00::5': 'other.org',
};

function peerOf({ peer }: LanguagePacket): TraceParty {
  if (typeof peer === 'number') {
    const { id, labels } = KNOWN[peer] ?? { id: 0, labels: [] };
    return { title: `identity ${id}`, labels, identity: id };
  }
  const family = peer.includes(':') ? 6 : 4;
  const names = LOOKED_UP[peer];
  return {
    title: peer,
    labels: parseLabels(['reserved:world', `reserved:world-ipv${family}`]),
    identity: 2,
    prefix: parseCidr(`${peer}/${family === 4 ? 32 : 128}`),
    names: names === undefined ? [] : [names],
  };
}

/** Identities of whole families: a trace asks for an address. */
function isWorldIdentity({ peer }: LanguagePacket): boolean {
  return typeof peer === 'number' && [9, 10].includes(KNOWN[peer]?.id ?? 0);
}

function l4Of({ protocol, port }: LanguagePacket): TraceL4 {
  if (protocol === 1) return { kind: 'icmp', family: 4, type: port };
  if (protocol === 58) return { kind: 'icmp', family: 6, type: port };
  return { kind: 'port', protocol, port };
}

function traced({ rules, options }: LanguageCase, packet: LanguagePacket): string {
  const { id, labels } = subjectOf(packet);
  const subject: TraceParty = { title: `subject ${id}`, labels, identity: id };
  const peer = peerOf(packet);
  const own = { ...subject, namedPorts: OWN_PORTS[packet.ports] };
  const [source, destination] = packet.direction === 'ingress' ? [peer, own] : [own, peer];
  const result = tracePolicy(
    rules.map((rule, i) => ({ rule, place: String(i) })),
    { source, destination, l4: l4Of(packet) },
    { ...options, clusterName: 'default', inventory: INVENTORY, clusterPorts: CLUSTER_PORTS },
  )[packet.direction];
  const denies = result.rules.some(({ items }) =>
    items.some((item) => item.effect === 'deny' && item.matches),
  );
  if (result.verdict === 'denied') return denies ? 'deny 181' : 'deny 133';
  return result.verdict === 'redirected' ? 'redirect' : 'allow';
}

describe('tracePolicy beside the rules read one by one', () => {
  it('says the same of random packets over the whole language', (t) => {
    const seed = testSeed();
    let compared = 0;
    for (let i = 0; i < CASES; i++) {
      const policyCase = languageCase(seed + i, PACKETS);
      const naive = new NaiveCase(policyCase);
      for (const packet of policyCase.packets) {
        const expected = naive.outcome(packet);
        // Contradicting rules lock the endpoint when they are compiled; a trace reads each of them for itself.
        if (expected === 'contradiction' || isWorldIdentity(packet)) continue;
        compared++;
        const message = (): string =>
          `seed ${seed + i}: ${JSON.stringify(packet)}\n${JSON.stringify(policyCase.rules)}`;
        const actual = traced(policyCase, packet);
        if (actual !== expected) assert.equal(actual, expected, message());
      }
    }
    t.diagnostic(`seed ${seed}: ${compared} packets`);
    assert.ok(compared > (CASES * PACKETS) / 2);
  });
});
