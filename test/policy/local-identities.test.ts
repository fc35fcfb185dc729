import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatCidr, parseCidr } from '../../src/base/ip.ts';
import {
  isLocalIdentity,
  LOCAL_IDENTITY_SCOPE,
  NODE_IDENTITY_SCOPE,
  ReservedIdentity,
} from '../../src/model/identity.ts';
import { formatLabels } from '../../src/model/labels.ts';
import { checkLocalIdentities, LocalIdentities } from '../../src/policy/local-identities.ts';

function named(local: LocalIdentities): Readonly<Record<string, readonly string[]>> {
  const prefixes = local.prefixes();
  return Object.fromEntries(
    prefixes.map(({ prefix, identity }) => [formatCidr(prefix), formatLabels(identity.labels)]),
  );
}

function idOf(local: LocalIdentities, text: string): number | undefined {
  return local.prefixes().find(({ prefix }) => formatCidr(prefix) === text)?.identity.id;
}

describe('identities of prefixes', () => {
  it('are given once to each prefix in use, from 2^24 on, with its text as label', () => {
    const local = new LocalIdentities();
    for (const text of ['10.0.0.0/8', '2001:db8::/32', '10.0.0.0/8']) local.acquire(parseCidr(text));
    assert.deepEqual(named(local), {
      '10.0.0.0/8': ['cidr:10.0.0.0/8', 'reserved:world-ipv4'],
      '2001:db8::/32': ['cidr:2001:db8::/32', 'reserved:world-ipv6'],
    });
    assert.equal(idOf(local, '10.0.0.0/8'), LOCAL_IDENTITY_SCOPE);
    assert.deepEqual(
      local.takeNew().map(({ id }) => id),
      [LOCAL_IDENTITY_SCOPE, LOCAL_IDENTITY_SCOPE + 1],
    );
    assert.deepEqual(local.takeNew(), []);
  });

  it('are the reserved ones for the whole of a family', () => {
    const local = new LocalIdentities();
    local.acquire(parseCidr('0.0.0.0/0'));
    local.acquire(parseCidr('::/0'));
    assert.deepEqual(
      [idOf(local, '0.0.0.0/0'), idOf(local, '::/0')],
      [ReservedIdentity.worldIpv4, ReservedIdentity.worldIpv6],
    );
    assert.deepEqual([local.takeNew(), local.toJSON().identities], [[], []]);
  });

  it('go in two steps: no longer named, then forgotten; a prefix that comes back in between keeps its number', () => {
    const local = new LocalIdentities();
    const prefix = parseCidr('10.0.0.0/8');
    local.acquire(prefix);
    local.acquire(prefix);
    local.takeChanges();
    local.release(prefix);
    assert.deepEqual([local.releasable(), local.takeChanges()], [[], { upserts: [], deletes: [] }]);
    local.release(prefix);
    assert.deepEqual(local.takeChanges(), { upserts: [], deletes: [prefix] });
    assert.deepEqual(local.releasable(), [LOCAL_IDENTITY_SCOPE]);
    local.acquire(prefix);
    assert.deepEqual(local.forget([LOCAL_IDENTITY_SCOPE]), [], 'it is in use again');
    assert.equal(idOf(local, '10.0.0.0/8'), LOCAL_IDENTITY_SCOPE);
    local.release(prefix);
    assert.deepEqual(local.forget([LOCAL_IDENTITY_SCOPE]), [LOCAL_IDENTITY_SCOPE]);
    local.acquire(prefix);
    assert.equal(idOf(local, '10.0.0.0/8'), LOCAL_IDENTITY_SCOPE + 1, 'a number is not given again at once');
  });
});

describe('identities of names', () => {
  const selectors = (...texts: readonly string[]): ReadonlySet<string> => new Set(texts);

  it('are shared by addresses with the same selectors and the same narrowest prefix', () => {
    const local = new LocalIdentities();
    local.setAddress('192.0.2.1', selectors('a.example', '*.example'));
    local.setAddress('192.0.2.2', selectors('*.example', 'a.example'));
    local.setAddress('192.0.2.3', selectors('*.example'));
    assert.equal(idOf(local, '192.0.2.1/32'), idOf(local, '192.0.2.2/32'));
    assert.notEqual(idOf(local, '192.0.2.1/32'), idOf(local, '192.0.2.3/32'));
    assert.deepEqual(named(local)['192.0.2.1/32'], [
      'fqdn:*.example',
      'fqdn:a.example',
      'reserved:world-ipv4',
    ]);
  });

  it('follow the prefixes that come and go around their addresses', () => {
    const local = new LocalIdentities();
    local.setAddress('192.0.2.1', selectors('a.example'));
    const alone = idOf(local, '192.0.2.1/32');
    local.takeChanges();
    local.acquire(parseCidr('192.0.2.0/24'));
    assert.deepEqual(named(local)['192.0.2.1/32'], [
      'cidr:192.0.2.0/24',
      'fqdn:a.example',
      'reserved:world-ipv4',
    ]);
    assert.deepEqual(
      local.takeChanges().upserts.map(({ prefix }) => formatCidr(prefix)),
      ['192.0.2.0/24', '192.0.2.1/32'],
    );
    local.release(parseCidr('192.0.2.0/24'));
    assert.equal(idOf(local, '192.0.2.1/32'), alone);
  });

  it('leave an address to the prefix as long as it once no selector matches', () => {
    const local = new LocalIdentities();
    local.acquire(parseCidr('192.0.2.1/32'));
    local.setAddress('192.0.2.1', selectors('a.example'));
    assert.ok(named(local)['192.0.2.1/32']?.includes('fqdn:a.example'));
    local.setAddress('192.0.2.1', selectors());
    assert.deepEqual(named(local)['192.0.2.1/32'], ['cidr:192.0.2.1/32', 'reserved:world-ipv4']);
    local.release(parseCidr('192.0.2.1/32'));
    assert.deepEqual(named(local), {});
  });
});

