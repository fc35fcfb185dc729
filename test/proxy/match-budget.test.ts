import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MatchBudget } from '../../src/proxy/http/match-budget.ts';
import { HttpRuleSet, type JudgedRequest } from '../../src/proxy/http/rule-set.ts';
import { httpFilter, httpRule, ingressPolicy, Rig, until } from './rig.ts';

const ask = (path: string, parts: Partial<JudgedRequest> = {}): JudgedRequest => ({
  method: 'GET',
  hostText: 'h',
  understood: { path, bare: undefined, rewritten: false },
  joined: () => undefined,
  disguised: () => [],
  ...parts,
});

/** An automaton of 2^50 states: each character that is read makes a new one. */
const SLOW = '/.*a.{50}';
/** Different for each `seed`, and as slow as can be. */
const slowPath = (length: number, seed: number): string => {
  let state = seed;
  const letter = (): string => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state & 65_536 ? 'a' : 'b';
  };
  return `/${Array.from({ length }, letter).join('')}`;
};

/** CPU time of this process, ms: others may have the machine meanwhile. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Time that passes only as the test says: with each look by `stepNs`, all of it on the CPU. */
function handClock() {
  const clock = { ns: 0, stepNs: 0 };
  const now = (): number => {
    clock.ns += clock.stepNs;
    return clock.ns;
  };
  return { clock, budget: new MatchBudget(now, () => clock.ns) };
}

const read = (budget: MatchBudget, characters: number): number | undefined =>
  budget.judge(() =>
    budget.match('x'.repeat(characters), (text) => {
      for (let at = 0; at < characters; at++) text.charCodeAt(at);
      return characters;
    }),
  );

describe('the time that expressions may take', () => {
  it('is spent by what is slow, grows again, and each request has some of its own', () => {
    const { clock, budget } = handClock();
    clock.stepNs = 1e6;
    assert.equal(read(budget, 32 * 100), 3200);
    assert.equal(budget.isOver, false);
    assert.equal(read(budget, 32 * 1000), undefined);
    assert.equal(budget.isOver, true);
    const before = clock.ns;
    assert.equal(read(budget, 32 * 1000), undefined);
    assert.ok(clock.ns - before < 20e6, `${clock.ns - before} ns`);
    clock.stepNs = 1000;
    assert.equal(read(budget, 32 * 1000), 32_000, 'others go on');
    clock.ns += 10e9;
    clock.stepNs = 1e6;
    assert.equal(read(budget, 32 * 100), 3200);
  });

  it('is not over because others had the CPU', () => {
    let ns = 0;
    const budget = new MatchBudget(
      () => {
        ns += 1e9;
        return ns;
      },
      () => ns / 1000,
    );
    assert.equal(read(budget, 32 * 1000), 32_000);
  });

  it('ends nothing but the expression: its own errors are thrown on', () => {
    const { budget } = handClock();
    const failing = (): never => {
      throw new Error('its own');
    };
    assert.throws(() => budget.judge(() => budget.match('x', failing)), /its own/);
  });
});

describe('rules whose expressions are written to be slow', () => {
  it('allow nothing once they took their time, say so, and hold up no other rules', () => {
    const budget = new MatchBudget();
    const slow = new HttpRuleSet([httpFilter([httpRule({ path: SLOW })])], budget);
    const fair = new HttpRuleSet([httpFilter([httpRule({ path: '/v[0-9]+/x.*' })])], budget);
    let denied = 0;
    const start = cpuMs();
    for (let i = 0; i < 12; i++) {
      const { allowed, remark } = slow.judge(ask(slowPath(60_000, i)));
      if (!allowed && /take too long/.test(remark)) denied++;
      assert.equal(fair.judge(ask(`/v${i}/x?${'y'.repeat(500)}`)).allowed, true);
    }
    assert.ok(denied > 6, `${denied}`);
    // Without the limit each of them takes about a second.
    assert.ok(cpuMs() - start < 6000, `${cpuMs() - start} ms`);
  });

  it('are not remembered as not matching', () => {
    const { clock, budget } = handClock();
    const set = new HttpRuleSet([httpFilter([httpRule({ path: '/(a|b)+c' })])], budget);
    const path = `/${'ab'.repeat(200)}c`;
    clock.stepNs = 1e9;
    assert.equal(set.judge(ask(path)).allowed, false);
    clock.stepNs = 0;
    clock.ns += 100e9;
    assert.equal(set.judge(ask(path)).allowed, true);
  });

  it('are bounded for host and method too, however many they are', () => {
    const rules = Array.from({ length: 200 }, (_, i) => httpRule({ host: `(.*a.{${20 + (i % 30)}}c|${i})` }));
    const set = new HttpRuleSet([httpFilter(rules)]);
    const start = cpuMs();
    for (let i = 0; i < 3; i++)
      assert.equal(set.judge(ask('/', { hostText: slowPath(5000, i).slice(1) })).allowed, false);
    assert.ok(cpuMs() - start < 6000, `${cpuMs() - start} ms`);
  });

  it('are taken up to a size, and allow nothing beyond it', () => {
    const rules = Array.from({ length: 110 }, (_, i) => httpRule({ path: `/r${i}x(.?){498}` }));
    const filter = httpFilter([...rules, httpRule({ path: '/plain' })]);
    const set = new HttpRuleSet([filter], handClock().budget);
    assert.ok(set.problems.length > 5 && set.problems.length < 20, `${set.problems.length}`);
    assert.match(set.problems[0] ?? '', /default\/rule: the paths of its rules become more than 200000/);
    assert.equal(set.judge(ask('/r3x')).allowed, true);
    assert.equal(set.judge(ask('/r109x')).allowed, false);
    assert.equal(set.judge(ask('/plain')).allowed, true);
  });

  it('answer 403 with the reason in the record, and requests by other rules go on', async () => {
    const rules = [httpRule({ path: SLOW }), httpRule({ path: '/plain' })];
    await using rig = await new Rig().start(ingressPolicy([httpFilter(rules)]));
    const client = await rig.client();
    for (let i = 0; i < 12; i++) {
      client.send(`GET ${slowPath(60_000, i)} HTTP/1.1\r\nHost: h\r\n\r\n`);
      await client.answers(2 * i + 1);
      client.send('GET /plain HTTP/1.1\r\nHost: h\r\n\r\n');
      await client.answers(2 * i + 2);
    }
    assert.deepEqual(
      client.statuses.filter((_, i) => i % 2 === 1),
      new Array(12).fill(200),
    );
    await until(`the record, got ${JSON.stringify(rig.records.map(({ reason }) => reason))}`, () =>
      rig.records.some(({ reason }) => /take too long/.test(reason)),
    );
    client.destroy();
  });
});
