import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { UNCOUNTED_RULES } from '../../src/datapath/types.ts';
import { allowRule, ClusterFixture, create, listed, type NodeFixture, until } from './agent-fixture.ts';

let cluster: ClusterFixture;
let node: NodeFixture;

beforeEach(async () => {
  cluster = new ClusterFixture();
  node = cluster.node(1);
  await node.start();
});
afterEach(() => cluster.dispose());

const ip = (last: number): string => `10.0.1.${last}`;

describe('a restarted agent', () => {
  it('shows the same endpoints, identities and revision, and writes no difference that is none', async () => {
    await create(node, 'web', ip(9), 7);
    await create(node, 'db', ip(10), 8);
    await node.client.putPolicy(allowRule('r', 'web', 'db'));
    await until('7 follows', async () => node.kernel.endpoints.get(7)?.enforcement?.ingress === true);
    const before = await listed(node);
    await node.stop();
    node.kernel.calls.length = 0;
    await node.start();
    await until('all are ready', () => node.agent.manager.list().every(({ state }) => state === 'ready'));
    assert.deepEqual(await listed(node), before);
    assert.deepEqual(
      node.kernel.calls.filter((call) => !/^policy \d \+0 -0/.test(call)),
      [],
    );
    await assert.rejects(create(node, 'late', ip(9)), /already in use by endpoint 7/);
  });

  it('shows what each rule decided before it, and makes the datapath forget rules that are gone', async () => {
    await node.client.putPolicy(allowRule('r', 'web', 'db'));
    const [rule] = await node.client.policyRules();
    assert.ok(rule);
    const connections = { allowed: 5, denied: 1, redirected: 2 };
    await node.stop();
    const uncounted = { allowed: 7, denied: 0, redirected: 0 };
    node.kernel.ruleConnections
      .set(rule.id, connections)
      .set(99, connections)
      .set(UNCOUNTED_RULES, uncounted);
    await node.start();
    assert.deepEqual((await node.client.policyRules())[0]?.connections, connections);
    const metric = `ciliate_policy_rule_connections_total{rule_id="${rule.id}",verdict="redirected"} 2`;
    const metrics = await node.client.metrics();
    assert.ok(metrics.includes(metric));
    assert.ok(metrics.includes('ciliate_policy_rule_connections_uncounted_total{verdict="allowed"} 7'));
    const [, rest] = await node.client.policyRules();
    assert.deepEqual([rest?.name, rest?.connections], ['(not counted)', uncounted]);
    await until('99 is forgotten', () => !node.kernel.ruleConnections.has(99));
    assert.deepEqual([...node.kernel.ruleConnections.keys()], [rule.id, UNCOUNTED_RULES]);
  });

  it('sets a corrupt state file aside, says so, and rebuilds the endpoint from the datapath', async () => {
    await create(node, 'web', ip(9), 7);
    await create(node, 'db', ip(10), 8);
    const before = await listed(node);
    await node.stop();
    writeFileSync(join(node.paths.endpointsDir, '7', 'state.json'), '{"version":1,"spec":{"id":7');
    await node.start();
    await until('all are ready', () => node.agent.manager.list().every(({ state }) => state === 'ready'));
    assert.deepEqual(await listed(node), before);
    const message = (await node.client.healthz()).cilium;
    assert.equal(message?.state, 'Warning');
    assert.match(message?.msg ?? '', /endpoint 7: state file was corrupt, set aside as .*corrupt-/);
    assert.ok(
      readdirSync(join(node.paths.endpointsDir, '7')).some((name) => name.startsWith('state.json.corrupt-')),
    );
    assert.ok(existsSync(join(node.paths.endpointsDir, '7', 'state.json')));
  });

  it('opens nothing when all copies of the rules are corrupt, until rules are imported', async () => {
    await create(node, 'web', ip(9), 7);
    await node.client.putPolicy(allowRule('r', 'web', 'db'));
    await until('7 follows', async () => node.kernel.endpoints.get(7)?.enforcement?.ingress === true);
    const enforced = node.kernel.endpoints.get(7)?.policy;
    await node.stop();
    for (const file of ['policy.json', 'policy.backup.json'])
      writeFileSync(join(node.folder, file), 'garbage');
    await node.start();
    await until('7 is ready', () => node.agent.manager.list()[0]?.state === 'ready');
    assert.equal(node.kernel.endpoints.get(7)?.policy, enforced);
    assert.deepEqual(node.kernel.endpoints.get(7)?.enforcement, { ingress: true, egress: false });
    assert.equal((await node.client.healthz()).cilium?.state, 'Failure');
    await create(node, 'new', ip(11), 9);
    assert.deepEqual(node.kernel.endpoints.get(9)?.enforcement, { ingress: true, egress: true });
    await node.client.putPolicy(allowRule('r', 'web', 'db'));
    await until('9 is open', () => node.kernel.endpoints.get(9)?.enforcement?.ingress === false);
    assert.equal((await node.client.healthz()).cilium?.state, 'Ok');
  });

  it('takes the second copy of the rules when the first is corrupt', async () => {
    await node.client.putPolicy(allowRule('r', 'web', 'db'));
    await node.stop();
    writeFileSync(join(node.folder, 'policy.json'), '{');
    await node.start();
    assert.equal((await node.client.policy()).revision, 2);
    const { state, msg } = (await node.client.healthz()).cilium ?? {};
    assert.equal(state, 'Warning');
    assert.match(msg ?? '', /policy\.json is corrupt .* set aside as .*: the other copy was taken/);
    await node.client.putPolicy(allowRule('r', 'web', 'shop'));
    assert.equal((await node.client.healthz()).cilium?.state, 'Ok');
  });

  it('keeps the second copy of the rules where the first is corrupt and cannot be written again', async () => {
    await node.client.putPolicy(allowRule('r', 'web', 'db'));
    await node.stop();
    writeFileSync(join(node.folder, 'policy.json'), '{');
    mkdirSync(join(node.folder, 'policy.json.new'));
    await node.start();
    assert.equal((await node.client.policy()).revision, 2);
    assert.ok(existsSync(join(node.folder, 'policy.backup.json')));
  });

  it('removes the directory of an endpoint whose agent died before it wrote the first record', async () => {
    await node.stop();
    mkdirSync(join(node.paths.endpointsDir, '99'));
    writeFileSync(join(node.paths.endpointsDir, '99', 'state.json.new'), '{"vers');
    await node.start();
    assert.deepEqual(readdirSync(node.paths.endpointsDir), []);
    assert.equal((await node.client.healthz()).cilium?.state, 'Ok');
  });

  it('removes endpoints whose interface is gone, also from the datapath', async () => {
    await create(node, 'web', ip(9), 7);
    await node.stop();
    node.network.interfaces.clear();
    await node.start();
    assert.deepEqual(await node.client.endpoints(), []);
    assert.equal(node.kernel.endpoints.size, 0);
    assert.deepEqual(readdirSync(node.paths.endpointsDir), []);
    await until('its address leaves the ipcache', () => !node.kernel.ipcache.has(`${ip(9)}/32`));
  });
});