describe('identities of the API server', () => {
  it('are those of its addresses, with a label beside what lies around and the names that they have', () => {
    const local = new LocalIdentities();
    local.setApiServers(['192.0.2.1', '2001:db8::1']);
    assert.deepEqual(named(local), {
      '192.0.2.1/32': ['reserved:kube-apiserver', 'reserved:world-ipv4'],
      '2001:db8::1/128': ['reserved:kube-apiserver', 'reserved:world-ipv6'],
    });
    local.acquire(parseCidr('192.0.2.0/24'));
    local.setAddress('192.0.2.1', new Set(['a.example']));
    assert.deepEqual(named(local)['192.0.2.1/32'], [
      'cidr:192.0.2.0/24',
      'fqdn:a.example',
      'reserved:kube-apiserver',
      'reserved:world-ipv4',
    ]);
    assert.deepEqual(checkLocalIdentities(JSON.parse(JSON.stringify(local))), local.toJSON());
  });

  it('go with its addresses, which are then what they were', () => {
    const local = new LocalIdentities();
    local.acquire(parseCidr('192.0.2.1/32'));
    const before = idOf(local, '192.0.2.1/32');
    local.setApiServers(['192.0.2.1', '192.0.2.2']);
    assert.notEqual(idOf(local, '192.0.2.1/32'), before);
    local.takeChanges();
    local.setApiServers([]);
    assert.equal(idOf(local, '192.0.2.1/32'), before);
    assert.deepEqual(
      local.takeChanges().deletes.map((prefix) => formatCidr(prefix)),
      ['192.0.2.2/32'],
    );
    assert.equal(local.releasable().length, 2);
  });
});

describe('local identities kept across a restart', () => {
  function saved(): LocalIdentities {
    const local = new LocalIdentities();
    local.acquire(parseCidr('10.0.0.0/8'));
    local.acquire(parseCidr('10.1.0.0/16'));
    local.setAddress('10.1.0.1', new Set(['a.example']));
    return local;
  }

  it('keep their numbers, and those found unused can be released', () => {
    const before = saved();
    const local = new LocalIdentities(checkLocalIdentities(JSON.parse(JSON.stringify(before))));
    assert.equal(local.takeNew().length, 3, 'all are known at once: the ipcache may still name them');
    local.acquire(parseCidr('10.1.0.0/16'));
    assert.equal(idOf(local, '10.1.0.0/16'), idOf(before, '10.1.0.0/16'));
    assert.equal(local.releasable().length, 2);
    local.acquire(parseCidr('10.2.0.0/16'));
    const fresh = idOf(local, '10.2.0.0/16') ?? 0;
    assert.ok(isLocalIdentity(fresh) && !before.toJSON().identities.some(({ id }) => id === fresh));
  });

  it('are refused when they are not what was saved', () => {
    const good = saved().toJSON();
    const [first] = good.identities;
    const wrong: readonly unknown[] = [
      undefined,
      { ...good, version: 2 },
      { ...good, next: 7 },
      { ...good, identities: undefined },
      { ...good, identities: [first, first] },
      { ...good, identities: [{ ...first, id: 300 }] },
      { ...good, identities: [{ ...first, prefix: '::/0' }] },
      { ...good, identities: [{ ...first, prefix: 'x' }] },
      { ...good, identities: [{ ...first, family: 5 }] },
      { ...good, identities: [{ ...first, fqdns: 'a' }] },
      { ...good, identities: [{ ...first, apiServer: false }] },
      { ...good, nodes: {} },
      { ...good, nodes: { next: 7, identities: [] } },
      { ...good, nodes: { next: NODE_IDENTITY_SCOPE, identities: [{ id: 300, labels: [] }] } },
      { ...good, nodes: { next: NODE_IDENTITY_SCOPE, identities: [{ id: NODE_IDENTITY_SCOPE }] } },
    ];
    for (const value of wrong) assert.throws(() => checkLocalIdentities(value), JSON.stringify(value));
  });
});
