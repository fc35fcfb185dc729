import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatCidr } from '../../src/base/ip.ts';
import { NODE_IDENTITY_SCOPE, ReservedIdentity } from '../../src/model/identity.ts';
import { formatLabels, parseLabels } from '../../src/model/labels.ts';
import { checkNodeIdentities, NodeIdentities, type PolicyNode } from '../../src/policy/node-identities.ts';

const node = (addresses: readonly string[], ...labels: readonly string[]): PolicyNode => ({
  isOwn: false,
  addresses,
  labels: parseLabels(labels),
});

function named(nodes: NodeIdentities): Readonly<Record<string, readonly [number, ...string[]]>> {
  return Object.fromEntries(
    nodes
      .prefixes()
      .map(({ prefix, identity }) => [formatCidr(prefix), [identity.id, ...formatLabels(identity.labels)]]),
  );
}

describe('identities of nodes', () => {
  it('are shared by nodes with the same labels, from 2^25 on, and every one is a remote node', () => {
    const nodes = new NodeIdentities();
    nodes.setNodes([
      node(['192.0.2.1', '2001:db8::1'], 'node:zone=a'),
      node(['192.0.2.2'], 'node:zone=a'),
      node(['192.0.2.3'], 'node:zone=b'),
      node(['192.0.2.4']),
    ]);
    const [a, b] = [NODE_IDENTITY_SCOPE, NODE_IDENTITY_SCOPE + 1];
    assert.deepEqual(named(nodes), {
      '192.0.2.1/32': [a, 'node:zone=a', 'reserved:remote-node'],
      '2001:db8::1/128': [a, 'node:zone=a', 'reserved:remote-node'],
      '192.0.2.2/32': [a, 'node:zone=a', 'reserved:remote-node'],
      '192.0.2.3/32': [b, 'node:zone=b', 'reserved:remote-node'],
    });
    assert.deepEqual(
      nodes.takeNew().map(({ id }) => id),
      [a, b],
    );
  });

  it('tell an address of the API server from the others of its node', () => {
    const nodes = new NodeIdentities();
    nodes.setApiServers(['192.0.2.1']);
    nodes.setNodes([node(['192.0.2.1', '2001:db8::1'], 'node:zone=a')]);
    assert.deepEqual(named(nodes), {
      '192.0.2.1/32': [NODE_IDENTITY_SCOPE, 'node:zone=a', 'reserved:kube-apiserver', 'reserved:remote-node'],
      '2001:db8::1/128': [NODE_IDENTITY_SCOPE + 1, 'node:zone=a', 'reserved:remote-node'],
    });
  });

  it('follow labels that change; the number before it can be given up once nobody names it', () => {
    const nodes = new NodeIdentities();
    nodes.setNodes([node(['192.0.2.1'], 'node:zone=a')]);
    nodes.takeChanges();
    nodes.setNodes([node(['192.0.2.1'], 'node:zone=b')]);
    const { upserts, deletes } = nodes.takeChanges();
    assert.deepEqual([upserts.map(({ identity }) => identity.id), deletes], [[NODE_IDENTITY_SCOPE + 1], []]);
    assert.deepEqual(nodes.releasable(), [NODE_IDENTITY_SCOPE]);
    assert.deepEqual(nodes.forget([NODE_IDENTITY_SCOPE, NODE_IDENTITY_SCOPE + 1]), [NODE_IDENTITY_SCOPE]);
    nodes.setNodes([]);
    assert.deepEqual(nodes.takeChanges().deletes.map(formatCidr), ['192.0.2.1/32']);
  });

  it('of this node are one, the host, with its labels and that of the API server', () => {
    const nodes = new NodeIdentities();
    nodes.setNodes([{ ...node(['192.0.2.1']), isOwn: true }]);
    assert.deepEqual(nodes.takeNew(), [], 'as it is without anything');
    nodes.setApiServers(['192.0.2.1']);
    nodes.setNodes([{ ...node(['192.0.2.1'], 'node:zone=a'), isOwn: true }]);
    const [host, ...others] = nodes.takeNew();
    assert.deepEqual(others, []);
    assert.equal(host?.id, ReservedIdentity.host);
    assert.deepEqual(formatLabels(host.labels), ['node:zone=a', 'reserved:host', 'reserved:kube-apiserver']);
    assert.deepEqual(nodes.prefixes(), []);
    nodes.setApiServers([]);
    nodes.setNodes([{ ...node(['192.0.2.1']), isOwn: true }]);
    assert.deepEqual(formatLabels(nodes.takeNew()[0]?.labels ?? []), ['reserved:host']);
  });

  it('keep their numbers across a restart', () => {
    const before = new NodeIdentities();
    before.setNodes([node(['192.0.2.1'], 'node:zone=a'), node(['192.0.2.2'], 'node:zone=b')]);
    const after = new NodeIdentities(checkNodeIdentities(JSON.parse(JSON.stringify(before))));
    assert.equal(after.takeNew().length, 2, 'all are known at once: the ipcache may still name them');
    after.setNodes([node(['192.0.2.2'], 'node:zone=b'), node(['192.0.2.3'], 'node:zone=c')]);
    assert.deepEqual(named(after)['192.0.2.2/32'], named(before)['192.0.2.2/32']);
    assert.equal(named(after)['192.0.2.3/32']?.[0], NODE_IDENTITY_SCOPE + 2);
    assert.deepEqual(after.releasable(), [NODE_IDENTITY_SCOPE]);
  });
});
