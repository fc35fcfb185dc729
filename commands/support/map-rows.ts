import { formatCidr, formatIp, type IpBytes } from '../../src/base/ip.ts';
import type {
  BackendRow,
  ConntrackFlow,
  DatapathCounter,
  EndpointRow as EndpointRecord,
  IpcacheEntry,
  PolicyRow as PolicyEntry,
  ServiceSlotRow,
} from '../../src/datapath/index.ts';
import { dropReasonText, forwardReasonText } from '../../src/model/constants.gen.ts';
import type { EndpointRow, FlowRow, IpcacheRow, MetricRow, PolicyRow } from '../../src/view/bpf.ts';

import type { LbBackendRow, LbServiceRow } from '../../src/view/bpf-lb.ts';

/** Entries of our maps as the rows that are printed. */
export function policyRow({ key, entry, packets, bytes }: PolicyEntry): PolicyRow {
  const { direction, identity, protocol, port, portPrefixLength } = key;
  const { verdict, ruleId } = entry;
  const proxyPort = verdict.kind === 'redirect' ? verdict.proxyPort : 0;
  const deny = verdict.kind === 'deny';
  return { deny, direction, identity, protocol, port, portPrefixLength, proxyPort, ruleId, packets, bytes };
}

export function ipcacheRow({ prefix, identity, tunnelEndpoint }: IpcacheEntry): IpcacheRow {
  return {
    prefix: formatCidr(prefix),
    identity,
    tunnelEndpoint: tunnelEndpoint === undefined ? '' : formatIp(tunnelEndpoint),
  };
}

function mac(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** One row an address, as the endpoint map of Cilium has it. */
export function endpointRows({ endpoint, locked }: EndpointRecord): EndpointRow[] {
  const { id, identity, ifindex } = endpoint;
  const addresses = [endpoint.ipv4, endpoint.ipv6].filter((ip): ip is IpBytes => ip !== undefined);
  return addresses.map((ip) => ({
    ip: formatIp(ip),
    host: false,
    id,
    identity,
    ifindex,
    mac: mac(endpoint.mac),
    hostMac: mac(endpoint.hostMac),
    flags: locked ? 1 : 0,
  }));
}

export function metricRow({ reason, direction, packets, bytes }: DatapathCounter): MetricRow {
  const text = forwardReasonText[reason] ?? dropReasonText[reason] ?? `reason ${reason}`;
  return { reason: text, direction: direction.toUpperCase(), packets, bytes };
}

export function flowRow(flow: ConntrackFlow): FlowRow {
  const { initiator, responder } = flow;
  const flags: readonly (readonly [string, boolean])[] = [
    ['SeenReply', flow.seenReply],
    ['TxClosing', initiator.closing],
    ['RxClosing', responder.closing],
    ['Host', flow.host],
    [`Service=${flow.service}`, flow.service !== 0],
  ];
  return {
    protocol: flow.protocol,
    source: formatIp(initiator.address),
    destination: formatIp(responder.address),
    sourcePort: initiator.port,
    destinationPort: responder.port,
    sourceIdentity: initiator.identity,
    destinationIdentity: responder.identity,
    sourceTcpFlags: initiator.tcpFlags,
    destinationTcpFlags: responder.tcpFlags,
    expiresInSeconds: flow.expiresInSeconds,
    flags: flags.filter(([, set]) => set).map(([name]) => name),
  };
}

function socketText(address: IpBytes, port: number): string {
  const text = formatIp(address);
  return address.length === 4 ? `${text}:${port}` : `[${text}]:${port}`;
}

export function lbServiceRow({ frontend, ...entry }: ServiceSlotRow): LbServiceRow {
  const { address, port, protocol } = frontend;
  return { frontend: socketText(address, port), protocol, ...entry };
}

export function lbBackendRow({ id, address, port, protocol, state }: BackendRow): LbBackendRow {
  return { id, address: socketText(address, port), protocol, state };
}
