/** What an agent pinned whose slots had two policy maps each, taken over under traffic. */
import assert from 'node:assert/strict';
import { unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type BpfMap, loadBpf } from '../../bpf/addon/index.ts';
import { decodeEndpoint, type EndpointRecord } from '../../src/datapath/endpoint-codec.ts';
import { endpointLayout } from '../../src/datapath/map-layouts.ts';
import { listPins } from '../../src/datapath/pins.ts';
import { PolicyMaps } from '../../src/datapath/policy-maps.ts';
import { readPolicyMap, writePolicyDiff } from '../../src/datapath/policy-writer.ts';
import { indexKey, readIndex } from '../../src/datapath/struct-layout.ts';
import { EndpointFlag, MapName } from '../../src/model/constants.gen.ts';
import { EMPTY_MAP_STATE } from '../../src/model/map-state.ts';
import { diffMapState } from '../../src/model/map-state-diff.ts';
import { DatagramStream } from '../support/datagram-stream.ts';
import { allow, DatapathLab, NODE4, NODE6, type Pod, stateOf } from '../support/datapath-lab.ts';
import { testSeed } from '../support/policy-gen.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually, startProcess } from '../support/process.ts';
import { Random } from '../support/random.ts';
import type { ChurnOrders } from './churn-child.ts';

const OLDER = 'ciliate_endpoints_v1';
const UDP = 17;
const INGRESS = { ingress: true, egress: false };
const OPEN = { ingress: false, egress: false };
const ROUNDS = 4;
const CHILD = fileURLToPath(new URL('./churn-child.ts', import.meta.url));

/** A record as that version had it: the policy is at 2 * slot, or one further with `second`. */
function olderRecord(record: Buffer, second: boolean): Buffer {
  const older = Buffer.alloc(64);
  const raw = endpointLayout.decode(record);
  older.writeUInt16LE(raw.id, 0);
  older.writeUInt8((raw.flags & ~EndpointFlag.policyB) | (second ? EndpointFlag.policyB : 0), 2);
  older.writeUInt32LE(raw.identity, 4);
  older.writeUInt32LE(raw.ifindex, 8);
  older.set(raw.ip4, 12);
  older.set(raw.ip6, 16);
  older.set(raw.mac, 32);
  older.set(raw.hostMac, 38);
  older.writeUInt32LE(raw.families, 44);
  older.write(raw.ifname, 48, 15);
  return older;
}

interface SlotRecord {
  readonly slot: number;
  readonly bytes: Buffer;
  readonly record: EndpointRecord;
}

function readRecords(endpoints: BpfMap): readonly SlotRecord[] {
  const { valueSize } = endpoints.info;
  return [...endpoints.batches()].flatMap(({ keys, values, count }) =>
    Array.from({ length: count }, (_, i) => i).flatMap((i) => {
      const bytes = Buffer.from(values.subarray(i * valueSize, (i + 1) * valueSize));
      const record = decodeEndpoint(bytes);
      return record === undefined ? [] : { slot: readIndex(keys, i * 4), bytes, record };
    }),
  );
}

const policyOf = ({ policies, inForce }: EndpointRecord): number => policies[inForce];

