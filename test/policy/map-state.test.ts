import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type MapState, type MapStateVerdict, mapStateKeyText } from '../../src/model/map-state.ts';
import { diffMapState, isEmptyDiff } from '../../src/model/map-state-diff.ts';
import { DROP_POLICY, DROP_POLICY_DENY, evaluateMapState } from '../../src/policy/evaluate-map-state.ts';
import { ALL_L4, type L4Match, l4Matches, portPrefixes } from '../../src/policy/l4.ts';
import {
  identitiesWithVerdict,
  type MapStateItem,
  precedenceOf,
  pruneShadowed,
} from '../../src/policy/map-state.ts';
import { EVERY_PEER } from '../../src/policy/peer-selector.ts';
import { addGrant } from '../../src/policy/resolve.ts';
import { testSeed } from '../support/policy-gen.ts';

interface TestGrant {
  readonly identity: number;
  readonly l4: readonly L4Match[];
  readonly verdict: MapStateVerdict;
}

function compile(grants: readonly TestGrant[]): MapState {
  const items = new Map<string, MapStateItem>();
  for (const [i, { identity, l4, verdict }] of grants.entries()) {
    const grant = {
      direction: 'ingress',
      peer: EVERY_PEER,
      l4,
      verdict,
      ruleId: i + 1,
      derivedFrom: [],
    } as const;
    addGrant(items, grant, identity);
  }
  pruneShadowed(items);
  return items;
}

const tcp = (port: number, endPort?: number): readonly L4Match[] =>
  l4Matches([{ ports: [{ port, endPort, protocol: 'TCP' }] }]);
const allow: MapStateVerdict = { kind: 'allow' };
const deny: MapStateVerdict = { kind: 'deny' };
const redirect: MapStateVerdict = { kind: 'redirect', proxyPort: 10000 };
const ENFORCED = { ingress: true, egress: true };

describe('portPrefixes', () => {
  const cases: readonly [first: number, last: number, count: number][] = [
    [80, 80, 1],
    [0, 65535, 1],
    [1, 65535, 16],
    [80, 443, 8],
    [65535, 65535, 1],
    [0, 0, 1],
  ];
  for (const [first, last, count] of cases) {
    it(`cuts ${first}-${last} into ${count}`, () => assert.equal(portPrefixes(first, last).length, count));
  }

  it('covers every port of a range once and no other', () => {
    const range = fc.tuple(fc.integer({ min: 0, max: 65535 }), fc.integer({ min: 0, max: 65535 }));
    fc.assert(
      fc.property(range, ([a, b]) => {
        const [first, last] = a < b ? [a, b] : [b, a];
        let next = first;
        for (const { port, portPrefixLength } of portPrefixes(first, last)) {
          assert.equal(port, next);
          const size = 2 ** (16 - portPrefixLength);
          assert.equal(port % size, 0);
          next = port + size;
        }
        assert.equal(next, last + 1);
      }),
      { seed: testSeed(), numRuns: 300 },
    );
  });
});

describe('precedence', () => {
  it('is deny over redirect over allow, and a deny of priority 0 the greatest number', () => {
    assert.equal(precedenceOf(deny), 0xffffffff);
    assert.ok(precedenceOf(deny) > precedenceOf(redirect));
    assert.ok(precedenceOf(redirect) > precedenceOf(allow));
    const names = precedenceOf(redirect, 0, 'server-names');
    assert.ok(precedenceOf({ kind: 'redirect', proxyPort: 0 }) > names, 'server names give way to requests');
    assert.ok(names > precedenceOf(allow));
    assert.ok(precedenceOf(allow, 1) < precedenceOf(allow, 0));
    assert.ok(precedenceOf(allow, 0xffffff) > 0);
  });
});

