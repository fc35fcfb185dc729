import { formatCidr, formatIp } from '../base/ip.ts';
import type { CidrGroup } from '../model/cidr-group.ts';
import type { Label } from '../model/labels.ts';
import type { PolicyInventory, SecretObject } from '../model/policy-inventory.ts';
import type { ServiceAddresses, ServiceObject } from '../model/service-backends.ts';
import type { Rule } from './rule.ts';
import { ruleJson } from './rule-json.ts';

function labelMap(labels: readonly Label[]): Readonly<Record<string, string>> {
  return Object.fromEntries(labels.map(({ key, value }) => [key, value]));
}

function groupObject({ name, labels, cidrs }: CidrGroup): object {
  return {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumCIDRGroup',
    metadata: { name, labels: labelMap(labels) },
    spec: { externalCIDRs: cidrs.map(formatCidr) },
  };
}

function serviceObject({ name, namespace, labels, selector }: ServiceObject): object {
  const pods = selector?.matchLabels.map(({ key, value }) => [key, value] as const);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels: labelMap(labels) },
    spec: pods === undefined ? {} : { selector: Object.fromEntries(pods) },
  };
}

function endpointsObject({ name, namespace, addresses }: ServiceAddresses): object {
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name, namespace },
    subsets: [{ addresses: addresses.map((address) => ({ ip: formatIp(address) })) }],
  };
}

/** A slice has addresses of one family. */
function sliceObject({ name, namespace, service, addresses }: ServiceAddresses): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace, labels: { 'kubernetes.io/service-name': service } },
    addressType: addresses[0]?.length === 16 ? 'IPv6' : 'IPv4',
    endpoints: addresses.map((address) => ({ addresses: [formatIp(address)] })),
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
    ...addresses.map((item) => (item.kind === 'slice' ? sliceObject(item) : endpointsObject(item))),
  ];
}

/** Rules and the objects that they name as one policy text, for an agent: a JSON list, as short as it can be. */
export function policyText(rules: readonly Rule[], inventory: PolicyInventory): string {
  return JSON.stringify([...inventoryObjects(inventory, 'written'), ...rules.map(ruleJson)]);
}
