import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { HOST_ENDPOINT_ID } from '../../src/agent/endpoint-request.ts';
import { SystemError } from '../../src/base/errors.ts';
import { ClusterFixture, type NodeFixture, request, until } from './agent-fixture.ts';

const HOST = `${HOST_ENDPOINT_ID}`;

/** Lets nobody but other nodes reach SSH of nodes with a label. */
function hostRule(zone: string, port = '22'): string {
  return JSON.stringify([
    {
      nodeSelector: { matchLabels: { zone } },
      ingress: [{ fromEntities: ['remote-node'], toPorts: [{ ports: [{ port, protocol: 'TCP' }] }] }],
      labels: [{ key: 'name', value: 'host', source: 'unspec' }],
    },
  ]);
}

describe('the policy of the node itself', () => {
  let cluster: ClusterFixture;
  let node: NodeFixture;

  beforeEach(() => {
    cluster = new ClusterFixture();
    node = cluster.node(1);
    node.options = { 'node-own-labels': [['zone', 'a']] };
  });
  afterEach(() => cluster.dispose());

  const active = (): Promise<void> =>
    until('the policy of the node is in force', () => node.kernel.host !== undefined);
  const off = (): Promise<void> =>
    until('nothing of the node is judged', () => node.kernel.host === undefined);

  it('is in force while a rule selects the labels of the node, and nothing is written without one', async () => {
    await node.start();
    await node.client.putPolicy(hostRule('b'));
    await until('it was looked for', async () => node.agent.policy.revision > 1);
    assert.deepEqual(
      node.kernel.calls.filter((call) => call.startsWith('host')),
      [],
    );
    await node.client.putPolicy(hostRule('a'));
    await active();
    const { id, ingress, egress, audit, state } = node.kernel.host ?? {};
    assert.deepEqual(
      { id, ingress, egress, audit },
      {
        id: HOST_ENDPOINT_ID,
        ingress: true,
        egress: false,
        audit: false,
      },
    );
    const keys = [...(state?.values() ?? [])].map(({ key }) => `${key.identity}:${key.port}`);
    assert.ok(keys.includes('6:22') && keys.includes('7:22'), keys.join());
    await node.client.deletePolicy([]);
    await off();
  });

  it('shows as an endpoint with the labels of the node, which cannot be changed or deleted', async () => {
    await node.start();
    await node.client.putPolicy(hostRule('a'));
    await active();
    await until('it is ready', async () => (await node.client.endpoint(HOST)).status?.state === 'ready');
    const [endpoint] = await node.client.endpoints();
    assert.equal(endpoint?.id, HOST_ENDPOINT_ID);
    assert.deepEqual(endpoint.status?.identity?.labels, ['k8s:zone=a', 'reserved:host']);
    assert.equal(endpoint.status?.policy?.realized?.['policy-enabled'], 'ingress');
    const [rule] = await node.client.policyRules();
    assert.deepEqual(rule?.endpoints, [HOST_ENDPOINT_ID]);
    await assert.rejects(node.client.deleteEndpoint(HOST), /is this node/);
    await assert.rejects(node.client.patchEndpointLabels(HOST, { user: ['k8s:a=b'] }), /is this node/);
    assert.notEqual(node.kernel.host, undefined);
  });

  it('only tells of what it refuses where the option says so, from the first moment or by endpoint config', async () => {
    node.options = { ...node.options, 'host-policy-audit-mode': true };
    await node.start();
    await node.client.putPolicy(hostRule('a'));
    await active();
    assert.equal(node.kernel.host?.audit, true);
    const enabled = (await node.client.endpoint(HOST)).status?.policy?.realized?.['policy-enabled'];
    assert.equal(enabled, 'audit-ingress');
    await node.client.patchEndpointConfig(HOST, { options: { PolicyAuditMode: 'Disabled' } });
    await until('it is enforced', () => node.kernel.host?.audit === false);
  });

  it('stays in force over a restart, an audited one audited, and follows rules that change', async () => {
    await node.start();
    await node.client.putPolicy(hostRule('a'));
    await active();
    await node.client.patchEndpointConfig(HOST, { options: { PolicyAuditMode: 'Enabled' } });
    await until('it is audited', () => node.kernel.host?.audit === true);
    await node.stop();
    const before = node.kernel.calls.length;
    await node.start();
    assert.deepEqual(
      node.kernel.calls.slice(before).filter((call) => call.startsWith('host')),
      [],
      'what is in force is what is wanted',
    );
    assert.equal(node.kernel.host?.audit, true);
    await node.agent.policy.import(hostRule('a', '2222'), 'test');
    await until('the new port', () =>
      [...(node.kernel.host?.state.values() ?? [])].some(({ key }) => key.port === 2222),
    );
    await node.stop();
    node.options = { 'node-own-labels': [['zone', 'b']] };
    await node.start();
    await off();
  });

  it('stays as it was when a new one cannot be written, says so, and is tried again', async () => {
    await node.start();
    await node.client.putPolicy(hostRule('a'));
    await active();
    node.datapath.failures.set('applyHostPolicy', new SystemError('no room'));
    await node.client.putPolicy(hostRule('a', '2222'));
    await until('the endpoint says so', async () => {
      const { status } = await node.client.endpoint(HOST);
      return status?.state === 'not-ready' && status.health?.overallHealth === 'Failure';
    });
    const ports = (): readonly number[] =>
      [...new Set([...(node.kernel.host?.state.values() ?? [])].map(({ key }) => key.port))].filter(
        (port) => port > 0,
      );
    assert.deepEqual(ports(), [22]);
    node.datapath.failures.delete('applyHostPolicy');
    await until('the new policy', () => ports().join() === '2222');
  });

  it('is shown, and stays, while the rules are lost', async () => {
    await node.start();
    await node.client.putPolicy(hostRule('a'));
    await active();
    await node.stop();
    node.corruptRules();
    const before = node.kernel.calls.length;
    await node.start();
    await until('it is shown', async () =>
      (await node.client.endpoints()).some(({ id }) => `${id}` === HOST),
    );
    const { status } = await node.client.endpoint(HOST);
    assert.equal(status?.state, 'not-ready');
    assert.match(JSON.stringify(status.log), /the rules are lost: the policy in the datapath stays/);
    assert.equal(status.health?.overallHealth, 'Failure');
    assert.deepEqual(
      node.kernel.calls.slice(before).filter((call) => call.startsWith('host')),
      [],
    );
    await node.client.putPolicy(hostRule('a', '2222'));
    await until('it is ready', async () => (await node.client.endpoint(HOST)).status?.state === 'ready');
    assert.ok([...(node.kernel.host?.state.values() ?? [])].some(({ key }) => key.port === 2222));
    await node.client.deletePolicy([]);
    await off();
  });

  it('is not shown while the rules are lost where nothing of it is in force', async () => {
    await node.start();
    await node.client.putPolicy(hostRule('b'));
    await node.stop();
    node.corruptRules();
    await node.start();
    assert.match(node.agent.policy.lost ?? '', /set aside/);
    assert.deepEqual(await node.client.endpoints(), []);
    assert.equal(node.kernel.host, undefined);
  });

  it('is nobody else: no endpoint can have its number', async () => {
    await node.start();
    await assert.rejects(node.client.putEndpoint(HOST, request(node, [])), /is not from 1 to 65534/);
  });
});
