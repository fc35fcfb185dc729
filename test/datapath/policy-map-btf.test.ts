import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type BpfMap, decodeBtf } from '../../bpf/addon/index.ts';
import { decodeEndpoint } from '../../src/datapath/endpoint-codec.ts';
import { openPolicyMap } from '../../src/datapath/policy-maps.ts';
import { indexKey } from '../../src/datapath/struct-layout.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { A, item } from '../support/program-cases.ts';
import { ProgramRig } from '../support/program-rig.ts';

const bpftool = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin']
  .map((folder) => join(folder, 'bpftool'))
  .find((file) => existsSync(file));

/** The entry that the tests look for, as the structs in C name its parts; the port is in network order. */
const KEY = { prefix_bits: 64, identity: 4000, direction: 0, protocol: 6 };
const ENTRY = { precedence: 1, flags: 0, l4_bits: 24, rule_id: 9 };

describe('the policy map of an endpoint', { skip: bpfOrSkip() }, () => {
  let rig: ProgramRig;
  let map: BpfMap;

  before(async () => {
    rig = new ProgramRig();
    await rig.start([], ['10.0.0.0/8']);
    const policy = stateOf([item('ingress', 4000, { protocol: 6, port: 80 })]);
    await rig.attach(A, { ingress: true, egress: false }, policy);
    const record = decodeEndpoint(rig.loaded.maps.endpoints.lookup(indexKey(1)) ?? Buffer.alloc(64));
    assert.ok(record);
    const used = openPolicyMap(rig.bpf, rig.loaded.maps.policy, record.policies[record.inForce]);
    assert.ok(used, 'the record names it');
    map = used;
  });
  after(() => {
    map?.close();
    rig?.close();
  });

  it('tells what its bytes mean: the structs of the programs, by name', () => {
    const types = rig.bpf.mapTypes(map);
    assert.ok(types, 'it has BTF');
    const key = map.nextKey(undefined);
    const value = key && map.lookup(key);
    assert.ok(key && value);
    assert.deepEqual(decodeBtf(types.key, key), { ...KEY, port: 80 });
    assert.deepEqual(decodeBtf(types.value, value), { ...ENTRY, proxy_port: 0 });
  });

  it('is still one of the shape that the programs take', () => {
    assert.equal(rig.loaded.maps.policy.info.valueSize, 4);
    assert.equal(map.info.btfId, rig.loaded.maps.policyStats.info.btfId);
  });

  it('is shown by its fields by bpftool', {
    skip: bpftool === undefined ? 'bpftool is not installed' : false,
  }, () => {
    const words = ['-j', 'map', 'dump', 'id', String(map.info.id)];
    const { status, stdout, stderr } = spawnSync(bpftool ?? '', words, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const [entry] = JSON.parse(stdout) as [{ formatted: { key: object; value: object } }];
    assert.partialDeepStrictEqual(entry.formatted.key, KEY);
    assert.partialDeepStrictEqual(entry.formatted.value, ENTRY);
  });
});
