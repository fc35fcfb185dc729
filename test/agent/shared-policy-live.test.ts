import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openMapReader } from '../../src/datapath/index.ts';
import { DatapathLab, type Pod } from '../support/datapath-lab.ts';
import { createLiveAgent, endpointRequest, type LiveAgent } from '../support/live-agent.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';

const rule = (port: number): string =>
  JSON.stringify([
    {
      endpointSelector: { matchLabels: { 'k8s:role': 'server' } },
      ingress: [
        {
          fromEndpoints: [{ matchLabels: { 'k8s:role': 'client' } }],
          toPorts: [{ ports: [{ port: String(port), protocol: 'UDP' }] }],
        },
      ],
      labels: [{ key: 'shared', value: '', source: 'unspec' }],
    },
  ]);

const until = (what: string, holds: () => boolean): Promise<unknown> =>
  eventually(what, () => holds() || undefined, { timeoutMs: 15_000, everyMs: 10 });

describe('endpoints of one identity, from the agent to the kernel', {
  skip: bpfOrSkip(),
  timeout: 60_000,
}, () => {
  const lab = new DatapathLab('S');
  const folder = mkdtempSync(join(tmpdir(), 'ciliate-shared-'));
  const pods: Pod[] = [];
  let live: LiveAgent;

  before(async () => {
    await lab.start();
    await lab.datapath.stop();
    live = createLiveAgent(lab, folder);
    await live.agent.start();
    for (const [id, role] of [
      [10, 'client'],
      [11, 'server'],
      [12, 'server'],
    ] as const) {
      const pod = await lab.pod(id, 0);
      pods.push(pod);
      const device = { ...pod.endpoint, name: pod.endpoint.ifname, ipv4: pod.ipv4 };
      await live.client.putEndpoint(String(id), endpointRequest(role, device));
    }
  });
  after(async () => {
    await live?.agent.stop();
    await lab.cleanUp();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Endpoint -> index of its policy map and the keys in it, as the kernel has them. */
  function enforced(): ReadonlyMap<number, { readonly index: number; readonly ports: readonly number[] }> {
    const reader = openMapReader(lab.bpfDir);
    try {
      const rows = [...reader.endpoints()].map(({ endpoint: { id }, policies, inForce }) => {
        const ports = [...reader.policy(id)].map(({ key }) => key.port).filter((port) => port !== 0);
        return [id, { index: policies[inForce], ports }] as const;
      });
      return new Map(rows);
    } finally {
      reader.close();
    }
  }

  const indices = (...ids: number[]): Set<number | undefined> =>
    new Set(ids.map((id) => enforced().get(id)?.index));
  const portsOf = (id: number): readonly number[] => enforced().get(id)?.ports ?? [];
  const ready = (): Promise<unknown> =>
    until('all are ready', () => live.agent.manager.list().every(({ state }) => state === 'ready'));

  it('share a map, and go from change to change together', async () => {
    for (const port of [7000, 7001, 7002]) {
      await live.client.putPolicy(rule(port));
      await until(`port ${port}`, () => [11, 12].every((id) => portsOf(id).join() === String(port)));
      assert.equal(indices(11, 12).size, 1);
      assert.equal(indices(10, 11).size, 2);
    }
    await ready();
  });

  it('part when one of them gets other labels, and meet again', async () => {
    await live.client.patchEndpointLabels('12', { user: ['k8s:role=other'] });
    await until('12 is open', () => portsOf(12).length === 0 && portsOf(11).join() === '7002');
    assert.equal(indices(11, 12).size, 2);
    await live.client.patchEndpointLabels('12', { user: ['k8s:role=server'] });
    await until('12 is closed', () => portsOf(12).join() === '7002');
    await until('12 meets 11', () => indices(11, 12).size === 1);
    await ready();
  });

  it('stay on their map when the agent starts again', async () => {
    const before = enforced();
    await live.agent.stop();
    live = createLiveAgent(lab, folder);
    await live.agent.start();
    await ready();
    assert.deepEqual(enforced(), before);
    // The first connection is one of the agent before.
    await eventually('the API', () => live.client.policy().catch(() => undefined));
    await live.client.putPolicy(rule(7003));
    await until('port 7003', () => [11, 12].every((id) => portsOf(id).join() === '7003'));
    assert.equal(indices(11, 12).size, 1);
  });
});
