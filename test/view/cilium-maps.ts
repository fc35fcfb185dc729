import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatIp } from '../../src/base/ip.ts';
import { dropReasonText, forwardReasonText, metricDirectionText } from '../../src/model/constants.gen.ts';
import type { EndpointRow, IpcacheRow, MetricRow, PolicyRow } from '../../src/view/bpf.ts';
import type { LbRows } from '../../src/view/bpf-lb.ts';

interface HexEntry {
  readonly key: string;
  readonly value?: string;
  /** Of a per-CPU map. */
  readonly values?: readonly string[];
}

const FILE = join(import.meta.dirname, '..', 'fixtures', 'cli-golden', 'bpf-maps.json');
const maps = JSON.parse(readFileSync(FILE, 'utf8')) as Readonly<Record<string, readonly HexEntry[]>>;

/** Entries of a recorded map, in the layout of Cilium 1.19 on a little-endian machine. */
function entries(
  name: string,
): { readonly key: Buffer; readonly value: Buffer; readonly cpus: readonly Buffer[] }[] {
  return (maps[name] ?? []).map(({ key, value, values }) => ({
    key: Buffer.from(key, 'hex'),
    value: Buffer.from(value ?? '', 'hex'),
    cpus: (values ?? []).map((text) => Buffer.from(text, 'hex')),
  }));
}

const sum = (cpus: readonly Buffer[], at: number): bigint =>
  cpus.reduce((n, cpu) => n + cpu.readBigUInt64LE(at), 0n);

export function policyRows(endpoint: string): PolicyRow[] {
  const stats = entries('cilium_policystats');
  return entries(`cilium_policy_v2_${endpoint}`).map(({ key, value }) => {
    const counted = stats.find((s) => s.key.subarray(4, 12).equals(key.subarray(4, 12)));
    const l4Bits = key.readUInt32LE(0) - 40;
    return {
      deny: (value.readUInt8(2) & 1) !== 0,
      direction: key.readUInt8(8) === 0 ? 'ingress' : 'egress',
      identity: key.readUInt32LE(4),
      protocol: l4Bits >= 8 ? key.readUInt8(9) : 0,
      port: key.readUInt16BE(10),
      portPrefixLength: Math.max(0, l4Bits - 8),
      proxyPort: value.readUInt16BE(0),
      ruleId: value.readUInt32LE(8),
      packets: counted && sum(counted.cpus, 0),
      bytes: counted && sum(counted.cpus, 8),
    };
  });
}

export function ipcacheRows(): IpcacheRow[] {
  return entries('cilium_ipcache_v2').map(({ key, value }) => {
    const flags = value.readUInt8(23);
    const names = ['skiptunnel', 'hastunnel', 'ipv6tunnel', 'remotecluster'];
    return {
      prefix: `${formatIp(key.subarray(8, 12))}/${key.readUInt32LE(0) - 32}`,
      identity: value.readUInt32LE(0),
      tunnelEndpoint: value.readUInt32LE(4) === 0 ? '' : formatIp(value.subarray(4, 8)),
      encryptKey: value.readUInt8(22),
      flags: names.filter((_, bit) => (flags & (1 << bit)) !== 0),
    };
  });
}

export function endpointRows(): EndpointRow[] {
  const mac = (bytes: Buffer): string => (bytes.toString('hex').match(/../g) ?? []).join(':');
  return entries('cilium_lxc').map(({ key, value }) => ({
    ip: formatIp(key.subarray(0, 4)),
    host: (value.readUInt32LE(8) & 1) !== 0,
    id: value.readUInt16LE(6),
    identity: value.readUInt32LE(32),
    ifindex: value.readUInt32LE(0),
    mac: mac(value.subarray(16, 22)),
    hostMac: mac(value.subarray(24, 30)),
  }));
}

export function metricRows(): MetricRow[] {
  return entries('cilium_metrics').map(({ key, cpus }) => ({
    reason: forwardReasonText[key.readUInt8(0)] ?? dropReasonText[key.readUInt8(0)] ?? '',
    direction: metricDirectionText[key.readUInt8(1)] ?? '',
    packets: sum(cpus, 0),
    bytes: sum(cpus, 8),
    line: key.readUInt16LE(2),
    file: key.readUInt8(4) === 2 ? 'bpf_lxc.c' : `unknown(${key.readUInt8(4)})`,
  }));
}

export function lbRows(): LbRows {
  const socket = (bytes: Buffer, at: number): string =>
    `${formatIp(bytes.subarray(at, at + 4))}:${bytes.readUInt16BE(at + 4)}`;
  return {
    services: entries('cilium_lb4_services_v2').map(({ key, value }) => ({
      frontend: socket(key, 0),
      protocol: 'TCP',
      slot: key.readUInt16LE(6),
      backend: value.readUInt32LE(0),
      count: value.readUInt16LE(4),
      id: value.readUInt16BE(6),
      type: 'ClusterIP',
      affinitySeconds: 0,
    })),
    backends: entries('cilium_lb4_backends_v3').map(({ key, value }) => ({
      id: key.readUInt32LE(0),
      address: socket(value, 0),
      protocol: 'TCP',
      state: 'active',
    })),
  };
}
