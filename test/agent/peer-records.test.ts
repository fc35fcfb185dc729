import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PeerRecords } from '../../src/agent/peer-records.ts';
import { RangeTable } from '../../src/agent/range-table.ts';
import { parseCidr, parseIp } from '../../src/base/ip.ts';
import type { ClusterNode } from '../../src/model/node.ts';
import type { IpIdentity, StoreChange } from '../../src/store/types.ts';

type PlaceChange = Exclude<StoreChange, { kind: 'identity-upsert' | 'identity-delete' }>;

const node = (index: number, more: Partial<ClusterNode> = {}): ClusterNode => ({
  name: `n${index}`,
  ipv4: `192.0.2.${index}`,
  ipv6: undefined,
  ipv4AllocRange: `10.0.${index}.0/24`,
  ipv6AllocRange: undefined,
  ipv4HealthIp: undefined,
  ipv6HealthIp: undefined,
  ...more,
});
const nodeUpsert = (told: ClusterNode): PlaceChange => ({ kind: 'node-upsert', node: told });
const ipUpsert = (cidr: string, index: number, more: Partial<IpIdentity> = {}): PlaceChange => ({
  kind: 'ip-upsert',
  ip: { cidr, identity: 300, node: `n${index}`, hostIp: `192.0.2.${index}`, ...more },
});

/** Node 1 with what reaches its ipcache. */
function peers(clusterCidrs: readonly string[] = ['10.0.0.0/16']) {
  const remote = new Map<string, IpIdentity>();
  const nodes = new Set<string>();
  const records = new PeerRecords(
    { self: () => node(1), clusterCidrs: clusterCidrs.map(parseCidr) },
    {
      setNode: ({ name }) => void nodes.add(name),
      removeNode: (name) => void nodes.delete(name),
      setRemote: (ip) => void remote.set(`${ip.cidr} ${ip.node}`, ip),
      removeRemote: (cidr, name) => void remote.delete(`${cidr} ${name}`),
    },
  );
  return { records, remote, nodes };
}

