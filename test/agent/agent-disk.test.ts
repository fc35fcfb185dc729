import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runChecked } from '../../src/base/run.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { allowRule, NodeFixture, request, until } from './agent-fixture.ts';

describe('an agent whose state folder is full', { skip: rootOrSkip() }, () => {
  const root = mkdtempSync(join(tmpdir(), 'ciliate-full-'));
  const ballast = join(root, 'ballast');
  let node: NodeFixture;

  before(async () => {
    await runChecked(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'ciliate-test', root]);
    node = new NodeFixture(root, 1);
    await node.start();
  });
  after(async () => {
    await node.stop();
    await runChecked(['umount', root]);
    rmSync(root, { recursive: true, force: true });
  });

  /** Leaves not one free page. */
  function fill(): void {
    const { bavail, bsize } = statfsSync(root);
    writeFileSync(ballast, Buffer.alloc(bavail * bsize));
  }
  const web = (last: number) =>
    node.client.putEndpoint(
      'cni-attachment-id:web',
      request(node, ['k8s:app=web'], { addressing: { ipv4: `10.0.1.${last}` }, id: last }),
    );

  it('refuses endpoints and rules with the reason, keeps nothing half, and goes on once there is room', async () => {
    await web(9);
    const revision = (await node.client.putPolicy(allowRule('r', 'web', 'db'))).revision;
    fill();
    await assert.rejects(web(10), /cannot (write|make) .*no space left/i);
    await assert.rejects(node.client.putPolicy(allowRule('s', 'db', 'web')), /no space left/i);
    assert.deepEqual(
      readdirSync(node.paths.endpointsDir)
        .filter((name) => name !== '9')
        .flatMap((name) => readdirSync(join(node.paths.endpointsDir, name))),
      [],
    );
    assert.deepEqual([...node.kernel.endpoints.keys()], [9]);
    assert.equal((await node.client.policy()).revision, revision);
    assert.equal(node.agent.ipam.holder('10.0.1.10'), undefined);
    rmSync(ballast);
    await web(10);
    await until('10 is ready', () => node.agent.manager.list().every(({ state }) => state === 'ready'));
  });

  it('names no prefix whose number cannot be kept: a rule is refused, a name waits until there is room', async () => {
    const body = (egress: object) =>
      JSON.stringify([{ endpointSelector: { matchLabels: { 'k8s:app': 'web' } }, egress: [egress] }]);
    const { revision } = await node.client.putPolicy(body({ toFQDNs: [{ matchName: 'www.example.com' }] }));
    fill();
    await assert.rejects(node.client.putPolicy(body({ toCIDR: ['198.51.100.0/24'] })), /no space left/i);
    assert.equal((await node.client.policy()).revision, revision);
    const observation = { endpoint: 9, identity: 0, addresses: ['203.0.113.7'], ttlSeconds: 60 };
    await node.agent.fqdn.observe(1, { ...observation, names: ['www.example.com'] });
    assert.deepEqual(
      [...node.kernel.ipcache.keys()].filter(
        (cidr) => !cidr.startsWith('10.0.1.') && !cidr.startsWith('192.0.2.'),
      ),
      [],
    );
    rmSync(ballast);
    await node.agent.policy.tidy();
    assert.ok(node.kernel.ipcache.has('203.0.113.7/32'));
  });

  it('starts again from what is there while it is full', async () => {
    await node.stop();
    fill();
    await assert.rejects(node.start(), { code: 'STATE_UNWRITABLE', exitCode: 4 });
    rmSync(ballast);
    await node.start();
    assert.deepEqual(
      (await node.client.endpoints()).map(({ id }) => id),
      [9, 10],
    );
  });
});

describe('an agent whose state folder cannot be made', () => {
  it('says which folder and why, with exit code 4', async () => {
    const root = mkdtempSync(join(tmpdir(), 'ciliate-blocked-'));
    try {
      mkdirSync(join(root, 'x'));
      const node = new NodeFixture(join(root, 'x'), 1);
      writeFileSync(node.folder, 'a file stands here');
      await assert.rejects(node.start(), {
        code: 'STATE_UNWRITABLE',
        exitCode: 4,
        message: /cannot use the state folder .*n1/,
      });
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
});
