import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  compileDnsPattern,
  dnsPatternText,
  parseDnsName,
  parseDnsPattern,
} from '../../src/model/dns-pattern.ts';
import { FqdnCache, FqdnCacheError, type FqdnChange, type FqdnOptions } from '../../src/policy/fqdn.ts';
import { fqdnCacheView, fqdnNameFilter, fqdnNamesView } from '../../src/policy/fqdn-view.ts';

const START = Date.UTC(2026, 0, 1);
const after = (seconds: number): number => START + seconds * 1000;
const nobody = (): boolean => false;

interface Setting {
  readonly options?: Partial<FqdnOptions>;
  readonly inCluster?: (address: string) => boolean;
  readonly selectors?: readonly string[];
}

function cacheWith({
  options,
  inCluster = nobody,
  selectors = ['www.x.io', '*.x.io'],
}: Setting = {}): FqdnCache {
  const cache = new FqdnCache({ isInCluster: inCluster }, { graceSeconds: 0, ...options });
  cache.setSelectors(selectors.map(parseDnsPattern));
  return cache;
}

interface Answer {
  readonly names?: readonly string[];
  readonly addresses?: readonly string[];
  readonly ttl?: number;
  readonly endpoint?: number;
  readonly at?: number;
}

function answer(
  cache: FqdnCache,
  { names = ['www.x.io'], addresses = ['192.0.2.1'], ttl = 30, endpoint = 5, at = 0 }: Answer,
) {
  return cache.observe({ endpoint, identity: 300, names, addresses, ttlSeconds: ttl }, after(at));
}

const asObject = (changes: readonly FqdnChange[]): Record<string, readonly string[]> =>
  Object.fromEntries(changes.map(({ address, selectors }) => [address, selectors]));

describe('the cache of names', () => {
  it('gives an address the selectors that match its name', () => {
    const cache = cacheWith();
    assert.deepEqual(asObject(answer(cache, { addresses: ['192.0.2.1', '2001:db8::1'] })), {
      '192.0.2.1': ['*.x.io', 'www.x.io'],
      '2001:db8::1': ['*.x.io', 'www.x.io'],
    });
    assert.deepEqual(asObject(answer(cache, { names: ['ftp.x.io'], addresses: ['192.0.2.2'] })), {
      '192.0.2.2': ['*.x.io'],
    });
    assert.deepEqual(asObject(answer(cache, { names: ['other.io'], addresses: ['192.0.2.3'] })), {});
  });

  it('says nothing when an answer is the same again', () => {
    const cache = cacheWith();
    answer(cache, {});
    assert.deepEqual(answer(cache, { at: 5 }), []);
  });

  it('unites the selectors of all names of an address, whoever asked', () => {
    const cache = cacheWith({ selectors: ['a.io', 'b.io'] });
    answer(cache, { names: ['a.io'] });
    assert.deepEqual(asObject(answer(cache, { names: ['b.io'], endpoint: 6 })), {
      '192.0.2.1': ['a.io', 'b.io'],
    });
    assert.deepEqual(asObject(cache.removeEndpoint(5)), { '192.0.2.1': ['b.io'] });
    assert.deepEqual(asObject(cache.removeEndpoint(6)), { '192.0.2.1': [] });
  });

  it('counts the name that was asked for, and none that a server says it leads to', () => {
    const cache = cacheWith({ selectors: ['asked.io', 'edge.cdn.net'] });
    assert.deepEqual(asObject(answer(cache, { names: ['asked.io', 'x.cdn.net', 'edge.cdn.net'] })), {
      '192.0.2.1': ['asked.io'],
    });
    const lie = { names: ['evil.example', 'edge.cdn.net'], addresses: ['203.0.113.66'] };
    assert.deepEqual(answer(cache, lie), []);
  });

  it('counts the name that a search domain led to, not the one typed', () => {
    const cache = cacheWith({ selectors: ['db'] });
    assert.deepEqual(answer(cache, { names: ['db.default.svc.cluster.local'] }), []);
    assert.deepEqual(asObject(answer(cache, { names: ['db'] })), { '192.0.2.1': ['db'] });
  });

  it('knows addresses of before when a selector comes, and forgets them when it goes', () => {
    const cache = cacheWith({ selectors: [] });
    assert.deepEqual(answer(cache, {}), []);
    assert.deepEqual(asObject(cache.setSelectors([parseDnsName('www.x.io')])), { '192.0.2.1': ['www.x.io'] });
    assert.deepEqual(asObject(cache.addresses()), { '192.0.2.1': ['www.x.io'] });
    assert.deepEqual(asObject(cache.setSelectors([])), { '192.0.2.1': [] });
    assert.deepEqual(cache.addresses(), []);
  });

  it('never names an address inside the cluster, and asks again when told', () => {
    const inside = new Set(['10.0.0.7']);
    const cache = cacheWith({ inCluster: (address) => inside.has(address) });
    assert.deepEqual(answer(cache, { addresses: ['10.0.0.7'] }), []);
    inside.clear();
    assert.deepEqual(asObject(cache.recheck()), { '10.0.0.7': ['*.x.io', 'www.x.io'] });
    inside.add('10.0.0.7');
    assert.deepEqual(asObject(cache.recheck()), { '10.0.0.7': [] });
  });
});

