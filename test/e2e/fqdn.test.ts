import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runChecked } from '../../src/base/run.ts';
import { agentClient, ciliate } from '../../src/lab/agent-process.ts';
import { policyRealized } from '../../src/lab/demo/observe.ts';
import { inNetns, netnsPids } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { readPolicy, rulesText } from '../../src/policy/index.ts';
import type { Zone } from '../support/dns-server.ts';
import { makeOutside, OUTSIDE } from '../support/outside.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually, type StartedProcess, startProcess } from '../support/process.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

const HERE = import.meta.dirname;
const PORT = 80;
/** Of the name server's machine outside, which has web servers too. */
const ADDRESSES = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4', '2001:db8::1'] as const;

const ZONE: Zone = {
  'www.x.io': { a: ['192.0.2.1'], aaaa: ['2001:db8::1'], ttl: 2 },
  'other.x.io': { a: ['192.0.2.2'] },
  'short.x.io': { cname: 'edge.cdn.net' },
  'edge.cdn.net': { a: ['192.0.2.3'], ttl: 1 },
  'sbig.x.io': { a: Array.from({ length: 60 }, () => '192.0.2.2').concat('192.0.2.3'), big: true },
  'evil.io': { a: ['192.0.2.4'] },
};

const POLICY = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: names, namespace: default }
spec:
  endpointSelector: { matchLabels: { class: client } }
  egress:
  - toCIDR: [${OUTSIDE[4]}/32, "${OUTSIDE[6]}/128"]
    toPorts:
    - ports: [{ port: "53", protocol: ANY }]
      rules: { dns: [{ matchPattern: "*.x.io" }] }
  - toEndpoints: [{ matchLabels: { class: dns } }]
    toPorts:
    - ports: [{ port: "53", protocol: ANY }]
      rules: { dns: [{ matchName: www.x.io }, { matchName: sbig.x.io }] }
  - toEntities: [host, remote-node]
    toPorts:
    - ports: [{ port: "53", protocol: ANY }]
      rules: { dns: [{ matchName: www.x.io }, { matchName: sbig.x.io }] }
  - toFQDNs: [{ matchName: www.x.io }, { matchPattern: "s*.x.io" }]
    toPorts:
    - ports: [{ port: "${PORT}", protocol: TCP }]
