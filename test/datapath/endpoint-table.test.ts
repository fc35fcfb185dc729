import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { loadBpf } from '../../bpf/addon/index.ts';
import { decodeEndpoint } from '../../src/datapath/endpoint-codec.ts';
import { EndpointTable } from '../../src/datapath/endpoint-table.ts';
import { endpointLayout } from '../../src/datapath/map-layouts.ts';
import { PolicyMaps } from '../../src/datapath/policy-maps.ts';
import { PolicyPool } from '../../src/datapath/policy-pool.ts';
import { type LoadedPrograms, loadPrograms } from '../../src/datapath/programs.ts';
import { allow, stateOf } from '../support/datapath-lab.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { testEndpoint } from '../support/program-rig.ts';

const UNKNOWN = { code: 'DATAPATH_NO_ENDPOINT' };

describe('the endpoint table', { skip: bpfOrSkip() }, () => {
  let loaded: LoadedPrograms;
  let policies: PolicyPool;
  let table: EndpointTable;
  /** What the kernel would do: each link waits until it is let go. */
  let waiting: { readonly name: string; go(): void }[] = [];
  let order: string[] = [];
  const links = {
    attach: () => undefined,
    attachAsync: (ifindex: number, hook: string) =>
      new Promise<void>((resolve) => {
        const name = `${ifindex} ${hook}`;
        order.push(name);
        waiting.push({ name, go: resolve });
      }),
    release: (ifindex: number) => {
      order.push(`${ifindex} released`);
    },
  };

  before(() => {
    loaded = loadPrograms({ bpf: loadBpf(), conntrackEntries: 4096 });
    const { maps } = loaded;
    policies = new PolicyPool(new PolicyMaps(loadBpf(), maps.policy, maps.policyStats));
    table = new EndpointTable(maps, links, policies);
  });
  after(() => {
    policies?.close();
    loaded?.close();
  });
  afterEach(() => {
    for (const id of [1, 2]) table.detach(id);
    waiting = [];
    order = [];
  });

  /** Lets links go as they come, until `done` has settled. */
  async function drain(done: Promise<unknown>): Promise<void> {
    let settled = false;
    const end = done.then(
      () => {
        settled = true;
      },
      () => {
        settled = true;
      },
    );
    while (!settled) {
      waiting.shift()?.go();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await end;
  }

  it('attaches one endpoint after the other', async () => {
    const both = Promise.all(
      [1, 2].map((id) => table.attach(testEndpoint(id, { identity: id, ifindex: id }))),
    );
    await drain(both);
    await both;
    assert.deepEqual(order, ['1 from_pod', '1 to_pod', '2 from_pod', '2 to_pod']);
    assert.equal(table.size, 2);
  });

  it('leaves nothing of an endpoint that was detached while it was attached', async () => {
    const attached = table.attach(testEndpoint(1, { identity: 1, ifindex: 1 }));
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(order, ['1 from_pod']);
    table.detach(1);
    await drain(attached);
    await assert.rejects(attached, UNKNOWN);
    assert.equal(table.size, 0);
    assert.ok(order.includes('1 released'));
    assert.equal(loaded.maps.devices.nextKey(undefined), undefined);
    assert.equal(loaded.maps.addresses.nextKey(undefined), undefined);
  });

  it('does not attach an endpoint that was detached while it waited, and goes on after a failure', async () => {
    const [first, second] = [1, 2].map((id) => table.attach(testEndpoint(id, { identity: id, ifindex: id })));
    assert.ok(first && second);
    table.detach(1);
    await drain(Promise.allSettled([first, second]));
    await assert.rejects(first, UNKNOWN);
    await second;
    assert.deepEqual(
      order.filter((text) => text.endsWith('_pod')),
      ['2 from_pod', '2 to_pod'],
    );
  });

  it('stays locked after a policy that began to be written before it was locked, and opens with the next', async () => {
    await drain(table.attach(testEndpoint(1, { identity: 1, ifindex: 1 })));
    const open = { ingress: false, egress: false };
    const lockedNow = (): boolean | undefined => {
      for (const { values, count } of loaded.maps.endpoints.batches())
        for (let i = 0; i < count; i++) {
          const record = decodeEndpoint(values, i * endpointLayout.bytes);
          if (record?.endpoint.id === 1) return record.locked;
        }
      return undefined;
    };
    await table.applyPolicy(1, stateOf([allow('ingress', 7)]), open);
    assert.equal(lockedNow(), false);
    const late = table.applyPolicy(1, stateOf([allow('ingress', 7), allow('ingress', 8)]), open);
    table.lock(1);
    assert.equal(lockedNow(), true);
    await assert.rejects(late, { code: 'ENDPOINT_LOCKED' });
    assert.equal(lockedNow(), true);
    assert.equal(table.readPolicy(1).size, 1, 'the map in force is as it was');
    await table.applyPolicy(1, stateOf([allow('ingress', 7), allow('ingress', 8)]), open);
    assert.equal(lockedNow(), false);
    assert.equal(table.readPolicy(1).size, 2);
  });
});
