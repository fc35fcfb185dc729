import { Protocol } from '../model/map-state.ts';
import type { PortNames } from './named-ports.ts';
import type { IcmpSpec, PortRule, PortSpec, RuleItem } from './rule.ts';
import type { TraceL4, TraceL7 } from './trace-types.ts';

/** Whether ports or icmps of an item hold for the traffic, and with which L7 rules. */
export interface L4Match {
  readonly matches: boolean;
  readonly reason: string;
  /** Of each entry of `toPorts` that holds: what requests must look like; undefined is anything. */
  readonly l7: readonly (TraceL7 | undefined)[];
}

const NAMES: Readonly<Record<number, PortSpec['protocol']>> = {
  [Protocol.tcp]: 'TCP',
  [Protocol.udp]: 'UDP',
  [Protocol.sctp]: 'SCTP',
};

export function portText({ port, endPort, protocol }: PortSpec): string {
  return `${port}${endPort === undefined ? '' : `-${endPort}`}/${protocol}`;
}

function icmpText({ family, type }: IcmpSpec): string {
  return `${family === 4 ? 'ICMPv4' : 'ICMPv6'} type ${type}`;
}

/** `80/TCP`, `ICMPv4 type 8`, or every protocol and port. */
export function l4Text(l4: TraceL4): string {
  switch (l4.kind) {
    case 'any':
      return 'every protocol and port';
    case 'icmp':
      return icmpText(l4);
    case 'port':
      return `${l4.port}/${NAMES[l4.protocol] ?? l4.protocol}`;
  }
}

function portHolds(spec: PortSpec, l4: TraceL4, named: PortNames): boolean {
  if (l4.kind !== 'port') return false;
  if (spec.protocol !== 'ANY' && spec.protocol !== NAMES[l4.protocol]) return false;
  if (typeof spec.port === 'string') {
    return named.number(spec.port, l4.protocol) === l4.port;
  }
  return spec.port === 0 || (l4.port >= spec.port && l4.port <= (spec.endPort ?? spec.port));
}

function unknownNames(rules: readonly PortRule[], l4: TraceL4, named: PortNames): string {
  if (l4.kind !== 'port') return '';
  const specs = rules.flatMap(({ ports }) => ports);
  const names = specs.flatMap(({ port }) => (typeof port === 'string' ? [port] : []));
  const unknown = names.filter((name) => named.number(name, l4.protocol) === undefined);
  return unknown.length === 0 ? '' : `; the destination has no port named ${unknown.join(', ')}`;
}

/** HTTP, Kafka and TLS are spoken over TCP, DNS over UDP too: on other protocols such an entry is for nothing. */
function isSpoken({ l7, serverNames }: PortRule, l4: TraceL4): boolean {
  const judged = l7 !== undefined || (serverNames?.length ?? 0) > 0;
  if (!judged || l4.kind !== 'port') return true;
  return l4.protocol === Protocol.tcp || (l7?.kind === 'dns' && l4.protocol === Protocol.udp);
}

function conditionOf({ l7, serverNames }: PortRule): TraceL7 | undefined {
  if (l7 !== undefined || serverNames === undefined || serverNames.length === 0) return l7;
  return { kind: 'tls', rules: serverNames };
}

function portsMatch(rules: readonly PortRule[], l4: TraceL4, named: PortNames): L4Match {
  const held = rules.filter(
    (rule) => isSpoken(rule, l4) && rule.ports.some((spec) => portHolds(spec, l4, named)),
  );
  const texts = rules.flatMap(({ ports }) => ports.map(portText)).join(', ');
  if (held.length === 0) {
    const silent = rules.some(({ ports }) => ports.some((spec) => portHolds(spec, l4, named)));
    const reason = silent
      ? `judges ${texts} by what is not spoken over this protocol`
      : `is for ${texts} only${unknownNames(rules, l4, named)}`;
    return { matches: false, reason, l7: [] };
  }
  const spec = held[0]?.ports.find((one) => portHolds(one, l4, named));
  return {
    matches: true,
    reason: `port ${spec === undefined ? texts : portText(spec)}`,
    l7: held.map(conditionOf),
  };
}

/** Whether an item is for this traffic, as far as protocol and port go. */
export function matchL4(item: RuleItem, l4: TraceL4, named: PortNames): L4Match {
  if (item.ports !== undefined) return portsMatch(item.ports, l4, named);
  if (item.icmps === undefined) return { matches: true, reason: 'every protocol and port', l7: [undefined] };
  const held = item.icmps.find(
    (spec) => l4.kind === 'icmp' && spec.family === l4.family && spec.type === l4.type,
  );
  return held === undefined
    ? { matches: false, reason: `is for ${item.icmps.map(icmpText).join(', ')} only`, l7: [] }
    : { matches: true, reason: icmpText(held), l7: [undefined] };
}