describe('PeerRecords', () => {
  it('believes a node with a range in the cluster and its endpoints', () => {
    const { records, remote, nodes } = peers();
    assert.equal(records.apply([nodeUpsert(node(2)), ipUpsert('10.0.2.7/32', 2)]), true);
    assert.deepEqual([...nodes], ['n2']);
    assert.deepEqual([...remote.keys()], ['10.0.2.7/32 n2']);
    assert.deepEqual(records.refusals(), []);
  });

  it('tells the named ports of others when they changed, and only then', () => {
    const { records } = peers();
    const namedPorts = [{ name: 'web', protocol: 6, port: 8080 }];
    records.apply([nodeUpsert(node(2)), ipUpsert('10.0.2.7/32', 2, { namedPorts })]);
    assert.deepEqual(records.takeNamedPorts(), namedPorts);
    records.apply([ipUpsert('10.0.2.8/32', 2)]);
    assert.equal(records.takeNamedPorts(), undefined);
    records.apply([{ kind: 'ip-delete', cidr: '10.0.2.7/32', node: 'n2' }]);
    assert.deepEqual(records.takeNamedPorts(), []);
  });

  const lies: readonly (readonly [string, Partial<ClusterNode> & Record<string, unknown>, RegExp])[] = [
    ['the default route', { ipv4AllocRange: '0.0.0.0/0' }, /outside the cluster's/],
    ['the whole cluster', { ipv4AllocRange: '10.0.0.0/16' }, /overlaps that of n1/],
    ["this node's range", { ipv4AllocRange: '10.0.1.0/24' }, /overlaps that of n1/],
    ["a part of this node's range", { ipv4AllocRange: '10.0.1.128/25' }, /overlaps that of n1/],
    ["this node's address", { ipv4: '192.0.2.1' }, /192\.0\.2\.1 belongs to n1/],
    ["an address in this node's range", { ipv4: '10.0.1.9' }, /10\.0\.1\.9 belongs to n1/],
    ['a gateway with a second command', { ipv4: '192.0.2.2\nroute flush all' }, /is not an IP address/],
    ['a range with a second command', { ipv4AllocRange: '10.0.2.0/24\nroute flush' }, /is not a CIDR prefix/],
    ['no address of one host', { ipv4: '224.0.0.1' }, /not the address of one host/],
    ['an address that is no text', { ipv4: 7 as never }, /ipv4 is no text/],
    ['a health endpoint elsewhere', { ipv4HealthIp: '8.8.8.8' }, /outside its range/],
    ['a name with an escape sequence', { name: 'n2\u001b[2J' }, /its name is none/],
  ];
  for (const [what, more, reason] of lies) {
    it(`refuses a node that announces ${what}, and its endpoints`, () => {
      const { records, remote, nodes } = peers();
      const told = node(2, more);
      records.apply([nodeUpsert(told), ipUpsert('10.0.2.7/32', 2, { node: told.name })]);
      assert.deepEqual([[...nodes], [...remote], records.nodes()], [[], [], []]);
      assert.match(records.refusals()[0] ?? '', reason);
      assert.doesNotMatch(records.refusals().join(), /\p{Cc}/u);
    });
  }

  it('refuses a huge range where the ranges of the cluster are not configured', () => {
    const { records } = peers([]);
    records.apply([
      nodeUpsert(node(2, { ipv4AllocRange: '0.0.0.0/1' })),
      nodeUpsert(node(3, { ipv4AllocRange: '172.16.0.0/16' })),
    ]);
    assert.deepEqual(
      records.nodes().map(({ name }) => name),
      ['n3'],
    );
  });

  it('believes the node that came first, and the other one when the first is gone', () => {
    const { records } = peers();
    records.apply([nodeUpsert(node(2)), nodeUpsert(node(3, { ipv4AllocRange: '10.0.2.0/24' }))]);
    assert.deepEqual(
      records.nodes().map(({ name }) => name),
      ['n2'],
    );
    records.apply([{ kind: 'node-delete', name: 'n2' }]);
    assert.deepEqual(
      records.nodes().map(({ name }) => name),
      ['n3'],
    );
    assert.deepEqual(records.refusals(), []);
  });

  const claims: readonly (readonly [string, PlaceChange, RegExp])[] = [
    ["an address of this node's range", ipUpsert('10.0.1.5/32', 2), /belongs to n1/],
    ["this node's own address", ipUpsert('192.0.2.1/32', 2), /belongs to n1/],
    ["an address of a third node's range", ipUpsert('10.0.3.5/32', 2), /belongs to n3/],
    ['a whole prefix', ipUpsert('10.0.2.0/25', 2), /more than one address/],
    ['everything', ipUpsert('0.0.0.0/0', 2), /more than one address/],
    ['identity host', ipUpsert('10.0.2.5/32', 2, { identity: 1 }), /not that of a workload/],
    ['an identity that is none', ipUpsert('10.0.2.5/32', 2, { identity: -1 }), /not that of a workload/],
    ["a third node's address as its own", ipUpsert('10.0.2.5/32', 2, { hostIp: '192.0.2.3' }), /its node/],
    ['no prefix', ipUpsert('nonsense', 2), /not a CIDR prefix/],
    ['no host', ipUpsert('10.0.2.5/32', 2, { hostIp: '' }), /not an IP address/],
    ['no record', { kind: 'ip-upsert', ip: { cidr: 7 } as never }, /is no record/],
    [
      'named ports that are none',
      ipUpsert('10.0.2.5/32', 2, { namedPorts: [{ name: '' }] as never }),
      /named ports/,
    ],
    ['an owner that is no text', ipUpsert('10.0.2.5/32', 2, { owner: 7 as never }), /owner/],
  ];
  for (const [what, claim, reason] of claims) {
    it(`refuses an address row that claims ${what}, and takes the rest of the batch`, () => {
      const { records, remote } = peers();
      records.apply([nodeUpsert(node(2)), nodeUpsert(node(3)), claim, ipUpsert('10.0.2.9/32', 2)]);
      assert.deepEqual([...remote.keys()], ['10.0.2.9/32 n2']);
      assert.match(records.refusals()[0] ?? '', reason);
    });
  }

  it('takes an address back when its range turns out to be of another node', () => {
    const { records, remote } = peers();
    records.apply([ipUpsert('10.0.3.5/32', 2)]);
    assert.equal(remote.size, 1);
    records.apply([nodeUpsert(node(3))]);
    assert.equal(remote.size, 0);
    records.apply([{ kind: 'ip-delete', cidr: '10.0.3.5/32', node: 'n2' }]);
    assert.deepEqual(records.refusals(), []);
  });

  it('believes no identity with a reserved number or label', () => {
    const { records } = peers();
    const label = (source: string, key: string) => ({ source, key, value: '' });
    const told = [
      { id: 1, labels: [label('k8s', 'app')] },
      { id: 300, labels: [label('reserved', 'host')] },
      { id: 301, labels: [label('k8s', 'a\u001b[2J')] },
      { id: 302, labels: undefined as never },
      { id: 303, labels: [label('k8s', 'app'), label('reserved', 'init')] },
    ];
    assert.deepEqual(
      records.credible(told).map(({ id }) => id),
      [303],
    );
    assert.equal(records.refusals().length, 4);
  });
});

describe('RangeTable', () => {
  it('finds the holder of an address and of any overlap, whichever prefix is longer', () => {
    const table = new RangeTable();
    table.add(parseCidr('10.1.0.0/16'), 'a');
    table.add(parseCidr('fd00:1::/64'), 'b');
    assert.equal(table.holderOf(parseIp('10.1.2.3')), 'a');
    assert.equal(table.holderOf(parseIp('10.2.2.3')), undefined);
    assert.equal(table.overlapping(parseCidr('10.1.7.0/24')), 'a');
    assert.equal(table.overlapping(parseCidr('10.0.0.0/8')), 'a');
    assert.equal(table.overlapping(parseCidr('10.2.0.0/16')), undefined);
    assert.equal(table.overlapping(parseCidr('fd00::/16')), 'b');
  });
});
