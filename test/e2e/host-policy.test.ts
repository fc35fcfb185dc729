import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { agentClient, agentReady } from '../../src/lab/agent-process.ts';
import { runOn } from '../../src/lab/demo/cli.ts';
import { execIn } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import type { NodeLayout } from '../../src/lab/layout.ts';
import { isAlive, waitFor } from '../../src/lab/processes.ts';
import { packet, udp } from '../support/packets.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { compileWire, Wire } from '../support/wire.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

const WAIT_MS = 20_000;
/** Ports of the health agent and of both /metrics: something listens there on every node. */
const [HEALTH, METRICS] = [4240, 9962];
const HOST = '65535';

const CONNECT = `
  const [host, port] = process.argv.slice(1);
  const socket = require('node:net').connect(Number(port), host);
  socket.on('connect', () => process.exit(0));
  socket.on('error', () => process.exit(1));
  setTimeout(() => process.exit(1), 700);
`;

/** Prints the datagrams that come to a port for a while. */
const LISTEN = `
  const socket = require('node:dgram').createSocket('udp4');
  socket.on('message', (text) => console.log(String(text)));
  socket.bind(5555, () => console.log('ready'));
  setTimeout(() => process.exit(0), 2500);
`;
const VLAN = Buffer.from([0x81, 0x00, 0x00, 0x00]);

/** With the tags between the addresses and the type. */
function tagged(frame: Buffer, tags: readonly Buffer[]): Buffer {
  return Buffer.concat([frame.subarray(0, 12), ...tags, frame.subarray(12)]);
}

async function macOf(node: NodeLayout): Promise<Buffer> {
  const { stdout } = await execIn(node.netns, ['ip', '-j', 'link', 'show', 'eth0']);
  const [link] = JSON.parse(stdout) as { readonly address: string }[];
  return Buffer.from(link?.address.replaceAll(':', '') ?? '', 'hex');
}

const onPort = (port: number): object => ({ ports: [{ port: String(port), protocol: 'TCP' }] });
const NODE1 = { matchLabels: { 'kubernetes.io/hostname': 'node1' } };

