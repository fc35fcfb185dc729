import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { agentClient, agentReady } from '../../src/lab/agent-process.ts';
import { endpointOf } from '../../src/lab/demo/observe.ts';
import type { Lab } from '../../src/lab/lab.ts';
import type { NodeLayout } from '../../src/lab/layout.ts';
import { isAlive, waitFor } from '../../src/lab/processes.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

const EXTRA = ['--enable-node-selector-labels'];
const WAIT_MS = 20_000;

/** Connects to the health agent of a node, which survives the node's agent. */
const CONNECT = `
  const socket = require('node:net').connect(4240, process.argv[1]);
  socket.on('connect', () => process.exit(0));
  socket.on('error', () => process.exit(1));
  setTimeout(() => process.exit(1), 700);
`;

const POD = { matchLabels: { app: 'pod' } };
const apiServer = (ip: string): object => ({
  apiVersion: 'v1',
  kind: 'Endpoints',
  metadata: { name: 'kubernetes', namespace: 'default' },
  subsets: [{ addresses: [{ ip }] }],
});

describe('nodes and the API server as peers', { skip: bpfOrSkip() }, () => {
  let testLab: TestLab;
  let lab: Lab;
  let node1: NodeLayout;
  let node2: NodeLayout;

  const answers = async (to: string): Promise<boolean> => {
    const { exitCode } = await lab.exec('pod', [process.execPath, '-e', CONNECT, to]);
    return exitCode === 0;
  };
  /** Which of the nodes answer the pod. */
  const reached = async (): Promise<readonly boolean[]> => [
    await answers(node1.ipv4),
    await answers(node2.ipv4),
  ];
  const realized = async (): Promise<void> => {
    const { revision = 0 } = await agentClient(node1).policy();
    await waitFor({ what: `revision ${revision}`, timeoutMs: WAIT_MS }, async () => {
      const { status } = await endpointOf(lab, 'pod');
      return (status?.policy?.realized?.['policy-revision'] ?? 0) >= revision ? true : undefined;
    });
  };
  const setRules = async (...documents: readonly object[]): Promise<void> => {
    const client = agentClient(node1);
    await client.deletePolicy([]);
    await client.putPolicy(JSON.stringify(documents));
    await realized();
  };

  before(async () => {
    testLab = await startTestLab(2, EXTRA);
    lab = testLab.lab;
    [node1, node2] = [lab.node('node1'), lab.node('node2')];
    await lab.addWorkload({ name: 'pod', node: 'node1', labels: ['k8s:app=pod'] });
  });
  after(() => testLab?.tearDown());

  it('toNodes reaches the node that has the labels, and neither this one nor others', async () => {
    assert.deepEqual(await reached(), [true, true]);
    const toNodes = (name: string): object => ({
      endpointSelector: POD,
      egress: [{ toNodes: [{ matchLabels: { 'kubernetes.io/hostname': name } }] }],
    });
    await setRules(toNodes('node2'));
    await waitFor({ what: 'node 2 answers', timeoutMs: WAIT_MS }, async () =>
      (await answers(node2.ipv4)) ? true : undefined,
    );
    assert.deepEqual(await reached(), [false, true]);
    await setRules(toNodes('node1'));
    assert.deepEqual(await reached(), [false, false], 'this node is the host');
  });

  it('a node with labels is a remote node still', async () => {
    await setRules({ endpointSelector: POD, egress: [{ toEntities: ['remote-node'] }] });
    assert.deepEqual(await reached(), [false, true]);
    await setRules({
      endpointSelector: POD,
      egress: [{ toEntities: ['all'] }],
      egressDeny: [{ toNodes: [{ matchLabels: { 'kubernetes.io/hostname': 'node2' } }] }],
    });
    assert.deepEqual(await reached(), [true, false]);
  });

  it('a denial of a node holds over a restart of the agent, without a gap', async () => {
    const { agents } = lab.record;
    const agent = agents.node1;
    assert.ok(agent !== undefined);
    process.kill(agent.pid, 'SIGKILL');
    await waitFor({ what: 'agent ended', timeoutMs: WAIT_MS }, () => (isAlive(agent) ? undefined : true));
    assert.deepEqual(await reached(), [true, false]);
    const ref = await lab.startAgent('node1', { datapath: 'bpf', extra: EXTRA });
    const seen: boolean[] = [];
    const ready = agentReady(node1, ref).then(() => seen.push(true));
    while (seen.length === 0) assert.equal(await answers(node2.ipv4), false);
    await ready;
    await realized();
    assert.deepEqual(await reached(), [true, false]);
  });

  it('kube-apiserver is the node at which the service kubernetes of default is, and no other', async () => {
    const rule = { endpointSelector: POD, egress: [{ toEntities: ['kube-apiserver'] }] };
    await setRules(rule, apiServer(node2.ipv4));
    await waitFor({ what: 'node 2 answers', timeoutMs: WAIT_MS }, async () =>
      (await answers(node2.ipv4)) ? true : undefined,
    );
    assert.deepEqual(await reached(), [false, true]);
    await setRules(rule, apiServer(node1.ipv4));
    await waitFor({ what: 'node 1 answers', timeoutMs: WAIT_MS }, async () =>
      (await answers(node1.ipv4)) ? true : undefined,
    );
    assert.deepEqual(await reached(), [true, false], 'this node is the API server as well as the host');
  });
});
