import type { IpBytes } from '../../base/ip.ts';
import type { Label } from '../../model/labels.ts';
import { Protocol } from '../../model/map-state.ts';
import type { NamedPort } from '../../model/named-port.ts';
import type { PolicyInventory } from '../../model/policy-inventory.ts';
import { type LabelSelector, matchesSelector } from '../../model/selector.ts';
import {
  frontendKey,
  isServiceAddress,
  isUnspecified,
  type ServiceBackend,
  type ServiceFrontend,
  type ServiceProtocol,
  type ServiceType,
} from '../../model/service.ts';
import type {
  ServiceAddresses,
  ServiceListen,
  ServiceObject,
  ServicePort,
} from '../../model/service-backends.ts';
import { servicePods } from '../../policy/index.ts';
import type { ObjectService } from './service-manager.ts';

/** An endpoint of the cluster, as far as services select it. */
export interface ServicePod {
  readonly labels: readonly Label[];
  readonly addresses: readonly IpBytes[];
  readonly namedPorts: readonly NamedPort[];
  /** Whether it is on this node. */
  readonly isOwn: boolean;
}

/** A backend as objects and pods tell of it. */
interface Candidate extends ServiceBackend {
  /** Whether it may take new flows where none is active. */
  readonly serving: boolean;
  readonly isOwn: boolean;
}

const NUMBERS: Readonly<Record<ServiceProtocol, number>> = {
  TCP: Protocol.tcp,
  UDP: Protocol.udp,
  SCTP: Protocol.sctp,
};

const ZEROS: Readonly<Record<4 | 6, IpBytes>> = { 4: new Uint8Array(4), 6: new Uint8Array(16) };

const objectKey = ({ namespace }: { readonly namespace: string }, name: string): string =>
  `${namespace}/${name}`;

/** The addresses of each service: those of its slices, or else of its Endpoints object. */
function addressesByService(inventory: PolicyInventory): ReadonlyMap<string, readonly ServiceAddresses[]> {
  const found = new Map<string, ServiceAddresses[]>();
  for (const object of inventory.addresses) {
    const key = objectKey(object, object.service);
    found.set(key, [...(found.get(key) ?? []), object]);
  }
  return new Map(
    [...found].map(([key, objects]) => {
      const slices = objects.filter(({ kind }) => kind === 'slice');
      return [key, slices.length > 0 ? slices : objects];
    }),
  );
}

function selectsPods(
  service: ServiceObject,
  addresses: ReadonlyMap<string, readonly ServiceAddresses[]>,
): boolean {
  const { listen, selector, name } = service;
  return listen !== undefined && selector !== undefined && !addresses.has(objectKey(service, name));
}

/** Objects name a service's port by its name. */
function objectBackends(
  objects: readonly ServiceAddresses[],
  port: ServicePort,
  self: string,
): readonly Candidate[] {
  const groups = objects.flatMap((object) => object.groups ?? []);
  return groups.flatMap(({ endpoints, ports }) => {
    const targets = ports.filter(({ name, protocol }) => name === port.name && protocol === port.protocol);
    return targets.flatMap((target) =>
      endpoints.map(({ address, state, serving = false, node }) => ({
        ...{ address, state, serving, port: target.port },
        isOwn: node === self,
      })),
    );
  });
}

function podPort({ target, protocol }: ServicePort, { namedPorts }: ServicePod): number | undefined {
  if (typeof target === 'number') return target;
  return namedPorts.find(({ name, protocol: number }) => name === target && number === NUMBERS[protocol])
    ?.port;
}

function podBackends(pods: readonly ServicePod[], port: ServicePort): readonly Candidate[] {
  return pods.flatMap((pod) => {
    const target = podPort(port, pod);
    if (target === undefined) return [];
    return pod.addresses.map((address) => ({
      ...{ address, port: target, state: 'active' as const, serving: true, isOwn: pod.isOwn },
    }));
  });
}

/** Every address on which a port of a service is reached, with the kind of frontend that it is. */
function frontendsOf(
  listen: ServiceListen,
  { port, protocol, nodePort }: ServicePort,
): readonly { readonly type: ServiceType; readonly frontend: ServiceFrontend }[] {
  const at = (type: ServiceType, addresses: readonly IpBytes[], number = port) =>
    addresses
      .filter(isServiceAddress)
      .map((address) => ({ type, frontend: { address, port: number, protocol } }));
  const all = [
    ...at('ClusterIP', listen.clusterIps),
    ...at('ExternalIPs', listen.externalIps),
    ...at('LoadBalancer', listen.loadBalancerIps),
    ...(nodePort > 0
      ? at(
          'NodePort',
          listen.families.map((family) => ZEROS[family]),
          nodePort,
        )
      : []),
  ];
  const seen = new Map(all.toReversed().map((one) => [frontendKey(one.frontend), one]));
  return [...seen.values()].toReversed();
}