describe('the time of an address', () => {
  it('ends with its TTL when no connection uses it', () => {
    const cache = cacheWith();
    answer(cache, { ttl: 30 });
    assert.equal(cache.hasExpired(after(29)), false);
    assert.deepEqual(cache.collect(after(29), nobody), { changes: [], dropped: 0 });
    assert.equal(cache.hasExpired(after(30)), true);
    const { changes, dropped } = cache.collect(after(30), nobody);
    assert.deepEqual(asObject(changes), { '192.0.2.1': [] });
    assert.equal(dropped, 1);
    assert.deepEqual([...cache.lookups()], []);
  });

  it('goes on past the TTL while a connection of that endpoint lives', () => {
    const cache = cacheWith();
    answer(cache, { ttl: 30, endpoint: 5 });
    const connected = (endpoint: number, address: string): boolean =>
      endpoint === 5 && address === '192.0.2.1';
    assert.deepEqual(cache.collect(after(300), connected).changes, []);
    assert.equal([...cache.lookups()][0]?.retired, true);
    assert.deepEqual(asObject(cache.addresses()), { '192.0.2.1': ['*.x.io', 'www.x.io'] });
    const other = (endpoint: number): boolean => endpoint === 6;
    assert.deepEqual(asObject(cache.collect(after(301), other).changes), { '192.0.2.1': [] });
  });

  it('starts anew when the name is asked again while it is kept for a connection', () => {
    const cache = cacheWith();
    answer(cache, { ttl: 30 });
    cache.collect(after(60), () => true);
    assert.deepEqual(answer(cache, { ttl: 30, at: 61 }), []);
    assert.equal([...cache.lookups()].filter(({ retired }) => retired).length, 0);
    assert.deepEqual(cache.collect(after(90), nobody).changes, []);
    assert.equal(cache.collect(after(91), nobody).dropped, 1);
    assert.deepEqual(cache.addresses(), []);
  });

  it('is at least the minimum TTL', () => {
    const cache = cacheWith({ options: { minTtlSeconds: 3600 } });
    answer(cache, { ttl: 1 });
    assert.equal(cache.hasExpired(after(3599)), false);
    assert.equal(cache.hasExpired(after(3600)), true);
    assert.equal(fqdnCacheView(cache.lookups())[0]?.ttl, 1);
  });

  it('is not shortened by a later answer with a shorter TTL', () => {
    const cache = cacheWith();
    answer(cache, { ttl: 300 });
    answer(cache, { ttl: 5, at: 10 });
    assert.equal(cache.hasExpired(after(299)), false);
  });

  it('has a grace in which the client of a TTL of 0 can connect', () => {
    const cache = cacheWith({ options: { graceSeconds: 10 } });
    answer(cache, { ttl: 0 });
    assert.equal(cache.collect(after(9), nobody).dropped, 0);
    assert.equal(cache.collect(after(10), nobody).dropped, 1);
  });

  it('is a week at most', () => {
    const cache = cacheWith();
    answer(cache, { ttl: 2 ** 31 - 1 });
    assert.equal(cache.hasExpired(after(7 * 86400)), true);
  });
});

