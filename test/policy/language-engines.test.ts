import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { testSeed } from '../support/policy-gen.ts';
import { CompiledCase, NaiveCase } from '../support/policy-judges.ts';
import { type LanguageCase, type LanguagePacket, languageCase } from '../support/policy-language.ts';
import { caseText, parseCase, shrinkCase } from '../support/policy-shrink.ts';

const CASES = 400;
const PACKETS = 150;
const REGRESSIONS = join(import.meta.dirname, '../fixtures/policy-regressions');

/** Whether endpoints of the subject name their ports differently: the proxy's policy is for all of them alike. */
function namesDiffer({ packets }: LanguageCase, { subject, ports }: LanguagePacket): boolean {
  return packets.some((other) => other.subject === subject && other.ports !== ports);
}

/** The first packet of which the rules and their compiled form say different things. */
function disagreement(policyCase: LanguageCase): string | undefined {
  const compiled = new CompiledCase(policyCase);
  const naive = new NaiveCase(policyCase);
  for (const packet of policyCase.packets) {
    const [a, b] = [naive.outcome(packet), compiled.outcome(packet)];
    if (a !== b) return `rules: ${a}, map state: ${b}`;
    if (a !== 'redirect' || namesDiffer(policyCase, packet)) continue;
    const [wanted, got] = [naive.requests(packet), compiled.requests(packet)];
    if (wanted.join() !== got.join())
      return `requests by the rules: ${wanted}, by the proxy's policy: ${got}`;
  }
  return undefined;
}

async function failWith(policyCase: LanguageCase, seed: number): Promise<never> {
  const smallest = await shrinkCase(policyCase, (smaller) => disagreement(smaller) !== undefined);
  return assert.fail(
    `seed ${seed}: ${disagreement(smallest)}; keep this in test/fixtures/policy-regressions:\n${caseText(smallest)}`,
  );
}

describe('rules of the whole language, read one by one and compiled', () => {
  it('say the same of random packets', async (t) => {
    const seed = testSeed();
    const seen = new Map<string, number>();
    for (let i = 0; i < CASES; i++) {
      const policyCase = languageCase(seed + i, PACKETS);
      if (disagreement(policyCase) !== undefined) await failWith(policyCase, seed + i);
      const naive = new NaiveCase(policyCase);
      for (const packet of policyCase.packets) {
        const outcome = naive.outcome(packet);
        seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
      }
    }
    t.diagnostic(`seed ${seed}: ${JSON.stringify(Object.fromEntries(seen))}`);
    assert.deepEqual([...seen.keys()].sort(), ['allow', 'contradiction', 'deny 133', 'deny 181', 'redirect']);
  });

  for (const file of readdirSync(REGRESSIONS)) {
    it(`say the same in the case that failed once: ${file}`, () => {
      assert.equal(disagreement(parseCase(readFileSync(join(REGRESSIONS, file), 'utf8'))), undefined);
    });
  }
});

describe('shrinkCase', () => {
  it('leaves what makes a case fail and little else', async () => {
    const big = languageCase(7, 60);
    const denies = (one: LanguageCase): boolean =>
      one.rules.some(({ egress }) => (egress?.length ?? 0) > 0) &&
      one.packets.some(({ port }) => port === 80);
    assert.ok(denies(big));
    const small = await shrinkCase(big, denies);
    assert.equal(small.packets.length, 1);
    assert.equal(small.rules.length, 1);
    assert.equal(small.rules[0]?.egress?.length, 1);
    assert.deepEqual(parseCase(caseText(small)), JSON.parse(JSON.stringify(small)));
  });
});
