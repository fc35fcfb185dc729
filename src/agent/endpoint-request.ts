import { ApiError } from '../api/operations.ts';
import type * as Api from '../api/schema.ts';
import { CiliateError } from '../base/errors.ts';
import { formatIp, parseIp } from '../base/ip.ts';
import { type Label, parseLabels } from '../model/labels.ts';
import { Protocol } from '../model/map-state.ts';
import { isPortName, MAX_NAMED_PORTS, type NamedPort } from '../model/named-port.ts';
import type { EndpointSpec } from './endpoint.ts';
import { parseMac } from './mac.ts';

/** Options of an endpoint and what they are unless patched. */
export const ENDPOINT_OPTIONS: Readonly<Record<string, string>> = {
  ConntrackAccounting: 'Disabled',
  Debug: 'Disabled',
  DropNotification: 'Enabled',
  PolicyVerdictNotification: 'Enabled',
  TraceNotification: 'Enabled',
};

/** Number of the node itself as an endpoint. No other endpoint has it. */
export const HOST_ENDPOINT_ID = 65_535;
/** Options of the node's own endpoint. */
export const HOST_OPTIONS: Readonly<Record<string, string>> = {
  ...ENDPOINT_OPTIONS,
  PolicyAuditMode: 'Disabled',
};

/** Calls a reader and turns its refusal into a 400 that names the field. */
function field<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof CiliateError)) throw cause;
    throw new ApiError(400, cause.message, { field: name, hint: cause.hint, code: cause.code, cause });
  }
}

const orUndefined = (text: string | undefined): string | undefined => (text === '' ? undefined : text);

function address(name: string, text: string | undefined, family: 4 | 6): string | undefined {
  const given = orUndefined(text);
  if (given === undefined) return undefined;
  const bytes = field(name, () => parseIp(given));
  if (bytes.length === (family === 4 ? 4 : 16)) return formatIp(bytes);
  throw new ApiError(400, `${given} is not an IPv${family} address`, { field: name });
}

function required(name: string, value: string | undefined): string {
  const given = orUndefined(value);
  if (given !== undefined) return given;
  throw new ApiError(400, 'is missing', { field: name });
}

/** An interface name that the kernel takes, and that means nothing else in a path, an option or a batch of `ip`. */
function interfaceName(value: string): string {
  if (/^[A-Za-z0-9_.][\w.-]{0,14}$/.test(value) && value !== '.' && value !== '..') return value;
  throw new ApiError(400, `${JSON.stringify(value)} is not an interface name`, { field: 'interface-name' });
}

/** The labels of a request. @throws ApiError 400 naming the label */
export function requestLabels(
  labels: readonly string[] | null | undefined,
  name = 'labels',
): readonly Label[] {
  return field(name, () => parseLabels(labels ?? []));
}

const PORT_PROTOCOLS: Readonly<Record<string, number>> = {
  TCP: Protocol.tcp,
  UDP: Protocol.udp,
  SCTP: Protocol.sctp,
};

function requestNamedPorts(ports: Api.EndpointChangeRequest['named-ports']): readonly NamedPort[] {
  const refuse = (place: string, what: string): ApiError =>
    new ApiError(400, what, { field: `named-ports${place}` });
  if ((ports?.length ?? 0) > MAX_NAMED_PORTS) throw refuse('', `are more than ${MAX_NAMED_PORTS}`);
  return (ports ?? []).map(({ name = '', port = 0, protocol = 'TCP' }, i) => {
    if (!isPortName(name)) throw refuse(`[${i}].name`, `${JSON.stringify(name)} is not a name of a port`);
    if (port === 0) throw refuse(`[${i}].port`, 'is missing');
    const number = PORT_PROTOCOLS[protocol];
    if (number === undefined) throw refuse(`[${i}].protocol`, `${protocol} has no ports`);
    return { name, protocol: number, port };
  });
}

/** The link of an endpoint; where there is no datapath it need not have one, and then all three are empty. */
function requestLink(
  request: Api.EndpointChangeRequest,
  linkRequired: boolean,
): Pick<EndpointSpec, 'interfaceName' | 'mac' | 'hostMac'> {
  if (!linkRequired && orUndefined(request['interface-name']) === undefined) {
    return { interfaceName: '', mac: '', hostMac: '' };
  }
  const mac = required('mac', request.mac);
  const hostMac = required('host-mac', request['host-mac']);
  field('mac', () => parseMac(mac));
  field('host-mac', () => parseMac(hostMac));
  return {
    interfaceName: interfaceName(required('interface-name', request['interface-name'])),
    mac,
    hostMac,
  };
}

/**
 * What an endpoint is to be made of.
 * @param id already settled: the path's, the body's or a free one
 * @param linkRequired whether there must be an interface
 * @throws ApiError 400 naming the field
 */
export function requestSpec(
  request: Api.EndpointChangeRequest,
  id: number,
  linkRequired: boolean,
): EndpointSpec {
  const link = requestLink(request, linkRequired);
  const ipv4 = address('addressing.ipv4', request.addressing?.ipv4, 4);
  const ipv6 = address('addressing.ipv6', request.addressing?.ipv6, 6);
  if (ipv4 === undefined && ipv6 === undefined) {
    throw new ApiError(400, 'holds neither an IPv4 nor an IPv6 address', { field: 'addressing' });
  }
  const text = (
    name: 'container-id' | 'container-name' | 'k8s-pod-name' | 'k8s-namespace',
  ): string | undefined => orUndefined(request[name]);
  return {
    id,
    ...link,
    interfaceIndex: request['interface-index'] ?? 0,
    ipv4,
    ipv6,
    containerId: text('container-id'),
    containerName: text('container-name'),
    containerInterfaceName: orUndefined(request['container-interface-name']),
    netnsPath: orUndefined(request['container-netns-path']),
    dockerEndpointId: orUndefined(request['docker-endpoint-id']),
    dockerNetworkId: orUndefined(request['docker-network-id']),
    k8sPodName: text('k8s-pod-name'),
    k8sNamespace: text('k8s-namespace'),
    namedPorts: requestNamedPorts(request['named-ports']),
  };
}

/**
 * Option values as they are kept: `Enabled` or `Disabled`.
 * @throws ApiError 400 naming an unknown option or value
 */
export function normaliseOptions(
  given: Readonly<Record<string, string>>,
  known: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => {
      if (!Object.hasOwn(known, name)) {
        const names = Object.keys(known).join(', ');
        throw new ApiError(400, `is no option; there are ${names}`, { field: `options.${name}` });
      }
      if (/^(enabled|true|on|1)$/i.test(value)) return [name, 'Enabled'];
      if (/^(disabled|false|off|0)$/i.test(value)) return [name, 'Disabled'];
      throw new ApiError(400, `${JSON.stringify(value)} is neither Enabled nor Disabled`, {
        field: `options.${name}`,
      });
    }),
  );
}