describe('the limits', () => {
  it('let the address looked up longest ago go first', () => {
    const cache = cacheWith({ options: { addressesPerName: 2 }, selectors: ['www.x.io'] });
    for (const [at, host] of [1, 2, 1, 3].entries()) answer(cache, { addresses: [`192.0.2.${host}`], at });
    const changes = cache.collect(after(4), nobody).changes;
    assert.deepEqual(asObject(changes), { '192.0.2.2': [] });
    assert.deepEqual(
      cache
        .addresses()
        .map(({ address }) => address)
        .sort(),
      ['192.0.2.1', '192.0.2.3'],
    );
  });

  it('spare an address that a connection uses', () => {
    const cache = cacheWith({ options: { addressesPerName: 1 } });
    answer(cache, { addresses: ['192.0.2.1'] });
    answer(cache, { addresses: ['192.0.2.2'], at: 1 });
    cache.collect(after(2), (_endpoint, address) => address === '192.0.2.1');
    assert.equal(cache.addresses().length, 2);
  });

  it('hold for the names of each endpoint on its own', () => {
    const cache = cacheWith({ options: { namesPerEndpoint: 2 } });
    for (const name of ['a.x.io', 'b.x.io', 'c.x.io'])
      answer(cache, { names: [name], addresses: ['192.0.2.9'] });
    answer(cache, { names: ['a.x.io'], endpoint: 6 });
    cache.collect(after(1), nobody);
    const names = [...cache.lookups()].map(({ endpoint, name }) => `${endpoint} ${name}`);
    assert.deepEqual(names, ['5 b.x.io', '5 c.x.io', '6 a.x.io']);
  });

  it('hold for the addresses of all names of an endpoint, and push out those looked up longest ago', () => {
    const cache = cacheWith({ options: { addressesPerEndpoint: 4 } });
    const ask = (name: string, hosts: readonly number[], at: number): void => {
      answer(cache, { names: [name], addresses: hosts.map((host) => `192.0.2.${host}`), at });
    };
    ask('a.x.io', [1, 2], 0);
    ask('b.x.io', [3, 4], 1);
    ask('a.x.io', [1], 2);
    ask('c.x.io', [5, 6], 3);
    answer(cache, { names: ['b.x.io'], addresses: ['192.0.2.3', '192.0.2.4'], endpoint: 6 });
    cache.collect(after(4), nobody);
    const pairs = [...cache.lookups()].map(({ endpoint, name, address }) => `${endpoint} ${name} ${address}`);
    const own = ['5 a.x.io 192.0.2.2', '5 a.x.io 192.0.2.1', '5 c.x.io 192.0.2.5', '5 c.x.io 192.0.2.6'];
    assert.deepEqual(pairs, [...own, '6 b.x.io 192.0.2.3', '6 b.x.io 192.0.2.4']);
    cache.clean((name) => name === 'a.x.io');
    ask('d.x.io', [7, 8], 5);
    assert.equal(cache.addresses().length, 6, 'what was forgotten made room');
  });

  it('bound what a domain of made-up names costs', () => {
    const cache = cacheWith({ selectors: ['*.other.io'] });
    const addresses = Array.from({ length: 1000 }, (_, i) => `198.18.${i >> 8}.${i & 255}`);
    for (let i = 0; i < 60; i++) answer(cache, { names: [`n${i}.x.io`], addresses, ttl: 604_800, at: i });
    const held = [...cache.lookups()].length;
    assert.ok(held <= 30_000, `${held} pairs of ${60 * addresses.length}`);
  });

  it('hold for what is kept for connections', () => {
    const cache = cacheWith({ options: { retiredPerEndpoint: 3 } });
    for (let host = 1; host <= 10; host++) answer(cache, { addresses: [`192.0.2.${host}`], ttl: 1 });
    cache.collect(after(2), () => true);
    assert.equal(cache.addresses().length, 3);
  });
});

