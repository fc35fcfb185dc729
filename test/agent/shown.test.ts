import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { readAgentRecord } from '../../src/base/agent-record.ts';
import { ClusterFixture, type NodeFixture, request, until } from './agent-fixture.ts';

const cluster = new ClusterFixture();
let node: NodeFixture;

before(async () => {
  node = cluster.node(1);
  node.options = { 'allowed-hosts': ['n1.example'] };
  await node.start();
});
after(() => cluster.dispose());

describe('what an agent shows of itself', () => {
  it('gives durations with their unit', async () => {
    const { status } = await node.client.config();
    const map = (status?.daemonConfigurationMap ?? {}) as Readonly<Record<string, unknown>>;
    assert.equal(map['health-interval'], '1s');
    assert.equal(map['health-port'], 4240);
    assert.equal(map['health-metrics-names'], '1.17');
    assert.equal(map['health-metrics-peers-max'], 100);
    assert.deepEqual(map['allowed-hosts'], ['n1.example']);
  });

  it('lists its node with the zone that its labels tell', async () => {
    const nodes = async () => (await node.client.nodes()).map(({ name, zone }) => [name, zone]);
    assert.deepEqual(await nodes(), [['n1', undefined]]);
    const other = cluster.node(2);
    other.options = { 'node-own-labels': [['topology.kubernetes.io/zone', 'eu-1a']] };
    await other.start();
    await until('the first knows the second', async () => (await nodes()).length === 2);
    assert.deepEqual((await nodes()).sort(), [
      ['n1', undefined],
      ['n2', 'eu-1a'],
    ]);
    await other.stop();
  });

  it('lists policy maps of endpoints under names of their own, with their entries', async () => {
    for (const id of [7, 8]) {
      const addressing = { ipv4: `10.0.1.${id + 2}` };
      await node.client.putEndpoint(
        `cni-attachment-id:c${id}`,
        request(node, ['k8s:app=web'], { id, addressing }),
      );
    }
    const { maps } = await node.client.maps();
    const paths = (maps ?? []).map(({ path }) => path);
    assert.deepEqual(
      paths,
      ['', '_7', '_8'].map((end) => `/bpf/maps/ciliate_policy_v2${end}`),
    );
    assert.deepEqual(
      (maps ?? []).map(({ entries }) => entries),
      [2, 2, 2],
    );
    const one = await node.client.map('ciliate_policy_v2_8');
    assert.equal(one.path, '/bpf/maps/ciliate_policy_v2_8');
    assert.equal(one.cache?.length, one.entries);
    await assert.rejects(node.client.map('ciliate_policy_v2_9'), { code: 'NOT_FOUND' });
  });

  it('leaves a note of itself in its state folder, also when it is gone', async () => {
    const { nodeName, bpfDir, pid, startedAt } = readAgentRecord(node.paths.stateDir) ?? {};
    assert.deepEqual([nodeName, bpfDir, pid], [node.name, node.paths.bpfDir, process.pid]);
    assert.ok(Date.parse(startedAt ?? '') > 0);
    await node.stop();
    assert.equal(readAgentRecord(node.paths.stateDir)?.bpfDir, node.paths.bpfDir);
  });
});
