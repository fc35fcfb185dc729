import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { createNoDatapath } from '../../src/datapath/index.ts';
import { PolicyResolver } from '../../src/policy/index.ts';
import {
  allowRule,
  ClusterFixture,
  create,
  listed,
  type NodeFixture,
  request,
  until,
} from './agent-fixture.ts';

let cluster: ClusterFixture;
let node: NodeFixture;

beforeEach(async () => {
  cluster = new ClusterFixture();
  node = cluster.node(1);
  await node.start();
});
afterEach(() => cluster.dispose());

const ip = (last: number): string => `10.0.1.${last}`;

describe('an endpoint', () => {
  it('is attached before its routes and its policy, and answers as ready with its states in the log', async () => {
    const id = await create(node, 'web', ip(9), 7);
    assert.equal(id, 7);
    assert.deepEqual(
      node.kernel.calls.filter((call) => /^\w+ 7( |$)/.test(call)),
      ['attach 7', `identity 7 ${node.kernel.endpoints.get(7)?.endpoint.identity}`, 'policy 7 +2 -0 open'],
    );
    assert.ok(node.network.endpoints.has(7));
    const log = await node.client.endpointLog('7');
    assert.deepEqual(log.map(({ state }) => state).reverse(), [
      'creating',
      'creating',
      'waiting-for-identity',
      'waiting-to-regenerate',
      'regenerating',
      'ready',
    ]);
    const identity = node.kernel.endpoints.get(7)?.endpoint.identity ?? 0;
    assert.equal(node.kernel.ipcache.get(`${ip(9)}/32`)?.identity, identity);
    assert.ok(identity >= 256);
  });

  it('is told as 409 when its id, address, container or interface is in use, and nothing is left behind', async () => {
    await create(node, 'web', ip(9), 7);
    const calls = node.kernel.calls.length;
    await assert.rejects(create(node, 'other', ip(20), 7), /endpoint 7 exists already.*answered 409/);
    await assert.rejects(create(node, 'other', ip(9)), /10\.0\.1\.9 is already in use by endpoint 7/);
    await assert.rejects(create(node, 'other', ip(1)), /already in use by the router/);
    assert.equal(node.kernel.calls.length, calls);
    assert.deepEqual(readdirSync(node.paths.endpointsDir), ['7']);
    assert.equal(node.agent.ipam.holder(ip(20)), undefined);
  });

  it('is made once when two ask for it at the same moment', async () => {
    const outcomes = await Promise.allSettled([
      create(node, 'a', ip(9)),
      create(node, 'b', ip(9)),
      create(node, 'c', ip(9)),
    ]);
    assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected', 'rejected']);
    assert.equal(node.kernel.endpoints.size, 1);
  });

  for (const [what, more, message] of [
    ['an unknown label source', { labels: ['bogus:app=x'] }, /labels: .*unknown label source "bogus"/],
    ['a wrong MAC', { mac: 'zz' }, /mac: .*got "zz"/],
    ['no address', { addressing: {} }, /addressing: holds neither/],
    ['an address of another family', { addressing: { ipv4: 'fd00::9' } }, /addressing\.ipv4: .*not an IPv4/],
    ['an address outside the range', { addressing: { ipv4: '10.9.9.9' } }, /not in this node's range/],
    [
      'an interface that is not there',
      { 'interface-name': 'nosuch0' },
      /interface-name: there is no interface nosuch0/,
    ],
    ['another interface index', { 'interface-index': 9999 }, /interface-index: .* not 9999/],
    ['a reserved label', { labels: ['reserved:host'] }, /labels: .*reserved/],
  ] as const) {
    it(`is refused with the field named for ${what}`, async () => {
      const wrong = request(node, ['k8s:app=x'], { addressing: { ipv4: ip(30) }, ...more } as object);
      await assert.rejects(node.client.putEndpoint('cni-attachment-id:x', wrong), message);
      assert.deepEqual(await node.client.endpoints(), []);
      assert.equal(node.agent.ipam.holder(ip(30)), undefined);
    });
  }

  it('takes over the address that was given out for it, and gives it back at its end', async () => {
    const given = await node.client.allocateIps({ owner: 'default/web', expiration: true });
    const [ipv4, ipv6] = [given.address.ipv4 ?? '', given.address.ipv6 ?? ''];
    const made = await node.client.putEndpoint(
      'cni-attachment-id:web',
      request(node, ['k8s:app=web'], { addressing: { ipv4, ipv6 } }),
    );
    assert.equal(node.agent.ipam.holder(ipv4)?.expirationUuid, undefined);
    await node.client.deleteEndpoint(String(made?.id));
    assert.equal(node.agent.ipam.holder(ipv4), undefined);
    assert.equal(node.agent.ipam.holder(ipv6), undefined);
    assert.equal(node.kernel.endpoints.size, 0);
    assert.deepEqual(readdirSync(node.paths.endpointsDir), []);
    await until('its address leaves the ipcache', () => !node.kernel.ipcache.has(`${ipv4}/32`));
  });

  it('leaves nothing behind when its routes cannot be made', async () => {
    node.network.failAdd = new Error('no room');
    await assert.rejects(create(node, 'web', ip(9), 7), /no room/);
    assert.equal(node.kernel.endpoints.size, 0);
    assert.deepEqual(readdirSync(node.paths.endpointsDir), []);
    assert.equal(node.agent.ipam.holder(ip(9)), undefined);
    node.network.failAdd = undefined;
    assert.equal(await create(node, 'web', ip(9), 7), 7);
  });

  it('gets another identity when its labels change, and its peers another policy', async () => {
    await create(node, 'web', ip(9), 7);
    await create(node, 'client', ip(10), 8);
    await node.client.putPolicy(allowRule('r', 'web', 'boss'));
    await until('7 follows', async () => node.agent.manager.list()[0]?.realized?.revision === 2);
    const before = node.kernel.endpoints.get(7)?.policy.size ?? 0;
    const old = node.kernel.endpoints.get(8)?.endpoint.identity;
    await node.client.patchEndpointLabels('8', { user: ['k8s:app=boss'] });
    await until('8 has a new identity', () => node.kernel.endpoints.get(8)?.endpoint.identity !== old);
    await until('7 lets it in', () => (node.kernel.endpoints.get(7)?.policy.size ?? 0) > before);
    assert.equal(
      node.kernel.ipcache.get(`${ip(10)}/32`)?.identity,
      node.kernel.endpoints.get(8)?.endpoint.identity,
    );
  });

  it('keeps what was enforced when a regeneration fails, shows it, and recovers by itself', async () => {
    await create(node, 'web', ip(9), 7);
    node.datapath.failures.set('applyPolicy', new Error('map is full'));
    await node.client.putPolicy(allowRule('r', 'web', 'client'));
    await until('7 is not ready', () => node.agent.manager.list()[0]?.state === 'not-ready');
    assert.match((await node.client.healthz()).cilium?.msg ?? '', /could not be regenerated: 7/);
    assert.equal((await node.client.endpointHealth('7')).policy, 'Failure');
    node.datapath.failures.clear();
    await until('7 is ready again', () => node.agent.manager.list()[0]?.state === 'ready');
    assert.deepEqual(node.kernel.endpoints.get(7)?.enforcement, { ingress: true, egress: false });
  });
});

describe('an endpoint whose policy cannot be worked out', () => {
  it('is locked down at once, says so, and is let out by itself once it can', async (t) => {
    await create(node, 'web', ip(9), 7);
    await node.client.putPolicy(allowRule('r', 'web', 'client'));
    await create(node, 'client', ip(10), 8);
    await until('the client is let in', () => (node.kernel.endpoints.get(7)?.policy.size ?? 0) > 2);
    const broken = t.mock.method(PolicyResolver.prototype, 'resolve', () => {
      throw new RangeError('no room');
    });
    const replaced = allowRule('r', 'web', 'other');
    await node.client.putPolicy(replaced);
    await until('7 is not ready', () => node.agent.manager.list()[0]?.state === 'not-ready');
    const held = node.kernel.endpoints.get(7);
    assert.deepEqual([held?.policy.size, held?.enforcement], [0, { ingress: true, egress: true }]);
    assert.match((await node.client.healthz()).cilium?.msg ?? '', /could not be regenerated: 7/);
    const log = await node.client.endpointLog('7');
    assert.ok(log.some(({ code, message }) => code === 'Failed' && /nothing passes/.test(message ?? '')));
    broken.mock.restore();
    await until('7 is ready again', () => node.agent.manager.list()[0]?.state === 'ready');
    assert.deepEqual(node.kernel.endpoints.get(7)?.enforcement, { ingress: true, egress: false });
  });
});

describe('a change of policy', () => {
  it('touches only the endpoints it is about; the others take over the revision', async () => {
    await create(node, 'web', ip(9), 7);
    await create(node, 'db', ip(10), 8);
    const calls = node.kernel.calls.length;
    const { revision } = await node.client.putPolicy(allowRule('r', 'web', 'db'));
    assert.equal(revision, 2);
    await until('both realize revision 2', async () =>
      (await listed(node)).every((endpoint) => (endpoint as { revision: number }).revision === 2),
    );
    assert.deepEqual(node.kernel.calls.slice(calls), ['policy 7 +2 -1 ingress']);
    const types = node.events.flatMap((event) => (event.kind === 'agent' ? [event.subtype] : []));
    assert.ok(types.includes('Policy updated'));
  });

  it('is refused whole when it is wrong, and changes nothing', async () => {
    await node.client.putPolicy(allowRule('r', 'web', 'db'));
    await assert.rejects(node.client.putPolicy('[{"endpointSelector":{},"ingres":[]}]'), /ingres/);
    await assert.rejects(node.client.putPolicy('{"unclosed'), /invalid/);
    assert.equal((await node.client.policy()).revision, 2);
    assert.match((await node.client.policy()).policy ?? '', /"web"/);
  });

  it('is put back when it cannot be written down', async () => {
    await node.client.putPolicy(allowRule('r', 'web', 'db'));
    const before = readFileSync(join(node.folder, 'policy.json'), 'utf8');
    // A folder in the place of the file that is renamed over it stops every write, for root too.
    mkdirSync(join(node.folder, 'policy.json.new'));
    await assert.rejects(node.client.putPolicy(allowRule('s', 'db', 'web')), /cannot write .*policy\.json/);
    assert.equal((await node.client.policy()).revision, 2);
    assert.equal(readFileSync(join(node.folder, 'policy.json'), 'utf8'), before);
    rmdirSync(join(node.folder, 'policy.json.new'));
    assert.equal((await node.client.putPolicy(allowRule('s', 'db', 'web'))).revision, 3);
  });
});

describe('a change of policy that is enforced and cannot be kept', () => {
  it('is taken back, with the reason, and the next one is kept', async () => {
    await create(node, 'web', ip(9), 7);
    await node.client.putPolicy(allowRule('r', 'web', 'db'));
    await until('it is enforced', () => node.kernel.calls.some((call) => /^policy 7 .*ingress$/.test(call)));
    const before = node.kernel.endpoints.get(7)?.policy;
    const file = join(node.folder, 'policy.backup.json');
    rmSync(file);
    // Nothing can be renamed over a folder that is not empty; that shows only when the new file is complete.
    mkdirSync(join(file, 'in-the-way'), { recursive: true });
    const denied = allowRule('r', 'web', 'db').replace('ingress', 'ingressDeny');
    await assert.rejects(node.client.putPolicy(denied), /cannot write .*policy/);
    assert.equal((await node.client.policy()).revision, 2);
    await until('the old one is enforced', async () => {
      const [web] = await node.client.endpoints();
      return web?.status?.policy?.realized?.['policy-revision'] === 2 && web.status.state === 'ready';
    });
    assert.deepEqual(node.kernel.endpoints.get(7)?.policy, before);
    assert.match(readFileSync(join(node.folder, 'policy.json'), 'utf8'), /"revision":2,/);
    rmSync(file, { recursive: true });
    assert.equal((await node.client.putPolicy(denied)).revision, 3);
    for (const name of ['policy.json', 'policy.backup.json'])
      assert.match(readFileSync(join(node.folder, name), 'utf8'), /"revision":3,/);
  });

  it('never mixes with one that came at the same time', async () => {
    const names = Array.from({ length: 20 }, (_, i) => `r${i}`);
    const revisions = await Promise.all(
      names.map(async (name) => (await node.client.putPolicy(allowRule(name, name, 'db'))).revision),
    );
    assert.equal((await node.client.policy()).revision, 21);
    assert.equal(Math.max(...revisions.map((revision) => revision ?? 0)), 21);
    const saved = JSON.parse(readFileSync(join(node.folder, 'policy.json'), 'utf8'));
    assert.equal(saved.rules.length, 20);
    assert.equal(
      readFileSync(join(node.folder, 'policy.backup.json'), 'utf8'),
      readFileSync(join(node.folder, 'policy.json'), 'utf8'),
    );
  });
});

describe('an agent without a datapath', () => {
  it('takes endpoints without a link, claims no enforcement anywhere, and finds them again', async () => {
    await node.stop();
    await node.start(createNoDatapath());
    const body = {
      state: 'waiting-for-identity',
      labels: ['k8s:app=web'],
      addressing: { ipv4: ip(9) },
    } as const;
    await node.client.putEndpoint('7', { ...body, 'sync-build-endpoint': true });
    await node.client.putPolicy(allowRule('r', 'web', 'db'));
    await until('revision 2', () => node.agent.manager.list()[0]?.realized?.revision === 2);
    const claimsNothing = async (): Promise<void> => {
      const { status } = await node.client.endpoint('7');
      assert.equal(status?.state, 'ready');
      assert.equal(status?.policy?.realized?.['policy-enabled'], 'none');
      assert.equal(status?.policy?.spec?.['policy-enabled'], 'none');
      assert.equal(status?.health?.bpf, 'Disabled');
      const health = await node.client.healthz();
      assert.equal(health['datapath-mode'], 'none');
      assert.match(health.cilium?.msg ?? '', /policy is NOT enforced/);
      assert.match(await node.client.metrics(), /enforcement_status\{enforcement="none"\} 1/);
    };
    await claimsNothing();
    await node.stop();
    await node.start(createNoDatapath());
    await until('7 is ready', () => node.agent.manager.list()[0]?.state === 'ready');
    await claimsNothing();
  });
});

describe('a second agent', () => {
  it('on the same state is refused with exit code 4, and the first goes on', async () => {
    const other = node.make();
    await assert.rejects(other.start(), { code: 'STATE_IN_USE', exitCode: 4 });
    assert.equal((await node.client.healthz()).cilium?.state, 'Ok');
  });
});

describe('two nodes', () => {
  it('know each other, their addresses and identities, and forget them again', async () => {
    const second = cluster.node(2);
    await second.start();
    await create(node, 'web', ip(9), 7);
    await create(second, 'web', '10.0.2.9', 5);
    await until('both ipcaches hold both', () =>
      [node, second].every(({ kernel }) =>
        [`${ip(9)}/32`, '10.0.2.9/32'].every((cidr) => kernel.ipcache.has(cidr)),
      ),
    );
    const identities = [node, second].map(
      ({ kernel }) => [...kernel.endpoints.values()][0]?.endpoint.identity,
    );
    assert.equal(identities[0], identities[1]);
    assert.deepEqual([...(node.kernel.ipcache.get('10.0.2.9/32')?.tunnelEndpoint ?? [])], [192, 0, 2, 2]);
    assert.equal(node.kernel.ipcache.get('192.0.2.1/32')?.identity, 1);
    assert.equal(node.kernel.ipcache.get('192.0.2.2/32')?.identity, 6);
    await until('routes', () => node.network.routes.join() === '10.0.2.0/24 via n2');
    await second.client.deleteEndpoint('5');
    await until('it is gone here', () => !node.kernel.ipcache.has('10.0.2.9/32'));
  });

  it('lets a peer in that appears only later, on the other node', async () => {
    const second = cluster.node(2);
    await second.start();
    await create(node, 'web', ip(9), 7);
    await node.client.putPolicy(allowRule('r', 'web', 'client'));
    await until('7 follows', async () => node.kernel.endpoints.get(7)?.enforcement?.ingress === true);
    assert.equal(node.kernel.endpoints.get(7)?.policy.size, 2);
    await create(second, 'client', '10.0.2.9', 5);
    await until('7 knows the client', () => node.kernel.endpoints.get(7)?.policy.size === 3);
  });
});

describe('metrics', () => {
  it('count endpoints by state and carry the revision', async () => {
    await create(node, 'web', ip(9), 7);
    const text = await node.client.metrics();
    assert.match(text, /^cilium_endpoint_state\{endpoint_state="ready"\} 1$/m);
    assert.match(text, /^cilium_policy_max_revision 1$/m);
    assert.match(text, /^cilium_endpoint_regenerations_total\{outcome="success"\} 1$/m);
    assert.doesNotMatch(text, /nodejs_active_(handles|requests|resources)_total/);
  });
});