describe('endpoints pinned by the version before', { skip: bpfOrSkip(), timeout: 60_000 }, () => {
  const lab = new DatapathLab('O');
  const bpf = loadBpf();
  let a: Pod;
  let b: Pod;
  let c: Pod;

  before(async () => {
    await lab.start();
    [a, b, c] = [await lab.pod(10, 1000), await lab.pod(11, 2000), await lab.pod(12, 2000)];
    const policy = stateOf([allow('ingress', 1000, UDP, 7300)]);
    for (const { endpoint } of [a, b, c]) await lab.datapath.attachEndpoint(endpoint);
    await lab.datapath.applyPolicy(a.endpoint.id, stateOf([]), OPEN);
    for (const { endpoint } of [b, c]) await lab.datapath.applyPolicy(endpoint.id, policy, INGRESS);
  });
  after(() => lab.cleanUp());

  const pin = (name: string): string => join(lab.bpfDir, 'maps', name);

  function pinned(name: string): BpfMap {
    const map = bpf.openPinnedMap(pin(name));
    assert.ok(map, name);
    return map;
  }

  /**
   * Pins what is in force as that version would, with maps of their own for each slot.
   * @returns false where that cannot be: both maps of a slot are in force for others
   */
  async function pinOlder(): Promise<boolean> {
    const [endpoints, outer, beside] = [
      pinned(MapName.endpoints),
      pinned(MapName.policy),
      pinned(MapName.policyStats),
    ];
    const policies = new PolicyMaps(bpf, outer, beside);
    const { type, keySize, valueSize, maxEntries } = endpoints.info;
    const older = bpf.createMap({ type, name: 'older', keySize, valueSize, maxEntries });
    try {
      const records = readRecords(endpoints);
      const inForce = new Set(records.map(({ record }) => policyOf(record)));
      const indices = records.map(({ slot }) => [2 * slot, 2 * slot + 1].find((one) => !inForce.has(one)));
      if (indices.includes(undefined)) return false;
      for (const [i, { slot, bytes, record }] of records.entries()) {
        const index = indices[i] ?? 0;
        const to = policies.get(index);
        const state = record.locked ? EMPTY_MAP_STATE : readPolicyMap(policies.get(policyOf(record)));
        await writePolicyDiff(to, diffMapState(readPolicyMap(to), state));
        older.update(indexKey(slot), olderRecord(bytes, index % 2 === 1));
      }
      older.pin(pin(OLDER));
      unlinkSync(pin(MapName.endpoints));
      return true;
    } finally {
      for (const map of [endpoints, outer, beside, older]) map.close();
      policies.close();
    }
  }

  function churnOrders(outcast: Pod): string {
    const orders: ChurnOrders = {
      node: { addresses: [NODE4, NODE6], podCidrs: ['10.66.0.0/16', 'fd66::/64'] },
      server: 11,
      serverPort: 7300,
      client: 1000,
      denies: false,
      outcast: outcast.endpoint,
    };
    return JSON.stringify(orders, (_, value: unknown) => (value instanceof Uint8Array ? [...value] : value));
  }

  it('go on as they were while one agent after the other takes them over, and is killed', async (t) => {
    const seed = testSeed();
    t.diagnostic(`seed ${seed}`);
    const random = new Random(seed);
    const open = (pod: Pod, port: number): Promise<DatagramStream> =>
      DatagramStream.open(lab, a.namespace, pod.namespace, pod.ipv4, port);
    await lab.datapath.stop();
    const allowed = await open(b, 7300);
    const denied = [await open(b, 7301), await open(c, 7302)];
    let [older, takenOver] = [0, 0];
    try {
      await eventually('datagrams', () => allowed.received > 5 || undefined);
      for (let round = 0; round < ROUNDS; round++) {
        const isOlder = listPins(join(lab.bpfDir, 'maps')).includes(OLDER) || (await pinOlder());
        if (isOlder) older++;
        const argv = [process.execPath, CHILD, lab.bpfDir, lab.net.path(lab.node), churnOrders(c)];
        const child = await startProcess(argv);
        // The one that is attached anew all the time may have been killed out of its record.
        if (round % 2 === 0) await child.waitForLine(/^started with [23]/);
        await delay(random.below(400));
        await child.stop('SIGKILL');
        assert.ok(!child.output().includes('Error'), child.output());
        if (isOlder && !listPins(join(lab.bpfDir, 'maps')).includes(OLDER)) takenOver++;
      }
    } finally {
      for (const stream of [allowed, ...denied]) await stream.end();
    }
    lab.datapath = lab.createDatapath();
    const { endpoints, adopted } = await lab.datapath.start(lab.nodeFacts);
    assert.equal(adopted, true);
    assert.ok(endpoints.some(({ id }) => id === 11));
    assert.ok(!listPins(join(lab.bpfDir, 'maps')).includes(OLDER), 'the older records are gone');
    assert.equal(allowed.received, allowed.sent);
    assert.deepEqual(
      denied.map(({ received }) => received),
      [0, 0],
    );
    assert.ok(older > 0 && takenOver >= older / 2, `${takenOver} of ${older}`);
  });

  it('take a new policy, and share its map', async () => {
    const policy = stateOf([allow('ingress', 1000)]);
    await lab.datapath.attachEndpoint(c.endpoint);
    for (const id of [11, 12]) await lab.datapath.applyPolicy(id, policy, INGRESS);
    assert.equal(await lab.ping(a.namespace, b.ipv4), true);
    const endpoints = pinned(MapName.endpoints);
    const indices = readRecords(endpoints)
      .filter(({ record }) => record.endpoint.identity === 2000)
      .map(({ record }) => policyOf(record));
    endpoints.close();
    assert.equal(indices.length, 2);
    assert.equal(new Set(indices).size, 1);
  });
});
