import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execIn } from '../../src/lab/host.ts';
import { createLab, type Lab, takeDown } from '../../src/lab/lab.ts';
import { labLayout } from '../../src/lab/layout.ts';
import { isClean, type Leftovers, leftovers, snapshot } from '../support/netns.ts';

export interface TestLab {
  readonly lab: Lab;
  /** Takes it down and fails when anything of it is left. */
  tearDown(): Promise<void>;
}

/**
 * A lab of its own name in a folder of its own, with BPF.
 * @param extra more words for each `ciliate agent`
 * @param labels more labels of each node, `KEY=VALUE`
 */
export async function startTestLab(
  nodes: number,
  extra: readonly string[] = [],
  labels: readonly string[] = [],
): Promise<TestLab> {
  const before: Leftovers = snapshot();
  const labsDir = mkdtempSync(join(tmpdir(), 'ciliate-e2e-'));
  const name = `e${randomBytes(3).toString('hex')}`;
  const tearDown = async (): Promise<void> => {
    await takeDown(labLayout({ name, nodes: 1, labsDir, isolation: 'namespaces' }));
    rmSync(labsDir, { recursive: true, force: true });
    const left = leftovers(before, new RegExp(`${name}|${labsDir}`));
    assert.ok(isClean(left), `left behind: ${JSON.stringify(left)}`);
  };
  try {
    const lab = await createLab({
      name,
      nodes,
      labsDir,
      isolation: 'namespaces',
      agent: { datapath: 'bpf', extra, labels },
    });
    return { lab, tearDown };
  } catch (error) {
    await tearDown();
    throw error;
  }
}

export interface LinkCounters {
  readonly received: number;
  readonly sent: number;
}

interface LinkStatistics {
  readonly stats64: { readonly rx: { readonly packets: number }; readonly tx: { readonly packets: number } };
}

/** Packets that the kernel counted on a workload's own interface. */
export async function linkCounters(lab: Lab, workload: string): Promise<LinkCounters> {
  const { netns } = lab.workload(workload);
  const { stdout } = await execIn(netns, ['ip', '-s', '-j', 'link', 'show', 'eth0']);
  const [link] = JSON.parse(stdout) as LinkStatistics[];
  assert.ok(link !== undefined);
  return { received: link.stats64.rx.packets, sent: link.stats64.tx.packets };
}

/** Connections that a workload's listeners accepted, as the kernel counts them (both families). */
export async function acceptedConnections(lab: Lab, workload: string): Promise<number> {
  const { stdout } = await execIn(lab.workload(workload).netns, ['cat', '/proc/net/snmp']);
  const [names = '', values = ''] = stdout.split('\n').filter((line) => line.startsWith('Tcp:'));
  const column = names.split(' ').indexOf('PassiveOpens');
  return Number(values.split(' ')[column]);
}
