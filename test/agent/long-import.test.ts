import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { KeptRules } from '../../src/agent/kept-rules.ts';
import { silentLog } from '../../src/base/log.ts';
import { allInTurns, atOnce, type Slices } from '../../src/base/slices.ts';
import {
  type ParsedPolicy,
  parsePolicy,
  parsePolicySlices,
  type Repository,
  ruleJson,
  rulesText,
  rulesTextSlices,
} from '../../src/policy/index.ts';

const RULES = 1500;
const FILE = 'the request';

function value(count: number): object[] {
  return Array.from({ length: count }, (_, i) => ({
    endpointSelector: { matchLabels: { app: `a${i % 8}` } },
    labels: [{ key: 'name', value: `rule-${i}`, source: 'unspec' }],
    description: `rule ${i}\nin two lines, "quoted" \\ and \u2028 odd`,
    ingress: [{ fromEndpoints: [{ matchLabels: { role: `r${i % 50}` } }] }],
  }));
}

function slicesOf<T>(work: Slices<T>): { readonly result: T; readonly count: number } {
  for (let count = 1; ; count++) {
    const step = work.next();
    if (step.done === true) return { result: step.value, count };
  }
}

describe('a text of thousands of rules', () => {
  const texts: Readonly<Record<string, string>> = {
    'a list': JSON.stringify(value(RULES)),
    'a List of objects': JSON.stringify({
      kind: 'List',
      apiVersion: 'v1',
      items: value(RULES).map((spec, i) => ({
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumNetworkPolicy',
        metadata: { name: `p${i}` },
        spec: { ...spec, labels: undefined },
      })),
    }),
    'a list with errors far behind': JSON.stringify([
      ...value(RULES),
      { endpointSelector: 7 },
      ...value(3),
      5,
    ]),
    'a list that stops': JSON.stringify(value(RULES)).slice(0, -20),
  };

  for (const [name, text] of Object.entries(texts)) {
    it(`is read in many slices to the same as at once: ${name}`, () => {
      const { result, count } = slicesOf(parsePolicySlices(text, { file: FILE }));
      assert.deepEqual(result, parsePolicy(text, { file: FILE }));
      assert.ok(count > 2, `${count} slices`);
    });
  }

  it('is put into words in slices, laid out as JSON is', () => {
    const rules = parsePolicy(texts['a list'] ?? '', { file: FILE }).rules.map(({ rule }) => rule);
    const { result, count } = slicesOf(rulesTextSlices(rules));
    assert.equal(result, JSON.stringify(rules.map(ruleJson), undefined, 2));
    assert.ok(count >= 2);
    assert.equal(rulesText([]), '[]');
  });
});

describe('changes of the rules, of which one takes many turns to be read', () => {
  let folder: string;
  let kept: KeptRules;
  const enforced: number[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'long-import-'));
    enforced.length = 0;
    kept = new KeptRules(
      folder,
      { log: silentLog, now: () => new Date() },
      {
        follow: () => [],
        enforce: () => void enforced.push(kept.snapshot().rules.length),
        takeBack: () => assert.fail('nothing failed'),
      },
    );
    kept.load();
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function savedRules(): number[] {
    return ['policy.json', 'policy.backup.json'].map((name) => {
      const saved = JSON.parse(readFileSync(join(folder, name), 'utf8')) as { readonly rules: unknown[] };
      return saved.rules.length;
    });
  }

  const upsert = ({ rules, errors }: ParsedPolicy) => {
    if (errors.length > 0) throw new Error('refused');
    return { apply: (repository: Repository) => repository.upsert(rules.map(({ rule }) => rule)) };
  };
  const inTurns = (text: string) =>
    kept.changeBy(async () => upsert(await allInTurns(parsePolicySlices(text, { file: FILE }))));
  const atOnceOf = (text: string) =>
    kept.changeBy(async () => upsert(atOnce(parsePolicySlices(text, { file: FILE }))));

  it('keep their order: what comes meanwhile is done after it, and nothing of it is there before all is', async () => {
    const first = inTurns(JSON.stringify(value(RULES)));
    const second = atOnceOf(JSON.stringify(value(2)));
    const third = kept.change((repository) => repository.delete([]));
    assert.equal(kept.rules([]).length, 0);
    const { revision } = await first;
    assert.ok(kept.revision >= revision);
    assert.equal((await second).removed.length, 2, 'it replaced two of the first');
    assert.equal((await third).removed.length, RULES);
    assert.deepEqual(enforced, [RULES, RULES, 0]);
    assert.deepEqual(savedRules(), [0, 0]);
  });

  it('leave all as it was when it is refused at its end, and go on', async () => {
    await atOnceOf(JSON.stringify(value(3)));
    const bad = inTurns(JSON.stringify([...value(RULES), { endpointSelector: 7 }]));
    const next = atOnceOf(JSON.stringify(value(4)));
    await assert.rejects(bad, /refused/);
    await next;
    assert.equal(kept.rules([]).length, 4);
    assert.deepEqual(enforced, [3, 4]);
    assert.deepEqual(savedRules(), [4, 4]);
  });
});
