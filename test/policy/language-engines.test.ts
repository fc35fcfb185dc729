import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { disagreement, nothingSeen, type Seen } from '../support/engine-comparison.ts';
import { testSeed } from '../support/policy-gen.ts';
import { type LanguageCase, languageCase } from '../support/policy-language.ts';
import { caseText, parseCase, shrinkCase } from '../support/policy-shrink.ts';

const PACKETS = 150;
/** `npm run test:nightly` asks for a million pairs of policy and packet. */
const CASES = Math.ceil(Number(process.env.CILIATE_POLICY_PAIRS ?? 60_000) / PACKETS);
const REGRESSIONS = join(import.meta.dirname, '../fixtures/policy-regressions');

/** Of the rules and their compiled form; three-engines.test.ts has the programs too. */
const twoDisagree = (policyCase: LanguageCase, seen?: Seen) => disagreement(policyCase, undefined, seen);

async function failWith(policyCase: LanguageCase, seed: number): Promise<never> {
  const smallest = await shrinkCase(policyCase, async (one) => (await twoDisagree(one)) !== undefined);
  return assert.fail(
    `seed ${seed}: ${await twoDisagree(smallest)}; keep this in test/fixtures/policy-regressions:\n${caseText(smallest)}`,
  );
}

describe('rules of the whole language, read one by one and compiled', () => {
  it('say the same of random packets', async (t) => {
    const seed = testSeed();
    const seen = nothingSeen();
    for (let i = 0; i < CASES; i++) {
      const policyCase = languageCase(seed + i, PACKETS);
      if ((await twoDisagree(policyCase, seen)) !== undefined) await failWith(policyCase, seed + i);
    }
    const shown = [seen.outcomes, seen.requests].map((counts) => JSON.stringify(Object.fromEntries(counts)));
    t.diagnostic(`seed ${seed}: ${shown.join(' ')}`);
    for (const outcome of ['allow', 'contradiction', 'deny 133', 'deny 181', 'redirect'])
      assert.ok(seen.outcomes.has(outcome), `${outcome} occurs`);
  });

  for (const file of readdirSync(REGRESSIONS)) {
    it(`say the same in the case that failed once: ${file}`, async () => {
      assert.equal(await twoDisagree(parseCase(readFileSync(join(REGRESSIONS, file), 'utf8'))), undefined);
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
