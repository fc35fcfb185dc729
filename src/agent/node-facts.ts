import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { UsageError } from '../base/errors.ts';
import { formatIp, parseIp } from '../base/ip.ts';
import type { ListenAddress } from '../base/option-parsers.ts';
import type { AgentOptions } from './options.ts';

/** What the agent must know of its node before it starts. Addresses are in text form. */
export interface NodeFacts {
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
  /** Devices to other nodes. */
  readonly devices: readonly string[];
}

export interface NodeFactsDeps {
  readonly interfaces?: () => ReturnType<typeof networkInterfaces>;
  /** Text of /proc/net/route. */
  readonly routeTable?: () => string;
}

/** Device of the IPv4 default route with the least metric (`/proc/net/route`: destination and mask are hexadecimal). */
function defaultRouteDevice(table: string): string | undefined {
  const routes = table
    .split('\n')
    .slice(1)
    .map((line) => line.split('\t'))
    .filter((fields) => fields[1] === '00000000' && fields[7] === '00000000')
    .sort((a, b) => Number(a[6]) - Number(b[6]));
  return routes[0]?.[0];
}

function isGlobal(address: string): boolean {
  const bytes = parseIp(address);
  return bytes.length === 4 || (bytes[0] ?? 0) !== 0xfe;
}

/**
 * Settles the node's addresses and devices from options and from what the machine has.
 * @throws UsageError code NODE_ADDRESS when a family has a range but the node no address of it
 */
export function nodeFacts(options: AgentOptions, deps: NodeFactsDeps = {}): NodeFacts {
  const table = (deps.interfaces ?? networkInterfaces)();
  const routes = deps.routeTable ?? ((): string => readFileSync('/proc/net/route', 'utf8'));
  const fallback = options.datapath === 'none' ? undefined : defaultRouteDevice(routes());
  const devices = options.devices.length > 0 ? options.devices : fallback === undefined ? [] : [fallback];
  const missing = devices.find((device) => options.datapath === 'bpf' && table[device] === undefined);
  if (missing !== undefined) {
    const names = Object.keys(table).join(', ') || 'none';
    throw new UsageError(`there is no device ${missing} with an address here; devices with one: ${names}`, {
      code: 'DEVICE_MISSING',
      hint: 'name the devices to other nodes with --devices',
    });
  }
  const first = (family: 'IPv4' | 'IPv6'): string | undefined => {
    const entries = devices.flatMap((device) => table[device] ?? []);
    const found = entries.find(
      (entry) => entry.family === family && !entry.internal && isGlobal(entry.address),
    );
    return found && formatIp(parseIp(found.address));
  };
  const facts = {
    ipv4: options['ipv4-node'] ?? first('IPv4'),
    ipv6: options['ipv6-node'] ?? first('IPv6'),
    devices,
  };
  if (facts.ipv4 === undefined && facts.ipv6 === undefined) {
    throw new UsageError('this node has no address', {
      code: 'NODE_ADDRESS',
      hint: 'give it one with --ipv4-node or --ipv6-node, or name its device with --devices',
    });
  }
  return facts;
}

/**
 * Where a server of this node listens: without a host at the node's own address, never at all of them, since those
 * of its routers towards endpoints are among them.
 */
export function listenAddressOf(
  { host, port }: ListenAddress,
  { ipv4, ipv6 }: Pick<NodeFacts, 'ipv4' | 'ipv6'>,
): ListenAddress {
  return { host: host ?? ipv4 ?? ipv6 ?? '127.0.0.1', port };
}