describe('an agent after the pinned datapath was lost', () => {
  it('attaches its endpoints anew, before anything else, and writes their whole policy', async () => {
    await create(node, 'web', ip(9), 7);
    await node.client.putPolicy(allowRule('r', 'web', 'db'));
    await until('7 follows', async () => node.kernel.endpoints.get(7)?.enforcement?.ingress === true);
    const before = await listed(node);
    await node.stop();
    node.kernel.endpoints.clear();
    node.kernel.calls.length = 0;
    await node.start();
    await until('7 is ready', () => node.agent.manager.list()[0]?.state === 'ready');
    assert.deepEqual(await listed(node), before);
    assert.deepEqual(
      node.kernel.calls.filter((call) => /^\w+ 7( |$)/.test(call)),
      ['attach 7', 'policy 7 +2 -0 ingress'],
    );
  });
});

describe('a store that is away', () => {
  it('does not stop a restart: endpoints keep their identities and the ipcache keeps its entries', async () => {
    await create(node, 'web', ip(9), 7);
    const before = await listed(node);
    const entries = [...node.kernel.ipcache.keys()].sort();
    await node.stop();
    for (const suffix of ['-wal', '-shm'])
      if (existsSync(node.storeFile + suffix))
        renameSync(node.storeFile + suffix, `${node.storeFile}${suffix}.away`);
    renameSync(node.storeFile, `${node.storeFile}.away`);
    mkdirSync(node.storeFile);
    await node.start();
    await until('7 is ready', () => node.agent.manager.list()[0]?.state === 'ready');
    assert.deepEqual(await listed(node), before);
    assert.deepEqual([...node.kernel.ipcache.keys()].sort(), entries);
    assert.equal((await node.client.healthz()).kvstore?.state, 'Failure');
    rmdirSync(node.storeFile);
    renameSync(`${node.storeFile}.away`, node.storeFile);
  });
});