describe('a restart', () => {
  const json = (cache: FqdnCache): unknown => JSON.parse(JSON.stringify(cache));

  it('keeps names, times and what is kept for connections', () => {
    const old = cacheWith();
    answer(old, { addresses: ['192.0.2.1'], ttl: 10 });
    old.collect(after(20), () => true);
    answer(old, { addresses: ['192.0.2.2'], ttl: 30, at: 20 });
    const cache = cacheWith();
    const all = ['*.x.io', 'www.x.io'];
    assert.deepEqual(asObject(cache.restore(json(old))), { '192.0.2.1': all, '192.0.2.2': all });
    assert.deepEqual(fqdnCacheView(cache.lookups()), fqdnCacheView(old.lookups()));
    assert.deepEqual(asObject(cache.collect(after(51), nobody).changes), {
      '192.0.2.1': [],
      '192.0.2.2': [],
    });
  });

  it('keeps names that no host has, with escapes and at the root', () => {
    const old = cacheWith({ selectors: ['*'] });
    for (const name of ['', 'a\\.', '\\032.x\\\\']) answer(old, { names: [name] });
    const cache = cacheWith({ selectors: ['*'] });
    cache.restore(json(old));
    assert.deepEqual([...cache.lookups()], [...old.lookups()]);
  });

  it('drops endpoints that are gone', () => {
    const cache = cacheWith();
    answer(cache, { endpoint: 5 });
    answer(cache, { endpoint: 6, addresses: ['192.0.2.6'] });
    assert.deepEqual(asObject(cache.retainEndpoints(new Set([6]))), { '192.0.2.1': [] });
  });

  it('refuses a file that is none, and takes nothing of it', () => {
    const good = [5, 'www.x.io', '192.0.2.1', START, 30, START + 30_000, 0];
    const wrong: readonly unknown[] = [
      null,
      'x',
      {},
      { version: 2, lookups: [] },
      { version: 1 },
      { version: 1, lookups: [good, 3] },
      { version: 1, lookups: [good, [5, 'WWW.x.io', '192.0.2.1', START, 30, START, 0]] },
      { version: 1, lookups: [good, [5, 'www.x.io', '192.0.2.1.1', START, 30, START, 0]] },
      { version: 1, lookups: [good, [5, 'www.x.io', '192.0.2.1', -1, 30, START, 0]] },
      { version: 1, lookups: [good, [5, 'www.x.io', '192.0.2.1', START, 30, START, 2]] },
    ];
    for (const value of wrong) {
      const cache = cacheWith();
      assert.throws(() => cache.restore(value), FqdnCacheError, JSON.stringify(value));
      assert.deepEqual([...cache.lookups()], []);
    }
  });
});

describe('the views of the API', () => {
  const cache = cacheWith();
  answer(cache, { names: ['a.b'], addresses: ['2.2.2.2', '1.1.1.1'], ttl: 30 });
  answer(cache, { names: ['www.x.io'], addresses: ['3.3.3.3'], ttl: 10, endpoint: 6, at: 1 });

  it('list lookups in the shape of Cilium', () => {
    assert.deepEqual(fqdnCacheView(cache.lookups())[0], {
      'endpoint-id': 5,
      fqdn: 'a.b.',
      ips: ['1.1.1.1', '2.2.2.2'],
      ttl: 30,
      source: 'lookup',
      'lookup-time': '2026-01-01T00:00:00Z',
      'expiration-time': '2026-01-01T00:00:30Z',
    });
  });

  it('filter by name, prefix, source and endpoint', () => {
    const names = (filter: Parameters<typeof fqdnCacheView>[1]): string[] =>
      fqdnCacheView(cache.lookups(), filter).map(({ fqdn }) => fqdn);
    assert.deepEqual(names({ matchPattern: '*.X.io.' }), ['www.x.io.']);
    assert.deepEqual(names({ cidr: '1.1.0.0/16' }), ['a.b.']);
    assert.deepEqual(names({ source: 'connection' }), []);
    assert.deepEqual(names({ endpoint: 6 }), ['www.x.io.']);
    assert.throws(() => names({ matchPattern: 'a b' }), { code: 'DNS_PATTERN_INVALID' });
    assert.throws(() => names({ cidr: 'x' }), { code: 'CIDR_INVALID' });
  });

  it('show selectors with an expression that matches what they match', () => {
    assert.deepEqual(fqdnNamesView([]), { DNSPollNames: null, FQDNPolicySelectors: [] });
    assert.deepEqual(fqdnNamesView([parseDnsName('a.io')]).FQDNPolicySelectors, [
      { selectorString: 'MatchName: a.io, MatchPattern: ', regexString: '^a[.]io[.]$' },
    ]);
    for (const pattern of ['a.io', '*.io', '**.a.io', 'x*y.io', '*'].map(parseDnsPattern)) {
      const [shown] = fqdnNamesView([pattern]).FQDNPolicySelectors;
      for (const name of ['a.io', 'b.io', 'b.a.io', 'c.b.a.io', 'xy.io', 'xzy.io', 'io'])
        assert.equal(
          new RegExp(shown?.regexString ?? '').test(`${name}.`),
          compileDnsPattern(pattern)(name),
          `${dnsPatternText(pattern)} ${name}`,
        );
    }
  });

  it('clean by pattern, at once', () => {
    const cleaned = cacheWith();
    answer(cleaned, {});
    answer(cleaned, { names: ['ftp.x.io'], addresses: ['192.0.2.2'] });
    const { changes, dropped } = cleaned.clean(fqdnNameFilter('ftp*.x.io'));
    assert.deepEqual(asObject(changes), { '192.0.2.2': [] });
    assert.equal(dropped, 1);
    assert.deepEqual(asObject(cleaned.clean().changes), { '192.0.2.1': [] });
    assert.deepEqual([...cleaned.lookups()], []);
  });
});
