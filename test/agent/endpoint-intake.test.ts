import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type * as Api from '../../src/api/schema.ts';
import { ClusterFixture, type NodeFixture, request, until } from './agent-fixture.ts';

let cluster: ClusterFixture;
let node: NodeFixture;

before(async () => {
  cluster = new ClusterFixture();
  node = cluster.node(1);
  await node.start();
  const other = cluster.node(2);
  await other.start();
  await until('n1 knows n2', async () => (await node.client.healthz())?.cluster?.nodes?.length === 2);
});
after(() => cluster.dispose());

const external = { 'datapath-configuration': { 'external-ipam': true } };
const own = { addressing: { ipv4: '10.0.1.77' } };

function put(more: Partial<Api.EndpointChangeRequest>, labels: readonly string[] = ['k8s:app=x']) {
  return node.client.putEndpoint('container-name:x', request(node, labels, more));
}

describe('a request for an endpoint', () => {
  const addresses: readonly (readonly [string, Api.EndpointChangeRequest['addressing'], RegExp])[] = [
    ["the node's own address", { ipv4: '192.0.2.1' }, /192\.0\.2\.1 belongs to node n1/],
    ["another node's address", { ipv4: '192.0.2.2' }, /192\.0\.2\.2 belongs to node n2/],
    ["an address of another node's range", { ipv4: '10.0.2.9' }, /10\.0\.2\.9 belongs to node n2/],
    ['loopback', { ipv4: '127.0.0.1' }, /127\.0\.0\.1 is not an address/],
    ['no address at all', { ipv4: '0.0.0.0' }, /0\.0\.0\.0 is not an address/],
    ['multicast', { ipv6: 'ff02::1' }, /ff02::1 is not an address/],
    ['IPv6 loopback', { ipv6: '::1' }, /::1 is not an address/],
    ['a link-local address', { ipv6: 'fe80::7' }, /fe80::7 is not an address/],
    ['an IPv4 address in an IPv6 one', { ipv6: '::ffff:192.0.2.1' }, /is not an address/],
  ];
  for (const [what, addressing, message] of addresses) {
    it(`cannot take ${what}, whoever gave it`, async () => {
      await assert.rejects(put({ addressing, ...external }), { message });
      assert.deepEqual(await node.client.endpoints(), []);
    });
  }

  it('cannot take a device of the node, nor what is no veth', async () => {
    node.network.interfaces.set('uplink0', 2);
    node.network.interfaces.set('br0', 3);
    node.network.kinds.set('br0', 'bridge');
    const on = (name: string, index: number) => ({
      ...own,
      'interface-name': name,
      'interface-index': index,
    });
    await assert.rejects(put(on('uplink0', 2)), { message: /uplink0 is a device of this node/ });
    await assert.rejects(put(on('br0', 3)), { message: /br0 is no veth, but a bridge/ });
    await assert.rejects(put(on('-batch', 3)), { message: /not an interface name/ });
    await assert.rejects(put(on('a"b', 3)), { message: /not an interface name/ });
    assert.deepEqual(await node.client.endpoints(), []);
  });

  it('cannot take a reserved label', async () => {
    for (const label of ['reserved:host', 'reserved:health', 'reserved:kube-apiserver', 'reserved:init=x'])
      await assert.rejects(put(own, [label]), { message: /is reserved/ });
    assert.deepEqual(await node.client.endpoints(), []);
  });

  it('cannot name a port what is no name, or a port of no protocol, or none', async () => {
    const named = (port: object) => put({ ...own, 'named-ports': [port] });
    await assert.rejects(named({ name: 'a_b', port: 80 }), { message: /named-ports\[0\]\.name/ });
    await assert.rejects(named({ name: '80', port: 80 }), { message: /"80" is not a name of a port/ });
    await assert.rejects(named({ name: 'ping', port: 8, protocol: 'ICMP' }), {
      message: /ICMP has no ports/,
    });
    await assert.rejects(named({ name: 'web', port: 0 }), { message: /named-ports\[0\]\.port/ });
    assert.deepEqual(await node.client.endpoints(), []);
  });

  it('publishes the ports that it names with its addresses, and keeps them over a restart', async () => {
    const ports = [
      { name: 'web', port: 8080 },
      { name: 'dns', port: 53, protocol: 'UDP' as const },
    ];
    const id = (await put({ ...own, 'named-ports': ports }))?.id;
    const expected = [
      { name: 'web', port: 8080, protocol: 'TCP' },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ];
    assert.deepEqual((await node.client.endpoint(`${id}`)).status?.namedPorts, expected);
    await node.stop();
    await node.start();
    assert.deepEqual((await node.client.endpoint(`${id}`)).status?.namedPorts, expected);
    await node.client.deleteEndpoint(`${id}`);
  });

  it('is an endpoint when nothing of it is anybody else’s', async () => {
    const made = await put({ addressing: { ipv4: '198.51.100.7' }, ...external });
    assert.equal(made?.status?.state, 'ready');
  });
});
