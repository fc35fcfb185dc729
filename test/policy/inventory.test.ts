import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatCidr, formatIp } from '../../src/base/ip.ts';
import type { PolicyInventory } from '../../src/model/policy-inventory.ts';
import { formatProblems, inventoryObjects, parsePolicy, policyText } from '../../src/policy/index.ts';

function inventoryOf(text: string): PolicyInventory {
  const { errors, inventory } = parsePolicy(text, { file: 'x' });
  assert.deepEqual(errors, [], formatProblems(errors));
  return inventory;
}

const TEXT = `
apiVersion: cilium.io/v2alpha1
kind: CiliumCIDRGroup
metadata: {name: office, labels: {team: red}}
spec: {externalCIDRs: [192.0.2.9/24, 2001:db8::/32, 192.0.2.0/24]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {tier: front}}
spec: {type: ClusterIP, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {ports: [{port: 5432}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: db}
subsets:
- addresses: [{ip: 192.0.2.1}, {ip: "2001:db8::1"}]
  notReadyAddresses: [{ip: 192.0.2.2}]
  ports: [{port: 5432}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-x1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints:
- {addresses: [192.0.2.3], conditions: {ready: true}}
- {addresses: [192.0.2.4], conditions: {ready: false}}
- {addresses: [192.0.2.5]}
`;

describe('objects that rules name', () => {
  it('are groups of prefixes, with labels of their own source', () => {
    const [group] = inventoryOf(TEXT).cidrGroups;
    assert.deepEqual(group?.cidrs.map(formatCidr), ['192.0.2.0/24', '2001:db8::/32']);
    assert.deepEqual(group?.labels, [{ source: 'cidrgroup', key: 'team', value: 'red' }]);
  });

  it('are services, with what selects their pods', () => {
    const [web, db] = inventoryOf(TEXT).services;
    assert.deepEqual(web?.selector?.matchLabels, [{ source: 'k8s', key: 'app', value: 'web' }]);
    assert.deepEqual(web?.labels, [{ source: 'k8s', key: 'tier', value: 'front' }]);
    assert.deepEqual([db?.namespace, db?.selector], ['default', undefined]);
  });

  it('are the addresses of services that are ready', () => {
    assert.deepEqual(
      inventoryOf(TEXT).addresses.map(({ kind, service, addresses }) => [
        kind,
        service,
        addresses.map(formatIp),
      ]),
      [
        ['endpoints', 'db', ['192.0.2.1', '2001:db8::1']],
        ['slice', 'db', ['192.0.2.3', '192.0.2.5']],
      ],
    );
  });

  it('count as they were written last', () => {
    const group = (cidr: string): string =>
      `apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: g}\nspec: {externalCIDRs: [${cidr}]}\n`;
    const { cidrGroups } = inventoryOf(`${group('10.0.0.0/8')}---\n${group('192.0.2.0/24')}`);
    assert.deepEqual(
      cidrGroups.map(({ cidrs }) => cidrs.map(formatCidr)),
      [['192.0.2.0/24']],
    );
  });

  it('are none when there is an error anywhere', () => {
    const { inventory, errors } = parsePolicy(`${TEXT}---\n- 1\n`, { file: 'x' });
    assert.equal(errors.length, 1);
    assert.deepEqual(inventory.cidrGroups, []);
  });

  it('may stand in a list of the API, whose items name no kind', () => {
    const items = '[{metadata: {name: g}, spec: {externalCIDRs: []}}]';
    const { cidrGroups } = inventoryOf(
      `{apiVersion: cilium.io/v2, kind: CiliumCIDRGroupList, items: ${items}}`,
    );
    assert.equal(cidrGroups.length, 1);
  });

  it('are written as they are read', () => {
    const inventory = inventoryOf(TEXT);
    assert.deepEqual(inventoryOf(JSON.stringify(inventoryObjects(inventory))), inventory);
  });

  it('may be sent together with rules', () => {
    const inventory = inventoryOf(TEXT);
    const { rules } = parsePolicy(
      '- {endpointSelector: {}, ingress: [{fromCIDRSet: [{cidrGroupRef: office}]}]}',
      {
        file: 'x',
      },
    );
    const all = parsePolicy(
      policyText(
        rules.map(({ rule }) => rule),
        inventory,
      ),
      { file: 'x' },
    );
    assert.deepEqual(all.inventory, inventory);
    assert.deepEqual(
      all.rules.map(({ rule }) => rule),
      rules.map(({ rule }) => rule),
    );
  });
});
