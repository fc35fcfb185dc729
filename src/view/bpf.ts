import { layoutTabs, row, trimLines } from './tabwriter.ts';
import type { ViewOptions } from './types.ts';

/** Rows of `bpf ... list`: what a map's entry means, whoever wrote the map. 64-bit counters are bigint. */
export interface PolicyRow {
  readonly deny: boolean;
  readonly direction: 'ingress' | 'egress';
  /** 0: every peer. */
  readonly identity: number;
  /** IANA number; 0: every protocol. */
  readonly protocol: number;
  /** Host order. */
  readonly port: number;
  /** 0 (every port) .. 16. */
  readonly portPrefixLength: number;
  /** Host order; 0: none. */
  readonly proxyPort: number;
  readonly ruleId: number;
  /** Undefined: not counted. */
  readonly packets: bigint | undefined;
  readonly bytes: bigint | undefined;
}

export interface IpcacheRow {
  readonly prefix: string;
  readonly identity: number;
  /** Address of the node that the prefix is behind; empty for none. */
  readonly tunnelEndpoint: string;
  readonly encryptKey?: number;
  readonly flags?: readonly string[];
}

export interface EndpointRow {
  readonly ip: string;
  /** The host's own address. */
  readonly host: boolean;
  readonly id: number;
  readonly identity: number;
  readonly ifindex: number;
  readonly mac: string;
  readonly hostMac: string;
  readonly flags?: number;
}

export interface MetricRow {
  readonly reason: string;
  readonly direction: string;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly line?: number;
  readonly file?: string;
}

export interface BpfOptions extends ViewOptions {
  /** Labels of an identity; undefined where they are not known, and then the number is shown. */
  readonly labelsOf?: ((identity: number) => readonly string[] | undefined) | undefined;
  /** Numbers instead of labels. */
  readonly numeric?: boolean | undefined;
  /** Name of a rule by its number; undefined where it is not known. */
  readonly ruleName?: ((id: number) => string | undefined) | undefined;
}

const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'ICMP',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMPv6',
  132: 'SCTP',
};

export function protocolText(protocol: number): string {
  return PROTOCOLS[protocol] ?? String(protocol);
}

/** `80/TCP`, `1024-2047/TCP`, `ANY/UDP`, `ANY`. */
export function portText(entry: Pick<PolicyRow, 'protocol' | 'port' | 'portPrefixLength'>): string {
  if (entry.protocol === 0) return 'ANY';
  const span = 2 ** (16 - entry.portPrefixLength);
  const ports =
    entry.portPrefixLength === 0
      ? 'ANY'
      : span === 1
        ? `${entry.port}`
        : `${entry.port}-${entry.port + span - 1}`;
  return `${ports}/${protocolText(entry.protocol)}`;
}

function finish(text: string, options: ViewOptions): string {
  const laidOut = layoutTabs(text, { minWidth: 5 });
  return options.compat === undefined ? trimLines(laidOut) : laidOut;
}

/** Bits of the key beyond identity and direction: 8 for a protocol, and the port's. */
function prefixBits(entry: PolicyRow): number {
  return entry.protocol === 0 ? 0 : 8 + entry.portPrefixLength;
}

