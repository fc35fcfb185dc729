import { type IpBytes, type IpFamily, ipFamily, parseIp } from '../base/ip.ts';
import { type LabelSelector, makeSelector } from '../model/selector.ts';
import { MAX_AFFINITY_SECONDS, type ServiceProtocol } from '../model/service.ts';
import type {
  EndpointGroup,
  EndpointPort,
  ServiceEndpoint,
  ServiceListen,
  ServicePort,
} from '../model/service-backends.ts';
import { type Decoder, type Field, quote } from './decoder.ts';
import { childOf, type ParseContext } from './parse-context.ts';
import { decodeMetadata, decodeObjectLabels } from './parse-metadata.ts';

/** Label of an EndpointSlice that names its service. */
const SLICE_SERVICE = 'kubernetes.io/service-name';
const PROTOCOLS: readonly ServiceProtocol[] = ['TCP', 'UDP', 'SCTP'];
const MAX_PORT = 65_535;
/** Of Kubernetes, where a service names none. */
const DEFAULT_AFFINITY_SECONDS = 10_800;

function listItems(decoder: Decoder, field: Field | undefined): Field[] {
  return field === undefined ? [] : (decoder.items(field) ?? []);
}

function decodeAddress(decoder: Decoder, field: Field): IpBytes | undefined {
  const text = decoder.text(field);
  if (text === undefined) return undefined;
  try {
    return parseIp(text);
  } catch {
    return decoder.report(field, 'VALUE', `${quote(text)} is not an IP address`);
  }
}

function optionalText(decoder: Decoder, field: Field | undefined): string {
  return (field && decoder.text(field)) ?? '';
}

function addressesOf(decoder: Decoder, fields: readonly Field[]): IpBytes[] {
  return fields.map((item) => decodeAddress(decoder, item)).filter((address) => address !== undefined);
}

function decodeServiceSelector(decoder: Decoder, field: Field | undefined): LabelSelector | undefined {
  const entries = field === undefined ? [] : (decoder.entries(field) ?? []);
  const parts = entries.map(({ key, value }) => ({ source: 'k8s', key, value: decoder.text(value) ?? '' }));
  const selector = makeSelector(parts);
  return selector.matchLabels.length === 0 ? undefined : selector;
}

function decodeProtocol(decoder: Decoder, field: Field | undefined): ServiceProtocol | undefined {
  if (field === undefined) return 'TCP';
  const text = decoder.text(field);
  const found = PROTOCOLS.find((protocol) => protocol === text);
  if (found !== undefined || text === undefined) return found;
  return decoder.report(
    field,
    'VALUE',
    `${quote(text)} is no protocol of a service`,
    'write TCP, UDP or SCTP',
  );
}

function decodeTarget(decoder: Decoder, field: Field | undefined, port: number): number | string | undefined {
  if (field === undefined) return port;
  if (field.node.kind === 'number') return decoder.integer(field, 1, MAX_PORT);
  const text = decoder.text(field);
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : text;
}

function decodePort(decoder: Decoder, field: Field): ServicePort | undefined {
  const portField = childOf(field, 'port');
  const port =
    portField === undefined ? decoder.missing(field, 'port') : decoder.integer(portField, 1, MAX_PORT);
  const protocol = decodeProtocol(decoder, childOf(field, 'protocol'));
  const name = optionalText(decoder, childOf(field, 'name'));
  const node = childOf(field, 'nodePort');
  const nodePort = node === undefined ? 0 : decoder.integer(node, 0, MAX_PORT);
  if (port === undefined || protocol === undefined || nodePort === undefined) return undefined;
  const target = decodeTarget(decoder, childOf(field, 'targetPort'), port);
  return target === undefined ? undefined : { name, protocol, port, target, nodePort };
}

function decodeAffinity(decoder: Decoder, spec: Field | undefined): number {
  const kind = childOf(spec, 'sessionAffinity');
  if (kind === undefined || decoder.text(kind) !== 'ClientIP') return 0;
  const seconds = childOf(childOf(childOf(spec, 'sessionAffinityConfig'), 'clientIP'), 'timeoutSeconds');
  if (seconds === undefined) return DEFAULT_AFFINITY_SECONDS;
  return decoder.integer(seconds, 1, MAX_AFFINITY_SECONDS) ?? 0;
}

/** Addresses of load balancers; what those of mode Proxy get, they do more to than pass it on. */
function decodeLoadBalancers(decoder: Decoder, object: Field): IpBytes[] {
  const ingress = childOf(childOf(childOf(object, 'status'), 'loadBalancer'), 'ingress');
  const fields = listItems(decoder, ingress)
    .filter((item) => optionalText(decoder, childOf(item, 'ipMode')) !== 'Proxy')
    .map((item) => childOf(item, 'ip'))
    .filter((ip) => ip !== undefined);
  return addressesOf(decoder, fields);
}

/** `None` is the one of a headless service. */
function clusterIpFields(decoder: Decoder, spec: Field | undefined): Field[] {
  const single = childOf(spec, 'clusterIP');
  const list = listItems(decoder, childOf(spec, 'clusterIPs'));
  const fields = list.length > 0 ? list : single === undefined ? [] : [single];
  return fields.filter((field) => optionalText(decoder, field) !== '');
}

function decodeFamilies(
  decoder: Decoder,
  spec: Field | undefined,
  clusterIps: readonly IpBytes[],
): IpFamily[] {
  if (clusterIps.length > 0) return [...new Set(clusterIps.map(ipFamily))];
  const named = listItems(decoder, childOf(spec, 'ipFamilies')).map((item) => decoder.text(item));
  const families = named.flatMap((name): IpFamily[] => (name === 'IPv4' ? [4] : name === 'IPv6' ? [6] : []));
  return families.length > 0 ? [...new Set(families)] : [4];
}

