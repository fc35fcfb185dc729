import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkLabName, checkWorkloadName, labLayout, netnsPrefix } from '../../src/lab/layout.ts';

describe('the layout of a lab', () => {
  const layout = labLayout({ name: 'demo', nodes: 2, labsDir: '/labs', isolation: 'namespaces' });

  it('gives each node its own namespace, addresses, ranges and folders', () => {
    const [one, two] = layout.nodes;
    assert.deepEqual(
      [one?.netns, one?.ipv4, one?.ipv6, one?.ipv4AllocRange, one?.ipv6AllocRange],
      ['ciliate-demo-node1', '172.30.0.1', 'fd30::1', '10.10.1.0/24', 'fd10:0:0:1::/112'],
    );
    assert.equal(two?.paths.agentSocket, '/labs/demo/node2/ciliate.sock');
    assert.equal(two?.paths.bpfDir, '/labs/demo/bpf/node2');
  });

  it('uses loopback addresses and no namespace where there is no root', () => {
    const [one] = labLayout({ name: 'x', nodes: 1, isolation: 'loopback' }).nodes;
    assert.deepEqual([one?.netns, one?.ipv6], [undefined, undefined]);
    assert.match(one?.ipv4 ?? '', /^127\.\d+\.\d+\.11$/);
  });

  it('gives labs on loopback addresses of their own, the same each time', () => {
    const addresses = (name: string, labsDir: string): readonly string[] =>
      labLayout({ name, nodes: 2, labsDir, isolation: 'loopback' }).nodes.map(({ ipv4 }) => ipv4);
    assert.deepEqual(addresses('demo', '/labs'), addresses('demo', '/labs'));
    const all = [
      ...addresses('demo', '/labs'),
      ...addresses('other', '/labs'),
      ...addresses('demo', '/mine'),
    ];
    assert.equal(new Set(all).size, 6, all.join());
  });

  it('has prefixes of namespaces that no other lab shares', () => {
    assert.ok(!netnsPrefix('demo2').startsWith(netnsPrefix('demo')));
    assert.throws(() => checkLabName('demo-2'), { code: 'LAB_NAME' });
  });

  for (const name of ['', 'Demo', '2demo', 'a/b', '..', 'elevenchars']) {
    it(`refuses the name ${JSON.stringify(name)}`, () => {
      assert.throws(() => checkLabName(name), { code: 'LAB_NAME', exitCode: 2 });
    });
  }

  for (const nodes of [0, -1, 101, 1.5, Number.NaN]) {
    it(`refuses ${nodes} nodes`, () => {
      assert.throws(() => labLayout({ name: 'x', nodes, isolation: 'namespaces' }), { code: 'LAB_NODES' });
    });
  }

  for (const name of ['', '-a', 'a_b', 'a/../b', 'x'.repeat(41)]) {
    it(`refuses the workload ${JSON.stringify(name)}`, () => {
      assert.throws(() => checkWorkloadName(name), { code: 'WORKLOAD_NAME' });
    });
  }
});
