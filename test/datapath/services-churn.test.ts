import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { parseIp } from '../../src/base/ip.ts';
import type { KernelService } from '../../src/datapath/types.ts';
import type { BackendState, ServiceBackend } from '../../src/model/service.ts';
import { type Pod, REMOTE4 } from '../support/datapath-lab.ts';
import { cut } from '../support/net-sockets.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { RedirectLab, say } from '../support/redirect-lab.ts';

const VIP = '10.96.0.10';
const PORT = 8080;
const CONNECTIONS = 200;
const CHANGES = 4000;
/** Ids of the services: the one that is asked, and others that have its backends too. */
const [ASKED, DELETED, OTHER] = [7, 8, 9] as const;
const OTHER_STATES = ['active', 'terminating', 'quarantined', 'maintenance'] as const;

describe('services that change all the time, in network namespaces', {
  skip: bpfOrSkip(),
  timeout: 120_000,
}, () => {
  const rig = new RedirectLab('C');
  const lab = rig.datapaths;
  let a: Pod;
  let b: Pod;

  rig.serveSuite();
  before(() => {
    ({ a, b } = rig);
  });

  const backend = (address: string, state: BackendState): ServiceBackend => ({
    ...{ address: parseIp(address), port: PORT, state },
  });
  const service = (id: number, backends: readonly ServiceBackend[]): KernelService => ({
    ...{ id, type: 'ClusterIP', affinitySeconds: 0, backends },
    frontend: { address: parseIp(`10.96.0.${id + 3}`), port: 80, protocol: 'TCP' },
  });

  /** One of the backends stays active and the other one serves what it has, whatever comes between and after them. */
  const askedArbitrary = fc
    .tuple(fc.constantFrom('active', 'terminating'), fc.boolean(), fc.integer({ min: 0, max: 40 }))
    .map(([state, turned, others]) => {
      const both = [backend(b.ipv4, 'active'), backend(REMOTE4, state as BackendState)];
      const idle = Array.from({ length: others }, (_, i) => backend(`10.99.0.${i}`, 'quarantined'));
      return service(ASKED, [...(turned ? both.reverse() : both), ...idle]);
    });
  const otherArbitrary = fc
    .tuple(fc.constantFrom(DELETED, OTHER), fc.array(fc.constantFrom(...OTHER_STATES), { maxLength: 2 }))
    .map(([id, states]) =>
      service(
        id,
        states.map((state, i) => backend(i === 0 ? b.ipv4 : REMOTE4, state)),
      ),
    );

  it('refuse no connection, and break none, while one of their backends takes flows', async () => {
    for (const [place, address] of [
      [b.namespace, b.ipv4],
      [lab.remote, REMOTE4],
    ] as const)
      await rig.serve(place, address, PORT);
    const changes = fc.sample(fc.oneof(askedArbitrary, otherArbitrary), CHANGES);
    await lab.datapath.upsertService(service(ASKED, [backend(b.ipv4, 'active'), backend(REMOTE4, 'active')]));
    let changed = 0;
    let ended = false;
    const change = async (): Promise<void> => {
      while (!ended) {
        const next = changes[changed++ % CHANGES];
        assert.ok(next);
        await lab.datapath.upsertService(next);
        if (changed % 50 === 0) await lab.datapath.deleteService(service(DELETED, []).frontend);
        await turn();
      }
    };
    const changing = change();
    try {
      for (let i = 0; i < CONNECTIONS || changed < CHANGES; i++) {
        const socket = await rig.connect(a.namespace, VIP, 80);
        assert.ok(socket, `connection ${i}, after ${changed} changes`);
        for (const text of ['1', '2'])
          assert.match((await say(socket, text)) ?? 'closed', new RegExp(` ${text}$`));
        cut(socket);
      }
    } finally {
      ended = true;
      await changing;
    }
    assert.deepEqual(rig.drops(), [], 'nor has any to ask twice');
  });
});
