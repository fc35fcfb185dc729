import { type Cidr, formatIp, ipFamily } from '../base/ip.ts';
import type { CidrGroup } from '../model/cidr-group.ts';
import type { HeaderMatch, L7Rules, SecretName } from '../model/l7.ts';
import { LabelKey } from '../model/labels.ts';
import type { PolicyInventory } from '../model/policy-inventory.ts';
import { type LabelSelector, makeSelector, matchesSelector } from '../model/selector.ts';
import type { ServiceObject } from '../model/service-backends.ts';
import type { CidrSpec, Rule, ServiceSpec } from './rule.ts';

/** What a service stands for as a peer: the pods that serve it, or the addresses behind it. */
export type ServicePeers =
  | { readonly kind: 'pods'; readonly selector: LabelSelector }
  | { readonly kind: 'addresses'; readonly prefixes: readonly Cidr[] };

const serviceKey = (namespace: string, name: string): string => `${namespace}/${name}`;

/** Which pods serve a service: its own selector, kept to its namespace. None do where it has no selector. */
export function servicePods(service: ServiceObject): LabelSelector | undefined {
  return service.selector && podsOf(service, service.selector);
}

function podsOf({ namespace }: ServiceObject, selector: LabelSelector): LabelSelector {
  const own = { source: 'k8s', key: LabelKey.podNamespace, value: namespace };
  const others = selector.matchLabels.filter(({ key }) => key !== LabelKey.podNamespace);
  return makeSelector([...others, own], selector.matchExpressions);
}

/** The Secrets that a rule names, each once. */
export function secretsOfRule({ ingress, egress }: Rule): readonly SecretName[] {
  const ports = [...(ingress ?? []), ...(egress ?? [])].flatMap((item) => item.ports ?? []);
  const matches = ports.flatMap(({ l7 }) =>
    l7?.kind === 'http' ? l7.rules.flatMap(({ headerMatches }) => headerMatches) : [],
  );
  const secrets = matches.flatMap(({ secret }) => (secret === undefined ? [] : [secret]));
  return [...new Map(secrets.map((one) => [serviceKey(one.namespace, one.name), one])).values()];
}

/** Whether what the rules mean depends on Secrets. */
export function namesSecrets(l7: L7Rules | undefined): boolean {
  if (l7?.kind !== 'http') return false;
  return l7.rules.some(({ headerMatches }) => headerMatches.some(({ secret }) => secret !== undefined));
}

/** The objects that rules name, by name and by labels. */
export class RuleContext {
  readonly #groups: ReadonlyMap<string, CidrGroup>;
  readonly #services: ReadonlyMap<string, ServiceObject>;
  readonly #addresses = new Map<string, Cidr[]>();
  readonly #secrets: ReadonlyMap<string, string | undefined>;

  constructor(inventory: PolicyInventory) {
    this.#groups = new Map(inventory.cidrGroups.map((group) => [group.name, group]));
    this.#services = new Map(
      inventory.services.map((service) => [serviceKey(service.namespace, service.name), service]),
    );
    this.#secrets = new Map(
      (inventory.secrets ?? []).map(({ namespace, name, value }) => [serviceKey(namespace, name), value]),
    );
    for (const { namespace, service, addresses } of inventory.addresses) {
      const key = serviceKey(namespace, service);
      const hosts = addresses.map((bytes) => ({ family: ipFamily(bytes), bytes, length: bytes.length * 8 }));
      this.#addresses.set(key, [...(this.#addresses.get(key) ?? []), ...hosts]);
    }
  }

  /** Prefixes of the groups that an entry of `fromCIDRSet` names; none for a group that is not known. */
  groupPrefixes(spec: Exclude<CidrSpec, { kind: 'cidr' }>): readonly Cidr[] {
    if (spec.kind === 'group') return this.#groups.get(spec.name)?.cidrs ?? [];
    return [...this.#groups.values()]
      .filter(({ labels }) => matchesSelector(spec.selector, labels))
      .flatMap(({ cidrs }) => cidrs);
  }

  /** The rules with the values of the Secrets that they name. */
  withSecrets(l7: L7Rules): L7Rules {
    if (l7.kind !== 'http' || !namesSecrets(l7)) return l7;
    const valued = (match: HeaderMatch): HeaderMatch => {
      const { secret } = match;
      const secretValue = secret && this.#secrets.get(serviceKey(secret.namespace, secret.name));
      return secretValue === undefined ? match : { ...match, secretValue };
    };
    return {
      kind: 'http',
      rules: l7.rules.map((rule) => ({ ...rule, headerMatches: rule.headerMatches.map(valued) })),
    };
  }

  /** The services that an entry of `toServices` names; a service that is not known is nobody. */
  servicePeers(spec: ServiceSpec): readonly ServicePeers[] {
    return this.#servicesOf(spec).map((service): ServicePeers => {
      if (service.selector !== undefined)
        return { kind: 'pods', selector: podsOf(service, service.selector) };
      const prefixes = this.#addresses.get(serviceKey(service.namespace, service.name)) ?? [];
      return { kind: 'addresses', prefixes };
    });
  }

  /** Addresses of the API server: those behind the service `kubernetes` of the namespace `default`. */
  apiServers(): readonly string[] {
    return (this.#addresses.get(serviceKey('default', 'kubernetes')) ?? []).map(({ bytes }) =>
      formatIp(bytes),
    );
  }

  #servicesOf(spec: ServiceSpec): readonly ServiceObject[] {
    if (spec.kind === 'name') {
      const service = this.#services.get(serviceKey(spec.namespace, spec.name));
      return service === undefined ? [] : [service];
    }
    return [...this.#services.values()].filter(
      ({ namespace, labels }) =>
        (spec.namespace === '' || spec.namespace === namespace) && matchesSelector(spec.selector, labels),
    );
  }
}