/**
 * No family is translated, and no port of SCTP, whose checksum covers it. Each address and port once, in one order, and
 * active where it is so in any object. Where none is, those that terminate and still serve are.
 */
function fitting(backends: readonly Candidate[], frontend: ServiceFrontend): readonly ServiceBackend[] {
  const { protocol } = frontend;
  const fit = backends.filter(
    ({ address, port }) =>
      address.length === frontend.address.length &&
      isServiceAddress(address) &&
      !isUnspecified(address) &&
      (protocol !== 'SCTP' || port === frontend.port),
  );
  const isActive = fit.some(({ state }) => state === 'active');
  const byKey = new Map<string, ServiceBackend>();
  for (const { address, port, state, serving } of fit) {
    const backend = { address, port, state: !isActive && serving ? 'active' : state } as const;
    const key = frontendKey({ ...backend, protocol });
    if (byKey.get(key)?.state !== 'active') byKey.set(key, backend);
  }
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, backend]) => backend);
}

/** What the pods of the cluster are asked; undefined: not all of them are known yet. */
export type PodLookup = ((selector: LabelSelector) => readonly ServicePod[]) | undefined;

/** Looks at those pods only that have the first label that is asked for. */
export function podLookup(pods: readonly ServicePod[]): PodLookup {
  const byLabel = new Map<string, ServicePod[]>();
  for (const pod of pods)
    for (const text of new Set(pod.labels.map(({ key, value }) => `${key}=${value}`))) {
      const those = byLabel.get(text);
      if (those === undefined) byLabel.set(text, [pod]);
      else those.push(pod);
    }
  return (selector) => {
    const [first] = selector.matchLabels;
    const those = first === undefined ? pods : (byLabel.get(`${first.key}=${first.value}`) ?? []);
    return those.filter(({ labels }) => matchesSelector(selector, labels));
  };
}

/**
 * The services that follow from objects of Kubernetes. Backends are those of EndpointSlices or Endpoints; where a service
 * with a selector has none of these, the pods that it selects.
 */
export class ServicesOfObjects {
  /** By namespace and name. */
  readonly #objects: readonly ServiceObject[];
  readonly #addresses: ReadonlyMap<string, readonly ServiceAddresses[]>;
  /** What no pod changes. */
  readonly #fixed = new Map<ServiceObject, readonly ObjectService[]>();
  /** Whether some take their backends from pods. */
  readonly usePods: boolean;

  /** @param self name of this node */
  constructor(inventory: PolicyInventory, self: string) {
    const key = (service: ServiceObject): string => objectKey(service, service.name);
    this.#objects = [...inventory.services].sort((a, b) => (key(a) < key(b) ? -1 : 1));
    this.#addresses = addressesByService(inventory);
    for (const service of this.#objects) {
      if (selectsPods(service, this.#addresses)) continue;
      const objects = this.#addresses.get(key(service)) ?? [];
      this.#fixed.set(
        service,
        servicesOf(service, (port) => objectBackends(objects, port, self)),
      );
    }
    this.usePods = this.#fixed.size < this.#objects.length;
  }

  /** Those that take pods are left out while not all pods are known. Of others the same objects each time. */
  list(pods: PodLookup): readonly ObjectService[] {
    return this.#objects.flatMap((service) => {
      const fixed = this.#fixed.get(service);
      if (fixed !== undefined) return fixed;
      const selector = servicePods(service);
      if (pods === undefined || selector === undefined) return [];
      const selected = pods(selector);
      return servicesOf(service, (port) => podBackends(selected, port));
    });
  }
}

function servicesOf(
  { name, namespace, listen }: ServiceObject,
  backendsOf: (port: ServicePort) => readonly Candidate[],
): readonly ObjectService[] {
  if (listen === undefined) return [];
  return listen.ports.flatMap((port) => {
    const backends = backendsOf(port);
    return frontendsOf(listen, port).map(({ type, frontend }) => {
      const onlyLocal = listen.onlyLocal && type === 'ClusterIP';
      const those = onlyLocal ? backends.filter(({ isOwn }) => isOwn) : backends;
      return {
        ...{ type, name, namespace, frontend, affinitySeconds: listen.affinitySeconds },
        ...(onlyLocal && { onlyLocal }),
        backends: fitting(those, frontend),
      };
    });
  });
}
