import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatCidr, maskIp, parseCidr } from '../../src/base/ip.ts';
import { type Identity, LOCAL_IDENTITY_SCOPE } from '../../src/model/identity.ts';
import { labelSet, parseLabels } from '../../src/model/labels.ts';
import { EMPTY_INVENTORY } from '../../src/model/policy-inventory.ts';
import { type MatchExpression, makeSelector } from '../../src/model/selector.ts';
import {
  knownIdentity,
  matchesPeer,
  type PeerSelector,
  peerSelectors,
} from '../../src/policy/peer-selector.ts';
import { PrefixIndex } from '../../src/policy/prefix-index.ts';
import type { Entity, Peers } from '../../src/policy/rule.ts';
import { RuleContext } from '../../src/policy/rule-context.ts';
import { SelectorCache } from '../../src/policy/selector-cache.ts';
import { Random } from '../support/random.ts';

const CONTEXT = new RuleContext(EMPTY_INVENTORY);
const CLUSTER = 'default';

/** Few values, so that prefixes meet, lie in each other and are equal. */
function prefix(random: Random) {
  if (random.oneIn(4))
    return parseCidr(`2001:db8:${random.below(3)}::/${[0, 16, 32, 48, 64][random.below(5)]}`);
  const length = [0, 8, 16, 17, 24, 32][random.below(6)] ?? 0;
  const bytes = maskIp(Uint8Array.of(10, random.below(3), random.below(3) * 127, random.below(3)), length);
  return { family: 4, bytes, length } as const;
}

function peer(random: Random): PeerSelector {
  const key = (): string => random.pick(['app', 'team', 'zone']);
  const value = (): string => String(random.below(3));
  const source = (): string => random.pick(['any', 'k8s', 'container']);
  const expression = () => ({
    source: 'any',
    key: key(),
    ...random.pick<Pick<MatchExpression, 'operator' | 'values'>>([
      { operator: 'In', values: [value(), value()] },
      { operator: 'NotIn', values: [value()] },
      { operator: 'Exists', values: [] },
      { operator: 'DoesNotExist', values: [] },
    ]),
  });
  const labels = Array.from({ length: random.below(3) }, () => ({
    source: source(),
    key: key(),
    value: value(),
  }));
  const one = new Map(labels.map((label) => [label.key, label]));
  const selector = makeSelector([...one.values()], random.oneIn(3) ? [expression()] : []);
  const name = { kind: 'name', name: `n${random.below(3)}.io` } as const;
  const entity = random.pick<Entity>(['world', 'cluster', 'host', 'world-ipv4', 'remote-node']);
  const peers = random.pick<Peers>([
    { kind: 'endpoints', selectors: [selector] },
    { kind: 'nodes', selectors: [selector] },
    { kind: 'entities', entities: [entity] },
    { kind: 'cidrs', cidrs: [prefix(random)] },
    { kind: 'cidr-sets', sets: [{ kind: 'cidr', cidr: prefix(random), except: [prefix(random)] }] },
    { kind: 'fqdns', names: [name] },
  ]);
  return peerSelectors(peers, CONTEXT)[0] ?? assert.fail('no selector');
}

function identity(random: Random): Identity {
  const id = random.below(12);
  if (random.oneIn(2)) {
    const texts = ['app', 'team', 'zone'].flatMap((key) =>
      random.oneIn(2) ? [`k8s:${key}=${random.below(3)}`] : [],
    );
    const more = random.oneIn(4) ? ['reserved:remote-node'] : ['container:app=1'];
    return { id: 256 + id, labels: labelSet(parseLabels([...texts, ...more])) };
  }
  const own = prefix(random);
  const family = own.family === 4 ? 'reserved:world-ipv4' : 'reserved:world-ipv6';
  const names = random.oneIn(3) ? [`fqdn:n${random.below(3)}.io`] : [];
  const label = { source: 'cidr', key: formatCidr(own), value: '' };
  return { id: LOCAL_IDENTITY_SCOPE + id, labels: labelSet([...parseLabels([family, ...names]), label]) };
}

describe('selectors by what they ask for', () => {
  it('pick what they pick when each is held against each, whatever comes and goes', () => {
    const seed = Date.now() % 2 ** 31;
    const random = new Random(seed);
    for (let round = 0; round < 40; round++) {
      const cache = new SelectorCache({ clusterName: CLUSTER });
      const held = new Map<string, PeerSelector>();
      const known = new Map<number, Identity>();
      for (let step = 0; step < 60; step++) {
        const what = random.below(5);
        if (what === 0) {
          const one = peer(random);
          if (one.kind !== 'every' && !held.has(one.text)) cache.acquire(one);
          held.set(one.text, one);
        } else if (what === 1) {
          const [one] = [...held.values()].slice(random.below(held.size + 1));
          if (one !== undefined) cache.release(one);
          if (one !== undefined) held.delete(one.text);
        } else if (what === 2) {
          const id = [...known.keys()][random.below(known.size + 1)];
          if (id !== undefined) cache.update({ deletes: [id] });
          if (id !== undefined) known.delete(id);
        } else {
          const one = identity(random);
          known.set(one.id, one);
          cache.update({ upserts: [one] });
        }
        for (const one of held.values()) {
          if (one.kind === 'every') continue;
          const wanted = [...known.values()]
            .filter((who) => matchesPeer(one, knownIdentity(who), CLUSTER))
            .map(({ id }) => id)
            .sort((a, b) => a - b);
          const found = [...cache.identitiesOf(one)].filter((id) => id >= 256).sort((a, b) => a - b);
          assert.deepEqual(found, wanted, `seed ${seed}, round ${round}, step ${step}: ${one.text}`);
        }
      }
    }
  });
});

describe('values by prefix', () => {
  it('are found within and around a prefix, also after some went and came again', () => {
    const index = new PrefixIndex<string>();
    const texts = [
      '10.0.0.0/8',
      '10.1.0.0/16',
      '10.1.2.0/24',
      '10.1.2.3/32',
      '11.0.0.0/8',
      '::/0',
      '0.0.0.0/0',
    ];
    for (const text of texts) index.add(parseCidr(text), text);
    const within = (text: string) => [...index.within(parseCidr(text))].sort();
    const around = (text: string) => [...index.around(parseCidr(text))].sort();
    assert.deepEqual(within('10.1.0.0/16'), ['10.1.0.0/16', '10.1.2.0/24', '10.1.2.3/32']);
    assert.deepEqual(around('10.1.2.0/24'), ['0.0.0.0/0', '10.0.0.0/8', '10.1.0.0/16', '10.1.2.0/24']);
    assert.deepEqual(within('::/0'), ['::/0']);
    index.delete(parseCidr('10.1.2.0/24'), '10.1.2.0/24');
    index.add(parseCidr('10.0.0.0/8'), 'twice');
    assert.deepEqual(within('10.1.0.0/16'), ['10.1.0.0/16', '10.1.2.3/32']);
    assert.deepEqual(around('10.1.2.3/32'), [
      '0.0.0.0/0',
      '10.0.0.0/8',
      '10.1.0.0/16',
      '10.1.2.3/32',
      'twice',
    ]);
    index.add(parseCidr('10.1.2.0/24'), 'again');
    assert.deepEqual(within('10.1.2.0/24'), ['10.1.2.3/32', 'again']);
    assert.deepEqual(within('12.0.0.0/8'), []);
  });
});