/** Deny before allow, then direction, identity, protocol, port: a stable order. */
export function sortPolicy(rows: readonly PolicyRow[]): PolicyRow[] {
  const key = (r: PolicyRow): readonly number[] => [
    r.deny ? 0 : 1,
    r.direction === 'ingress' ? 0 : 1,
    r.identity,
    r.protocol,
    r.port,
    r.portPrefixLength,
  ];
  const compare = (a: readonly number[], b: readonly number[]): number => {
    const at = a.findIndex((value, i) => value !== b[i]);
    return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
  };
  return [...rows].sort((a, b) => compare(key(a), key(b)));
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

/** Number and name of a rule; 0 is none. */
function ruleText(id: number, options: BpfOptions): string {
  const name = options.ruleName?.(id);
  return name === undefined ? String(id) : `${id} ${name}`;
}

function policyRow(entry: PolicyRow, options: BpfOptions): string {
  const labels = options.numeric === true ? undefined : options.labelsOf?.(entry.identity);
  const [first = String(entry.identity), ...rest] = [...(labels ?? [])].sort();
  const proxy = entry.proxyPort === 0 ? 'NONE' : entry.proxyPort;
  const counts = [entry.bytes ?? '-', entry.packets ?? '-'].map(String);
  const old = options.compat === '2018';
  const head = old ? [] : [entry.deny ? 'Deny' : 'Allow'];
  const tail = old ? [...counts] : ['disabled', ...counts, prefixBits(entry), entry.ruleId];
  const ours =
    options.compat === undefined ? [...counts, prefixBits(entry), ruleText(entry.ruleId, options)] : tail;
  const cells = [...head, capital(entry.direction), first, portText(entry), proxy, ...ours];
  const more = (label: string): string =>
    row(
      cells.map((_, i) => (i === head.length + 1 ? label : '')),
      old,
    );
  return row(cells, old) + rest.map(more).join('');
}

/** `bpf policy get`. */
export function bpfPolicy(rows: readonly PolicyRow[], options: BpfOptions = {}): string {
  const peer = options.numeric === true ? 'IDENTITY' : 'LABELS (source:key[=value])';
  const columns: Readonly<Record<string, readonly string[]>> = {
    '2018': ['DIRECTION', peer, 'PORT/PROTO', 'PROXY PORT', 'BYTES', 'PACKETS'],
    '1.19': [
      'POLICY',
      'DIRECTION',
      peer,
      'PORT/PROTO',
      'PROXY PORT',
      'AUTH TYPE',
      'BYTES',
      'PACKETS',
      'PREFIX',
      'COOKIE',
    ],
    ours: ['POLICY', 'DIRECTION', peer, 'PORT/PROTO', 'PROXY PORT', 'BYTES', 'PACKETS', 'PREFIX', 'RULE'],
  };
  const old = options.compat === '2018';
  const header = options.noHeaders === true ? '' : row(columns[options.compat ?? 'ours'] ?? [], old);
  return finish(
    header +
      sortPolicy(rows)
        .map((entry) => policyRow(entry, options))
        .join(''),
    options,
  );
}

/** `bpf policy list`: the tables of all endpoints. */
export function bpfPolicyList(
  maps: readonly { readonly endpoint: number; readonly path: string; readonly rows: readonly PolicyRow[] }[],
  options: BpfOptions = {},
): string {
  const block = (map: (typeof maps)[number]): string =>
    `Endpoint ID: ${map.endpoint}\nPath: ${map.path}\n\n${bpfPolicy(map.rows, options)}\n\n`;
  return [...maps]
    .sort((a, b) => a.endpoint - b.endpoint)
    .map(block)
    .join('');
}

function generic(
  header: readonly [string, string],
  rows: readonly (readonly [string, string])[],
  options: ViewOptions,
): string {
  const head = options.noHeaders === true ? '' : row(header);
  return finish(head + rows.map((cells) => row(cells, true)).join(''), options);
}

/** The info text of one ipcache entry. */
export function ipcacheInfo(entry: IpcacheRow, options: ViewOptions = {}): string {
  if (options.compat === '2018') return String(entry.identity);
  const tunnel = entry.tunnelEndpoint === '' ? '0.0.0.0' : entry.tunnelEndpoint;
  const flags = entry.flags ?? [];
  const shown = flags.length === 0 ? '<none>' : flags.join(',');
  return `identity=${entry.identity} encryptkey=${entry.encryptKey ?? 0} tunnelendpoint=${tunnel} flags=${shown}`;
}

/** `bpf ipcache list`; the caller sorts. */
export function bpfIpcache(rows: readonly IpcacheRow[], options: ViewOptions = {}): string {
  return generic(
    ['IP PREFIX/ADDRESS', 'IDENTITY'],
    rows.map((entry) => [entry.prefix, ipcacheInfo(entry, options)]),
    options,
  );
}

/** The info text of one entry of the endpoint map. */
export function endpointInfo(entry: EndpointRow, options: ViewOptions = {}): string {
  if (entry.host) return '(localhost)';
  const [id, identity, ifindex] = [String(entry.id), String(entry.identity), String(entry.ifindex)];
  if (options.compat === '2018') {
    const hex = entry.identity.toString(16);
    return `id=${id} ifindex=${ifindex} mac=${entry.mac} nodemac=${entry.hostMac} seclabel=0x${hex}`;
  }
  const flags = `0x${(entry.flags ?? 0).toString(16).padStart(4, '0')}`;
  const macs = `mac=${entry.mac.toUpperCase()} nodemac=${entry.hostMac.toUpperCase()}`;
  const numbers = `id=${id.padEnd(5)} sec_id=${identity.padEnd(5)} flags=${flags} ifindex=${ifindex.padEnd(3)}`;
  return `${numbers} ${macs} parent_ifindex=${'0'.padEnd(3)}`;
}

/** `bpf endpoint list`; the caller sorts. */
export function bpfEndpoints(rows: readonly EndpointRow[], options: ViewOptions = {}): string {
  return generic(
    ['IP ADDRESS', 'LOCAL ENDPOINT INFO'],
    rows.map((entry) => [socketText(entry.ip, 0), endpointInfo(entry, options)]),
    options,
  );
}

/** `bpf metrics list`. */
export function bpfMetrics(rows: readonly MetricRow[], options: ViewOptions = {}): string {
  const place = options.compat === '1.19';
  const cells = rows.map((r) => [
    r.reason,
    r.direction,
    String(r.packets),
    String(r.bytes),
    ...(place ? [String(r.line ?? 0), r.file ?? 'unknown(0)'] : []),
  ]);
  const sorted = cells.map((c) => c.join('\t')).sort();
  const names = ['REASON', 'DIRECTION', 'PACKETS', 'BYTES', ...(place ? ['LINE', 'FILE'] : [])];
  const header = options.noHeaders === true ? '' : row(names);
  return finish(header + sorted.map((line) => `${line}\n`).join(''), options);
}

/** One tracked flow, seen from who opened it. */
export interface FlowRow {
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  /** Host order. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sourceIdentity: number;
  readonly destinationIdentity: number;
  /** OR of the TCP flags that the opener and the other side sent. */
  readonly sourceTcpFlags: number;
  readonly destinationTcpFlags: number;
  /** Negative: past its lifetime. */
  readonly expiresInSeconds: number;
  readonly flags: readonly string[];
}

function socketText(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function byte(value: number): string {
  return `0x${value.toString(16).padStart(2, '0')}`;
}

/** One line of `bpf ct list`. */
export function flowLine(flow: FlowRow): string {
  const ends = `${socketText(flow.source, flow.sourcePort)} -> ${socketText(flow.destination, flow.destinationPort)}`;
  const seconds = Math.round(flow.expiresInSeconds);
  const left = seconds < 0 ? `expired=${-seconds}s` : `expires=${seconds}s`;
  const identities = `SourceSecurityID=${flow.sourceIdentity} DestinationSecurityID=${flow.destinationIdentity}`;
  const tcp = `TxFlagsSeen=${byte(flow.sourceTcpFlags)} RxFlagsSeen=${byte(flow.destinationTcpFlags)}`;
  return `${protocolText(flow.protocol)} ${ends} ${left} ${identities} ${tcp} Flags=[${flow.flags.join(' ')}]\n`;
}
