import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe } from 'node:test';
import { LiveLab } from '../../support/live-lab.ts';
import { type HalfClosed, LiveTraffic } from '../../support/live-traffic.ts';
import { bpfOrSkip } from '../../support/privilege.ts';
import { compileWire } from '../../support/wire.ts';

export const PORTS = [80, 81, 443, 8080] as const;
export const HTTP_PORT = 8000;

/** The lab that all live corner cases share. */
export interface Stage {
  readonly live: LiveLab;
  readonly traffic: LiveTraffic;
  /** The compiled `wire.c`. */
  readonly wire: string;
  /** Of `plain` to `far`, from the beginning on. */
  halfClosed(): HalfClosed;
}

async function addWorkloads({ live, traffic }: Stage): Promise<void> {
  const { lab } = live;
  await Promise.all([
    lab.addWorkload({
      name: 'server',
      node: 'node1',
      labels: ['k8s:app=server'],
      namedPorts: [
        { name: 'web', protocol: 'TCP', port: 80 },
        { name: 'web', protocol: 'UDP', port: 81 },
      ],
    }),
    lab.addWorkload({ name: 'client', node: 'node1', labels: ['k8s:app=client', 'k8s:tier=front'] }),
    lab.addWorkload({ name: 'plain', node: 'node1', labels: ['k8s:app=plain'] }),
    lab.addWorkload({
      name: 'server2',
      node: 'node2',
      labels: ['k8s:app=server', 'k8s:number=2'],
      namedPorts: [{ name: 'web', protocol: 'TCP', port: 8080 }],
    }),
    lab.addWorkload({ name: 'far', node: 'node2', labels: ['k8s:app=far'] }),
    lab.addWorkload({ name: 'stranger', node: 'node2', namespace: 'other', labels: ['k8s:app=client'] }),
  ]);
  for (const name of ['server', 'client', 'plain', 'server2', 'far', 'stranger', 'outside'])
    await traffic.serve(name, PORTS);
  for (const name of ['node1', 'node2']) await traffic.serve(name, [30_080]);
  for (const name of ['server', 'server2']) await traffic.serveHttp(name, HTTP_PORT);
  for (const { name } of lab.workloads) await live.known(name);
}

/**
 * Describes cases about traffic through real agents and a real datapath: pods `server`, `client` and `plain` on node1,
 * `server2` (another `app=server`), `far` and `stranger` (another `app=client`, of namespace `other`) on node2, and a
 * machine `outside`. Each of them answers at PORTS. Before each case no rule is in force and no connection is open.
 */
export function describeLive(subjects: Readonly<Record<string, (stage: Stage) => void>>): void {
  describe('corner cases live', { skip: bpfOrSkip() }, () => {
    const live = new LiveLab();
    const folder = mkdtempSync(join(tmpdir(), 'ciliate-corner-'));
    let halfClosed: HalfClosed | undefined;
    const stage: Stage = {
      live,
      traffic: new LiveTraffic(live),
      wire: join(folder, 'wire'),
      halfClosed: () => halfClosed ?? assert.fail('the lab is up'),
    };
    before(async () => {
      await Promise.all([live.start(), compileWire(folder)]);
      await addWorkloads(stage);
      halfClosed = await stage.traffic.halfClosed('plain', 'far', 9000);
    });
    afterEach(async () => {
      stage.traffic.reset();
      await live.policy('');
      stage.traffic.requests();
    });
    after(async () => {
      stage.traffic.stop();
      await live.stop();
      rmSync(folder, { recursive: true, force: true });
    });
    for (const [subject, define] of Object.entries(subjects)) describe(subject, () => define(stage));
  });
}
