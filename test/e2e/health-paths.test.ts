import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { agentClient } from '../../src/lab/agent-process.ts';
import { ip } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { waitFor } from '../../src/lab/processes.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

const WAIT_MS = 60_000;

interface Report {
  readonly peer: string;
  readonly kind: string;
  readonly state: string;
  readonly window: { readonly 'rtt-ns'?: { readonly p50: number } };
  readonly 'phases-ns'?: Readonly<Record<string, number>>;
}

describe('paths between the health endpoints of two nodes', { skip: bpfOrSkip() }, () => {
  let testLab: TestLab;
  let lab: Lab;

  /** Of node 1. */
  const health = (method: string, path: string): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const socketPath = lab.node('node1').paths.healthSocket;
      request({ socketPath, method, path: `/v1beta/${path}`, timeout: 3000 }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('end', () => resolve(JSON.parse(Buffer.concat(chunks).toString())));
      })
        .on('error', reject)
        .end();
    });
  const reports = async (): Promise<readonly Report[]> =>
    ((await health('GET', 'paths').catch(() => [])) as readonly Report[]).filter(
      ({ peer }) => peer === 'node2',
    );
  /** Waits until all eleven kinds of both families are well. */
  const allWell = (what: string): Promise<unknown> =>
    waitFor({ what, timeoutMs: WAIT_MS }, async () => {
      const paths = await reports();
      return paths.length === 22 && paths.every(({ state }) => state === 'reachable') ? true : undefined;
    });

  before(async () => {
    testLab = await startTestLab(2);
    lab = testLab.lab;
  });
  after(() => testLab?.tearDown());

  it('are all measured, kernel to kernel, with the canary silent and no rule shown', async () => {
    await allWell('all paths');
    await waitFor({ what: 'a time of each path', timeoutMs: WAIT_MS }, async () => {
      const answering = (await reports()).filter(({ kind }) => kind !== 'policy-denied/http');
      const isTimed = ({ kind, window, 'phases-ns': phases }: Report): boolean =>
        (window['rtt-ns']?.p50 ?? 0) > 0 && (!kind.endsWith('/http') || (phases?.network ?? 0) > 0);
      return answering.length === 20 && answering.every(isTimed) ? true : undefined;
    });
    const { policy } = await agentClient(lab.node('node2')).policy();
    assert.deepEqual(JSON.parse(policy ?? ''), []);
  });

  it('work under a default deny of everything, and the canary stays denied where all is allowed', async () => {
    const client = agentClient(lab.node('node2'));
    for (const peers of [[], ['all']]) {
      const item = peers.length === 0 ? {} : { fromEntities: peers };
      const rule = { endpointSelector: {}, ingress: [item], labels: ['k8s:test=paths'] };
      await client.putPolicy(JSON.stringify([rule]));
      // Each probes every path, and waits for its outcome: a path that lost them all would be unreachable then.
      for (let i = 0; i < 4; i++) await health('PUT', 'status/probe');
      await allWell(`all paths under ${JSON.stringify(item)}`);
    }
    await client.deletePolicy([]);
  });

  it('go on from the new namespace when the health endpoint is made anew', async () => {
    const { netns } = lab.node('node1');
    assert.ok(netns !== undefined);
    await ip('-n', netns, 'link', 'delete', 'lxc_health');
    const client = agentClient(lab.node('node1'));
    const old = (await client.endpoints()).find(({ status }) =>
      status?.labels?.['security-relevant']?.includes('reserved:health'),
    );
    await client.deleteEndpoint(String(old?.id));
    await waitFor({ what: 'another health endpoint', timeoutMs: WAIT_MS }, async () => {
      const now = await client.endpoints();
      return now.some(
        ({ id, status }) =>
          id !== old?.id && status?.labels?.['security-relevant']?.includes('reserved:health'),
      )
        ? true
        : undefined;
    });
    await allWell('all paths from the new namespace');
  });
});
