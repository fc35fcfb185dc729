import { formatCidr } from '../base/ip.ts';
import type { CidrGroup } from '../model/cidr-group.ts';
import type { PolicyInventory, SecretObject } from '../model/policy-inventory.ts';
import type { Rule } from './rule.ts';
import { ruleJson } from './rule-json.ts';
import { labelMap, serviceAddressesObject, serviceObject } from './service-json.ts';

function groupObject({ name, labels, cidrs }: CidrGroup): object {
  return {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumCIDRGroup',
    metadata: { name, labels: labelMap(labels) },
    spec: { externalCIDRs: cidrs.map(formatCidr) },
  };
}

/** Under a key of ours: rules do not name it. One without a value that rules can use has no entry. */
function secretObject({ name, namespace, value }: SecretObject, values: SecretValues): object {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace },
    type: 'Opaque',
    data:
      value === undefined || values === 'hidden'
        ? {}
        : { value: Buffer.from(value, 'latin1').toString('base64') },
  };
}

/** Whether values of Secrets are written: only to the agent's own files, and to the agent. */
export type SecretValues = 'hidden' | 'written';

/** The objects of an inventory as Kubernetes writes them; reading them again gives the same inventory, but for what is hidden. */
export function inventoryObjects(
  { cidrGroups, services, addresses, secrets = [] }: PolicyInventory,
  values: SecretValues = 'hidden',
): readonly object[] {
  return [
    ...cidrGroups.map(groupObject),
    ...services.map(serviceObject),
    ...secrets.map((secret) => secretObject(secret, values)),
    ...addresses.map(serviceAddressesObject),
  ];
}

/** Rules and the objects that they name as one policy text, for an agent: a JSON list, as short as it can be. */
export function policyText(rules: readonly Rule[], inventory: PolicyInventory): string {
  return JSON.stringify([...inventoryObjects(inventory, 'written'), ...rules.map(ruleJson)]);
}
