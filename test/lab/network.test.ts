import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execIn, isMounted, listNetns, mountBpffs } from '../../src/lab/host.ts';
import { takeDown } from '../../src/lab/lab.ts';
import { type LabLayout, labLayout, netnsPrefix } from '../../src/lab/layout.ts';
import {
  configureWorkload,
  createFabric,
  createNodeNetwork,
  createWorkloadLink,
} from '../../src/lab/network.ts';
import { isAlive, startDetached } from '../../src/lab/processes.ts';
import { isClean, leftovers, snapshot } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';

const CONNECT = `const s = require('node:net').connect({ host: process.argv[1], port: 4000 });
s.setTimeout(2000, () => process.exit(3));
s.on('error', (e) => { console.error(e.code); process.exit(e.code === 'ECONNREFUSED' ? 0 : 4); });
s.on('connect', () => process.exit(0));`;

/** Whether `netns` reaches an address: a refused connection came back from there, so it does. */
async function reaches(netns: string, address: string): Promise<boolean> {
  return (await execIn(netns, [process.execPath, '-e', CONNECT, address])).exitCode === 0;
}

describe('the network of a lab', { skip: rootOrSkip() }, () => {
  const labsDir = mkdtempSync(join(tmpdir(), 'ciliate-lab-'));
  const name = `t${randomBytes(3).toString('hex')}`;
  const layout: LabLayout = labLayout({ name, nodes: 2, labsDir, isolation: 'namespaces' });
  const first = snapshot();
  const nodes = layout.nodes.map((node) => ({ ...node, netns: node.netns ?? '' }));

  before(async () => {
    await createFabric(layout);
    for (const node of nodes) await createNodeNetwork(layout, node);
  });
  after(async () => {
    await takeDown(layout);
    rmSync(labsDir, { recursive: true, force: true });
  });

  it('joins the nodes over IPv4 and IPv6', async () => {
    const [one, two] = nodes;
    assert.ok(one !== undefined && two !== undefined);
    assert.ok(await reaches(one.netns, two.ipv4));
    assert.ok(await reaches(two.netns, one.ipv6 ?? ''));
  });

  it('gives a workload its link, addresses and default routes', async () => {
    const [node] = nodes;
    const netns = `${netnsPrefix(name)}pod-a`;
    const link = await createWorkloadLink(node?.netns ?? '', netns, 'lxctest');
    assert.ok(link.ifindex > 0);
    assert.match(link.mac, /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    assert.notEqual(link.mac, link.hostMac);
    const addressing = { ipv4: '10.10.1.5', ipv6: 'fd10:0:0:1::5' };
    await configureWorkload(netns, { ...addressing, gatewayIpv4: '10.10.1.1', gatewayIpv6: 'fd10:0:0:1::1' });
    const routes = await execIn(netns, ['ip', '-j', 'route']);
    assert.match(routes.stdout, /"dst":"default","gateway":"10\.10\.1\.1"/);
    const routes6 = await execIn(netns, ['ip', '-6', '-j', 'route']);
    assert.match(routes6.stdout, /"dst":"default","gateway":"fd10:0:0:1::1"/);
  });

  it('is removed whole by name, with what runs in it and what is mounted, and can be removed twice', async () => {
    await mountBpffs(layout.bpfDir);
    const ref = await startDetached({
      argv: ['sleep', '1000'],
      netns: nodes[0]?.netns,
      outputFile: join(layout.dir, 'sleep.out'),
    });
    // As an agent does that is told to end while it makes its health endpoint.
    const late = `trap 'ip netns add ${netnsPrefix(name)}late; exit' TERM; while :; do sleep 0.1; done`;
    await startDetached({
      argv: ['sh', '-c', late],
      netns: nodes[0]?.netns,
      outputFile: join(layout.dir, 'late.out'),
    });
    assert.ok(isAlive(ref));
    assert.equal(statSync(join(layout.dir, 'sleep.out')).mode & 0o777, 0o640);
    assert.equal(await takeDown(layout), true);
    assert.equal(isAlive(ref), false);
    assert.deepEqual(listNetns(netnsPrefix(name)), []);
    assert.equal(await isMounted(layout.bpfDir), false);
    assert.equal(existsSync(layout.dir), false);
    assert.ok(isClean(leftovers(first, new RegExp(name))));
    assert.equal(await takeDown(layout), false);
  });
});