describe('evaluateMapState', () => {
  const verdict = (mapState: MapState, identity: number, protocol: number, port: number): string => {
    const found = evaluateMapState(mapState, ENFORCED, { direction: 'ingress', identity, protocol, port });
    return found.kind === 'deny' ? `deny ${found.reason}` : `${found.kind} ${found.match}`;
  };

  it('denies what nothing matches, and allows it where nothing is enforced', () => {
    const empty: MapState = new Map();
    assert.equal(verdict(empty, 1000, 6, 80), `deny ${DROP_POLICY}`);
    const query = { direction: 'ingress', identity: 1000, protocol: 6, port: 80 } as const;
    assert.equal(evaluateMapState(empty, { ingress: false, egress: true }, query).kind, 'allow');
  });

  it('says how the entry matched', () => {
    const cases: readonly [grant: TestGrant, match: number][] = [
      [{ identity: 1000, l4: [ALL_L4], verdict: allow }, 1],
      [{ identity: 1000, l4: tcp(80), verdict: allow }, 2],
      [{ identity: 0, l4: tcp(80), verdict: allow }, 3],
      [{ identity: 0, l4: [ALL_L4], verdict: allow }, 4],
      [{ identity: 1000, l4: tcp(0), verdict: allow }, 5],
      [{ identity: 0, l4: tcp(0), verdict: allow }, 6],
    ];
    for (const [grant, match] of cases)
      assert.equal(verdict(compile([grant]), 1000, 6, 80), `allow ${match}`);
  });

  it('lets a deny on everybody beat an allow of the peer, and the reverse', () => {
    const everybody = compile([
      { identity: 1000, l4: tcp(80), verdict: allow },
      { identity: 0, l4: [ALL_L4], verdict: deny },
    ]);
    assert.equal(verdict(everybody, 1000, 6, 80), `deny ${DROP_POLICY_DENY}`);
    const peer = compile([
      { identity: 0, l4: tcp(80), verdict: allow },
      { identity: 1000, l4: [ALL_L4], verdict: deny },
    ]);
    assert.equal(verdict(peer, 1000, 6, 80), `deny ${DROP_POLICY_DENY}`);
    assert.equal(verdict(peer, 2000, 6, 80), 'allow 3');
  });

  it('lets a deny of a range beat a more specific allow of the same peer', () => {
    const mapState = compile([
      { identity: 1000, l4: tcp(80), verdict: allow },
      { identity: 1000, l4: tcp(64, 127), verdict: deny },
    ]);
    assert.equal(verdict(mapState, 1000, 6, 80), `deny ${DROP_POLICY_DENY}`);
    assert.equal(mapState.has('ingress/1000/6/80/16'), false);
  });

  it('keeps a deny of one port inside an allowed range', () => {
    const mapState = compile([
      { identity: 1000, l4: tcp(1, 65535), verdict: allow },
      { identity: 1000, l4: tcp(80), verdict: deny },
    ]);
    assert.equal(verdict(mapState, 1000, 6, 80), `deny ${DROP_POLICY_DENY}`);
    assert.equal(verdict(mapState, 1000, 6, 81), 'allow 2');
    assert.equal(verdict(mapState, 1000, 17, 81), `deny ${DROP_POLICY}`);
  });

  it('lets a redirect of everybody beat a plain allow of the peer', () => {
    const mapState = compile([
      { identity: 1000, l4: [ALL_L4], verdict: allow },
      { identity: 0, l4: tcp(80), verdict: redirect },
    ]);
    assert.equal(verdict(mapState, 1000, 6, 80), 'redirect 3');
    assert.equal(verdict(mapState, 1000, 6, 81), 'allow 1');
  });

  it('prefers the longer prefix at equal precedence, then the peer’s entry', () => {
    const longer = compile([
      { identity: 1000, l4: [ALL_L4], verdict: allow },
      { identity: 0, l4: tcp(80), verdict: allow },
    ]);
    assert.equal(verdict(longer, 1000, 6, 80), 'allow 3');
    const equal = compile([
      { identity: 1000, l4: tcp(80), verdict: allow },
      { identity: 0, l4: tcp(80), verdict: allow },
    ]);
    assert.equal(verdict(equal, 1000, 6, 80), 'allow 2');
  });

  it('finds the strongest of all matching grants, for random ones of every verdict', (t) => {
    const seed = testSeed();
    const port = fc.constantFrom(0, 1, 79, 80, 81, 443, 1024);
    const grant: fc.Arbitrary<TestGrant> = fc.record({
      identity: fc.constantFrom(0, 1000, 2000),
      l4: fc.oneof(
        fc.constant([ALL_L4]),
        fc
          .tuple(
            port,
            fc.constantFrom(undefined, 80, 127, 1023, 65535),
            fc.constantFrom('TCP' as const, 'ANY' as const),
          )
          .map(([first, last, protocol]) => {
            const endPort = first > 0 && last !== undefined && last > first ? last : undefined;
            return l4Matches([{ ports: [{ port: first, endPort, protocol }] }]);
          }),
      ),
      verdict: fc.constantFrom(allow, deny, redirect),
    });
    const query = fc.tuple(fc.constantFrom(0, 1000, 2000, 3000), fc.constantFrom(6, 17, 1), port);
    const matches = (item: TestGrant, [identity, protocol, to]: readonly [number, number, number]): boolean =>
      (item.identity === 0 || item.identity === identity) &&
      item.l4.some(
        (l4) =>
          (l4.protocol === 0 || l4.protocol === protocol) &&
          (l4.port === 0 || (to >= l4.port && to <= (l4.endPort ?? l4.port))),
      );
    const strongest = (kinds: readonly string[]): string =>
      ['deny', 'redirect', 'allow'].find((kind) => kinds.includes(kind)) ?? 'deny';
    fc.assert(
      fc.property(
        fc.array(grant, { maxLength: 8 }),
        fc.array(query, { minLength: 10, maxLength: 10 }),
        (grants, all) => {
          const mapState = compile(grants);
          for (const asked of all) {
            const [identity, protocol, to] = asked;
            const found = evaluateMapState(mapState, ENFORCED, {
              direction: 'ingress',
              identity,
              protocol,
              port: to,
            });
            const kinds = grants.filter((item) => matches(item, asked)).map((item) => item.verdict.kind);
            assert.equal(found.kind, strongest(kinds));
          }
        },
      ),
      { seed, numRuns: 500 },
    );
    t.diagnostic(`seed ${seed}`);
  });
});

