import { type Label, LabelKey } from './labels.ts';
import type { PolicyInventory } from './policy-inventory.ts';

/** Kinds of objects that rules come from or name; those of a namespace are `true`. */
const KINDS = {
  CiliumNetworkPolicy: true,
  CiliumClusterwideNetworkPolicy: false,
  NetworkPolicy: true,
  CiliumCIDRGroup: false,
  Service: true,
  Endpoints: true,
  EndpointSlice: true,
  Secret: true,
} as const;

export type PolicyObjectKind = keyof typeof KINDS;

/** Short names, as kubectl has them. */
const SHORT: Readonly<Record<string, PolicyObjectKind>> = {
  cnp: 'CiliumNetworkPolicy',
  ccnp: 'CiliumClusterwideNetworkPolicy',
  netpol: 'NetworkPolicy',
  ccg: 'CiliumCIDRGroup',
  svc: 'Service',
  ep: 'Endpoints',
};

const BY_WORD: ReadonlyMap<string, PolicyObjectKind> = new Map([
  ...(Object.keys(KINDS) as PolicyObjectKind[]).map((kind) => [kind.toLowerCase(), kind] as const),
  ...Object.entries(SHORT),
]);

/** An object by its name. `namespace` is undefined for kinds that have none. */
export interface PolicyObjectRef {
  readonly kind: PolicyObjectKind;
  readonly namespace: string | undefined;
  readonly name: string;
}

/** `CiliumCIDRGroup/outside`, `Service/default/web`. */
export function formatPolicyObject({ kind, namespace, name }: PolicyObjectRef): string {
  return namespace === undefined ? `${kind}/${name}` : `${kind}/${namespace}/${name}`;
}

/**
 * Reads `KIND/NAME` or `KIND/NAMESPACE/NAME`; the kind in any case, or as kubectl shortens it. Without a namespace it is
 * `default`.
 * @returns undefined for what is no such reference: a label
 */
export function parsePolicyObject(text: string): PolicyObjectRef | undefined {
  const [word = '', ...rest] = text.split('/');
  const kind = BY_WORD.get(word.toLowerCase());
  if (kind === undefined || text.includes('=') || rest.some((part) => part === '')) return undefined;
  const [first, second] = rest;
  if (first === undefined || rest.length > (KINDS[kind] ? 2 : 1)) return undefined;
  if (!KINDS[kind]) return { kind, namespace: undefined, name: first };
  return second === undefined
    ? { kind, namespace: 'default', name: first }
    : { kind, namespace: first, name: second };
}

/** The object that a rule comes from, by its labels; undefined for a bare rule. */
export function objectOfRule(labels: readonly Label[]): PolicyObjectRef | undefined {
  const value = (key: string): string | undefined =>
    labels.find((label) => label.source === 'k8s' && label.key === key)?.value;
  const name = value(LabelKey.policyName);
  if (name === undefined) return undefined;
  const kind = BY_WORD.get((value(LabelKey.policyDerivedFrom) ?? 'CiliumNetworkPolicy').toLowerCase());
  if (kind === undefined) return undefined;
  return { kind, namespace: KINDS[kind] ? (value(LabelKey.policyNamespace) ?? 'default') : undefined, name };
}

type Sorted = readonly {
  readonly ref: PolicyObjectRef;
  readonly part: keyof PolicyInventory;
  readonly at: number;
}[];

function sorted({ cidrGroups, services, addresses, secrets = [] }: PolicyInventory): Sorted {
  return [
    ...cidrGroups.map(({ name }, at) => {
      const ref: PolicyObjectRef = { kind: 'CiliumCIDRGroup', namespace: undefined, name };
      return { ref, part: 'cidrGroups', at } as const;
    }),
    ...services.map(({ namespace, name }, at) => {
      const ref: PolicyObjectRef = { kind: 'Service', namespace, name };
      return { ref, part: 'services', at } as const;
    }),
    ...addresses.map(({ kind, namespace, name }, at) => {
      const ref: PolicyObjectRef = {
        kind: kind === 'slice' ? 'EndpointSlice' : 'Endpoints',
        namespace,
        name,
      };
      return { ref, part: 'addresses', at } as const;
    }),
    ...secrets.map(({ namespace, name }, at) => {
      const ref: PolicyObjectRef = { kind: 'Secret', namespace, name };
      return { ref, part: 'secrets', at } as const;
    }),
  ];
}

/** The objects of an inventory. */
export function objectsOf(inventory: PolicyInventory): readonly PolicyObjectRef[] {
  return sorted(inventory).map(({ ref }) => ref);
}

/** The inventory without these objects. */
export function withoutObjects(
  inventory: PolicyInventory,
  refs: readonly PolicyObjectRef[],
): PolicyInventory {
  const gone = new Set(refs.map(formatPolicyObject));
  const places = sorted(inventory).filter(({ ref }) => gone.has(formatPolicyObject(ref)));
  const keep =
    (part: keyof PolicyInventory) =>
    (_: unknown, at: number): boolean =>
      !places.some((place) => place.part === part && place.at === at);
  return {
    cidrGroups: inventory.cidrGroups.filter(keep('cidrGroups')),
    services: inventory.services.filter(keep('services')),
    addresses: inventory.addresses.filter(keep('addresses')),
    ...(inventory.secrets !== undefined && { secrets: inventory.secrets.filter(keep('secrets')) }),
  };
}
