import { formatCidr } from '../base/ip.ts';
import type { DnsPattern } from '../model/l7.ts';
import type { Direction } from '../model/map-state.ts';
import { type SelectorJson, selectorJson } from '../model/selector.ts';
import type { CidrSpec, Peers, ServiceSpec } from './rule.ts';

interface CidrSpecJson {
  readonly cidr?: string;
  readonly cidrGroupRef?: string;
  readonly cidrGroupSelector?: SelectorJson;
  readonly except?: readonly string[];
}

interface ServiceJson {
  readonly k8sService?: { readonly serviceName: string; readonly namespace?: string };
  readonly k8sServiceSelector?: { readonly selector: SelectorJson; readonly namespace?: string };
}

export interface DnsJson {
  readonly matchName?: string;
  readonly matchPattern?: string;
}

type PeersValue = readonly (string | SelectorJson | CidrSpecJson | ServiceJson | DnsJson)[];

function cidrSpecJson(spec: CidrSpec): CidrSpecJson {
  const except = spec.except.length > 0 && { except: spec.except.map(formatCidr) };
  switch (spec.kind) {
    case 'cidr':
      return { cidr: formatCidr(spec.cidr), ...except };
    case 'group':
      return { cidrGroupRef: spec.name, ...except };
    case 'group-selector':
      return { cidrGroupSelector: selectorJson(spec.selector), ...except };
  }
}

function serviceJson(service: ServiceSpec): ServiceJson {
  const namespace = service.namespace !== '' && { namespace: service.namespace };
  return service.kind === 'name'
    ? { k8sService: { serviceName: service.name, ...namespace } }
    : { k8sServiceSelector: { selector: selectorJson(service.selector), ...namespace } };
}

export function dnsJson(pattern: DnsPattern): DnsJson {
  if (pattern.kind === 'pattern') return { matchPattern: pattern.pattern };
  return { matchName: pattern.kind === 'name' ? pattern.name : pattern.regex };
}

/** What the field's name ends with, by kind of peers. */
const SUFFIXES: Record<Peers['kind'], string> = {
  endpoints: 'Endpoints',
  entities: 'Entities',
  cidrs: 'CIDR',
  'cidr-sets': 'CIDRSet',
  services: 'Services',
  fqdns: 'FQDNs',
  nodes: 'Nodes',
};

function peersValue(peers: Peers): PeersValue {
  switch (peers.kind) {
    case 'endpoints':
    case 'nodes':
      return peers.selectors.map(selectorJson);
    case 'entities':
      return peers.entities;
    case 'cidrs':
      return peers.cidrs.map(formatCidr);
    case 'cidr-sets':
      return peers.sets.map(cidrSpecJson);
    case 'services':
      return peers.services.map(serviceJson);
    case 'fqdns':
      return peers.names.map(dnsJson);
  }
}

/** The field of an item that holds its peers: `fromEndpoints`, `toCIDR` ... */
export function peersJson(peers: Peers, direction: Direction): Readonly<Record<string, PeersValue>> {
  const name = `${direction === 'ingress' ? 'from' : 'to'}${SUFFIXES[peers.kind]}`;
  return { [name]: peersValue(peers) };
}
