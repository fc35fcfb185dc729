import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseCidr, parseIp } from '../../src/base/ip.ts';
import { EMPTY_INVENTORY, mergeInventory, type PolicyInventory } from '../../src/model/policy-inventory.ts';

const group = (name: string, cidr: string): PolicyInventory => ({
  ...EMPTY_INVENTORY,
  cidrGroups: [{ name, labels: [], cidrs: [parseCidr(cidr)] }],
});

describe('mergeInventory', () => {
  it('puts an object in the place of its former version', () => {
    const merged = mergeInventory(
      mergeInventory(group('a', '10.0.0.0/8'), group('b', '::/0')),
      group('a', '192.0.2.0/24'),
    );
    assert.deepEqual(
      merged.cidrGroups.map(({ name, cidrs }) => [name, cidrs]),
      [
        ['a', [parseCidr('192.0.2.0/24')]],
        ['b', [parseCidr('::/0')]],
      ],
    );
  });

  it('keeps a slice and Endpoints of the same name, and services of several namespaces', () => {
    const of = (kind: 'endpoints' | 'slice', namespace: string): PolicyInventory => ({
      cidrGroups: [],
      services: [{ name: 'web', namespace, labels: [], selector: undefined }],
      addresses: [{ kind, name: 'web', namespace, service: 'web', addresses: [parseIp('192.0.2.1')] }],
    });
    const merged = mergeInventory(
      of('endpoints', 'a'),
      mergeInventory(of('slice', 'a'), of('endpoints', 'b')),
    );
    assert.equal(merged.services.length, 2);
    assert.equal(merged.addresses.length, 3);
  });
});
