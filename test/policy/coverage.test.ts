import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Rule, type RuleRemark, shadowedRules } from '../../src/policy/index.ts';
import { testSeed } from '../support/policy-gen.ts';
import { NaiveCase } from '../support/policy-judges.ts';
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
        if (remark.kind === 'selects-nothing') continue;
        found[remark.kind]++;
        check(policyCase, remark);
      }
    }
    t.diagnostic(`seed ${seed}: ${JSON.stringify(found)}`);
    assert.ok(found.covered > 0 && found.denied > 0, JSON.stringify(found));
  });
});