describe('diffMapState', () => {
  const before = compile([
    { identity: 1000, l4: tcp(80), verdict: allow },
    { identity: 2000, l4: tcp(80), verdict: allow },
  ]);

  it('is empty between equal states', () => {
    assert.ok(isEmptyDiff(diffMapState(before, before)));
    assert.ok(isEmptyDiff(diffMapState(before, new Map(before))));
  });

  it('names what is new, what changed and what is gone', () => {
    const after = compile([
      { identity: 1000, l4: tcp(80), verdict: deny },
      { identity: 3000, l4: tcp(80), verdict: allow },
    ]);
    const diff = diffMapState(before, after);
    assert.deepEqual(
      diff.upserts.map(({ key }) => mapStateKeyText(key)),
      ['ingress/1000/6/80/16', 'ingress/3000/6/80/16'],
    );
    assert.deepEqual(diff.deletes.map(mapStateKeyText), ['ingress/2000/6/80/16']);
  });

  it('sees another proxy port', () => {
    const state = (proxyPort: number): MapState =>
      compile([{ identity: 1000, l4: tcp(80), verdict: { kind: 'redirect', proxyPort } }]);
    assert.equal(diffMapState(state(1), state(2)).upserts.length, 1);
  });
});

describe('identitiesWithVerdict', () => {
  it('lists the peers of a whole-protocol entry, ascending', () => {
    const mapState = compile([
      { identity: 2000, l4: [ALL_L4], verdict: allow },
      { identity: 1000, l4: [ALL_L4], verdict: allow },
      { identity: 3000, l4: tcp(80), verdict: allow },
      { identity: 4000, l4: [ALL_L4], verdict: deny },
    ]);
    assert.deepEqual(identitiesWithVerdict(mapState, 'ingress', 'allow'), [1000, 2000]);
    assert.deepEqual(identitiesWithVerdict(mapState, 'ingress', 'deny'), [4000]);
    assert.deepEqual(identitiesWithVerdict(mapState, 'egress', 'allow'), []);
  });
});