`;

/** Processes of `ciliate proxy` in a node's namespace. */
async function proxiesOf(netns = ''): Promise<readonly number[]> {
  const pids = await netnsPids(netns);
  return pids.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes('proxy'));
}

describe('names in toFQDNs, enforced', { skip: bpfOrSkip() }, () => {
  let testLab: TestLab;
  let lab: Lab;
  let servers: readonly StartedProcess[] = [];
  const started: StartedProcess[] = [];
  const nameServers = new Map<string, StartedProcess>();

  before(async () => {
    testLab = await startTestLab(2);
    lab = testLab.lab;
    const outside = await makeOutside(lab, ADDRESSES);
    const zone = [join(HERE, '../support/dns-server.ts'), JSON.stringify(ZONE)];
    const web = [join(HERE, 'outside-server.mjs'), String(PORT)];
    servers = await Promise.all(
      [zone, web].map((words) => startProcess(inNetns(outside, [process.execPath, ...words]))),
    );
    for (const server of servers) await server.waitForLine(/^ready$/);
    await lab.addWorkload({ name: 'client', node: 'node1', labels: ['k8s:class=client'] });
    for (const node of ['node1', 'node2']) await startNameServer(node);
    for (const node of lab.layout.nodes) {
      const { revision = 0 } = await agentClient(node).putPolicy(
        rulesText(readPolicy(POLICY, { file: 'names' })),
      );
      await policyRealized(node, revision);
    }
  });

  /** A pod that is a name server, as clusters have them. */
  async function startNameServer(node: string): Promise<void> {
    const { name, netns } = await lab.addWorkload({ name: `dns-${node}`, node, labels: ['k8s:class=dns'] });
    const argv = [process.execPath, join(HERE, '../support/dns-server.ts'), JSON.stringify(ZONE)];
    const server = await startProcess(inNetns(netns, argv));
    nameServers.set(name, server);
    await server.waitForLine(/^ready$/);
  }

  /** One on the node itself, as a machine has that keeps a cache of names. */
  async function startOnNode(node: string): Promise<StartedProcess> {
    const argv = [process.execPath, join(HERE, '../support/dns-server.ts'), JSON.stringify(ZONE)];
    const server = await startProcess(inNetns(lab.node(node).netns, argv));
    started.push(server);
    await server.waitForLine(/^ready$/);
    return server;
  }

  after(async () => {
    for (const child of [...started, ...servers, ...nameServers.values()]) await child.stop('SIGKILL');
    await testLab?.tearDown();
  });

  const words = (...rest: readonly string[]): readonly string[] => [
    process.execPath,
    join(HERE, 'look-up-and-connect.mjs'),
    ...rest,
  ];

  /** @returns the lines of a look-up and connect in the pod */
  async function visit(name: string, type = 'A', server: string = OUTSIDE[4]): Promise<string[]> {
    const { stdout } = await lab.exec('client', words(server, type, name, String(PORT)));
    return stdout.trim().split('\n');
  }

  it('let the very first connection after the answer through, over IPv4 and IPv6', async () => {
    assert.deepEqual(await visit('www.x.io'), ['answer 192.0.2.1', 'connected']);
    assert.deepEqual(await visit('www.x.io', 'AAAA', OUTSIDE[6]), ['answer 2001:db8::1', 'connected']);
  });

  it('let the address at the end of a CNAME through', async () => {
    assert.deepEqual(await visit('short.x.io'), ['answer 192.0.2.3', 'connected']);
  });

  it('deny the address of a name that may be asked for and is in no toFQDNs', async () => {
    assert.deepEqual(await visit('other.x.io'), ['answer 192.0.2.2', 'TIMEOUT']);
  });

  it('deny an address that no name led to, and refuse the name', async () => {
    assert.deepEqual(await visit('192.0.2.4', 'none'), ['answer 192.0.2.4', 'TIMEOUT']);
    assert.deepEqual(await visit('evil.io'), ['EREFUSED']);
    const [dns] = servers;
    assert.match(dns?.output() ?? '', /www\.x\.io/);
    assert.doesNotMatch(dns?.output() ?? '', /evil/);
  });

  it('are learned from an answer that came by TCP too', async () => {
    assert.deepEqual(await visit('sbig.x.io'), ['answer 192.0.2.2', 'connected']);
    const [dns] = servers;
    assert.match(dns?.output() ?? '', /sbig.x.io.*"tcp","from":"10\.10\.1\./);
  });

  for (const where of ['dns-node1', 'dns-node2'])
    it(`are learned from a name server that is a pod, ${where}, by UDP and TCP`, async () => {
      const { ipv4 = '', ipv6 = '' } = lab.workload(where);
      assert.deepEqual(await visit('www.x.io', 'A', ipv4), ['answer 192.0.2.1', 'connected']);
      assert.deepEqual(await visit('www.x.io', 'AAAA', `[${ipv6}]`), ['answer 2001:db8::1', 'connected']);
      assert.deepEqual(await visit('sbig.x.io', 'A', ipv4), ['answer 192.0.2.2', 'connected']);
      assert.deepEqual(await visit('other.x.io', 'A', ipv4), ['EREFUSED']);
      const output = nameServers.get(where)?.output() ?? '';
      const { ipv4: client = '' } = lab.workload('client');
      assert.match(output, new RegExp(`"transport":"udp","from":"${client} `));
      assert.match(output, new RegExp(`"transport":"tcp","from":"${client} `));
      assert.doesNotMatch(output, /other/);
    });

  for (const where of ['node1', 'node2'])
    it(`are learned from a name server on a node, ${where} for a pod of node1, by UDP and TCP`, async () => {
      const server = await startOnNode(where);
      const { ipv4, ipv6 } = lab.node(where);
      assert.deepEqual(await visit('www.x.io', 'A', ipv4), ['answer 192.0.2.1', 'connected']);
      assert.deepEqual(await visit('www.x.io', 'AAAA', `[${ipv6}]`), ['answer 2001:db8::1', 'connected']);
      assert.deepEqual(await visit('sbig.x.io', 'A', ipv4), ['answer 192.0.2.2', 'connected']);
      assert.deepEqual(await visit('other.x.io', 'A', ipv4), ['EREFUSED']);
      const seen = server.output();
      assert.match(seen, /www.x.io.*"transport":"udp"/);
      assert.match(seen, /sbig.x.io.*"transport":"tcp"/);
      assert.doesNotMatch(seen, /other/);
    });

  it('are shown, and forgotten when told, by fqdn cache', async () => {
    const node = lab.node('node1');
    const client = agentClient(node);
    await visit('www.x.io');
    await visit('www.x.io', 'AAAA');
    const listed = await runChecked(
      ciliate('fqdn', 'cache', 'list', '-H', `unix://${node.paths.agentSocket}`),
    );
    assert.match(listed, /^\d+ +lookup +www\.x\.io\. +2 +\S+ +192\.0\.2\.1/m);
    assert.equal((await client.fqdnNames()).FQDNPolicySelectors?.length, 2);
    const www = (await client.fqdnCache({ pattern: 'www.x.io' })).flatMap(({ ips }) => ips ?? []);
    assert.deepEqual([...new Set(www)].sort(), ['192.0.2.1', '2001:db8::1']);
    await client.cleanFqdnCache('www.x.io');
    assert.deepEqual(await visit('192.0.2.1', 'none'), ['answer 192.0.2.1', 'TIMEOUT']);
    assert.deepEqual(await visit('192.0.2.3', 'none'), ['answer 192.0.2.3', 'connected']);
  });

  it('are learned again by a proxy that was killed and started anew', async () => {
    const ofNode1 = await proxiesOf(lab.node('node1').netns);
    assert.equal(ofNode1.length, 1);
    for (const pid of ofNode1) process.kill(pid, 'SIGKILL');
    await eventually('an answer through the new proxy', async () =>
      (await visit('www.x.io'))[1] === 'connected' ? true : undefined,
    );
  });

  it('keep a connection past the TTL, and over a restart of the agent that is killed', async () => {
    const stay = words(OUTSIDE[4], 'A', 'www.x.io', String(PORT), 'stay');
    const stream = await startProcess(inNetns(lab.workload('client').netns, stay));
    started.push(stream);
    await stream.waitForLine(/^connected$/);
    await stream.waitForLine(/^echo 15$/, 15_000);
    const agent = lab.record.agents.node1;
    assert.ok(agent !== undefined);
    process.kill(agent.pid, 'SIGKILL');
    await stream.waitForLine(/^echo 20$/, 15_000);
    assert.deepEqual(await visit('www.x.io'), ['answer 192.0.2.1', 'connected'], 'without agent');
    await lab.startAgent('node1', { datapath: 'bpf' });
    assert.deepEqual(
      await visit('192.0.2.1', 'none'),
      ['answer 192.0.2.1', 'connected'],
      'from the saved cache',
    );
    assert.deepEqual(await visit('short.x.io'), ['answer 192.0.2.3', 'connected']);
    const echoes = (): number => stream.output().split('\n').length;
    const before = echoes();
    await eventually('more echoes', () => (echoes() > before + 5 ? true : undefined));
  });
});