function decodeListen(decoder: Decoder, object: Field, type: string): ServiceListen | undefined {
  const spec = childOf(object, 'spec');
  const ports = listItems(decoder, childOf(spec, 'ports'))
    .map((item) => decodePort(decoder, item))
    .filter((port) => port !== undefined);
  const fields = clusterIpFields(decoder, spec);
  if (fields.some((field) => decoder.text(field) === 'None') || ports.length === 0) return undefined;
  const clusterIps = addressesOf(decoder, fields);
  return {
    type: type === 'NodePort' || type === 'LoadBalancer' ? type : 'ClusterIP',
    clusterIps,
    externalIps: addressesOf(decoder, listItems(decoder, childOf(spec, 'externalIPs'))),
    loadBalancerIps: decodeLoadBalancers(decoder, object),
    families: decodeFamilies(decoder, spec, clusterIps),
    ports,
    affinitySeconds: decodeAffinity(decoder, spec),
    onlyLocal: optionalText(decoder, childOf(spec, 'internalTrafficPolicy')) === 'Local',
  };
}

/** Reads a Service: its labels, which pods serve it, and where clients reach it. */
export function decodeService(context: ParseContext, field: Field): void {
  const { decoder } = context;
  const metadata = decodeMetadata(context, field, { clusterwide: false });
  const labels = decodeObjectLabels(decoder, field, 'k8s');
  const spec = childOf(field, 'spec');
  const type = optionalText(decoder, childOf(spec, 'type'));
  // What an ExternalName stands for are names, not pods, whatever its selector says.
  const isExternal = type === 'ExternalName';
  const selector = decodeServiceSelector(decoder, childOf(spec, 'selector'));
  const listen = isExternal ? undefined : decodeListen(decoder, field, type);
  if (metadata === undefined) return;
  context.services.push({
    ...{ ...metadata, labels, selector: isExternal ? undefined : selector },
    ...(listen !== undefined && { listen }),
  });
}

/** A port that stands for every one is none of a service. */
function decodeEndpointPorts(decoder: Decoder, field: Field | undefined): EndpointPort[] {
  return listItems(decoder, field).flatMap((item): EndpointPort[] => {
    const portField = childOf(item, 'port');
    const port = portField && decoder.integer(portField, 1, MAX_PORT);
    const protocol = decodeProtocol(decoder, childOf(item, 'protocol'));
    const name = optionalText(decoder, childOf(item, 'name'));
    return port === undefined || protocol === undefined ? [] : [{ name, protocol, port }];
  });
}

function readyOf(groups: readonly EndpointGroup[]): IpBytes[] {
  return groups.flatMap(({ endpoints }) =>
    endpoints.filter(({ state }) => state === 'active').map(({ address }) => address),
  );
}

/** Reads an Endpoints object: the addresses that are ready. */
export function decodeEndpoints(context: ParseContext, field: Field): void {
  const { decoder } = context;
  const metadata = decodeMetadata(context, field, { clusterwide: false });
  const groups = listItems(decoder, childOf(field, 'subsets')).map((subset): EndpointGroup => {
    const endpoints = listItems(decoder, childOf(subset, 'addresses'))
      .map((item) => {
        const ip = childOf(item, 'ip');
        const address = ip === undefined ? decoder.missing(item, 'ip') : decodeAddress(decoder, ip);
        return address && { address, state: 'active' as const, ...nodeOf(decoder, item) };
      })
      .filter((endpoint) => endpoint !== undefined);
    return { endpoints, ports: decodeEndpointPorts(decoder, childOf(subset, 'ports')) };
  });
  if (metadata === undefined) return;
  const { name } = metadata;
  context.addresses.push({
    ...metadata,
    kind: 'endpoints',
    service: name,
    addresses: readyOf(groups),
    groups,
  });
}

function nodeOf(decoder: Decoder, field: Field): Pick<ServiceEndpoint, 'node'> {
  const node = optionalText(decoder, childOf(field, 'nodeName'));
  return node === '' ? {} : { node };
}

/** What is ready, or of which nothing is known, takes new flows; what goes keeps those that it has. */
function stateOf(endpoint: Field): Pick<ServiceEndpoint, 'state' | 'serving'> | undefined {
  const conditions = childOf(endpoint, 'conditions');
  const says = (name: string): boolean | undefined => {
    const node = childOf(conditions, name)?.node;
    return node?.kind === 'boolean' ? node.value : undefined;
  };
  if (says('ready') !== false) return { state: 'active' };
  if (says('terminating') !== true) return undefined;
  return { state: 'terminating', ...(says('serving') === true && { serving: true }) };
}

/** Reads an EndpointSlice. */
export function decodeEndpointSlice(context: ParseContext, field: Field): void {
  const { decoder } = context;
  const metadata = decodeMetadata(context, field, { clusterwide: false });
  const label = childOf(childOf(childOf(field, 'metadata'), 'labels'), SLICE_SERVICE);
  const service = label && decoder.text(label);
  const type = childOf(field, 'addressType');
  if (metadata === undefined || service === undefined || (type && decoder.text(type) === 'FQDN')) return;
  const endpoints = listItems(decoder, childOf(field, 'endpoints')).flatMap((endpoint) => {
    const state = stateOf(endpoint);
    if (state === undefined) return [];
    const addresses = addressesOf(decoder, listItems(decoder, childOf(endpoint, 'addresses')));
    return addresses.map((address) => ({ address, ...state, ...nodeOf(decoder, endpoint) }));
  });
  const groups = [{ endpoints, ports: decodeEndpointPorts(decoder, childOf(field, 'ports')) }];
  context.addresses.push({ ...metadata, kind: 'slice', service, addresses: readyOf(groups), groups });
}
