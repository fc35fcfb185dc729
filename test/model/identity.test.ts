import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  isAllocatedIdentity,
  RESERVED_IDENTITIES,
  reservedIdentity,
  reservedIdentityName,
  reservedIdentityOfLabels,
} from '../../src/model/identity.ts';
import { formatLabels, parseLabels } from '../../src/model/labels.ts';

describe('reserved identities', () => {
  const known: readonly [id: number, name: string, labels: readonly string[]][] = [
    [0, 'unknown', ['reserved:unknown']],
    [1, 'host', ['reserved:host']],
    [2, 'world', ['reserved:world']],
    [3, 'unmanaged', ['reserved:unmanaged']],
    [4, 'health', ['reserved:health']],
    [5, 'init', ['reserved:init']],
    [6, 'remote-node', ['reserved:remote-node']],
    [7, 'kube-apiserver', ['reserved:kube-apiserver', 'reserved:remote-node']],
    [8, 'ingress', ['reserved:ingress']],
    [9, 'world-ipv4', ['reserved:world-ipv4']],
    [10, 'world-ipv6', ['reserved:world-ipv6']],
  ];
  for (const [id, name, labels] of known) {
    it(`${id} is ${name}`, () => {
      assert.equal(reservedIdentityName(id), name);
      assert.equal(reservedIdentity(name)?.id, id);
      assert.deepEqual(formatLabels(RESERVED_IDENTITIES[id]?.labels ?? []), labels);
      assert.equal(reservedIdentityOfLabels(parseLabels(labels))?.id, id);
    });
  }

  it('are not those of other label sets', () => {
    assert.equal(reservedIdentityOfLabels([]), undefined);
    assert.equal(reservedIdentityOfLabels(parseLabels(['k8s:app=web'])), undefined);
    assert.equal(reservedIdentityOfLabels(parseLabels(['reserved:init', 'k8s:app=web'])), undefined);
    assert.equal(reservedIdentityName(256), undefined);
    assert.equal(reservedIdentity('nobody'), undefined);
  });
});

describe('isAllocatedIdentity', () => {
  it('holds from 256 to 65535', () => {
    assert.deepEqual([255, 256, 65535, 65536].map(isAllocatedIdentity), [false, true, true, false]);
  });
});
