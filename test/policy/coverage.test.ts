import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EMPTY_SELECTOR, matchesSelector } from '../../src/model/selector.ts';
import { type Rule, type RuleRemark, shadowedRules } from '../../src/policy/index.ts';
import { testSeed } from '../support/policy-gen.ts';
import { NaiveCase, subjectOf } from '../support/policy-judges.ts';
import { type LanguageCase, languageCase } from '../support/policy-language.ts';

const CASES = 300;
const PACKETS = 100;

/** The rules without what the remark says has no effect. */
function without(rules: readonly Rule[], remark: RuleRemark): readonly Rule[] {
  if (remark.kind !== 'denied') return rules.filter((_, i) => i !== remark.rule);
  const { rule, section, item } = remark;
  return rules.map((old, i) => {
    if (i !== rule) return old;
    const items = (old[section] ?? []).map((other, k) => {
      const kept = other.requires === undefined ? {} : { requires: other.requires };
      return k === item ? { peers: undefined, ports: undefined, ...kept } : other;
    });
    return { ...old, [section]: items };
  });
}

/** What passes the proxy and what needs none are the same here: rules that restrict nothing may decide which. */
const simple = (outcome: string): string => (outcome === 'redirect' ? 'allow' : outcome);

function check(policyCase: LanguageCase, remark: RuleRemark): void {
  const before = new NaiveCase(policyCase);
  const after = new NaiveCase({ ...policyCase, rules: without(policyCase.rules, remark) });
  for (const packet of policyCase.packets) {
    const [a, b] = [before.outcome(packet), after.outcome(packet)];
    // Rules of two parsers on one port close the subject: without one of them it is open again.
    if (a === 'contradiction') continue;
    assert.equal(simple(b), simple(a), JSON.stringify({ remark, packet, rules: policyCase.rules }));
  }
}

describe('rules that are said to have no effect', () => {
  it('have none on random packets', (t) => {
    const seed = testSeed();
    const found = { covered: 0, denied: 0 };
    for (let i = 0; i < CASES; i++) {
      const drawn = languageCase(seed + i, PACKETS);
      // Each rule once more, with one item less: much of what is drawn at random contains nothing.
      const copies = drawn.rules.map((rule) => ({ ...rule, ingress: rule.ingress?.slice(1) }));
      const policyCase = { ...drawn, rules: [...drawn.rules, ...copies] };
      for (const remark of shadowedRules(policyCase.rules)) {
        if (remark.kind === 'selects-nothing' || remark.kind === 'contradicts') continue;
        found[remark.kind]++;
        check(policyCase, remark);
      }
    }
    t.diagnostic(`seed ${seed}: ${JSON.stringify(found)}`);
    assert.ok(found.covered > 0 && found.denied > 0, JSON.stringify(found));
  });
});

type Contradiction = Extract<RuleRemark, { kind: 'contradicts' }>;

/** The item alone, for whatever is asked on its ports. */
function itemAlone(rules: readonly Rule[], { rule, section, item }: Contradiction): Rule[] {
  return rules.slice(rule, rule + 1).map(({ subject, labels, [section]: items = [] }) => ({
    subject,
    labels,
    ingress: undefined,
    egress: undefined,
    description: undefined,
    [section]: items.slice(item, item + 1).map(({ peers, ports }) => ({
      peers,
      ports: ports?.map((entry) => ({ ports: entry.ports })),
    })),
  }));
}

/** The rule with other requests asked for: what is drawn at random seldom contradicts itself. */
function forKafka(rule: Rule): Rule {
  const items = rule.ingress?.map((item) => ({
    ...item,
    ports: item.ports?.map((entry) =>
      entry.l7?.kind === 'http' ? { ...entry, l7: { kind: 'kafka' as const, rules: [] } } : entry,
    ),
  }));
  return { ...rule, ingress: items, egress: undefined };
}

describe('rules that are said to contradict each other', () => {
  it('close every endpoint that both select, once there is a peer', (t) => {
    const seed = testSeed();
    let told = 0;
    let closed = 0;
    for (let i = 0; i < CASES / 3; i++) {
      const plain = languageCase(seed + i, PACKETS);
      const drawn = { ...plain, rules: [...plain.rules, ...plain.rules.map(forKafka)] };
      const options = { mode: 'default', allowLocalhost: 'policy' } as const;
      for (const remark of shadowedRules(drawn.rules)) {
        if (remark.kind !== 'contradicts') continue;
        told++;
        const alone = new NaiveCase({ ...drawn, options, rules: itemAlone(drawn.rules, remark) });
        const pair = [...new Set([remark.rule, remark.by])].flatMap((k) => drawn.rules.slice(k, k + 1));
        // Demands on peers may leave none of them; policies of nodes are for no subject here.
        if (/"requires"|"subjectKind"/.test(JSON.stringify(pair))) continue;
        const both = new NaiveCase({ ...drawn, options, rules: pair });
        for (const packet of drawn.packets) {
          if (packet.direction !== remark.section || alone.outcome(packet) !== 'allow') continue;
          // Of a subject that the rule does not select everything passes.
          if (!matchesSelector(drawn.rules[remark.rule]?.subject ?? EMPTY_SELECTOR, subjectOf(packet).labels))
            continue;
          closed++;
          assert.equal(both.outcome(packet), 'contradiction', JSON.stringify({ remark, packet, pair }));
        }
      }
    }
    t.diagnostic(`seed ${seed}: ${told} told, ${closed} packets`);
    assert.ok(told > 0 && closed > 0);
  });
});