describe('policies of nodes by nodeSelector', { skip: bpfOrSkip() }, () => {
  let testLab: TestLab;
  let lab: Lab;
  let node1: NodeLayout;
  let node2: NodeLayout;

  const connects = async (from: string, to: string, port: number): Promise<boolean> => {
    const { exitCode } = await lab.exec(from, [process.execPath, '-e', CONNECT, to, String(port)]);
    return exitCode === 0;
  };
  const setRules = async (...rules: readonly object[]): Promise<void> => {
    const client = agentClient(node1);
    await client.deletePolicy([]);
    if (rules.length === 0) return;
    const { revision = 0 } = await client.putPolicy(JSON.stringify(rules));
    await waitFor({ what: 'the policy of the node', timeoutMs: WAIT_MS }, async () => {
      const { status } = await client.endpoint(HOST).catch(() => ({ status: undefined }));
      return (status?.policy?.realized?.['policy-revision'] ?? 0) >= revision ? true : undefined;
    });
  };
  const closed = {
    nodeSelector: NODE1,
    ingress: [{ fromEntities: ['remote-node'], toPorts: [onPort(HEALTH)] }],
  };

  before(async () => {
    testLab = await startTestLab(2);
    lab = testLab.lab;
    [node1, node2] = [lab.node('node1'), lab.node('node2')];
    await lab.addWorkload({ name: 'pod', node: 'node1', labels: ['k8s:app=pod'] });
  });
  after(() => testLab?.tearDown());

  it('judge what other nodes and pods send to the node, over both families', async () => {
    assert.equal(await connects('node2', node1.ipv4, METRICS), true);
    await setRules(closed);
    assert.equal(await connects('node2', node1.ipv4, HEALTH), true);
    assert.equal(await connects('node2', node1.ipv4, METRICS), false);
    assert.equal(await connects('pod', node1.ipv4, HEALTH), false);
    assert.equal(await connects('node2', node1.ipv6 ?? '', HEALTH), true);
    assert.equal(await connects('node1', node1.ipv4, METRICS), true, 'over the loopback nothing is judged');
    assert.equal(await connects('node1', node2.ipv4, METRICS), true, 'and nothing on egress');
    assert.equal(await connects('node2', node2.ipv4, METRICS), true, 'the other node is not selected');
    const dropped = await runOn(node1, ['endpoint', 'list']);
    assert.match(dropped.stdout, /65535 +Enabled +Disabled +1 /);
    const map = await runOn(node1, ['bpf', 'policy', 'get', HOST]);
    assert.match(map.stdout, new RegExp(`Allow +Ingress.*${HEALTH}/TCP`, 's'));
  });

  it('judge frames to a group of the link and those with a tag of no VLAN, which the stack takes as well', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ciliate-wire-'));
    const wire = await Wire.open(await compileWire(folder), node2.netns);
    const sourceMac = await macOf(node2);
    const own = await macOf(node1);
    const datagram = (text: string, destinationMac: Buffer, ...tags: Buffer[]): Buffer => {
      const payload = udp(40_000, 5555, Buffer.from(text));
      const ends = { source: node2.ipv4, destination: node1.ipv4, sourceMac, destinationMac };
      return tagged(packet({ ...ends, payload }), tags);
    };
    const arrived = async (): Promise<readonly string[]> => {
      const listening = lab.exec('node1', [process.execPath, '-e', LISTEN]);
      for (let round = 0; round < 10; round++) {
        await delay(150);
        await wire.send(datagram('plain', own));
        await wire.send(datagram('group', Buffer.alloc(6, 0xff)));
        await wire.send(datagram('tag', own, VLAN));
        await wire.send(datagram('tags', own, VLAN, VLAN));
      }
      const lines = (await listening).stdout.trim().split('\n');
      return [...new Set(lines)].filter((line) => line !== 'ready').toSorted();
    };
    try {
      await setRules();
      await waitFor({ what: 'no policy', timeoutMs: WAIT_MS }, async () =>
        (await connects('node2', node1.ipv4, METRICS)) ? true : undefined,
      );
      assert.deepEqual(await arrived(), ['group', 'plain', 'tag', 'tags'], 'without a policy');
      await setRules(closed);
      assert.deepEqual(await arrived(), []);
    } finally {
      await wire.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('judge what the node sends, to nodes and to pods', async () => {
    await setRules({
      nodeSelector: NODE1,
      egress: [{ toEntities: ['remote-node', 'health'], toPorts: [onPort(HEALTH)] }],
    });
    assert.equal(await connects('node1', node2.ipv4, HEALTH), true);
    assert.equal(await connects('node1', node2.ipv4, METRICS), false);
    assert.equal(await connects('node2', node1.ipv4, METRICS), true, 'answers pass');
    assert.equal(await connects('pod', node2.ipv4, METRICS), true, 'what the node forwards is not its own');
  });

  it('are in force without the agent, and over its restart', async () => {
    await setRules(closed);
    const agent = lab.record.agents.node1;
    assert.ok(agent !== undefined);
    process.kill(agent.pid, 'SIGKILL');
    await waitFor({ what: 'agent ended', timeoutMs: WAIT_MS }, () => (isAlive(agent) ? undefined : true));
    assert.equal(await connects('node2', node1.ipv4, HEALTH), true);
    const ref = await lab.startAgent('node1', { datapath: 'bpf' });
    let ready = false;
    const isReady = agentReady(node1, ref).then(() => {
      ready = true;
    });
    while (!ready) assert.equal(await connects('node2', node1.ipv4, METRICS), false);
    await isReady;
    assert.equal(await connects('node2', node1.ipv4, METRICS), false);
    assert.equal(await connects('node2', node1.ipv4, HEALTH), true);
  });

  it('only tell of what they refuse while the node is audited', async () => {
    await agentClient(node1).patchEndpointConfig(HOST, { options: { PolicyAuditMode: 'Enabled' } });
    await waitFor({ what: 'audit', timeoutMs: WAIT_MS }, async () =>
      (await connects('node2', node1.ipv4, METRICS)) ? true : undefined,
    );
    await agentClient(node1).patchEndpointConfig(HOST, { options: { PolicyAuditMode: 'Disabled' } });
    await waitFor({ what: 'enforcement', timeoutMs: WAIT_MS }, async () =>
      (await connects('node2', node1.ipv4, METRICS)) ? undefined : true,
    );
  });

  it('leave nothing behind when they go', async () => {
    await setRules();
    await waitFor({ what: 'no programs', timeoutMs: WAIT_MS }, async () =>
      (await connects('node2', node1.ipv4, METRICS)) ? true : undefined,
    );
    const shown = await runOn(node1, ['endpoint', 'list']);
    assert.doesNotMatch(shown.stdout, /65535/);
  });
});
